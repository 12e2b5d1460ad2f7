"""The projector follows every journal into both databases, each line exactly once, and says how far it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from persistence.databases.database import Database, DatabaseFailure, DatabaseFull, Statement
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import INSERT_ENVELOPE
from persistence.databases.projector import Projector
from persistence.files.failures import StorageDamage
from persistence.format.records import (
    ClosedBy,
    Committed,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    Mark,
    Position,
    Record,
    TrajectoryRecord,
)
from persistence.settings.storage import StorageSettings

SETTINGS = StorageSettings(projection_batch_lines_max=3, projection_lag_lines_max=5)
ENVELOPES, TRAJECTORIES = JournalName.ENVELOPES, JournalName.TRAJECTORIES


def envelope(n: int) -> Committed:
    return placed(
        n,
        EnvelopeRecord(
            envelope_id=f"env_{n}",
            session_id="s",
            kind=EnvelopeKind.CHUNK,
            sequence=n - 1,
            chunk_sequence=n - 1,
            steps=1,
        ),
    )


def trajectory(n: int) -> Committed:
    return placed(
        n,
        TrajectoryRecord(
            trajectory_id=f"traj_{n}",
            session_id=f"s{n}",
            contributor_id="c0ffee",
            provider="codex",
            model="gpt-5.5",
            steps=1,
            tokens=1,
            chunks=1,
            base_points=1,
            total_points=5,
            multiplier_breakdown="{}",
            closed_by=ClosedBy.SESSION_CLOSE,
        ),
    )


def placed(n: int, record: Record) -> Committed:
    return Committed(record, Position(n=n, day="2026-11-20", offset=(n - 1) * 10, length=10, at=1_795_000_000 + n))


@asynccontextmanager
async def databases(folder: Path | None = None) -> AsyncIterator[tuple[Database, Database]]:
    async with AsyncExitStack() as stack:
        sessions, ledger = [
            await stack.enter_async_context(
                open_inline_database(folder and folder / schema.name, schema, SETTINGS, applied_at="")
            )
            for schema in (SESSIONS_SCHEMA, LEDGER_SCHEMA)
        ]
        yield sessions, ledger


async def count(database: Database, table: str) -> int:
    ((found,),) = await database.read(f"SELECT count(*) FROM {table}")
    assert isinstance(found, int)
    return found


class FailingDatabase:
    """A database whose next write fails, before or after it is done."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fails = False
        self.failure = DatabaseFailure("the disk failed while ledger.db was read or written")

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        if self.fails:
            raise self.failure
        return await self._database.write(statements, durable=durable)

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


async def test_what_is_submitted_is_projected_in_batches_with_its_position() -> None:
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        nursery.start_soon(projector.run)
        projector.submit_nowait(ENVELOPES, [envelope(n) for n in range(1, 8)])
        projector.submit_nowait(TRAJECTORIES, [trajectory(1), trajectory(2)])
        await projector.drain()
        assert await count(sessions, "processed_envelopes") == 7
        assert await count(ledger, "credits") == 2
        assert projector.positions() == {
            ENVELOPES: Mark(7, "2026-11-20", 70),
            JournalName.REFUSED: Mark(),
            TRAJECTORIES: Mark(2, "2026-11-20", 20),
            JournalName.CONSENT: Mark(),
            JournalName.INTAKE: Mark(),
        }
        statistics = projector.statistics()
        assert (statistics.lines_waiting, statistics.lines_projected, statistics.batches) == (0, 9, 3)
        nursery.cancel_scope.cancel()


def repeated(first: Committed, n: int, **changes: object) -> Committed:
    """A line again, as another one."""
    return placed(n, msgspec.structs.replace(first.record, **changes))


REPETITIONS = {
    "a line as it is": (
        ENVELOPES,
        [envelope(1), envelope(2), repeated(envelope(2), 3)],
        (
            "line 3 at byte 20 of 2026-11-20.jsonl has the envelope_id 'env_2', or the sequence 1 of session 's', "
            "for a second time; the first is line 2"
        ),
    ),
    "a sequence of its session": (
        ENVELOPES,
        [envelope(1), repeated(envelope(1), 2, envelope_id="env_x")],
        "the first is line 1",
    ),
    "a trajectory of a session": (
        TRAJECTORIES,
        [trajectory(1), repeated(trajectory(1), 2, trajectory_id="traj_x")],
        "line 2 at byte 10 of 2026-11-20.jsonl is a second trajectory of session 's1', or has its id; the first is",
    ),
    "the id of a trajectory": (TRAJECTORIES, [trajectory(1), repeated(trajectory(1), 2, session_id="s9")], "line 1"),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "in two"])
@pytest.mark.parametrize("name", REPETITIONS)
async def test_what_only_one_line_may_say_is_damage_the_second_time(name: str, *, at_once: bool) -> None:
    """It says where, whoever waits is told, and nothing of the batch is projected: the next start says it again."""
    journal, lines, sentence = REPETITIONS[name]
    async with databases() as (sessions, ledger):
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        with pytest.RaisesGroup(
            pytest.RaisesExc(StorageDamage, match=sentence), pytest.RaisesExc(StorageDamage, match=sentence)
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(projector.run)
                if not at_once:
                    projector.submit_nowait(journal, lines[:-1])
                    await projector.drain()
                projector.submit_nowait(journal, lines if at_once else lines[-1:])
                await projector.drain()
        table = "processed_envelopes" if journal is ENVELOPES else "trajectories"
        assert await count(sessions, table) == (0 if at_once else len(lines) - 1)
        assert await count(ledger, "credits") == (0 if at_once or journal is ENVELOPES else 1)


class BlockedDatabase:
    """A database whose writes wait, and say how many lines each brought."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.entered, self.released = trio.Event(), trio.Event()
        self.envelopes: list[int] = []

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        self.envelopes += [len(each.rows) for each in statements if each.sql is INSERT_ENVELOPE]
        self.entered.set()
        await self.released.wait()
        return await self._database.write(statements, durable=durable)

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


async def test_lines_that_come_while_others_are_written_are_not_lost_among_them() -> None:
    """They are summed up as they come, but never into a sum whose statements are already on their way."""
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        blocked = BlockedDatabase(sessions)
        projector = Projector(blocked, ledger, SETTINGS)
        await projector.load()
        nursery.start_soon(projector.run)
        projector.submit_nowait(ENVELOPES, [envelope(1)])
        nursery.start_soon(projector.drain)
        await blocked.entered.wait()
        projector.submit_nowait(ENVELOPES, [envelope(2)])
        projector.submit_nowait(ENVELOPES, [envelope(3), envelope(4), envelope(5)])
        assert projector.statistics().lines_waiting == 5
        blocked.released.set()
        await projector.drain()
        assert blocked.envelopes == [1, 3, 1]
        assert await sessions.read("SELECT n FROM processed_envelopes ORDER BY n") == [(n,) for n in range(1, 6)]
        assert projector.statistics().lines_waiting == 0
        nursery.cancel_scope.cancel()


async def test_a_full_disk_delays_projection_and_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The lines stay in the queue and are tried again until there is room."""
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        full = FailingDatabase(ledger)
        full.failure = DatabaseFull("no space is left on the disk for ledger.db")
        full.fails = True
        projector = Projector(sessions, full, SETTINGS)
        await projector.load()
        nursery.start_soon(projector.run)
        projector.submit_nowait(TRAJECTORIES, [trajectory(1), trajectory(2)])
        await trio.sleep(3.5 * SETTINGS.projection_retry_s)
        assert projector.statistics().lines_waiting == 2
        full.fails = False
        await projector.drain()
        assert (await count(ledger, "credits"), await count(sessions, "trajectories")) == (2, 2)
        assert projector.statistics().lines_waiting == 0
        nursery.cancel_scope.cancel()


async def test_waiting_for_a_line_returns_when_every_database_holds_it_and_not_before() -> None:
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        done: list[int] = []

        async def wait(n: int) -> None:
            await projector.wait_projected(TRAJECTORIES, n)
            done.append(n)

        nursery.start_soon(wait, 1)
        nursery.start_soon(wait, 2)
        nursery.start_soon(projector.run)
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        projector.submit_nowait(TRAJECTORIES, [trajectory(1)])
        await trio.testing.wait_all_tasks_blocked()
        assert done == [1]
        assert await count(ledger, "credits") == 1
        nursery.cancel_scope.cancel()


async def test_room_ends_at_the_bound_and_comes_back() -> None:
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        projector.submit_nowait(ENVELOPES, [envelope(n) for n in range(1, 5)])
        assert projector.has_room()
        projector.submit_nowait(ENVELOPES, [envelope(5)])
        assert not projector.has_room()
        nursery.start_soon(projector.submit, ENVELOPES, [envelope(6)])
        await trio.testing.wait_all_tasks_blocked()
        assert projector.statistics().lines_waiting == 5
        nursery.start_soon(projector.run)
        await projector.wait_projected(ENVELOPES, 6)
        assert projector.has_room()
        nursery.cancel_scope.cancel()


async def test_lines_submitted_again_after_a_restart_change_nothing(tmp_path: Path) -> None:
    for last in (3, 5):
        async with databases(tmp_path) as (sessions, ledger), trio.open_nursery() as nursery:
            projector = Projector(sessions, ledger, SETTINGS)
            await projector.load()
            nursery.start_soon(projector.run)
            await projector.submit(ENVELOPES, [envelope(n) for n in range(1, last + 1)])
            await projector.submit(TRAJECTORIES, [trajectory(n) for n in range(1, last + 1)])
            await projector.drain()
            assert await count(sessions, "processed_envelopes") == last
            assert await sessions.read("SELECT envelopes FROM totals") == [(last,)]
            assert await ledger.read("SELECT total_points FROM balances") == [(5.0 * last,)]
            nursery.cancel_scope.cancel()


async def test_a_crash_between_the_databases_leaves_each_with_its_own_position(tmp_path: Path) -> None:
    async with databases(tmp_path) as (sessions, ledger):
        failing = FailingDatabase(ledger)
        projector = Projector(sessions, failing, SETTINGS)  # type: ignore[arg-type]
        await projector.load()
        failing.fails = True
        projector.submit_nowait(TRAJECTORIES, [trajectory(1)])
        with pytest.raises(DatabaseFailure):
            await projector.run()
        assert (await count(sessions, "trajectories"), await count(ledger, "credits")) == (1, 0)
        assert projector.positions()[TRAJECTORIES].n == 0
    async with databases(tmp_path) as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        assert projector.positions()[TRAJECTORIES].n == 0
        nursery.start_soon(projector.run)
        projector.submit_nowait(TRAJECTORIES, [trajectory(1), trajectory(2)])
        await projector.drain()
        assert await sessions.read("SELECT sessions FROM daily") == [(2,)]
        assert await ledger.read("SELECT total_sessions FROM balances") == [(2,)]
        nursery.cancel_scope.cancel()


async def test_a_database_s_failure_reaches_those_who_wait() -> None:
    async with databases() as (sessions, ledger):
        failing = FailingDatabase(sessions)
        projector = Projector(failing, ledger, SETTINGS)  # type: ignore[arg-type]
        await projector.load()
        failing.fails = True
        projector.submit_nowait(ENVELOPES, [envelope(1)])
        with pytest.RaisesGroup(DatabaseFailure, DatabaseFailure):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_never_cancelled, projector)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(projector.run)
        assert "failed" in repr(projector)
        with pytest.raises(DatabaseFailure):
            await projector.drain()


async def _never_cancelled(projector: Projector) -> None:
    with trio.CancelScope(shield=True):
        await projector.wait_projected(ENVELOPES, 1)


async def test_cancelled_between_any_two_steps_it_can_go_on_where_it_was(tmp_path: Path) -> None:
    """Shutdown cancels `run`: what is in memory must say what the databases hold."""
    for rounds in range(12):
        folder = tmp_path / str(rounds)
        async with databases(folder) as (sessions, ledger):
            projector = Projector(sessions, ledger, SETTINGS)
            await projector.load()
            projector.submit_nowait(ENVELOPES, [envelope(n) for n in range(1, 8)])
            projector.submit_nowait(TRAJECTORIES, [trajectory(n) for n in range(1, 5)])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(projector.run)
                for _ in range(rounds):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(projector.run)
                await projector.drain()
                nursery.cancel_scope.cancel()
            assert await sessions.read("SELECT envelopes, points FROM totals") == [(7, 20)]
            assert await ledger.read("SELECT credits, points FROM totals") == [(4, 20)]


async def test_left_out_lines_are_a_bug() -> None:
    async with databases() as (sessions, ledger):
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        with pytest.raises(AssertionError, match="left out"):
            projector.submit_nowait(ENVELOPES, [envelope(2)])


async def test_lines_gather_until_somebody_waits_for_them(autojump_clock: trio.testing.MockClock) -> None:
    """Single lines share a transaction; whoever needs one has it at once."""
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        nursery.start_soon(projector.run)
        began_at = trio.current_time()
        projector.submit_nowait(ENVELOPES, [envelope(1)])
        await trio.testing.wait_all_tasks_blocked()
        projector.submit_nowait(ENVELOPES, [envelope(2)])
        assert projector.statistics().lines_waiting == 2
        await trio.sleep(SETTINGS.projection_interval_s * 1.5)
        assert (projector.statistics().lines_projected, projector.statistics().batches) == (2, 1)
        now = trio.current_time()
        projector.submit_nowait(ENVELOPES, [envelope(3)])
        await projector.wait_projected(ENVELOPES, 3)
        assert trio.current_time() == now > began_at
        nursery.cancel_scope.cancel()


async def test_lines_gather_again_when_the_hurry_is_over(autojump_clock: trio.testing.MockClock) -> None:
    """Whether it was for a whole batch, or for somebody who waited for a line."""
    async with databases() as (sessions, ledger), trio.open_nursery() as nursery:
        projector = Projector(sessions, ledger, SETTINGS)
        await projector.load()
        nursery.start_soon(projector.run)

        async def batches_of(numbers: Sequence[int]) -> int:
            """How many batches lines become that come one after the other."""
            before = projector.statistics().batches
            for n in numbers:
                projector.submit_nowait(ENVELOPES, [envelope(n)])
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(SETTINGS.projection_interval_s * 1.5)
            return projector.statistics().batches - before

        projector.submit_nowait(ENVELOPES, [envelope(n) for n in (1, 2, 3)])
        await trio.testing.wait_all_tasks_blocked()
        assert projector.statistics().lines_projected == 3
        assert await batches_of([4, 5]) == 1
        projector.submit_nowait(ENVELOPES, [envelope(6)])
        await projector.wait_projected(ENVELOPES, 6)
        assert await batches_of([7]) == 1
        assert await batches_of([8, 9]) == 1
        nursery.cancel_scope.cancel()
