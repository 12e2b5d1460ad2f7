"""One source's steps against a server in memory: what goes out in which order, batches, refusals, credit."""

import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from central_command.client.contract.endpoints import BATCH_PATH, CLOSE_PATH, INGEST_PATH, OPEN_PATH
from central_command.client.contract.identity import Identity
from central_command.client.contract.signing import draft_envelope
from central_command.client.contract.steps import Step
from central_command.client.delivering.deliverer import Waiting
from central_command.client.delivering.posting import RetryPolicy
from central_command.client.spool.records import SessionState, SpoolSettings, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.reader import Steps, Transcript, Usage
from central_command.client.uploading.authoring import Work
from central_command.client.uploading.feeding import Feeder, FeedSettings, NotSentError, Surroundings, Threads
from central_command.client.uploading.history import History
from central_command.client.uploading.recognition import digest
from central_command.client.uploading.survey import Survey
from tests.central_command.client.inline import inline

URL = "http://server.test"
TRANSCRIPT = Transcript(
    session_key="s",
    provider="claude-code",
    model="claude-opus-4-6",
    is_subagent=False,
    step_count=1,
    started_s=1.0,
    ended_s=2.0,
    usage=Usage(),
)
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


class Written(ClaudeCodeReader):
    """Gives the steps that a test made, in place of those of a file."""

    def __init__(self, steps: list[Step]) -> None:
        self._made = steps
        self.readings = 0

    def read(self, file: BinaryIO) -> Steps:
        self.readings += 1
        yield from self._made
        return TRANSCRIPT


class Feeding:
    """A spool of its own, and what feeds it and delivers from it."""

    def __init__(self, server: Any, history: History, identity: Identity, path: Path) -> None:
        self.server = server
        self.history = history
        self.policy = RetryPolicy()
        self.settings = FeedSettings()
        self.steps_heard: list[int] = []
        self.on_steps: Callable[[int], None] = self.steps_heard.append
        self.waits: list[Waiting] = []
        self._identity = identity
        self._path = path

    async def run(self, steps: list[Step], *, close: bool = True, now: list[Step] | None = None) -> StoredSession:
        """Send all of `steps` and close; the last session that this made. `now` is what the file has meanwhile."""
        self._path.touch()
        self.reader = Written(steps if now is None else now)
        known = Survey(
            path=self._path,
            reader=self.reader,
            transcript=TRANSCRIPT,
            digests=b"".join(map(digest, steps)),
            times=array("d", [step.timestamp for step in steps]),
        )
        async with self.server.client() as client:
            feeder = Feeder(
                client,
                self.history,
                self._identity,
                at_once=1,
                surroundings=Surroundings(
                    policy=self.policy,
                    settings=self.settings,
                    threads=Threads(inline, inline),
                    now_s=lambda: 1_790_000_000.0,
                    jitter=lambda: 0.0,
                ),
            )
            async with feeder.delivering():
                failure = None
                try:
                    work = msgspec.structs.replace(WORK, path=str(self._path))
                    await feeder.feed(work, known, close=close, on_steps=self.on_steps, on_wait=self.waits.append)
                except NotSentError as error:
                    failure = error
        if failure is not None:
            raise failure
        return self.session

    async def fail(self, steps: list[Step]) -> NotSentError:
        """Send what cannot be delivered whole; why."""
        with pytest.raises(NotSentError) as caught:
            await self.run(steps)
        return caught.value

    @property
    def session(self) -> StoredSession:
        return self.history.sessions(WORK.source)[-1]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.server.requests]


@pytest.fixture
def batched(fake_server: Any, identity: Identity, tmp_path: Path) -> Iterator[Feeding]:
    """Feeding to the server in memory."""
    with (
        Spool(tmp_path / "spool.db") as spool,
        closing(History(spool, tmp_path / "uploads.lock", url=URL)) as history,
    ):
        yield Feeding(fake_server, history, identity, tmp_path / "s.jsonl")


@pytest.fixture
def feeding(batched: Feeding, one_by_one: None) -> Feeding:
    """The same, each envelope in a request of its own."""
    return batched


def answering(status: int, body: dict[str, Any] | None = None) -> Any:
    async def fault(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body or {})

    return fault


async def passing(_request: httpx.Request) -> None:
    """Let the server answer itself."""


async def test_a_session_goes_out_in_the_contracts_order(feeding: Feeding) -> None:
    """Open, chunks of at most 200 steps, SESSION_CLOSE, close; members in the published order; no feedback."""
    session = await feeding.run(steps_of(450))
    assert feeding.paths == [OPEN_PATH, *[INGEST_PATH] * 4, CLOSE_PATH]
    envelopes = feeding.server.envelopes
    chunks, (close,) = envelopes[:3], envelopes[3:]
    assert [len(chunk["trajectory_log"]) for chunk in chunks] == [200, 200, 50]
    assert [chunk["chunk_sequence"] for chunk in chunks] == [0, 1, 2]
    assert [step["step"] for chunk in chunks for step in chunk["trajectory_log"]] == list(range(1, 451))
    assert list(chunks[0]) == [
        *("envelope_id", "session_id", "chunk_sequence", "contributor_id", "attestation", "metadata", "trajectory_log")
    ]
    assert list(close) == ["envelope_id", "session_id", "type", "attestation", "metadata", "outcome"]
    assert close["type"] == "SESSION_CLOSE"
    assert (close["outcome"]["status"], close["outcome"]["total_steps"]) == ("SUCCESS", 450)
    assert [envelope["attestation"]["sequence"] for envelope in envelopes] == [0, 1, 2, 3]
    assert {envelope["session_id"] for envelope in envelopes} == {session.session_id}
    assert (session.envelopes, session.envelopes_accepted, session.steps, session.steps_accepted) == (4, 4, 450, 450)
    assert (session.state, session.problem) == (SessionState.CLOSED, None)
    assert (session.points, session.credited_steps) == (12.5, 3)
    assert sum(feeding.steps_heard) == 450


async def test_a_session_that_broke_off_closes_as_a_crash(feeding: Feeding) -> None:
    """And that is all."""
    session = await feeding.run(steps_of(2, last="error"))
    assert [envelope.get("type") for envelope in feeding.server.envelopes] == [None, "SESSION_CLOSE"]
    assert feeding.server.envelopes[1]["outcome"]["status"] == "CRASH"
    assert (session.envelopes, session.problem) == (2, None)


async def test_a_server_that_cannot_be_had_is_left_alone(feeding: Feeding, autojump_clock: MockClock) -> None:
    """After the last try nothing more is said to it; what was signed waits."""
    feeding.policy = RetryPolicy(attempts_max=4)
    feeding.server.faults.extend([passing, *[answering(503)] * 9])
    failure = await feeding.fail(steps_of(5))
    assert str(failure) == "Chunk 1 was not delivered: the server answered with status 503 (4 tries)."
    assert (failure.unreachable, failure.final) == (True, False)
    assert feeding.paths == [OPEN_PATH, *[INGEST_PATH] * 4]
    assert feeding.session.state is SessionState.RECORDING


async def test_a_refusal_stops_the_session_and_is_told_with_its_reason(feeding: Feeding) -> None:
    """No SESSION_CLOSE claims the whole; the HTTP close gives the credit for what was accepted."""
    feeding.server.refuse = lambda envelope: "Step 3 is\x1b[31m odd." if envelope.get("chunk_sequence") == 1 else None
    failure = await feeding.fail(steps_of(450))
    assert str(failure) == "Chunk 2 was refused: Step 3 is [31m odd."
    assert (failure.unreachable, failure.final) == (False, True)
    assert feeding.paths == [OPEN_PATH, INGEST_PATH, INGEST_PATH, CLOSE_PATH]
    session = feeding.session
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
async def test_a_final_answer_is_not_tried_again(feeding: Feeding, fault: Any, problem: str) -> None:
    """And a 200 that does not say `accepted` is no acceptance."""
    feeding.server.faults.extend([passing, fault])
    assert str(await feeding.fail(steps_of(5))) == problem
    assert len(feeding.server.bodies(INGEST_PATH)) == 1
    assert feeding.session.envelopes_accepted == 0


@pytest.mark.parametrize("body", [{}, {"server_public_key": 5}, {"server_public_key": "AAAA"}])
async def test_an_opening_without_a_key_is_reported(feeding: Feeding, body: dict[str, Any]) -> None:
    """Something answers there, but it is no Central Command."""
    feeding.server.faults.append(answering(200, body))
    failure = await feeding.fail(steps_of(5))
    said = (
        "no valid public key" if body == {"server_public_key": "AAAA"} else "no Central Command (status 200); write the"
    )
    assert said in str(failure)
    assert failure.unreachable
    assert feeding.paths == [OPEN_PATH]


async def test_credit_is_only_what_the_server_says(feeding: Feeding) -> None:
    """No points in the answer, none on record; `true` is no number."""
    feeding.server.credit = {"steps": True}
    session = await feeding.run(steps_of(5))
    assert (session.state, session.points, session.credited_steps) == (SessionState.CLOSED, None, None)
    assert session.problem is None


async def test_text_with_lone_surrogates_arrives_escaped(feeding: Feeding) -> None:
    """Raw they are no UTF-8, and the server would have nothing to read."""
    await feeding.run(steps_of(1))
    (chunk, *_) = feeding.server.bodies(INGEST_PATH)
    assert b"step 1 \\ud83d" in chunk
    assert json.loads(chunk)["trajectory_log"][0]["content"] == "step 1 \ud83d"


# Batches, back-pressure, progress


async def test_a_backlog_goes_in_batches_and_the_end_after_all_chunks(batched: Feeding) -> None:
    """What ends the session says what it holds, so it is signed once all of that was accepted."""
    session = await batched.run(steps_of(2_000))
    paths = batched.paths
    assert (paths[0], paths[-1]) == (OPEN_PATH, CLOSE_PATH)
    assert set(paths[1:-1]) <= {BATCH_PATH, INGEST_PATH}
    assert len(paths) <= 6
    assert [each.get("type") for each in batched.server.envelopes] == [None] * 10 + ["SESSION_CLOSE"]
    assert (session.envelopes_accepted, session.steps_accepted) == (11, 2_000)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (FeedSettings(undelivered_envelopes_max=3, put_envelopes_max=2), 40),
        (FeedSettings(undelivered_bytes_max=60_000, put_bytes_max=40_000), 40),
        (FeedSettings(undelivered_bytes_max=100, put_bytes_max=100), 4),
    ],
)
async def test_the_spool_never_holds_more_of_a_source_than_its_bound(
    batched: Feeding, monkeypatch: pytest.MonkeyPatch, settings: FeedSettings, count: int
) -> None:
    """Neither in envelopes nor in bytes, but for a chunk that is larger than the bound alone."""
    most_envelopes = most_bytes = 0
    put_many = Spool.put_many

    def put_and_look(spool: Spool, session_id: str, *arguments: Any, **named: Any) -> int:
        nonlocal most_envelopes, most_bytes
        position = put_many(spool, session_id, *arguments, **named)
        backlog = spool.backlog(session_id)
        most_envelopes, most_bytes = max(most_envelopes, backlog.envelopes), max(most_bytes, backlog.bytes)
        return position

    monkeypatch.setattr(Spool, "put_many", put_and_look)
    batched.settings = settings
    session = await batched.run(steps_of(200 * count))
    assert session.steps_accepted == 200 * count
    assert most_envelopes <= settings.undelivered_envelopes_max
    largest = max(map(len, batched.server.ingested()))
    assert most_bytes <= max(settings.undelivered_bytes_max, largest)


async def test_progress_counts_what_was_acknowledged(batched: Feeding) -> None:
    """Never what was only put into the spool: at each moment the server has at least as many steps as were heard of."""
    held_when_heard = []

    def hear(steps: int) -> None:
        held = sum(len(each.get("trajectory_log", ())) for each in batched.server.envelopes)
        heard.append(steps)
        held_when_heard.append((sum(heard), held))

    heard: list[int] = []
    batched.on_steps = hear
    batched.settings = FeedSettings(undelivered_envelopes_max=4, put_envelopes_max=1)
    await batched.run(steps_of(3_000))
    assert sum(heard) == 3_000
    assert len(heard) > 3
    assert all(counted <= held for counted, held in held_when_heard)


async def test_a_full_spool_is_waited_for_while_own_envelopes_leave_it(
    fake_server: Any, identity: Identity, tmp_path: Path
) -> None:
    """Others may have filled it: with nothing of one's own to wait for, it is said instead."""
    with (
        Spool(tmp_path / "spool.db", settings=SpoolSettings(envelopes_max=2)) as spool,
        closing(History(spool, tmp_path / "uploads.lock", url=URL)) as history,
    ):
        feeding = Feeding(fake_server, history, identity, tmp_path / "s.jsonl")
        feeding.settings = FeedSettings(put_envelopes_max=1)
        assert (await feeding.run(steps_of(1_000))).steps_accepted == 1_000
        spool.add_session("sess_other", url=URL, opening=feeding.session.opening)
        for _ in range(2):
            draft = draft_envelope({"session_id": "sess_other"}, {"trajectory_log": []})
            spool.put("sess_other", "CHUNK", draft, steps=1)
        failure = await feeding.fail(steps_of(1_400))
    assert "is full" in str(failure)
    assert (failure.unreachable, failure.final) == (False, False)


# Refusals within batches


def closing_from(chunk: int, server: Any) -> Any:
    """A server that has closed the session before the chunk with this number came."""

    async def answer(request: httpx.Request) -> httpx.Response | None:
        lines = request.content.split(b"\n")
        if request.url.path not in {BATCH_PATH, INGEST_PATH}:
            return None
        refusal = httpx.Response(200, json={"accepted": False, "reason": "It is closed.", "code": "session_closed"})
        answers = [
            refusal if json.loads(line).get("chunk_sequence", 0) >= chunk else server._ingest(line, json.loads(line))
            for line in lines
        ]
        return server.results(answers) if request.url.path == BATCH_PATH else answers[0]

    return answer


async def test_what_a_closed_session_did_not_take_becomes_a_further_one(batched: Feeding) -> None:
    """Of a batch too: what stood before the close is kept, what stood behind it is numbered and signed anew."""
    batched.server.faults.extend([passing, closing_from(2, batched.server), closing_from(2, batched.server)])
    session = await batched.run(steps_of(1_000))
    first, second = batched.history.sessions(WORK.source)
    assert (first.steps_accepted, first.points) == (400, 12.5)
    assert session == second
    assert second.steps_accepted == 600
    further = [each for each in batched.server.envelopes if each["session_id"] == second.session_id]
    assert [each["chunk_sequence"] for each in further[:3]] == [0, 1, 2]
    assert {each["metadata"]["continues_session"] for each in further[:4]} == {first.session_id}
    steps = [step for each in batched.server.envelopes for step in each.get("trajectory_log", ())]
    assert [step["content"].split()[1] for step in steps] == [str(number) for number in range(1, 1_001)]
    assert [step["step"] for step in steps[400:]] == list(range(1, 601))


@pytest.mark.parametrize("code", ["unknown_session", "session_closed", "sequence_mismatch", "invalid_hmac"])
async def test_what_is_refused_for_its_session_alone_goes_on_in_a_further_one(batched: Feeding, code: str) -> None:
    """Though nothing was accepted: a server forgets what it opened and heard no more of. Twice in a row is the end."""

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path not in {BATCH_PATH, INGEST_PATH}:
            return None
        answer: httpx.Response = batched.server.refusing(request, code)
        return answer

    batched.server.faults.extend([passing, refuse])
    await batched.run(steps_of(300))
    steps = [step["step"] for each in batched.server.envelopes for step in each.get("trajectory_log", ())]
    assert steps == list(range(1, 301))
    assert len({each["session_id"] for each in batched.server.envelopes}) == 1
    batched.server.faults.extend([refuse] * 50)
    failure = await batched.fail(steps_of(900))
    assert (str(failure), failure.final) == ("Chunk 1 was refused: No.", True)
    assert len(batched.server.bodies(OPEN_PATH)) <= 4


async def test_an_id_that_is_taken_is_given_to_no_step_twice(batched: Feeding) -> None:
    """What was put for it goes to another one, while more is put."""
    batched.settings = FeedSettings(undelivered_envelopes_max=2, put_envelopes_max=1)
    batched.server.faults.append(answering(409, {"error": "The session is open with another key."}))
    session = await batched.run(steps_of(1_000))
    steps = [step["step"] for each in batched.server.envelopes for step in each.get("trajectory_log", ())]
    assert steps == list(range(1, 1_001))
    assert (session.state, session.steps_accepted) == (SessionState.CLOSED, 1_000)
    assert len(batched.history.sessions(WORK.source)) == 1


async def test_a_refusal_within_a_batch_ends_the_upload(batched: Feeding) -> None:
    """What stood behind it in the same request may have been accepted; nothing more is sent but the HTTP close."""
    batched.server.refuse = lambda envelope: "Odd." if envelope.get("chunk_sequence") == 1 else None
    failure = await batched.fail(steps_of(10_000))
    assert str(failure) == "Chunk 2 was refused: Odd."
    assert failure.final
    assert "SESSION_CLOSE" not in [each.get("type") for each in batched.server.envelopes]
    assert batched.paths[-1] == CLOSE_PATH
    assert len(batched.server.envelopes) < 50
    sent = len(batched.server.requests)
    again = await batched.fail(steps_of(10_000))
    assert (str(again), len(batched.server.requests)) == (str(failure), sent)


async def test_a_session_that_is_not_closed_takes_more_later(batched: Feeding) -> None:
    """As `watch` feeds it: what was sent is passed over, numbers go on, and the end counts all of it."""
    await batched.run(steps_of(300), close=False)
    await batched.run(steps_of(500), close=False)
    session = await batched.run(steps_of(500))
    assert (session.steps_accepted, len(batched.history.sessions(WORK.source))) == (500, 1)
    steps = [step["step"] for each in batched.server.envelopes for step in each.get("trajectory_log", ())]
    assert steps == list(range(1, 501))
    assert next(each for each in batched.server.envelopes if "outcome" in each)["outcome"]["total_steps"] == 500


async def test_a_very_long_source_becomes_several_sessions_in_one_pass(
    batched: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with an end of its own that counts its own steps."""
    monkeypatch.setattr("central_command.client.contract.chunking.SESSION_CHUNKS_MAX", 3)
    await batched.run(steps_of(1_500))
    ends = [each["outcome"] for each in batched.server.envelopes if "outcome" in each]
    assert [end["total_steps"] for end in ends] == [600, 600, 300]
    assert batched.reader.readings == 1
    sessions = batched.history.sessions(WORK.source)
    assert [each.steps_accepted for each in sessions] == [600, 600, 300]


async def test_steps_that_stand_behind_new_ones_count_for_the_end_of_a_full_session(
    batched: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose beginning was written anew: what was sent before is not sent again, wherever it stands now."""
    monkeypatch.setattr("central_command.client.contract.chunking.SESSION_CHUNKS_MAX", 2)
    steps = steps_of(700)
    await batched.run(steps[500:], close=False)
    await batched.run(steps)
    held = [step["content"] for each in batched.server.envelopes for step in each.get("trajectory_log", ())]
    assert len(held) == len(set(held)) == 700
    ends = [each["outcome"]["total_steps"] for each in batched.server.envelopes if "outcome" in each]
    assert ends == [400, 300]


async def test_the_end_is_that_of_the_file_however_its_steps_were_sent(batched: Feeding) -> None:
    """Also where the last step was sent before the new ones that now stand in front of it."""
    steps = steps_of(450, last="error")
    await batched.run(steps[400:], close=False)
    await batched.run(steps)
    (outcome,) = [each["outcome"] for each in batched.server.envelopes if "outcome" in each]
    assert (outcome["status"], outcome["total_steps"]) == ("CRASH", 450)


async def test_a_file_that_is_written_anew_while_it_is_sent_is_said(feeding: Feeding) -> None:
    """Where its steps are not kept: what is there now is not what its digests are of."""
    made = steps_of(3)
    with pytest.raises(NotSentError, match="written anew while it was read; run it again"):
        await feeding.run(made, now=[made[0], msgspec.structs.replace(made[1], content="another"), made[2]])
    assert not feeding.server.envelopes
