"""A backlog goes in batches, each result counts as if its envelope had gone alone, and no sequence is ever broken."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.endpoints import BATCH_BYTES_MAX, BATCH_PATH, CLOSE_PATH, INGEST_PATH
from central_command.client.contract.signing import draft_envelope
from central_command.client.delivering.batching import Batching, batching_for
from central_command.client.delivering.deliverer import Deliverer
from central_command.client.delivering.exchange import SessionDelivery
from central_command.client.delivering.posting import Answer, Delivery, Results, RetryPolicy, Undelivered
from central_command.client.delivering.progress import Later, One, Resting, Sent, Several
from central_command.client.spool.records import Opening, SessionState
from central_command.client.spool.spool import Spool
from tests.central_command.client.inline import inline

OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
ACCEPTED = Answer(200, {"accepted": True, "envelope_id": "env_1"})
FULL = Answer(503, {"accepted": False, "reason": "Too much.", "code": "journal_full"}, 7.0)


def refused(code: str) -> Answer:
    return Answer(200, {"accepted": False, "reason": "No.", "code": code})


class Script:
    """Answers requests with what a test wrote down, in order, and keeps them."""

    def __init__(self, *answers: Answer | Undelivered | Results) -> None:
        self.answers = list(answers)
        self.batches: list[list[bytes]] = []
        self.singles: list[bytes] = []

    async def attempt(self, path: str, body: bytes, *, timeout_s: float) -> Answer | Undelivered:
        await trio.lowlevel.checkpoint()
        assert path == INGEST_PATH
        self.singles.append(body)
        answer = self.answers.pop(0)
        assert not isinstance(answer, Results)
        return answer

    async def attempt_lines(
        self, path: str, lines: Sequence[bytes], *, timeout_s: float
    ) -> Results | Answer | Undelivered:
        await trio.lowlevel.checkpoint()
        assert path == BATCH_PATH
        self.batches.append(list(lines))
        return self.answers.pop(0)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool with an open session."""
    with Spool(tmp_path / "spool.db") as spool:
        spool.add_session("sess_1", url="http://server.test", opening=OPENING)
        spool.opened("sess_1", generate_key_pair().public_key_base64)
        yield spool


def put(spool: Spool, count: int, *, size: int = 10, session_id: str = "sess_1") -> None:
    for _ in range(count):
        head = {"envelope_id": "env_1", "session_id": session_id, "chunk_sequence": 0}
        spool.put(session_id, "CHUNK", draft_envelope(head, {"trajectory_log": ["x" * size]}), steps=2)


def sequences(bodies: Sequence[bytes]) -> list[int]:
    return [json.loads(body)["attestation"]["sequence"] for body in bodies]


def waiting(spool: Spool, session_id: str = "sess_1") -> list[int]:
    envelopes = spool.waiting(session_id, envelopes_max=1_000, bytes_max=10**9)
    return sequences([each.body for each in envelopes])


# What goes in a batch


async def test_one_envelope_goes_alone_and_several_go_together(spool: Spool) -> None:
    """In order, as they were signed; at most 64."""
    put(spool, 1)
    script = Script(ACCEPTED, Results((ACCEPTED,) * 64), Results((ACCEPTED,) * 6))
    sessions = SessionDelivery(spool, script, offload=inline)
    assert await sessions.proceed("sess_1") == Sent("sess_1", steps=2)
    put(spool, 70)
    assert await sessions.proceed("sess_1") == Several((Sent("sess_1", steps=128),))
    assert await sessions.proceed("sess_1") == Several((Sent("sess_1", steps=12),))
    assert len(script.singles) == 1
    assert [sequences(batch) for batch in script.batches] == [list(range(1, 65)), list(range(65, 71))]
    assert spool.session("sess_1").envelopes_accepted == 71
    assert waiting(spool) == []


async def test_a_batch_is_bounded_in_bytes_but_one_envelope_always_goes(spool: Spool) -> None:
    """About 4 MB; what is larger goes alone."""
    for size in (1_500_000, 1_500_000, 1_500_000, 4_500_000, 10):
        put(spool, 1, size=size)
    script = Script(Results((ACCEPTED,) * 2), ACCEPTED, ACCEPTED, ACCEPTED)
    sessions = SessionDelivery(spool, script, offload=inline)
    for _ in range(4):
        await sessions.proceed("sess_1")
    assert sum(map(len, script.batches[0])) <= BATCH_BYTES_MAX
    assert sequences(script.batches[0]) == [0, 1]
    assert sequences(script.singles) == [2, 3, 4]


async def test_drafts_of_a_session_recorded_offline_are_signed_together(tmp_path: Path) -> None:
    """And what is asked for again is the same bytes."""
    with Spool(tmp_path / "spool.db") as spool:
        spool.add_session("sess_1", url="http://server.test", opening=OPENING)
        put(spool, 3)
        spool.opened("sess_1", generate_key_pair().public_key_base64)
        script = Script(Undelivered("no"), Undelivered("no"), Results((ACCEPTED,) * 3))
        sessions = SessionDelivery(spool, script, offload=inline)
        for _ in range(2):
            assert isinstance(await sessions.proceed("sess_1"), Later)
        assert sequences(script.batches[0]) == [0, 1, 2]
        assert script.singles == script.batches[0][:1]


# What its results mean


async def test_what_is_temporary_is_sent_again_with_all_that_follows(spool: Spool) -> None:
    """The server's wait is kept; what was accepted before is not sent again."""
    put(spool, 4)
    script = Script(Results((ACCEPTED, FULL, FULL, FULL)), Results((ACCEPTED,) * 3))
    sessions = SessionDelivery(spool, script, offload=inline)
    assert await sessions.proceed("sess_1") == Several(
        (Sent("sess_1", steps=2), Later("Too much.", 7.0, status=503, asks_for_time=True))
    )
    await sessions.proceed("sess_1")
    assert [sequences(batch) for batch in script.batches] == [[0, 1, 2, 3], [1, 2, 3]]
    assert script.batches[0][1:] == script.batches[1]


async def test_an_answer_that_broke_off_counts_as_far_as_it_came(spool: Spool) -> None:
    """The rest goes again."""
    put(spool, 4)
    script = Script(Results((ACCEPTED, ACCEPTED)), Results((ACCEPTED, ACCEPTED)))
    sessions = SessionDelivery(spool, script, offload=inline)
    await sessions.proceed("sess_1")
    await sessions.proceed("sess_1")
    assert [sequences(batch) for batch in script.batches] == [[0, 1, 2, 3], [2, 3]]


async def test_a_refusal_that_used_its_number_holds_nothing_up(spool: Spool) -> None:
    """It is counted and remembered; what stands behind it was accepted."""
    put(spool, 4)
    script = Script(Results((ACCEPTED, refused("schema"), ACCEPTED, refused("schema"))))
    [accepted, *refusals] = _each(await SessionDelivery(spool, script, offload=inline).proceed("sess_1"))
    assert accepted == Sent("sess_1", steps=4)
    assert refusals == [Sent("sess_1", refusal="CHUNK was refused: No.")] * 2
    session = spool.session("sess_1")
    assert (session.envelopes_accepted, session.envelopes_refused) == (2, 2)
    assert waiting(spool) == []


@pytest.mark.parametrize("code", ["session_closed", "invalid_hmac", "sequence_mismatch", "invalid_json"])
async def test_what_a_session_cannot_take_goes_to_a_new_one_once(spool: Spool, code: str) -> None:
    """Decided by the first refusal; those behind it say nothing more."""
    put(spool, 4)
    answers = (ACCEPTED, refused(code), refused("sequence_mismatch"), refused("sequence_mismatch"))
    script = Script(Results(answers))
    each = _each(await SessionDelivery(spool, script, offload=inline).proceed("sess_1"))
    assert len(each) == 2
    new = each[1]
    assert isinstance(new, Sent)
    assert new.session_id != "sess_1"
    spool.opened(new.session_id, generate_key_pair().public_key_base64)
    assert waiting(spool, new.session_id) == ([0, 1, 2] if code != "invalid_json" else [0, 1])
    assert spool.session("sess_1").state is SessionState.FAILED


async def test_what_the_server_has_is_never_moved(spool: Spool) -> None:
    """A session that is full took a smaller envelope behind the one that it refused."""
    put(spool, 3)
    script = Script(Results((ACCEPTED, refused("session_too_large"), ACCEPTED)))
    each = _each(await SessionDelivery(spool, script, offload=inline).proceed("sess_1"))
    assert each[0] == Sent("sess_1", steps=4)
    new = each[1]
    assert isinstance(new, Sent)
    spool.opened(new.session_id, generate_key_pair().public_key_base64)
    assert waiting(spool, new.session_id) == [0]


async def test_a_result_of_something_else_rests_the_session(spool: Spool) -> None:
    """Nothing is thrown away."""
    put(spool, 2)
    script = Script(Results((Answer(200, {"status": 200}), ACCEPTED)))
    each = _each(await SessionDelivery(spool, script, offload=inline).proceed("sess_1"))
    assert each[0] == Sent("sess_1", steps=2)
    assert isinstance(each[1], Resting)
    assert waiting(spool) == [0]


def _each(progress: object) -> list[object]:
    assert isinstance(progress, Several), progress
    return list(progress.each)


# Servers without batches, and ways that do not carry them


@pytest.mark.parametrize("status", [404, 405, 400, 413, 200])
async def test_a_server_without_batches_is_asked_once(spool: Spool, status: int) -> None:
    """From then on each envelope goes alone; nothing is lost."""
    put(spool, 3)
    script = Script(Answer(status, {}), ACCEPTED, ACCEPTED, ACCEPTED)
    sessions = SessionDelivery(spool, script, offload=inline)
    for _ in range(4):
        await sessions.proceed("sess_1")
    assert len(script.batches) == 1
    assert sequences(script.singles) == [0, 1, 2]
    assert waiting(spool) == []


@pytest.mark.parametrize("answer", [Undelivered("no answer came"), Answer(408, {}), Answer(502, {})])
async def test_a_batch_that_does_not_get_through_is_followed_by_one_envelope_alone(
    spool: Spool, answer: Answer | Undelivered
) -> None:
    """Then a batch half as large; after three in a row no more."""
    put(spool, 14, size=450_000)
    script = Script(answer, answer, *[ACCEPTED, answer] * 2, *[ACCEPTED] * 2)
    sessions = SessionDelivery(spool, script, offload=inline)
    for _ in range(8):
        await sessions.proceed("sess_1")
    sizes = [sum(map(len, batch)) for batch in script.batches]
    assert len(sizes) == 3
    assert sizes[0] > 1.8 * sizes[1] > 3 * sizes[2]
    assert sequences(script.singles) == [0, 0, 1, 2, 3]


async def test_what_asks_for_patience_says_nothing_against_batches(spool: Spool) -> None:
    """429, 503 and 507 of the whole request."""
    put(spool, 3)
    script = Script(*(Answer(status, {}, 3.0) for status in (429, 503, 507)), Results((ACCEPTED,) * 3))
    sessions = SessionDelivery(spool, script, offload=inline)
    for _ in range(3):
        assert isinstance(await sessions.proceed("sess_1"), Later)
    await sessions.proceed("sess_1")
    assert [len(batch) for batch in script.batches] == [3] * 4


def test_a_batch_that_gets_through_makes_the_next_one_larger_again() -> None:
    """Up to the bound."""
    batching = Batching()
    assert batching.bytes_max == BATCH_BYTES_MAX
    for _ in range(2):
        batching.failed()
        assert batching.bytes_max == 0
        batching.arrived_alone()
    assert batching.bytes_max == BATCH_BYTES_MAX // 4
    for _ in range(3):
        batching.arrived()
    assert batching.bytes_max == BATCH_BYTES_MAX


def test_what_is_known_of_a_server_is_known_to_the_whole_process() -> None:
    """By its address."""
    batching_for("http://old.test").unknown()
    assert batching_for("http://old.test").bytes_max == 0
    assert batching_for("http://new.test").bytes_max == BATCH_BYTES_MAX


# Over HTTP


async def deliver_all(
    spool: Spool, client: httpx.AsyncClient, *session_ids: str, batching: Batching | None = None
) -> Deliverer:
    """Deliver until nothing is left, and return what did it."""
    sessions = SessionDelivery(spool, Delivery(client), offload=inline, batching=batching)
    with trio.CancelScope() as running:

        def note(_session_id: str, _progress: One) -> None:
            if deliverer.is_done:
                running.cancel()

        deliverer = Deliverer(sessions, policy=RetryPolicy(), random=lambda: 0.5, on_progress=note)
        for session_id in session_ids:
            deliverer.add(session_id)
        await deliverer.run()
    return deliverer


async def test_two_sessions_arrive_whole_through_faults(
    fake_server: Any, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Lost connections, lost answers, 429 and 503 of whole batches, and answers that break off."""

    async def lost(request: httpx.Request) -> httpx.Response:
        fake_server.answer(request)
        raise httpx.ReadError("lost", request=request)

    async def broken_off(request: httpx.Request) -> httpx.Response:
        whole = fake_server.answer(request)
        return httpx.Response(200, content=whole.content[: len(whole.content) // 2], headers=whole.headers)

    async def later(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": "Not now."}, headers={"Retry-After": "3"})

    async def passed(_request: httpx.Request) -> None:
        return None

    fake_server.faults.extend([passed, passed, broken_off, later, lost, passed, later, broken_off])
    with Spool(tmp_path / "spool.db") as spool:
        for session_id in ("sess_1", "sess_2"):
            spool.add_session(session_id, url="http://server.test", opening=OPENING)
            put(spool, 70, session_id=session_id)
            spool.end(session_id)
        async with fake_server.client() as client:
            deliverer = await deliver_all(spool, client, "sess_1", "sess_2")
        assert deliverer.steps_accepted == 280
        assert deliverer.envelopes_refused == 0
    for session_id in ("sess_1", "sess_2"):
        arrived = [each for each in fake_server.envelopes if each["session_id"] == session_id]
        assert [each["attestation"]["sequence"] for each in arrived] == list(range(70))
    assert len(fake_server.bodies(CLOSE_PATH)) == 2
    assert len(fake_server.bodies(BATCH_PATH)) < 14


async def test_an_older_server_gets_everything_one_by_one(
    fake_server: Any, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It answers 404 to the first batch, and is never asked again by this process."""
    fake_server.takes_batches = False
    batching = Batching()
    with Spool(tmp_path / "spool.db") as spool:
        async with fake_server.client() as client:
            for session_id in ("sess_1", "sess_2"):
                spool.add_session(session_id, url="http://server.test", opening=OPENING)
                put(spool, 10, session_id=session_id)
                spool.end(session_id)
                await deliver_all(spool, client, session_id, batching=batching)
    assert len(fake_server.envelopes) == 20
    assert len(fake_server.bodies(BATCH_PATH)) == 1
    assert len(fake_server.bodies(INGEST_PATH)) == 20


class Pieces(httpx.AsyncByteStream):
    """A body that comes in these pieces, and then ends or breaks."""

    def __init__(self, pieces: Sequence[bytes], *, breaks: bool) -> None:
        self._pieces = list(pieces)
        self._breaks = breaks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._pieces:
            return self._pieces.pop(0)
        if self._breaks:
            raise httpx.ReadError("broken")
        raise StopAsyncIteration


def answering(*pieces: bytes, kind: str = "application/x-ndjson", breaks: bool = False) -> httpx.AsyncClient:
    """A client whose server answers with these pieces."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Pieces(pieces, breaks=breaks), headers={"Content-Type": kind})

    return httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(answer))


@asynccontextmanager
async def delivering_to(client: httpx.AsyncClient) -> AsyncIterator[Delivery]:
    """A Delivery over a client that is closed at the end."""
    async with client:
        yield Delivery(client)


RESULT = b'{"accepted":true,"status":200}\n'


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        ([RESULT, RESULT, RESULT], 3),
        ([(RESULT * 3)[:40], (RESULT * 3)[40:]], 3),
        ([RESULT * 5], 3),
        ([RESULT, b'{"accepted":true,"status":'], 1),
        ([RESULT, b"<html>\n", RESULT], 1),
        ([RESULT, b"[]\n", RESULT], 1),
        ([RESULT, b'{"status":true}\n'], 1),
        ([RESULT, b"x" * 200_000], 1),
    ],
)
async def test_results_are_read_as_far_as_they_are_results(pieces: list[bytes], count: int) -> None:
    """However the text is cut into pieces, and no more than were asked for."""
    async with delivering_to(answering(*pieces)) as delivery:
        found = await delivery.attempt_lines(BATCH_PATH, [b"{}"] * 3, timeout_s=5)
    assert isinstance(found, Results)
    assert [answer.status for answer in found.answers] == [200] * count


async def test_a_connection_that_breaks_leaves_the_results_that_came() -> None:
    """And without any it is no answer."""
    async with delivering_to(answering(RESULT, breaks=True)) as delivery:
        assert isinstance(await delivery.attempt_lines(BATCH_PATH, [b"{}"] * 3, timeout_s=5), Results)
    async with delivering_to(answering(b"", breaks=True)) as delivery:
        assert isinstance(await delivery.attempt_lines(BATCH_PATH, [b"{}"] * 3, timeout_s=5), Undelivered)


async def test_a_result_carries_its_own_wait() -> None:
    """`retry_after`, in seconds."""
    line = b'{"accepted":false,"reason":"Later.","code":"quota","status":507,"retry_after":9}\n'
    async with delivering_to(answering(line)) as delivery:
        found = await delivery.attempt_lines(BATCH_PATH, [b"{}"], timeout_s=5)
    assert isinstance(found, Results)
    [answer] = found.answers
    assert (answer.status, answer.retry_after_s, answer.is_temporary, answer.reason) == (507, 9, True, "Later.")


async def test_a_page_with_status_200_is_no_result() -> None:
    """A portal's, say."""
    async with delivering_to(answering(b"<html>", kind="text/html")) as delivery:
        assert await delivery.attempt_lines(BATCH_PATH, [b"{}"], timeout_s=5) == Answer(200, {})
