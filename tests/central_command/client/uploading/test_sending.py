"""One transcript's steps against a server in memory: what goes out in which order, refusals, credit."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from central_command.client.contract.endpoints import CLOSE_PATH, INGEST_PATH, OPEN_PATH
from central_command.client.contract.identity import Identity
from central_command.client.contract.steps import Step
from central_command.client.delivering.posting import Delivery, RetryPolicy
from central_command.client.spool.records import SessionState, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.authoring import Work
from central_command.client.uploading.sending import NotSentError, Sender
from central_command.client.uploading.uploads import Uploads

WORK = Work(
    source="source", path="s.jsonl", provider="claude-code", model="claude-opus-4-6", agent_role="agent", agent_id="a"
)


def steps_of(count: int, last: str = "thought") -> list[Step]:
    return [
        Step(
            step=number,
            type="thought" if number < count else last,  # type: ignore[arg-type]
            timestamp=1.0 + number,
            content=f"step {number} \ud83d",
            token_count=3,
        )
        for number in range(1, count + 1)
    ]


class Sending:
    """A spool of its own and a sender for it."""

    def __init__(self, server: Any, uploads: Uploads, identity: Identity) -> None:
        self.server = server
        self.policy = RetryPolicy()
        self.steps_heard = 0
        self._sender = Sender(uploads, identity, now_s=lambda: 1_790_000_000.0)

    async def run(self, steps: list[Step]) -> StoredSession:
        """Send all of `steps` and close; the one session that this made."""
        async with self.server.client() as client:
            delivery = Delivery(client, policy=self.policy, random=lambda: 0.0, on_wait=lambda _waiting: None)
            await self._sender.send(delivery, WORK, steps, close=True, on_steps=self._hear)
        return self.session

    async def fail(self, steps: list[Step]) -> NotSentError:
        """Send what cannot be delivered whole; why."""
        with pytest.raises(NotSentError) as caught:
            await self.run(steps)
        return caught.value

    @property
    def session(self) -> StoredSession:
        (session,) = self._sender.uploads.sessions(WORK.source)
        return session

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.server.requests]

    def _hear(self, steps: int) -> None:
        self.steps_heard += steps


@pytest.fixture
def sending(fake_server: Any, identity: Identity, tmp_path: Path) -> Iterator[Sending]:
    """A sender to the server in memory."""
    with (
        Spool(tmp_path / "spool.db") as spool,
        closing(Uploads(spool, tmp_path / "uploads.lock", url="http://server.test")) as uploads,
    ):
        yield Sending(fake_server, uploads, identity)


def answering(status: int, body: dict[str, Any] | None = None) -> Any:
    async def fault(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body or {})

    return fault


async def passing(_request: httpx.Request) -> None:
    """Let the server answer itself."""


async def test_a_session_goes_out_in_the_contracts_order(sending: Sending) -> None:
    """Open, chunks of at most 200 steps, SESSION_CLOSE, USER_FEEDBACK, close; members in the published order."""
    session = await sending.run(steps_of(450))
    assert sending.paths == [OPEN_PATH, *[INGEST_PATH] * 5, CLOSE_PATH]
    envelopes = sending.server.envelopes
    chunks, (close, feedback) = envelopes[:3], envelopes[3:]
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
    assert [envelope["attestation"]["sequence"] for envelope in envelopes] == [0, 1, 2, 3, 4]
    assert {envelope["session_id"] for envelope in envelopes} == {session.session_id}
    assert (session.envelopes, session.envelopes_accepted, session.steps, session.steps_accepted) == (5, 5, 450, 450)
    assert (session.state, session.problem) == (SessionState.CLOSED, None)
    assert (session.points, session.credited_steps) == (12.5, 3)
    assert sending.steps_heard == 450


async def test_no_feedback_is_made_up_for_a_session_that_broke_off(sending: Sending) -> None:
    """It closes as a crash, and that is all."""
    session = await sending.run(steps_of(2, last="error"))
    assert [envelope.get("type") for envelope in sending.server.envelopes] == [None, "SESSION_CLOSE"]
    assert sending.server.envelopes[1]["outcome"]["status"] == "CRASH"
    assert (session.envelopes, session.problem) == (2, None)


async def test_a_server_that_cannot_be_had_is_left_alone(sending: Sending, autojump_clock: MockClock) -> None:
    """After the last try nothing more is said to it; what was signed waits."""
    sending.policy = RetryPolicy(attempts_max=4)
    sending.server.faults.extend([passing, *[answering(503)] * 9])
    failure = await sending.fail(steps_of(5))
    assert str(failure) == "Chunk 1 was not delivered: the server answered with status 503 (4 tries)."
    assert (failure.unreachable, failure.final) == (True, False)
    assert sending.paths == [OPEN_PATH, *[INGEST_PATH] * 4]
    assert sending.session.state is SessionState.RECORDING


async def test_a_refusal_stops_the_session_and_is_told_with_its_reason(sending: Sending) -> None:
    """No SESSION_CLOSE claims the whole; the HTTP close gives the credit for what was accepted."""
    sending.server.refuse = lambda envelope: "Step 3 is\x1b[31m odd." if envelope.get("chunk_sequence") == 1 else None
    failure = await sending.fail(steps_of(450))
    assert str(failure) == "Chunk 2 was refused: Step 3 is [31m odd."
    assert (failure.unreachable, failure.final) == (False, True)
    assert sending.paths == [OPEN_PATH, INGEST_PATH, INGEST_PATH, CLOSE_PATH]
    session = sending.session
    assert (session.envelopes_accepted, session.steps_accepted) == (1, 200)
    assert (session.points, session.credited_steps) == (12.5, 3)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (answering(413, {"error": "It is too large."}), "Chunk 1 was not delivered: It is too large."),
        (answering(200, {"ok": True}), "Chunk 1 was not delivered: the server answered with status 200."),
        (answering(302), "Chunk 1 was not delivered: the server answered with status 302."),
        (
            answering(429, {"accepted": False, "code": "envelope_limit", "reason": "Enough."}),
            "Chunk 1 was refused: Enough.",
        ),
    ],
)
async def test_a_final_answer_is_not_tried_again(sending: Sending, fault: Any, problem: str) -> None:
    """And a 200 that does not say `accepted` is no acceptance."""
    sending.server.faults.extend([passing, fault])
    assert str(await sending.fail(steps_of(5))) == problem
    assert len(sending.server.bodies(INGEST_PATH)) == 1
    assert sending.session.envelopes_accepted == 0


@pytest.mark.parametrize("body", [{}, {"server_public_key": 5}, {"server_public_key": "AAAA"}])
async def test_an_opening_without_a_key_is_reported(sending: Sending, body: dict[str, Any]) -> None:
    """Something answers there, but it is no Central Command."""
    sending.server.faults.append(answering(200, body))
    failure = await sending.fail(steps_of(5))
    assert "no valid public key" in str(failure)
    assert failure.unreachable
    assert sending.paths == [OPEN_PATH]


async def test_credit_is_only_what_the_server_says(sending: Sending) -> None:
    """No points in the answer, none on record; `true` is no number."""
    sending.server.credit = {"steps": True}
    session = await sending.run(steps_of(5))
    assert (session.state, session.points, session.credited_steps) == (SessionState.CLOSED, None, None)
    assert session.problem is None


async def test_text_with_lone_surrogates_arrives_escaped(sending: Sending) -> None:
    """Raw they are no UTF-8, and the server would have nothing to read."""
    await sending.run(steps_of(1))
    (chunk, *_) = sending.server.bodies(INGEST_PATH)
    assert b"step 1 \\ud83d" in chunk
    assert json.loads(chunk)["trajectory_log"][0]["content"] == "step 1 \ud83d"
