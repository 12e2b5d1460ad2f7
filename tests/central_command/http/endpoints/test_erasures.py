"""Asking for erasure over HTTP, and how it stands."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from actors.consent.register import NotSigned
from actors.erasure.job import TooManyErasures
from central_command.http.requests.replies import Reply
from persistence.journals.erasure_register import ErasureState
from tests.central_command.http.description.test_openapi import check_described

CONTRIBUTOR = "0123456789abcdef0123456789abcdeF"
PATH = "/v1/contributors/{contributor_id}"
REQUEST_PATH = "/v1/erasures/{request}"


async def reply_of(answer: Any) -> Reply:
    return Reply(answer.status_code, await answer.get_data())


async def test_a_contributor_is_erased_by_whoever_knows_the_id(client: Any, gateway: Any) -> None:
    answer = await client.delete(f"/v1/contributors/{CONTRIBUTOR}")
    assert gateway.asked == [("erase", (CONTRIBUTOR, None))]
    assert answer.status_code == 202
    assert await answer.get_json() == {
        "request": "er_0123456789abcdef",
        "state": "requested",
        "requested_at": "2026-11-20T12:12:17.123000Z",
    }
    check_described("delete", PATH, await reply_of(answer))


async def test_in_the_name_of_who_has_a_key_the_request_must_be_signed(client: Any, gateway: Any) -> None:
    gateway.erasing = NotSigned("The signature is not that of this request.")
    headers = {"Signature-Time": "1795176000", "Contributor-Signature": "c2ln"}
    answer = await client.delete(f"/v1/contributors/{CONTRIBUTOR}", headers=headers)
    assert answer.status_code == 403
    assert (await answer.get_json())["code"] == "not_signed"
    check_described("delete", PATH, await reply_of(answer))
    ((_, (_, proof)),) = gateway.asked
    assert (proof.method, proof.path) == ("DELETE", f"/v1/contributors/{CONTRIBUTOR}")
    assert (proof.time_s, proof.signature, proof.body_sha256) == (1795176000, "c2ln", sha256(b"").hexdigest())


@pytest.mark.parametrize("name", ["0" * 31, "0" * 33, "g" * 32, "0" * 31 + "%0A", "%00" * 32])
async def test_what_is_no_contributor_s_id_is_told_so(name: str, client: Any, gateway: Any) -> None:
    answer = await client.delete(f"/v1/contributors/{name}")
    assert answer.status_code == 400
    assert gateway.asked == []
    check_described("delete", PATH, await reply_of(answer))


async def test_more_requests_than_may_be_noted_are_refused(client: Any, gateway: Any) -> None:
    gateway.erasing = TooManyErasures()
    answer = await client.delete(f"/v1/contributors/{CONTRIBUTOR}")
    assert answer.status_code == 507
    check_described("delete", PATH, await reply_of(answer))


async def test_a_request_says_how_it_stands_and_not_what_hinders_it(client: Any, gateway: Any) -> None:
    gateway.erasing = msgspec.structs.replace(gateway.erasing, hindered="something is left in server.log")
    answer = await client.get("/v1/erasures/er_0123456789abcdef")
    assert (await answer.get_json())["hindered"] is True
    check_described("get", REQUEST_PATH, await reply_of(answer))
    done = msgspec.structs.replace(
        gateway.erasing.erasure,
        state=ErasureState.DONE,
        done_at="2026-11-20T12:13:17.123000Z",
        counts={"envelopes": 3},
    )
    gateway.erasing = msgspec.structs.replace(gateway.erasing, erasure=done, hindered=None)
    answer = await client.get("/v1/erasures/er_0123456789abcdef")
    body = await answer.get_json()
    assert (body["state"], body["erased_lines"]) == ("done", {"envelopes": 3})
    check_described("get", REQUEST_PATH, await reply_of(answer))


@pytest.mark.parametrize("request_id", ["er_0000000000000000", "er_", "nothing"])
async def test_a_request_that_is_not_known_is_404(request_id: str, client: Any) -> None:
    answer = await client.get(f"/v1/erasures/{request_id}")
    assert answer.status_code == 404
    check_described("get", REQUEST_PATH, await reply_of(answer))


async def test_the_log_does_not_say_who_asked(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "central_command.access")
    for name in (CONTRIBUTOR, f"{CONTRIBUTOR}/more"):
        await client.delete(f"/v1/contributors/{name}")
    assert "DELETE /v1/contributors/... 202" in caplog.text
    assert CONTRIBUTOR not in caplog.text
