"""A session against a server in memory: order, retries with the same bytes, refusals, credit.

No test sleeps: each names the clock that jumps, because pytest-trio uses only one that the test itself asks for.
"""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from central_command.client.chunking import cut_into_parts
from central_command.client.delivery import Delivery, RetryPolicy, Waiting
from central_command.client.identity import Identity
from central_command.client.session import CLOSE_PATH, INGEST_PATH, OPEN_PATH, Credit, Report, Work, upload_session
from central_command.client.transcripts.steps import Step

Run = Callable[[], Any]


def work_of(count: int, last: str = "thought") -> Work:
    steps = tuple(
        Step(
            step=number,
            type="thought" if number < count else last,  # type: ignore[arg-type]
            timestamp=1.0 + number,
            content=f"step {number} \ud83d",
            token_count=3,
        )
        for number in range(1, count + 1)
    )
    (part,) = cut_into_parts(steps)
    return Work(provider="claude-code", model="claude-opus-4-6", agent_role="agent", agent_id="a", part=part)


class Uploading:
    """One upload with its waits on record."""

    def __init__(self, server: Any, identity: Identity) -> None:
        self.server = server
        self.identity = identity
        self.waits: list[Waiting] = []
        self.steps_heard = 0

    async def run(self, work: Work, *, policy: RetryPolicy | None = None) -> Report:
        async with self.server.client() as client:
            delivery = Delivery(client, policy=policy or RetryPolicy(), random=lambda: 0.0, on_wait=self.waits.append)
            return await upload_session(delivery, self.identity, work, on_steps=self._hear)

    def _hear(self, steps: int) -> None:
        self.steps_heard += steps


@pytest.fixture
def uploading(fake_server: Any, identity: Identity) -> Uploading:
    """An upload to the server in memory."""
    return Uploading(fake_server, identity)


def answering(status: int, body: dict[str, Any] | None = None, **headers: str) -> Any:
    async def fault(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body or {}, headers=headers)

    return fault


async def passing(_request: httpx.Request) -> None:
    """Let the server answer itself."""


async def test_a_session_goes_out_in_the_contracts_order(uploading: Uploading, autojump_clock: MockClock) -> None:
    """Open, chunks of at most 200 steps, SESSION_CLOSE, USER_FEEDBACK, close; members in the published order."""
    report = await uploading.run(work_of(450))
    server = uploading.server
    assert [path for path, _ in server.requests] == [OPEN_PATH, *[INGEST_PATH] * 5, CLOSE_PATH]
    chunks, (close, feedback) = server.envelopes[:3], server.envelopes[3:]
    assert [len(chunk["trajectory_log"]) for chunk in chunks] == [200, 200, 50]
    assert [chunk["chunk_sequence"] for chunk in chunks] == [0, 1, 2]
    assert [step["step"] for chunk in chunks for step in chunk["trajectory_log"]] == list(range(1, 451))
    assert list(chunks[0]) == [
        *("envelope_id", "session_id", "chunk_sequence", "contributor_id", "attestation", "metadata", "trajectory_log")
    ]
    assert list(close) == ["envelope_id", "session_id", "type", "attestation", "metadata", "outcome"]
    assert list(feedback) == ["envelope_id", "session_id", "type", "attestation", "feedback"]
    assert (close["type"], feedback["type"]) == ("SESSION_CLOSE", "USER_FEEDBACK")
    assert (close["outcome"]["status"], close["outcome"]["total_steps"]) == ("SUCCESS", 450)
    assert [envelope["attestation"]["sequence"] for envelope in server.envelopes] == [0, 1, 2, 3, 4]
    assert report == Report(
        session_id=close["session_id"],
        envelopes=5,
        envelopes_accepted=5,
        steps=450,
        steps_accepted=450,
        credit=Credit(12.5, 3),
    )
    assert uploading.steps_heard == 450


async def test_no_feedback_is_made_up_for_a_session_that_broke_off(
    uploading: Uploading, autojump_clock: MockClock
) -> None:
    """It closes as a crash, and that is all."""
    report = await uploading.run(work_of(2, last="error"))
    assert [envelope.get("type") for envelope in uploading.server.envelopes] == [None, "SESSION_CLOSE"]
    assert uploading.server.envelopes[1]["outcome"]["status"] == "CRASH"
    assert (report.envelopes, report.problem) == (2, None)


async def test_a_lost_answer_is_followed_by_the_same_bytes(uploading: Uploading, autojump_clock: MockClock) -> None:
    """The server had taken the chunk in; the resend is recognised and nothing is doubled."""

    async def lose_answer(request: httpx.Request) -> httpx.Response:
        uploading.server.answer(request)
        raise httpx.ReadError("connection reset")

    uploading.server.faults.extend([passing, lose_answer])
    report = await uploading.run(work_of(5))
    first, second, *_ = uploading.server.bodies(INGEST_PATH)
    assert first == second
    assert report.problem is None
    assert len(uploading.server.envelopes) == 3


async def test_every_temporary_failure_is_tried_again(uploading: Uploading, autojump_clock: MockClock) -> None:
    """Refused connection, time-out, 500, 502, 503, 507: backoff that doubles, with the same bytes each time."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def hang(_request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    failures = [refuse, hang, answering(500), answering(502), answering(507)]
    uploading.server.faults.extend([passing, *failures])
    started = trio.current_time()
    report = await uploading.run(work_of(5))
    assert report.problem is None
    assert [wait.seconds for wait in uploading.waits] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert trio.current_time() - started == pytest.approx(15.5 + 30.0)
    assert len(set(uploading.server.bodies(INGEST_PATH)[:6])) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed(uploading: Uploading, autojump_clock: MockClock, status: int) -> None:
    """The next try comes no sooner than the server asks, and not much later."""
    uploading.server.faults.append(answering(status, {"error": "Slow down."}, **{"Retry-After": "42"}))
    started = trio.current_time()
    report = await uploading.run(work_of(5))
    assert report.problem is None
    assert trio.current_time() - started == pytest.approx(42.0)
    assert uploading.waits == [Waiting("Slow down.", 42.0, 1)]


async def test_tries_are_bounded(uploading: Uploading, autojump_clock: MockClock) -> None:
    """After the last the session is given up, without a word to a server that cannot be had."""
    uploading.server.faults.extend([passing, *[answering(503)] * 9])
    report = await uploading.run(work_of(5), policy=RetryPolicy(attempts_max=4))
    assert report.problem == "Chunk 1 of 1 was not delivered: the server answered with status 503 (4 tries)."
    assert report.unreachable
    assert [path for path, _ in uploading.server.requests] == [OPEN_PATH, *[INGEST_PATH] * 4]


async def test_a_wait_that_is_too_long_is_reported_instead(uploading: Uploading, autojump_clock: MockClock) -> None:
    """Nobody waits for a day."""
    uploading.server.faults.append(answering(429, {"error": "Too many sessions."}, **{"Retry-After": "86400"}))
    report = await uploading.run(work_of(5))
    assert report.problem == "The session was not opened: Too many sessions., and asks to wait 86400 s."
    assert uploading.waits == []


async def test_a_refusal_stops_the_session_and_is_told_with_its_reason(
    uploading: Uploading, autojump_clock: MockClock
) -> None:
    """No SESSION_CLOSE claims the whole; the HTTP close gives the credit for what was accepted."""
    uploading.server.refuse = lambda envelope: "Step 3 is\x1b[31m odd." if envelope.get("chunk_sequence") == 1 else None
    report = await uploading.run(work_of(450))
    assert report.problem == "Chunk 2 of 3 was refused: Step 3 is [31m odd."
    assert (report.envelopes_accepted, report.steps_accepted, report.unreachable) == (1, 200, False)
    assert report.credit == Credit(12.5, 3)
    assert [path for path, _ in uploading.server.requests] == [OPEN_PATH, INGEST_PATH, INGEST_PATH, CLOSE_PATH]


@pytest.mark.parametrize(
    "fault",
    [answering(413, {"error": "The body is too large."}), answering(200, {"ok": True}), answering(302),
     answering(429, {"accepted": False, "code": "envelope_limit", "reason": "Enough."}, **{"Retry-After": "1"})],
)  # fmt: skip
async def test_a_final_answer_is_not_tried_again(uploading: Uploading, autojump_clock: MockClock, fault: Any) -> None:
    """A retry cannot mend it, and a 200 that does not say `accepted` is no acceptance."""
    uploading.server.faults.extend([passing, fault])
    report = await uploading.run(work_of(5))
    assert report.problem is not None
    assert report.problem.startswith("Chunk 1 of 1 was refused: ")
    assert len(uploading.server.bodies(INGEST_PATH)) == 1


@pytest.mark.parametrize("body", [{}, {"server_public_key": 5}, {"server_public_key": "AAAA"}])
async def test_an_opening_without_a_key_is_reported(
    uploading: Uploading, autojump_clock: MockClock, body: dict[str, Any]
) -> None:
    """Something answers there, but it is no Central Command."""
    uploading.server.faults.append(answering(200, body))
    report = await uploading.run(work_of(5))
    assert report.problem is not None
    assert "no valid public key" in report.problem
    assert len(uploading.server.requests) == 1


async def test_answers_that_are_no_json_or_endless_are_bounded(uploading: Uploading, autojump_clock: MockClock) -> None:
    """They are read up to a bound and count as an answer without members."""

    async def flood(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b'{"accepted":true,"x":"' + b"y" * 200_000 + b'"}')

    uploading.server.faults.extend([passing, flood])
    report = await uploading.run(work_of(5))
    assert report.problem == "Chunk 1 of 1 was refused: the server answered with status 200."


async def test_credit_is_only_what_the_server_says(uploading: Uploading, autojump_clock: MockClock) -> None:
    """No points in the answer, none in the report."""
    uploading.server.credit = {}
    report = await uploading.run(work_of(5))
    assert (report.credit, report.problem) == (None, None)


def test_waits_grow_to_a_cap_and_jitter_only_shortens_backoff() -> None:
    """What the server asks for is never cut short."""
    policy = RetryPolicy()
    assert [policy.wait_s(n, None, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [policy.wait_s(n, None, 0.0) for n in (1, 9)] == [0.5, 30]
    assert policy.wait_s(1, 7.0, 0.25) == 7.25


async def test_text_with_lone_surrogates_arrives_escaped(uploading: Uploading, autojump_clock: MockClock) -> None:
    """Raw they are no UTF-8, and the server would have nothing to read."""
    await uploading.run(work_of(1))
    assert b"step 1 \\ud83d" in uploading.server.bodies(INGEST_PATH)[0]
    assert json.loads(uploading.server.bodies(INGEST_PATH)[0])["trajectory_log"][0]["content"] == "step 1 \ud83d"
