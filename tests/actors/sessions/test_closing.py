"""The end of a session: three ways to one place, once, whatever comes between."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions import closing
from actors.sessions.messages import CloseSession
from actors.sessions.outcomes import (
    Accepted,
    ActorFailed,
    Busy,
    BusyReason,
    Closed,
    CloseOutcome,
    Credit,
    FullReason,
    StillActive,
    StorageFull,
    UnknownSession,
)
from central_command.settings.configuration import Settings
from persistence.files.failures import DataDirectoryLocked
from persistence.format.records import ClosedBy, JournalName
from persistence.journals.journal import AppendRefused
from persistence.upkeep import inspection
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import findings, finished, stored_state

DAY_S = 25 * 3_600


STITCHED = [how for how in ClosedBy if how is not ClosedBy.WITHDRAWN]
"""The ways to end that leave a trajectory."""


async def close_by(how: ClosedBy, run: Running, client: SigningClient) -> None:
    """End the session one way and wait until nothing is left to do."""
    match how:
        case ClosedBy.SESSION_CLOSE:
            assert isinstance(await run.send(client.close()), Accepted)
        case ClosedBy.HTTP_CLOSE:
            assert isinstance(await run.service.close_session(client.session_id), Closed)
        case ClosedBy.ABANDONED:
            await run.projected()
            run.clock.now += DAY_S
            assert await run.service.ends.close_abandoned() == 1
    await finished(run, client.session_id)


def credits_of(run: Running) -> list[tuple[Any, ...]]:
    return run.rows("ledger.db", "SELECT session_id, points FROM credits")


# Three ways


@pytest.mark.parametrize("how", STITCHED)
async def test_all_ways_end_with_the_same_trajectory_and_one_credit(tmp_path: Path, how: ClosedBy) -> None:
    """It differs in what the client said at the end, and in nothing else."""
    clock = Clock()
    clock.now = 1_800_000_000.0
    async with running(tmp_path, clock=clock) as run:
        client = await run.open()
        for steps in (3, 2):
            await run.send(client.chunk(steps))
        await run.send(client.feedback("modified", sequence=9))
        await close_by(how, run, client)
        await run.projected()
        (line,) = run.lines(JournalName.TRAJECTORIES)
        assert line["closed_by"] == how
        assert (line["outcome"] is None) == (line["close_metadata"] is None) == (how is not ClosedBy.SESSION_CLOSE)
        assert [step["step"] for step in line["trajectory_log"]] == [1, 2, 3, 4, 5]
        told = ("total_steps", "total_tokens", "total_chunks", "unique_tools_used", "step_type_distribution")
        assert [line[member] for member in told] == [5, 35, 2, [], {"thought": 5}]
        assert [each["signal"] for each in line["feedback"]] == ["modified"]
        assert line["enrichment"] == dict.fromkeys(
            ("cognitive_target", "model_verified", "quality_assessment"), "pending"
        )
        assert credits_of(run) == [("sess_1", 25.0)]
        assert run.rows("sessions.db", "SELECT status, closed_by FROM sessions") == [("closed", how)]
        outcome = await run.service.close_session("sess_1")
        assert outcome == Closed(already_closed=True, credit=Credit(total_points=25.0, total_steps=5))
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("how", STITCHED)
async def test_a_session_without_chunks_closes_without_a_trajectory(tmp_path: Path, how: ClosedBy) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.feedback(sequence=5))
        await close_by(how, run, client)
        assert run.lines(JournalName.TRAJECTORIES) == []
        assert await run.service.close_session("sess_1") == Closed(already_closed=True, credit=None)
        refused = await run.send(client.chunk())
        assert isinstance(refused, Refusal)
        assert refused.code is RefusalCode.SESSION_CLOSED
    assert await findings(tmp_path) == []


async def test_a_session_that_nobody_opened_cannot_be_closed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        assert await run.service.close_session("sess_unknown") == UnknownSession()
        assert await finished(run, "sess_unknown") == UnknownSession()
        assert run.lines(JournalName.ENVELOPES) == []


# From the buffer or from the journal


async def trajectory_text(root: Path, chosen: Settings | None, *, restart: bool = False) -> bytes:
    """Run one session; return its trajectory's members that do not depend on names and keys."""
    clock = Clock()
    clock.now = 1_800_000_000.0
    async with running(root, settings=chosen, clock=clock) as run:
        client = await run.open()
        await run.send(client.chunk(4))
        log = [client.step("action", tool="bash", arguments={"n": 1.50}, content='\\ "quoted"\n'), client.step("error")]
        await run.send(client.chunk_of(log, task_complexity="heavy"))
        if not restart:
            await close_by(ClosedBy.SESSION_CLOSE, run, client)
    if restart:
        async with running(root, settings=chosen, clock=clock) as run:
            await close_by(ClosedBy.SESSION_CLOSE, run, client)
    (path,) = (root / "trajectories").iterdir()
    (line,) = path.read_bytes().splitlines()
    assert await findings(root) == []
    return line[line.index(b'"contributor_id"') : line.index(b',"received"')]


@pytest.mark.parametrize("bounds", ["own", "total", "restart"])
async def test_what_is_read_back_from_the_journal_gives_the_same_trajectory(tmp_path: Path, bounds: str) -> None:
    """Past its own bound, past that of all buffers, or after a restart: byte for byte."""
    chosen = {
        "own": settings_with(sessions={"chunk_buffer_bytes_max": 1_500}),
        "total": settings_with(sessions={"chunk_buffers_total_bytes_max": 1_500}),
        "restart": None,
    }[bounds]
    buffered = await trajectory_text(tmp_path / "buffered", None)
    assert await trajectory_text(tmp_path / "read", chosen, restart=bounds == "restart") == buffered


async def test_a_line_that_was_changed_is_not_stitched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The close is acknowledged, a sentence says what is damaged, nothing is credited, and others go on."""
    chosen = settings_with(sessions={"chunk_buffer_bytes_max": 1})
    async with running(tmp_path, settings=chosen) as run:
        damaged, other = await run.open("sess_damaged"), await run.open("sess_other")
        for client in (damaged, other):
            await run.send(client.chunk())
        (path,) = (tmp_path / "envelopes").iterdir()
        text = path.read_bytes()
        path.write_bytes(text.replace(b"thought", b"thoughT", 1))
        for client in (damaged, other):
            assert isinstance(await run.send(client.close()), Accepted)
        assert isinstance(await finished(run, "sess_other"), Closed)
        await run.projected()
        assert credits_of(run) == [("sess_other", 15.0)]
        sentence = f"was ended: the envelopes journal is damaged: no line 1 that is whole at byte 0 of {path.name}"
        assert any(sentence in record.message and not record.exc_info for record in caplog.records)
        with path.open("r+b") as file:
            file.write(text)
        assert isinstance(await finished(run, "sess_damaged"), Closed)
    assert await findings(tmp_path) == []


async def test_buffers_are_given_back_when_sessions_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path) as run:
        for number in range(3):
            client = await run.open(f"sess_{number}")
            await run.send(client.chunk())
        assert run.service.statistics().buffer_bytes > 0
        await run.service.close_session("sess_0")
        await trio.sleep(400)
        assert run.service.statistics().sessions.active == 0
        assert run.service.statistics().buffer_bytes == 0


# Interrupted


def refuse_appends(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def append(*arguments: object, **options: object) -> AppendRefused:
        await trio.lowlevel.checkpoint()
        return AppendRefused.DISK_FULL

    monkeypatch.setattr(run.service._storage.trajectories, "append", append)


async def by_retry(run: Running) -> None:
    outcome = await run.service.close_session("sess_1")
    assert isinstance(outcome, Closed)
    assert outcome.already_closed


async def by_sweep(run: Running) -> None:
    await run.projected()
    await run.service.ends.finish_interrupted()


async def by_sweep_in_time(run: Running) -> None:
    await trio.sleep(301)


@pytest.mark.parametrize("finish", [by_retry, by_sweep, by_sweep_in_time])
@pytest.mark.parametrize("how", [ClosedBy.SESSION_CLOSE, ClosedBy.HTTP_CLOSE])
async def test_a_trajectory_that_found_no_room_is_written_later_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    how: ClosedBy,
    finish: Callable[[Running], Awaitable[None]],
) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        with monkeypatch.context() as patched:
            refuse_appends(run, patched)
            if how is ClosedBy.SESSION_CLOSE:
                assert isinstance(await run.send(client.close()), Accepted)
            full: list[CloseOutcome] = [await run.service.close_session("sess_1") for _ in range(2)]
            assert full == [StorageFull(FullReason.DISK_FULL)] * 2
            feedback = await run.send(client.feedback(sequence=9))
            assert isinstance(feedback, Accepted)
            await run.service.ends.finish_interrupted()
        assert run.lines(JournalName.TRAJECTORIES) == []
        await finish(run)
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["closed_by"] == how
        before = await stored_state(run)
        await by_retry(run)
        await by_sweep(run)
        assert await stored_state(run) == before
        assert len(credits_of(run)) == 1
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("how", [ClosedBy.SESSION_CLOSE, ClosedBy.HTTP_CLOSE, ClosedBy.ABANDONED])
@pytest.mark.parametrize("is_written", [False, True])
async def test_a_process_that_ends_around_the_trajectory_finishes_it_at_its_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: ClosedBy, *, is_written: bool
) -> None:
    """It stops before the trajectory is handed over, or after it is on disk and before anything is made of that."""
    clock = Clock()
    with trio.CancelScope() as process:
        async with running(tmp_path, clock=clock) as run:
            client = await run.open()
            await run.send(client.chunk())
            append = run.service._storage.trajectories.append

            async def stop(*arguments: Any, **options: Any) -> None:
                if is_written:
                    await append(*arguments, **options)
                process.cancel()
                await trio.sleep_forever()

            monkeypatch.setattr(run.service._storage.trajectories, "append", stop)
            await close_by(how, run, client)
    assert process.cancelled_caught
    for _ in range(2):
        async with running(tmp_path, clock=clock) as run:
            (trajectory,) = run.lines(JournalName.TRAJECTORIES)
            assert trajectory["closed_by"] == how
            await run.projected()
            assert len(credits_of(run)) == 1
    assert await findings(tmp_path) == []


async def test_a_bug_while_stitching_loses_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The close was answered, because it is on disk; the trajectory follows once the bug is gone."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    async with running(tmp_path) as run:
        client, other = await run.open(), await run.open("sess_2")
        await run.send(client.chunk())
        with monkeypatch.context() as patched:
            patched.setattr(closing, "_completed", fail)
            assert isinstance(await run.send(client.close()), Accepted)
            assert await run.service.close_session("sess_1") == ActorFailed()
            assert isinstance(await run.send(other.chunk()), Accepted)
        assert run.service.statistics().sessions.failed >= 1
        outcome = await run.service.close_session("sess_1")
        assert isinstance(outcome, Closed)
        assert outcome.credit is not None
    assert "the actor of session sess_1 failed" in caplog.text
    assert await findings(tmp_path) == []


# Abandoned


async def test_only_sessions_without_traffic_are_abandoned(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        silent, busy, empty = await run.open("sess_1"), await run.open("sess_2"), await run.open("sess_3")
        await run.send(silent.chunk())
        assert isinstance(await run.send(empty.chunk(team_size=0)), Refusal)  # used, though without a chunk
        run.clock.now += 23 * 3_600
        await run.send(busy.chunk())
        await run.projected()
        assert await run.service.ends.close_abandoned() == 0
        run.clock.now += 2 * 3_600
        assert await run.service.ends.close_abandoned() == 2
        await run.projected()
        closed = run.rows("sessions.db", "SELECT session_id, closed_by FROM sessions WHERE status = 'closed'")
        assert closed == [("sess_1", "abandoned"), ("sess_3", "abandoned")]
        assert credits_of(run) == [("sess_1", 15.0)]
        assert isinstance(await run.send(busy.chunk()), Accepted)
        late = await run.send(empty.chunk())
        assert isinstance(late, Refusal)
        assert late.code is RefusalCode.SESSION_CLOSED
    assert await findings(tmp_path) == []


async def test_a_full_page_of_which_none_can_be_closed_keeps_nothing_behind_it_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session is asked once a sweep, and those that cannot be closed again at the next one."""
    asked: list[str] = []
    async with running(tmp_path, settings=settings_with(sessions={"abandon_batch_max": 2})) as run:
        ask = run.service._directory.ask

        async def fail(session_id: str, message: Any) -> Any:
            assert session_id not in asked, "asked again in the same sweep"
            asked.append(session_id)
            return await ask(session_id, message) if session_id == "sess_2" else ActorFailed()

        for number in range(3):
            await run.open(f"sess_{number}")
            run.clock.now += 1
        await run.projected()
        run.clock.now += DAY_S
        with monkeypatch.context() as patched:
            patched.setattr(run.service._directory, "ask", fail)
            assert await run.service.ends.close_abandoned() == 1
        assert asked == ["sess_0", "sess_1", "sess_2"]
        await run.projected()
        assert await run.service.ends.close_abandoned() == 2


async def test_sessions_are_abandoned_once_also_while_the_databases_know_nothing_of_it(tmp_path: Path) -> None:
    """A close is known to the databases only once it is projected, which may take longer than the next page."""
    chosen = settings_with(sessions={"abandon_batch_max": 2}, storage={"projection_interval_s": 3_600.0})
    async with running(tmp_path, settings=chosen) as run:
        for number in range(5):
            client = await run.open(f"sess_{number}")
            await run.send(client.chunk())
        run.clock.now += DAY_S
        assert await run.service.ends.close_abandoned() == 5
        assert await run.service.ends.close_abandoned() == 0
        assert len(run.lines(JournalName.ENVELOPES)) == 10


async def test_the_sweep_abandons_in_its_own_time_however_many_there_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    chosen = settings_with(sessions={"abandon_batch_max": 3, "active_actors_max": 2})
    async with running(tmp_path, settings=chosen) as run:
        for number in range(10):
            client = await run.open(f"sess_{number}")
            await run.send(client.chunk())
        await run.projected()
        run.clock.now += DAY_S
        await trio.sleep(301)
        assert len(run.lines(JournalName.TRAJECTORIES)) == 10
    assert await findings(tmp_path) == []


async def test_a_session_that_sent_something_meanwhile_stays_open(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        cutoff = run.clock.now
        run.clock.now += 1
        await run.send(client.chunk())
        message = CloseSession(ClosedBy.ABANDONED, unless_active_since=cutoff)
        assert await run.service._directory.ask("sess_1", message) == StillActive()
        assert isinstance(await run.send(client.chunk()), Accepted)
        message = CloseSession(ClosedBy.ABANDONED, unless_active_since=run.clock.now + 1)
        assert isinstance(await run.service._directory.ask("sess_1", message), Closed)


async def test_a_server_close_is_a_line_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        await run.service.close_session("sess_1")
        line = run.lines(JournalName.ENVELOPES)[-1]
        named = {name: line[name] for name in ("session_id", "type", "closed_by")}
        assert named == {"session_id": "sess_1", "type": "SERVER_CLOSE", "closed_by": "http_close"}
        assert json.dumps(line).count("attestation") == 0


# Large sessions


async def test_a_trajectory_that_is_written_in_pieces_is_the_line_that_it_would_be_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory or from the journal, with steps in order or not: the same members."""
    lines: list[dict[str, Any]] = []
    for name, in_memory_max, text_max in (("whole", 1_000_000, 1_000_000), ("pieces", 1, 0)):
        monkeypatch.setattr(closing, "TEXT_BYTES_MAX", text_max)
        settings = settings_with(sessions={"chunk_buffer_bytes_max": in_memory_max})
        clock = Clock()
        clock.now = 1_800_000_000.0
        async with running(tmp_path / name, settings=settings, clock=clock) as run:
            client = await run.open()
            late = [client.step() for _ in range(3)]
            early = [{**step, "step": step["step"] + 10} for step in late]
            for log in (early, late, [client.step("delegate", to="backend-1")]):
                await run.send(client.chunk_of(log))
            await run.send(client.feedback("accepted", sequence=9))
            await close_by(ClosedBy.SESSION_CLOSE, run, client)
            (line,) = run.lines(JournalName.TRAJECTORIES)
        for own in ("trajectory_id", "received", "crc32"):
            del line[own]
        lines.append(line)
    assert lines[0] == lines[1]
    assert [step["step"] for step in lines[0]["trajectory_log"]] == [1, 2, 3, 4, 11, 12, 13]


async def test_only_a_trajectory_longer_than_the_bound_is_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are one text, made before their turn in the journal comes."""
    drafts: list[closing._Draft] = []
    scored = closing._scored

    def noted(*arguments: Any) -> closing._Draft:
        drafts.append(scored(*arguments))
        return drafts[-1]

    monkeypatch.setattr(closing, "_scored", noted)
    for above in (None, 0, 1):
        if above is not None:
            monkeypatch.setattr(closing, "TEXT_BYTES_MAX", len(drafts[0].members) - above)
        clock = Clock()
        clock.now = 1_800_000_000.0
        async with running(tmp_path / f"{above}", clock=clock) as run:
            client = await run.open()
            await run.send(client.chunk())
            await close_by(ClosedBy.SESSION_CLOSE, run, client)
    assert len({len(draft.members) for draft in drafts}) == 1
    assert [isinstance(draft.members, bytes) for draft in drafts] == [True, True, False]


GUARDED = {"guarded_close_bytes_min": 1, "close_attempts_max": 2}


async def test_a_close_is_noted_on_disk_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a session that is large enough; whatever comes of it, the note goes when the process lives."""
    noted: list[bytes] = []

    async def refused(*_: object) -> AppendRefused:
        await trio.lowlevel.checkpoint()
        path = tmp_path / "closing.json"
        noted.append(await trio.Path(path).read_bytes() if path.exists() else b"")
        return AppendRefused.DISK_FULL

    monkeypatch.setattr(closing, "_record_trajectory", refused)
    async with running(tmp_path, settings=settings_with(sessions=GUARDED)) as run:
        client = await run.open()
        await run.send(client.chunk())
        assert isinstance(await run.service.close_session("sess_1"), StorageFull)
        assert noted == [b'{"sess_1":1}\n']
        assert (tmp_path / "closing.json").read_bytes() == b"{}\n"
    noted.clear()
    async with running(tmp_path / "other") as run:
        client = await run.open()
        await run.send(client.chunk())
        assert isinstance(await run.service.close_session("sess_1"), StorageFull)
    assert noted == [b"{}\n"]
    assert not (tmp_path / "other" / "closing.json").exists(), "a small session pays for nothing"


async def test_a_close_that_ended_the_process_twice_is_set_aside_until_somebody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service comes up without it, says so, and closes it when it is asked for again."""

    async def refused(*_: object) -> AppendRefused:
        await trio.lowlevel.checkpoint()
        return AppendRefused.DISK_FULL

    settings = settings_with(sessions=GUARDED)
    with monkeypatch.context() as patch:
        patch.setattr(closing, "_record_trajectory", refused)
        async with running(tmp_path, settings=settings) as run:
            client = await run.open()
            await run.send(client.chunk())
            assert isinstance(await run.service.close_session("sess_1"), StorageFull)
    (tmp_path / "closing.json").write_bytes(b'{"sess_1":2}\n')
    assert inspection.set_aside(tmp_path, 2) == ["sess_1"]
    async with running(tmp_path, settings=settings) as run:
        assert "1 session(s) has ended this process before" in caplog.text
        await run.service.ends.finish_interrupted()
        assert await run.service.close_session("sess_1") == Busy(BusyReason.SET_ASIDE)
        assert run.lines(JournalName.TRAJECTORIES) == []
        with pytest.raises(DataDirectoryLocked):
            inspection.retry(tmp_path, "sess_1")
    assert inspection.retry(tmp_path, "sess_1") is True
    assert inspection.retry(tmp_path, "sess_1") is False
    async with running(tmp_path, settings=settings) as run:
        await finished(run, "sess_1")
        assert len(run.lines(JournalName.TRAJECTORIES)) == 1


async def test_a_close_that_waits_for_its_turn_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the session that is being stitched is blamed should the process end now."""
    noted: list[dict[str, int]] = []
    begun, go_on = trio.Event(), trio.Event()

    async def slow(*_: object) -> AppendRefused:
        noted.append(json.loads(await trio.to_thread.run_sync((tmp_path / "closing.json").read_bytes)))
        begun.set()
        await go_on.wait()
        return AppendRefused.DISK_FULL

    async with running(tmp_path, settings=settings_with(sessions=GUARDED)) as run:
        for name in ("sess_1", "sess_2"):
            client = await run.open(name)
            await run.send(client.chunk())
        monkeypatch.setattr(closing, "_record_trajectory", slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.service.close_session, "sess_1")
            await begun.wait()
            nursery.start_soon(run.service.close_session, "sess_2")
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
        assert noted == [{"sess_1": 1}, {"sess_2": 1}]
