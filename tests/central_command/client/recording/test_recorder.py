"""The recorder against a server in memory, in time that jumps."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from central_command.client.contract.contributor_keys import make_key
from central_command.client.contract.identity import Identity
from central_command.client.recording.recorder import RecorderSettings
from central_command.client.spool.records import SpoolSettings
from central_command.client.spool.spool import Spool
from tests.central_command.client.recording.recorded import BATCH, CLOSE, INGEST, OPEN, Opener, thought


def answering(status: int, *, times: int, **headers: str) -> list[Callable[[httpx.Request], Awaitable[Any]]]:
    async def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            status, json={"error": "Not now."}, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return [answer] * times


async def test_a_session_arrives_whole(opener: Opener, fake_server: Any, autojump_clock: MockClock) -> None:
    """450 steps: three chunks in order, a close with honest totals, feedback, and the HTTP close."""
    async with opener() as recorder:
        with recorder.session(agent_role="frontend", agent_id="frontend-3") as session:
            for number in range(450):
                session.record(thought(f"step {number}"))
        session.feedback("accepted", context="merged")
        await recorder.wait_delivered()
        statistics = recorder.statistics()
    assert (statistics.steps_recorded, statistics.steps_spooled, statistics.steps_delivered) == (450, 450, 450)
    assert (statistics.steps_waiting, statistics.steps_bad, statistics.steps_dropped, statistics.problem) == (
        0,
        0,
        0,
        None,
    )
    *chunks, close, feedback = fake_server.envelopes
    assert [len(chunk["trajectory_log"]) for chunk in chunks] == [200, 200, 50]
    assert [chunk["chunk_sequence"] for chunk in chunks] == [0, 1, 2]
    steps = [step for chunk in chunks for step in chunk["trajectory_log"]]
    assert [step["content"] for step in steps] == [f"step {number}" for number in range(450)]
    assert [step["step"] for step in steps] == list(range(1, 451))
    assert all(step["token_count"] == 2 and step["timestamp"] > 1e9 for step in steps)
    assert close["outcome"]["status"] == "SUCCESS"
    assert (close["outcome"]["total_steps"], close["outcome"]["total_chunks"]) == (450, 3)
    assert chunks[0]["metadata"]["agent_role"] == "frontend"
    assert (feedback["feedback"]["signal"], feedback["feedback"]["target_step"]) == ("accepted", 450)
    assert len(fake_server.bodies(CLOSE)) == 1


async def test_nothing_is_sent_for_a_session_without_steps(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """Neither an opening nor a close."""
    async with opener() as recorder:
        with recorder.session():
            pass
    assert fake_server.requests == []


async def test_a_chunk_is_made_after_five_minutes(opener: Opener, fake_server: Any, autojump_clock: MockClock) -> None:
    """With as many steps as there are (contract, CHUNK_TIMEOUT_MS)."""
    async with opener() as recorder:
        session = recorder.session()
        session.record(thought())
        await trio.sleep(200)
        assert fake_server.envelopes == []
        await trio.sleep(140)
        assert len(fake_server.envelopes) == 1


async def test_what_is_temporary_is_tried_again_with_the_same_bytes(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """Lost connections, 408, 429, 500, 503 and 507; and each envelope is accepted once."""

    async def lost(request: httpx.Request) -> httpx.Response:
        fake_server.answer(request)
        raise httpx.ReadError("lost", request=request)

    async def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def answered(_request: httpx.Request) -> None:
        return None

    fake_server.faults.extend([refused, answered, lost, lost])
    for status in (408, 429, 500, 503, 507):
        fake_server.faults.extend(answering(status, times=2))
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
    assert len(fake_server.envelopes) == 2
    chunks = [body for body in fake_server.bodies(INGEST) if b"trajectory_log" in body]
    assert len(chunks) > 5
    assert len(set(chunks)) == 1


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        ({"Retry_After": "120"}, 120),
        ({"Retry_After": "Fri, 20 Nov 2026 10:02:00 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 120),
        ({"Retry_After": "999999"}, 3_600),
    ],
)
async def test_retry_after_is_honoured(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, headers: dict[str, str], waits_s: float
) -> None:
    """In seconds, as a date, and at most an hour."""
    fake_server.faults.extend(answering(503, times=1, **headers))
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        began = trio.current_time()
        await recorder.wait_delivered()
        assert waits_s <= trio.current_time() - began <= waits_s + 3


async def test_the_backoff_grows_to_a_bound(opener: Opener, fake_server: Any, autojump_clock: MockClock) -> None:
    """Three quarters of 1, 2, 4 ... s with this jitter, and of a minute at most."""
    times: list[float] = []

    async def note(request: httpx.Request) -> httpx.Response:
        times.append(trio.current_time())
        raise httpx.ConnectError("refused", request=request)

    fake_server.faults.extend([note] * 12)
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == pytest.approx([0.75, 1.5, 3, 6, 12, 24, 45, 45, 45, 45, 45])


async def test_a_refusal_is_not_tried_again_and_holds_nothing_up(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """A refused chunk used its sequence number up; the rest arrives, and it is counted."""
    fake_server.refuse = lambda envelope: "Too odd." if envelope.get("chunk_sequence") == 1 else None
    async with opener() as recorder:
        with recorder.session() as session:
            for _ in range(600):
                session.record(thought())
        await recorder.wait_delivered()
        statistics = recorder.statistics()
    assert (statistics.steps_delivered, statistics.envelopes_refused) == (400, 1)
    assert [envelope.get("chunk_sequence") for envelope in fake_server.envelopes] == [0, 2, None]


@pytest.mark.parametrize("code", ["session_closed", "unknown_session", "sequence_mismatch", "invalid_hmac"])
async def test_what_a_session_cannot_take_any_more_goes_to_a_new_one(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, code: str
) -> None:
    """Also the steps recorded later; nothing that was accepted is sent again."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = fake_server.refusing(request, code)
        return answer

    async with opener() as recorder:
        session = recorder.session()
        for number in range(200):
            session.record(thought(str(number)))
        await trio.sleep(5)
        assert len(fake_server.envelopes) == 1
        fake_server.faults.append(refuse)
        for number in range(200, 450):
            session.record(thought(str(number)))
        session.close()
        await recorder.wait_delivered()
    chunks = [envelope for envelope in fake_server.envelopes if "trajectory_log" in envelope]
    assert [step["content"] for chunk in chunks for step in chunk["trajectory_log"]] == [str(n) for n in range(450)]
    ids = [envelope["session_id"] for envelope in fake_server.envelopes]
    assert len(set(ids)) == 2
    assert ids[1:] == [ids[1]] * 3


async def test_a_session_that_is_refused_again_and_again_is_given_up(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """A fault that no new session mends ends after a few, and is counted."""

    async def refuse_ingest(request: httpx.Request) -> httpx.Response | None:
        if request.url.path not in {INGEST, BATCH}:
            return None
        answer: httpx.Response = fake_server.refusing(request, "invalid_hmac")
        return answer

    fake_server.faults.extend([refuse_ingest] * 50)
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
        assert recorder.statistics().envelopes_refused == 2
    assert len(fake_server.bodies(OPEN)) == 4


@pytest.mark.parametrize("status", [200, 404])
async def test_an_answer_of_something_else_loses_nothing(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, status: int
) -> None:
    """Another program's page: not asked again by this recorder, delivered by the next; no command's option is told."""

    async def page(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text="<html>not here</html>")

    fake_server.faults.append(page)
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await trio.sleep(1_000)
        assert len(fake_server.requests) == 1
        problem = recorder.statistics().problem or ""
        assert problem.endswith(f" is no Central Command (status {status})")
        assert "--url" not in problem
    async with opener() as recorder:
        await trio.sleep(1)
        await recorder.wait_delivered()
    assert len(fake_server.envelopes) == 2


async def test_past_the_bound_in_memory_steps_are_dropped_and_counted(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """By number and by bytes; what was taken arrives."""
    async with opener(settings=RecorderSettings(queue_steps_max=10, queue_bytes_max=5_000)) as recorder:
        with recorder.session() as session:
            for _ in range(25):
                session.record(thought())
            await trio.sleep(3)
            session.record(thought("x" * 6_000))
        session.record(thought())
        await recorder.wait_delivered()
        statistics = recorder.statistics()
    assert (statistics.steps_recorded, statistics.steps_dropped, statistics.steps_delivered) == (10, 17, 10)


async def test_past_the_bound_of_the_spool_steps_are_dropped_and_counted(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What is in the spool stays whole and arrives later, with its close."""

    async def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    fake_server.faults.extend([refused] * 5)
    async with opener(settings=RecorderSettings(spool=SpoolSettings(envelopes_max=2))) as recorder:
        with recorder.session() as session:
            for _ in range(600):
                session.record(thought())
        await recorder.wait_delivered()
        statistics = recorder.statistics()
    assert (statistics.steps_dropped, statistics.steps_delivered) == (200, 400)
    with Spool(tmp_path / "spool.db") as spool:
        assert spool.statistics().steps_dropped == 200
    assert fake_server.envelopes[-1]["outcome"]["total_steps"] == 400


async def test_scrubbed_steps_alone_reach_the_disk(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And a step on which the scrub fails is left out."""

    def scrub(step: dict[str, Any]) -> dict[str, Any]:
        if "boom" in step["content"]:
            raise RuntimeError(step["content"])
        return step | {"content": step["content"].replace("hunter2", "***")}

    async with opener(scrub=scrub) as recorder:
        session = recorder.session()
        session.record(thought("hunter2"))
        session.record(thought("boom hunter2"))
        await trio.sleep(3)
        assert b"hunter2" not in (tmp_path / "spool.db").read_bytes()
        session.close()
        await recorder.wait_delivered()
        assert recorder.statistics().steps_bad == 1
    assert [step["content"] for step in fake_server.envelopes[0]["trajectory_log"]] == ["***"]


async def test_personal_data_is_scrubbed_by_default(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """From steps, feedback and outcome, also after a program's own function; it is said and counted."""

    def scrub(step: dict[str, Any]) -> dict[str, Any]:
        return step | {"note": ("ana@foldline.io",)}

    async with opener(scrub=scrub) as recorder:
        session = recorder.session()
        session.record(thought("ask ana@foldline.io"))
        session.record(thought(5))  # bad: what was found in it does not count
        await trio.sleep(3)
        assert b"foldline" not in (tmp_path / "spool.db").read_bytes()
        session.close(outcome={"remark": "see 203.0.113.9"})
        session.feedback("rejected", context="call +1 415 555 0132")
        await recorder.wait_delivered()
        assert recorder.statistics().findings == {"email": 2, "phone": 1, "ip": 1}
    chunk, close, feedback = fake_server.envelopes
    (step,) = chunk["trajectory_log"]
    assert (step["content"], step["note"]) == ("ask [EMAIL]", ["[EMAIL]"])
    assert feedback["feedback"]["context"] == "call [PHONE]"
    assert close["outcome"]["remark"] == "see [IP]"
    assert (chunk["metadata"]["scrubbed"], close["metadata"]["scrub_rules"]) == (True, 1)


async def test_a_program_may_say_that_nothing_is_scrubbed(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    async with opener(scrub=False) as recorder:
        with recorder.session() as session:
            session.record(thought("ask ana@foldline.io"))
        await recorder.wait_delivered()
        assert recorder.statistics().findings == {}
    chunk, close = fake_server.envelopes
    assert chunk["trajectory_log"][0]["content"] == "ask ana@foldline.io"
    assert chunk["metadata"]["scrubbed"] is close["metadata"]["scrubbed"] is False


async def test_a_very_long_session_goes_on_in_another(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a close and chunks of its own, as a session may have 200 envelopes."""
    monkeypatch.setattr("central_command.client.recording.recording.SESSION_CHUNKS_MAX", 53)
    async with opener() as recorder:
        with recorder.session() as session:
            for number in range(800):
                session.record(thought(str(number)))
        await recorder.wait_delivered()
    shapes = [(e["session_id"], len(e.get("trajectory_log", ()))) for e in fake_server.envelopes]
    parts = {session_id: [n for each, n in shapes if each == session_id] for session_id, _ in shapes}
    assert sorted(parts.values()) == [[200, 0], [200, 200, 200, 0]]


async def test_late_feedback_is_delivered(opener: Opener, fake_server: Any, autojump_clock: MockClock) -> None:
    """After the session was closed over HTTP, too."""
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
        session.feedback("rejected", context="half \ud83d")
        await trio.sleep(2)
        await recorder.wait_delivered()
    assert fake_server.envelopes[-1]["feedback"]["signal"] == "rejected"


async def test_errors_of_the_program_are_raised_as_they_are(opener: Opener, autojump_clock: MockClock) -> None:
    """Not in a group."""
    with pytest.raises(KeyError):
        async with opener():
            raise KeyError


async def test_what_is_recorded_without_the_key_waits_for_it(
    opener: Opener, fake_server: Any, identity: Identity, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It says what is missing, sends nothing, and goes out whole once the key is there."""
    config, contributor = tmp_path / "config", identity.contributor_id
    fake_server.keys[contributor] = make_key(config, contributor).public_key
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await trio.sleep(5)
        assert "this machine has no key of contributor 01234567…" in (recorder.statistics().problem or "")
    assert fake_server.envelopes == []
    async with opener(identity=msgspec.structs.replace(identity, directory=config)) as recorder:
        await trio.sleep(5)
        assert recorder.statistics().steps_delivered == 1
    assert len(fake_server.envelopes) == 2


async def test_a_key_that_is_registered_meanwhile_costs_no_step(
    opener: Opener, fake_server: Any, identity: Identity, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A session that was opened without it goes on in another one, which is opened with it."""
    config, contributor = tmp_path / "config", identity.contributor_id
    async with opener(identity=msgspec.structs.replace(identity, directory=config)) as recorder:
        with recorder.session() as session:
            for number in range(200):
                session.record(thought(f"before {number}"))
            await trio.sleep(5)
            assert len(fake_server.envelopes) == 1
            fake_server.keys[contributor] = make_key(config, contributor).public_key
            for number in range(300):
                session.record(thought(f"after {number}"))
        await recorder.wait_delivered()
        assert recorder.statistics().steps_delivered == 500
        assert recorder.statistics().envelopes_refused == 0
    steps = [step["content"] for each in fake_server.envelopes for step in each.get("trajectory_log", [])]
    assert steps == [*(f"before {number}" for number in range(200)), *(f"after {number}" for number in range(300))]


async def test_who_has_withdrawn_sends_no_session_twice(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """What is refused for that is refused for good, and no other session is opened for it."""

    async def withdrawn(request: httpx.Request) -> httpx.Response | None:
        if request.url.path not in {INGEST, BATCH}:
            return None
        return cast("httpx.Response", fake_server.refusing(request, "consent_withdrawn"))

    fake_server.faults.extend([withdrawn] * 3)
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
    assert len(fake_server.bodies(OPEN)) == 1
    assert fake_server.envelopes == []
