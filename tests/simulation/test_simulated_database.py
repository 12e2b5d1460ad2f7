"""A power failure takes a database back to a whole commit, and never behind one that was synced."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from msgspec import structs

from persistence.databases.database import Database, DatabaseFull, Statement
from persistence.databases.migrations import Schema
from persistence.settings.storage import StorageSettings
from tests.simulation.randomness import stream
from tests.simulation.simulated_database import Databases
from tests.simulation.simulated_disk import Crashed, When

SCHEMA = Schema(name="numbers.db", migrations=("CREATE TABLE numbers (n INTEGER PRIMARY KEY, pad TEXT);",))
ROOMY = StorageSettings()
AT = "2026-11-20T10:00:00.000000Z"


class OpenGate:
    """Lets everything happen, but for what a test says."""

    def __init__(self) -> None:
        self.is_over = False
        self.answer: When | None = None
        self.error: OSError | None = None

    def enter(self, operation: str, path: Path) -> When | None:
        if self.error is not None:
            raise self.error
        return self.answer

    def end(self) -> None:
        self.is_over = True
        raise Crashed

    def room_bytes(self) -> int:
        return 2**30


class Running:
    """A database, and what a crash leaves of it."""

    def __init__(self, database: Database, databases: Databases, path: Path) -> None:
        self.database = database
        self.databases = databases
        self.path = path

    async def add(self, n: int, *, durable: bool = False) -> None:
        await self.database.write([Statement("INSERT INTO numbers VALUES (?, ?)", [(n, "x" * 3_000)])], durable=durable)

    def after_power_failure(self, seed: int, folder: Path) -> list[int]:
        """Crash with this seed, and return the rows that are left."""
        left = self.databases.files([self.path], stream(seed, "power"))[self.path]
        target = folder / f"after-{seed}.db"
        left.restore(target)
        with closing(sqlite3.connect(target)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


@asynccontextmanager
async def running(
    folder: Path, gate: OpenGate, settings: StorageSettings = ROOMY, synced: list[bool] | None = None
) -> AsyncIterator[Running]:
    def committed(name: str, statements: Sequence[Statement], durable: bool) -> None:  # noqa: FBT001
        if synced is not None:
            synced.append(durable)

    databases = Databases(gate, committed)
    path = folder / SCHEMA.name
    async with databases.open(path, SCHEMA, settings, applied_at=AT) as database:
        yield Running(database, databases, path)


async def test_unsynced_commits_may_be_undone_and_synced_ones_never(tmp_path: Path) -> None:
    """What is left is always the first so many commits, at least up to the last durable one."""
    async with running(tmp_path, OpenGate()) as run:
        await run.add(1)
        await run.add(2, durable=True)
        await run.add(3)
        await run.add(4)
        outcomes = {tuple(run.after_power_failure(seed, tmp_path)) for seed in range(40)}
    assert outcomes == {(1, 2), (1, 2, 3), (1, 2, 3, 4)}


async def test_a_checkpoint_makes_everything_before_it_stay(tmp_path: Path) -> None:
    async with running(tmp_path, OpenGate()) as run:
        await run.add(1)
        await run.add(2)
        await run.database.checkpoint()
        assert run.after_power_failure(0, tmp_path) == [1, 2]
        await run.add(3)
        outcomes = {tuple(run.after_power_failure(seed, tmp_path)) for seed in range(1, 30)}
    assert outcomes == {(1, 2), (1, 2, 3)}


async def test_automatic_checkpoints_are_noticed(tmp_path: Path) -> None:
    """With a small log SQLite checkpoints by itself again and again: no outcome may lack what that has synced."""
    settings = structs.replace(ROOMY, wal_checkpoint_pages=6)
    synced: list[bool] = []
    async with running(tmp_path, OpenGate(), settings, synced) as run:
        for n in range(1, 41):
            await run.add(n)
            certain = max((at for at, durable in enumerate(synced, start=1) if durable), default=0)
            rows = run.after_power_failure(n, tmp_path)
            assert rows == list(range(1, len(rows) + 1))
            # The commit that restarts the log tells that all before it had been copied.
            assert certain <= len(rows) + 1
    assert True in synced


async def test_a_killed_process_loses_no_commit(tmp_path: Path) -> None:
    async with running(tmp_path, OpenGate()) as run:
        await run.add(1)
        await run.add(2)
        left = run.databases.files([run.path], None)[run.path]
    target = tmp_path / "after.db"
    left.restore(target)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchall() == [(2,)]


@pytest.mark.parametrize(("when", "rows"), [(When.BEFORE, []), (When.HALFWAY, []), (When.AFTER, [1])])
async def test_a_crash_within_a_transaction_undoes_it(tmp_path: Path, when: When, rows: list[int]) -> None:
    gate = OpenGate()
    async with running(tmp_path, gate) as run:
        gate.answer = when
        with pytest.raises(Crashed):
            await run.add(1, durable=True)
        assert run.after_power_failure(0, tmp_path) == rows


async def test_a_full_disk_is_what_the_product_knows_as_one(tmp_path: Path) -> None:
    gate = OpenGate()
    async with running(tmp_path, gate) as run:
        gate.error = OSError(28, "No space left on device")
        with pytest.raises(DatabaseFull):
            await run.add(1)
        gate.error = None
        await run.add(1)
