"""What our client says to the real endpoints in a contributor's name, and what strangers can make of it."""

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from central_command.client.consenting.receipts import NotGenuineError, ReceiptAnswer, is_of, verify_receipt
from central_command.client.consenting.statements import ErasureStanding, NotAnsweredError, Statements, receipt_keys
from central_command.client.contract.contributor_keys import NOT_SIGNED, ContributorKey, make_key, wants_key
from persistence.format.consent_events import ConsentState, Decision
from persistence.format.records import JournalName
from tests.central_command.http.endpoints.test_consent import Asked, asked
from tests.signing_client import CONTRIBUTOR, SigningClient, dumps


class Application(httpx.AsyncBaseTransport):
    """Takes what a client sends to the running application, and keeps the last request."""

    def __init__(self, server: Asked) -> None:
        self._server = server
        self.last: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.last = request
        return await self.sent(request)

    async def sent(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        answer = await self._server.client.open(
            request.url.path, method=request.method, data=await request.aread(), headers=headers
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=await answer.get_data())


class Speaking:
    """A contributor with our client, with or without a key."""

    def __init__(self, server: Asked, key: ContributorKey | None, *, clock_off_s: float = 0) -> None:
        self.application = Application(server)
        self.client = httpx.AsyncClient(base_url="http://server.test", transport=self.application)
        now_s = lambda: server.run.clock.now + clock_off_s  # noqa: E731
        self.statements = Statements(self.client, CONTRIBUTOR, key, now_s=now_s)


async def opened(
    server: Asked, session_id: str, key: ContributorKey | None, **changes: Any
) -> tuple[int, SigningClient]:
    """Open a session as our client does; changes are put over what it sends."""
    session = SigningClient(session_id, now_s=server.run.clock.now)
    claim = {"contributor_id": CONTRIBUTOR}
    if key is not None:
        claim = msgspec.to_builtins(key.claim(session_id, session.public_key))
    return await server.opened(session, **(claim | changes)), session


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
async def test_consent_is_withdrawn_and_given_again_and_its_receipt_verifies(tmp_path: Path, has_key: bool) -> None:  # noqa: FBT001
    key = make_key(tmp_path, CONTRIBUTOR) if has_key else None
    async with asked(tmp_path / "data") as server:
        status, session = await opened(server, "sess_1", key)
        assert status == 200
        speaking = Speaking(server, key)
        seen = await speaking.statements.shown()
        assert (seen.state, seen.history) == (ConsentState.NONE, [])
        withdrawn = await speaking.statements.say(Decision.WITHDRAWN, seen)
        assert await server.sent(session.chunk()) == "consent_withdrawn"
        seen = await speaking.statements.shown()
        assert (seen.state, seen.last_event_sha256) == (ConsentState.WITHDRAWN, withdrawn.sha256)
        await speaking.statements.say(Decision.GIVEN, seen)
        answer, keys = await speaking.statements.receipt(), await receipt_keys(speaking.client)
        again = msgspec.json.decode(json.dumps(msgspec.to_builtins(answer), indent=3), type=ReceiptAnswer)
        facts = verify_receipt(again, keys)
        assert (facts.state, [each.state for each in facts.events]) == ("given", ["withdrawn", "given"])
        assert is_of(facts, CONTRIBUTOR.upper())
        assert not is_of(facts, "f" * 32)
        answer.receipt["state"] = "withdrawn"
        with pytest.raises(NotGenuineError, match="it was changed"):
            verify_receipt(answer, keys)
        with pytest.raises(NotGenuineError, match="no key of the id"):
            verify_receipt(again, msgspec.structs.replace(keys, receipt_keys=[]))


async def test_of_nothing_there_is_no_receipt(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        with pytest.raises(NotAnsweredError, match="nothing was said in your name there"):
            await Speaking(server, None).statements.receipt()


async def test_who_knows_the_id_and_not_the_key_can_do_nothing_in_its_name(tmp_path: Path) -> None:
    """Neither be credited, nor withdraw, nor look, nor take a receipt, each refused in one sentence."""
    mine, thiefs = make_key(tmp_path / "mine", CONTRIBUTOR), make_key(tmp_path / "thief", CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        assert (await opened(server, "sess_mine", mine))[0] == 200
        assert (await opened(server, "sess_claimed", None))[0] == 403
        assert (await opened(server, "sess_signed", thiefs))[0] == 403
        unclaimed = SigningClient("sess_unclaimed", now_s=server.run.clock.now)
        assert await server.opened(unclaimed) == 200
        assert await server.sent(unclaimed.chunk()) == "contributor_key_required"
        for key, advice in ((None, "this machine has no key"), (thiefs, "the key the registered one")):
            statements = Speaking(server, key).statements
            for call in (statements.shown, statements.receipt):
                with pytest.raises(NotAnsweredError, match=advice):
                    await call()
            seen = await Speaking(server, mine).statements.shown()
            with pytest.raises(NotAnsweredError, match=advice):
                await statements.say(Decision.WITHDRAWN, seen)
        await server.run.projected()
        assert (await Speaking(server, mine).statements.shown()).state is ConsentState.NONE
    assert [line for line in server.run.lines(JournalName.ENVELOPES) if line.get("type") is None] == []


async def test_an_opening_with_a_wrong_key_has_the_code_that_the_client_goes_by(tmp_path: Path) -> None:
    """A ban is 403 as well, with another one."""
    mine, thiefs = make_key(tmp_path / "mine", CONTRIBUTOR), make_key(tmp_path / "thief", CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        assert (await opened(server, "sess_mine", mine))[0] == 200
        session = SigningClient("sess_other", now_s=server.run.clock.now)
        signed = msgspec.to_builtins(thiefs.claim("sess_other", session.public_key))
        for claim in ({"contributor_id": CONTRIBUTOR}, signed):
            answer = await server.client.post("/v1/sessions/open", data=dumps(session.opening(**claim)))
            members = await answer.get_json()
            assert (answer.status_code, members["code"]) == (403, NOT_SIGNED)
            assert wants_key(members["code"], members["error"])


async def test_a_signed_opening_that_was_overheard_opens_nothing_else(tmp_path: Path) -> None:
    """The same bytes open the same session, whose key only its owner has; put into another opening they fit nothing."""
    mine = make_key(tmp_path, CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        status, session = await opened(server, "sess_1", mine)
        claim = msgspec.to_builtins(mine.claim("sess_1", session.public_key))
        stranger = SigningClient("sess_1", now_s=server.run.clock.now)
        assert status == 200
        assert await server.opened(stranger, **claim) == 403, "another public key"
        assert await server.opened(SigningClient("sess_2", now_s=server.run.clock.now), **claim) == 403
        assert await server.opened(stranger, public_key=session.public_key, **claim) == 200, "the very same opening"
        assert await server.sent(stranger.chunk()) == "invalid_hmac"
        assert await server.sent(session.chunk()) is None


async def test_a_signed_withdrawal_that_was_overheard_works_once(tmp_path: Path) -> None:
    """It names the event before it: once something was said after that, it is refused, also within its 300 s."""
    mine = make_key(tmp_path, CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        assert (await opened(server, "sess_1", mine))[0] == 200
        speaking = Speaking(server, mine)
        await speaking.statements.say(Decision.WITHDRAWN, await speaking.statements.shown())
        overheard = speaking.application.last
        assert overheard is not None
        await speaking.statements.say(Decision.GIVEN, await speaking.statements.shown())
        assert (await speaking.application.sent(overheard)).status_code == 409
        assert (await speaking.statements.shown()).state is ConsentState.GIVEN
        assert not (await speaking.statements.shown()).erased
        server.run.clock.now += 301
        assert (await speaking.application.sent(overheard)).status_code == 403


@pytest.mark.parametrize(("off_s", "is_taken"), [(-299, True), (299, True), (-302, False), (302, False)])
async def test_a_clock_that_is_off_is_said(tmp_path: Path, off_s: int, is_taken: bool) -> None:  # noqa: FBT001
    """By up to 300 s it is not noticed."""
    mine = make_key(tmp_path, CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        assert (await opened(server, "sess_1", mine))[0] == 200
        statements = Speaking(server, mine, clock_off_s=off_s).statements
        if is_taken:
            assert (await statements.shown()).state is ConsentState.NONE
        else:
            with pytest.raises(NotAnsweredError, match=r"more than 300 s .*; this machine's clock must be right"):
                await statements.shown()


async def test_what_was_said_meanwhile_is_not_overruled(tmp_path: Path) -> None:
    mine = make_key(tmp_path, CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        assert (await opened(server, "sess_1", mine))[0] == 200
        statements = Speaking(server, mine).statements
        seen = await statements.shown()
        await statements.say(Decision.WITHDRAWN, seen)
        with pytest.raises(NotAnsweredError, match="Something else was said in your name meanwhile"):
            await statements.say(Decision.GIVEN, seen)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, {"error": "Not found."}, "knows nothing of consent"),
        (404, None, r"\Awhat answers at http://server.test is no Central Command \(status 404\); write the server's"),
        (501, None, r"is no Central Command \(status 501\)"),
        (
            200,
            {"state": "maybe"},
            r"no Central Command \(status 200\), or one of another version \(.*\); write the server's",
        ),
        (200, None, r"no Central Command \(status 200\), or one of another version \(.*\); write the server's"),
        (503, {"error": "Shutting down."}, r"\AShutting down\.\Z"),
    ],
)
async def test_other_answers_are_one_sentence(status: int, body: object, sentence: str) -> None:
    answer = httpx.Response(status, text="<html>" if body is None else dumps(body))
    client = httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(lambda _request: answer))
    with pytest.raises(NotAnsweredError, match=sentence):
        await Statements(client, CONTRIBUTOR, None, now_s=lambda: 0.0).shown()


async def test_a_contributor_with_a_key_is_erased_and_nothing_of_it_counts_as_given(tmp_path: Path) -> None:
    """Their request is signed; nobody else's is taken. Asked again, it is the same request, and how it stands."""
    key = make_key(tmp_path, CONTRIBUTOR)
    async with asked(tmp_path / "data") as server:
        _status, session = await opened(server, "sess_1", key)
        assert await server.sent(session.chunk()) is None
        with pytest.raises(NotAnsweredError, match="this machine has no key of contributor"):
            await Speaking(server, None).statements.erase()
        await server.run.projected()
        speaking = Speaking(server, key)
        assert (await speaking.statements.shown()).state is ConsentState.GIVEN
        standing = await speaking.statements.erase()
        assert not standing.is_done
        assert await server.sent(session.chunk()) == "contributor_erased"
        await speaking.statements.say(Decision.WITHDRAWN, await speaking.statements.shown())
        await server.run.service.eraser.erase_pending()
        done = await speaking.statements.followed(await speaking.statements.erase(), for_s=0)
        assert (done.request, done.is_done) == (standing.request, True)
        assert done.erased_lines["envelopes"] == 2
        assert (await speaking.statements.shown()).erased
        assert (await speaking.statements.shown()).state is ConsentState.WITHDRAWN


@pytest.mark.parametrize("mode", ["required", "client"])
async def test_what_is_held_for_consent_is_what_the_server_says(tmp_path: Path, mode: str) -> None:
    """Until it is given, and only where it is required."""
    async with asked(tmp_path / "data", consent={"mode": mode}) as server:
        _status, session = await opened(server, "sess_1", None)
        assert await server.sent(session.chunk()) is None
        statements = Speaking(server, None).statements
        seen = await statements.shown()
        assert await statements.holds(seen) == (mode == "required")
        await statements.say(Decision.GIVEN, seen)
        assert not await statements.holds(await statements.shown())


async def test_an_erasure_is_followed_until_it_is_done_or_time_is_up(autojump_clock: MockClock) -> None:
    """A server that does not answer for once is asked again."""
    known = {"request": "er_0123456789abcdef", "state": "requested", "requested_at": "2026-11-29T02:00:00Z"}
    done = known | {"state": "done", "done_at": "2026-11-29T02:01:00Z", "erased_lines": {"envelopes": 3}}
    answers = [(200, known), (503, {"error": "Busy."}), (200, known | {"hindered": True}), (200, done)]
    left = iter(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/erasures/{known['request']}"
        status, members = next(left)
        return httpx.Response(status, json=members)

    client = httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(handle))
    statements = Statements(client, CONTRIBUTOR, None, now_s=lambda: 0.0)
    standing = msgspec.convert(known, ErasureStanding)
    early = await statements.followed(standing, for_s=15)
    assert (early.is_done, early.hindered) == (False, True)
    whole = await statements.followed(early, for_s=3_600)
    assert whole.erased_lines == {"envelopes": 3}
    assert autojump_clock.current_time() == pytest.approx(20), "once it is done nothing is waited for"
