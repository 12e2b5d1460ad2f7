"""`POST /v1/training/ingest` answers as the decisions say, whatever comes in."""

import json
from typing import Any

import pytest

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, ActorFailed, Busy, BusyReason, FullReason, StorageFull

PATH = "/v1/training/ingest"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'

UNREADABLE = {
    RefusalCode.BYTE_ORDER_MARK,
    RefusalCode.INVALID_UTF8,
    RefusalCode.NOT_A_NUMBER,
    RefusalCode.INVALID_JSON,
    RefusalCode.NOT_AN_OBJECT,
    RefusalCode.DUPLICATE_MEMBER,
    RefusalCode.NESTING_TOO_DEEP,
    RefusalCode.TOO_MANY_MEMBERS,
    RefusalCode.MISSING_SESSION_ID,
}


async def test_an_accepted_envelope_is_answered_with_its_id(client: Any, gateway: Any) -> None:
    """The body is exactly the contract's, and the envelope reaches the gateway byte for byte."""
    answer = await client.post(PATH, data=BODY)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert await answer.get_data() == b'{"accepted":true,"envelope_id":"env_1"}'
    [(_, envelope)] = gateway.asked
    assert envelope.body == BODY
    assert envelope.session_id == "sess_1"


async def test_a_duplicate_says_so(client: Any, gateway: Any) -> None:
    """A resend gets the first answer again, marked."""
    gateway.ingesting = Accepted("env_1", duplicate=True)
    answer = await client.post(PATH, data=BODY)
    assert await answer.get_json() == {"accepted": True, "envelope_id": "env_1", "duplicate": True}


@pytest.mark.parametrize("code", list(RefusalCode))
async def test_every_refusal_has_its_status(code: RefusalCode, client: Any, gateway: Any) -> None:
    """400 for what is no envelope, 429 for a full session, 200 for what no retry can mend; always the same shape."""
    gateway.ingesting = Refusal(code, "Because.")
    answer = await client.post(PATH, data=BODY)
    expected = 400 if code in UNREADABLE else 429 if code is RefusalCode.ENVELOPE_LIMIT else 200
    assert answer.status_code == expected
    body = await answer.get_json()
    assert (body["accepted"], body["reason"], body["code"]) == (False, "Because.", code.value)
    if code is RefusalCode.ENVELOPE_LIMIT:
        assert int(answer.headers["Retry-After"]) == body["retryAfter"] >= 1
    else:
        assert set(body) == {"accepted", "reason", "code"}


@pytest.mark.parametrize("reason", list(BusyReason))
async def test_overload_is_503_with_retry_after(reason: BusyReason, client: Any, gateway: Any) -> None:
    """Nothing was done, and the client is told when to come again."""
    gateway.ingesting = Busy(reason)
    answer = await client.post(PATH, data=BODY)
    body = await answer.get_json()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert (body["accepted"], body["code"]) == (False, reason.value)


@pytest.mark.parametrize("reason", list(FullReason))
async def test_no_room_is_507(reason: FullReason, client: Any, gateway: Any) -> None:
    """Quota and a full disk are told apart by their code."""
    gateway.ingesting = StorageFull(reason)
    answer = await client.post(PATH, data=BODY)
    assert answer.status_code == 507
    assert (await answer.get_json())["code"] == reason.value


async def test_a_failed_actor_is_500_in_the_same_shape(client: Any, gateway: Any) -> None:
    """A bug below says nothing about itself to the client."""
    gateway.ingesting = ActorFailed()
    answer = await client.post(PATH, data=BODY)
    assert answer.status_code == 500
    assert (await answer.get_json())["code"] == "internal_error"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xef\xbb\xbf{}", "byte_order_mark"),
        (b'{"session_id":"\xff"}', "invalid_utf8"),
        (b'{"session_id":NaN}', "not_a_number"),
        (b"[]", "not_an_object"),
        (b"{}", "missing_session_id"),
        (b'{"session_id":"a","session_id":"b"}', "duplicate_member"),
        (b'{"session_id":"a","x":' + b"[" * 100 + b"]" * 100 + b"}", "nesting_too_deep"),
        (b'{"session_id":"a"' + b"".join(b',"%d":0' % n for n in range(64)) + b"}", "too_many_members"),
    ],
)
async def test_what_is_no_envelope_is_400_and_not_passed_on(body: bytes, code: str, client: Any, gateway: Any) -> None:
    """The gateway never sees it."""
    answer = await client.post(PATH, data=body)
    assert answer.status_code == 400
    refusal = await answer.get_json()
    assert (refusal["accepted"], refusal["code"]) == (False, code)
    assert refusal["reason"]
    assert gateway.asked == []


@pytest.mark.parametrize("session_id", ["a b", "", "ä", "x" * 129, "a\n", "../x", "a\ud83d"])
async def test_an_impossible_session_id_is_unknown_without_asking(session_id: str, client: Any, gateway: Any) -> None:
    """No such id can have been opened, so nothing below needs to look."""
    answer = await client.post(PATH, data=json.dumps({"session_id": session_id}).encode())
    assert answer.status_code in {200, 400}
    body = await answer.get_json()
    assert body["code"] == ("missing_session_id" if answer.status_code == 400 else "unknown_session")
    assert gateway.asked == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_the_content_type_does_not_matter(content_type: str, client: Any) -> None:
    """Clients differ in it, and the body is read as JSON either way."""
    answer = await client.post(PATH, data=BODY, headers={"Content-Type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x" * 50])
async def test_an_encoded_body_is_415(encoding: str, client: Any, gateway: Any) -> None:
    """The HMAC is over the bytes sent, so nothing is unpacked."""
    answer = await client.post(PATH, data=BODY, headers={"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert (await answer.get_json())["code"] == "unsupported_encoding"
    assert answer.headers["Accept-Encoding"] == "identity"
    assert gateway.asked == []


async def test_identity_is_no_encoding(client: Any) -> None:
    """The encoding that changes nothing is taken."""
    answer = await client.post(PATH, data=BODY, headers={"Content-Encoding": "Identity"})
    assert answer.status_code == 200


async def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_413(make_app: Any, gateway: Any) -> None:
    """The limit is inclusive."""
    client = make_app(body_bytes_max=len(BODY)).test_client()
    assert (await client.post(PATH, data=BODY)).status_code == 200
    answer = await client.post(PATH, data=BODY + b" ")
    assert answer.status_code == 413
    assert (await answer.get_json())["code"] == "body_too_large"
    assert len(gateway.asked) == 1


async def test_bodies_beyond_the_memory_for_all_are_503(make_app: Any) -> None:
    """What cannot be held is refused, and room is given back when the exchange ends."""
    client = make_app(bodies_bytes_max=len(BODY)).test_client()
    assert (await client.post(PATH, data=BODY + b" ")).status_code == 503
    for _ in range(3):
        assert (await client.post(PATH, data=BODY)).status_code == 200


async def test_get_is_405_in_the_shape_of_ingest(client: Any) -> None:
    """Every refusal on this path has the same members."""
    answer = await client.get(PATH)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert (await answer.get_json())["accepted"] is False
