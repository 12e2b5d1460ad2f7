"""Actors end when idle or in the way and come back: no request notices, and nothing is forgotten or done twice."""

from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, Closed, UnknownSession
from persistence.format.records import JournalName, Position, Record
from persistence.journals.journal import AppendRefused
from tests.running_service import Running, running, settings_with
from tests.stored_state import at_once, findings, finished


async def test_requests_that_arrive_as_the_session_is_passivated_are_all_served(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Each comes at the very moment of the deadline, and so many scheduler steps later."""
    chosen = settings_with(sessions={"passivate_after_s": 10.0})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        for delay in range(40):
            await trio.sleep(10)
            first, second = client.chunk(), client.feedback()
            outcomes = await at_once([partial(run.send, first), partial(run.send, second)], [delay // 2, delay])
            assert all(outcome == Accepted(outcome.envelope_id) for outcome in outcomes)  # type: ignore[union-attr]
            client.sequence -= 1  # feedback moves nothing on
        statistics = run.service.statistics().sessions
        assert statistics.failed == 0
        assert statistics.passivated >= 20
        await run.service.close_session("sess_1")
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["total_chunks"] == 40
        assert len(trajectory["feedback"]) == 40
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("room", [1, 2])
async def test_more_sessions_at_once_than_there_is_room_for_are_served_in_turn(
    tmp_path: Path, autojump_clock: MockClock, room: int
) -> None:
    chosen = settings_with(sessions={"active_actors_max": room})
    async with running(tmp_path, settings=chosen) as run:
        clients = [await run.open(f"sess_{number}") for number in range(5)]
        for _ in range(6):
            bodies = [client.chunk() for client in clients]
            outcomes = await at_once([partial(run.send, body) for body in bodies * 3])
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert run.service.statistics().sessions.active <= room
        assert run.service.statistics().sessions.evicted > 5
        assert len(run.lines(JournalName.ENVELOPES)) == 30
    assert await findings(tmp_path) == []


# A projection that lags behind


def hold_back(run: Running, monkeypatch: pytest.MonkeyPatch, journal: JournalName) -> trio.Event:
    """Project nothing while lines of this journal wait, until the event is set."""
    projector = run.service._storage.projector
    project, released = projector._project_waiting, trio.Event()

    async def held() -> None:
        if projector._summed if journal is JournalName.ENVELOPES else projector._queues[journal]:
            await released.wait()
        await project()

    monkeypatch.setattr(projector, "_project_waiting", held)
    return released


def append_trajectories_after_projection(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the trajectory's own line is the only one that waits."""
    journal = run.service._storage.trajectories
    append = journal.append

    async def later(
        record: Record, members: bytes, received: bytes = b"", *, essential: bool = False
    ) -> Position | AppendRefused:
        await run.projected()
        return await append(record, members, received, essential=essential)

    monkeypatch.setattr(journal, "append", later)


@pytest.mark.parametrize("journal", [JournalName.ENVELOPES, JournalName.REFUSED, JournalName.TRAJECTORIES])
async def test_a_session_comes_back_only_when_its_last_line_is_projected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: JournalName
) -> None:
    """Else it would take a sequence number twice, or write its trajectory twice."""
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        await run.projected()
        append_trajectories_after_projection(run, monkeypatch)
        released = hold_back(run, monkeypatch, journal)
        body = client.chunk(team_size=0) if journal is JournalName.REFUSED else client.chunk()
        again: list[object] = []

        async def ask() -> None:
            again.append(
                await run.service.close_session("sess_1")
                if journal is JournalName.TRAJECTORIES
                else await run.send(body)
            )

        await ask()
        run.service._directory._make_room(1)
        await wait_all_tasks_blocked()
        assert run.service.statistics().sessions.retiring == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert len(again) == 1
            released.set()
        match journal, *again:
            case JournalName.ENVELOPES, Accepted() as first, Accepted() as second:
                assert second == Accepted(first.envelope_id, duplicate=True)
            case JournalName.REFUSED, Refusal() as first, Refusal() as second:
                assert (first.code, second.code) == (RefusalCode.SCHEMA, RefusalCode.SEQUENCE_MISMATCH)
            case JournalName.TRAJECTORIES, Closed() as first, Closed() as second:
                assert second == Closed(already_closed=True, credit=first.credit)
            case _:
                pytest.fail(f"{again}")
        assert len(run.lines(journal)) == (2 if journal is JournalName.ENVELOPES else 1)
    assert await findings(tmp_path) == []


async def test_what_is_read_back_at_the_close_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings_with(sessions={"chunk_buffer_bytes_max": 1})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        released = hold_back(run, monkeypatch, JournalName.ENVELOPES)
        await run.send(client.chunk())
        await run.send(client.close())
        await wait_all_tasks_blocked()
        assert run.lines(JournalName.TRAJECTORIES) == []
        released.set()
        await finished(run)
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["total_chunks"] == 1
        assert trajectory["outcome"] is not None
        assert run.service.statistics().sessions.failed == 0
    assert await findings(tmp_path) == []


async def test_nothing_is_kept_of_a_session_that_does_not_exist(tmp_path: Path) -> None:
    """Whoever asks for names that never were takes nobody's place: such an actor ends at once, not when it is idle."""
    async with running(tmp_path) as run:
        assert isinstance(await run.service.close_session("sess_nowhere"), UnknownSession)
        await wait_all_tasks_blocked()
        found = run.service.statistics().sessions
        assert (found.activated, found.active) == (1, 0)
