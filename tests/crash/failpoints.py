"""Disks and databases that kill their own process at a chosen operation: what `kill -9` hits only by chance."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from persistence.database import Database, DatabaseStatistics, Query, Row, Statement, Value, open_database
from persistence.files import Buffer, OsFile, OsFileSystem
from persistence.migrations import Schema
from persistence.settings import StorageSettings


class Moment(StrEnum):
    """When the process dies, seen from the operation. A write can also be cut in half."""

    BEFORE = "before"
    HALFWAY = "halfway"
    AFTER = "after"


class Failpoint(msgspec.Struct, frozen=True):
    """The `count`-th operation of a kind, counted from 1."""

    operation: str
    count: int
    moment: Moment


class Death:
    """Counts operations and kills the process at the failpoint; without one it only counts."""

    def __init__(self, failpoint: Failpoint | None) -> None:
        self._failpoint = failpoint
        self.operations: Counter[str] = Counter()

    def begins(self, operation: str) -> Moment | None:
        """Count an operation that is about to happen; return the moment at which this very one is to die."""
        self.operations[operation] += 1
        failpoint = self._failpoint
        if failpoint is None or (failpoint.operation, failpoint.count) != (operation, self.operations[operation]):
            return None
        self.dies(failpoint.moment, Moment.BEFORE)
        return failpoint.moment

    def is_ahead(self, repeated: frozenset[str]) -> bool:
        """Whether it is still to come, at an operation of one of these kinds."""
        failpoint = self._failpoint
        return (
            failpoint is not None
            and failpoint.operation in repeated
            and (self.operations[failpoint.operation] < failpoint.count)
        )

    @staticmethod
    def dies(moment: Moment | None, now: Moment) -> None:
        """Die if it is time."""
        if moment is now:
            os.kill(os.getpid(), signal.SIGKILL)


class FailingFile(OsFile):
    """A file whose writes, syncs and cuts are counted."""

    def __init__(self, file: OsFile, death: Death) -> None:
        super().__init__(file._descriptor)
        self._death = death

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write, perhaps only the first half of the bytes."""
        moment = self._death.begins("write")
        if moment is Moment.HALFWAY:
            octets = b"".join(buffers)
            super().write_at([octets[: len(octets) // 2]], offset)
            self._death.dies(moment, Moment.HALFWAY)
        super().write_at(buffers, offset)
        self._death.dies(moment, Moment.AFTER)

    def sync(self) -> None:
        """Sync."""
        moment = self._death.begins("sync")
        super().sync()
        self._death.dies(moment, Moment.AFTER)

    def truncate(self, size: int) -> None:
        """Cut."""
        moment = self._death.begins("truncate")
        super().truncate(size)
        self._death.dies(moment, Moment.AFTER)


class FailingFileSystem(OsFileSystem):
    """The operating system's files, with a death among their operations."""

    def __init__(self, death: Death) -> None:
        self._death = death

    def make_directory(self, path: Path) -> None:
        """Create a folder."""
        moment = self._death.begins("make_directory")
        super().make_directory(path)
        self._death.dies(moment, Moment.AFTER)

    def create(self, path: Path) -> FailingFile:
        """Create a file."""
        moment = self._death.begins("create")
        file = FailingFile(super().create(path), self._death)
        self._death.dies(moment, Moment.AFTER)
        return file

    def open(self, path: Path) -> FailingFile:
        """Open a file."""
        return FailingFile(super().open(path), self._death)

    def sync_directory(self, path: Path) -> None:
        """Sync a folder."""
        moment = self._death.begins("sync_directory")
        super().sync_directory(path)
        self._death.dies(moment, Moment.AFTER)


class FailingDatabase:
    """A database with a death among its transactions."""

    def __init__(self, database: Database, name: str, death: Death) -> None:
        self._database = database
        self._name = name
        self._death = death

    @property
    def path(self) -> Path | None:
        """The file."""
        return self._database.path

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        """Run a transaction; halfway is within it, before its commit."""
        moment = self._death.begins(f"commit {self._name}")
        if moment is Moment.HALFWAY:
            deadly = Statement("UPDATE totals SET id = id WHERE id = ?", _DeadlyRows([(1,)], self._death))
            statements = [*statements, deadly]
        counts = await self._database.write(statements, durable=durable)
        self._death.dies(moment, Moment.AFTER)
        return counts

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer a query."""
        return await self._database.read(sql, parameters)

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several."""
        return await self._database.read_snapshot(queries)

    async def checkpoint(self) -> None:
        """Checkpoint."""
        moment = self._death.begins(f"checkpoint {self._name}")
        await self._database.checkpoint()
        self._death.dies(moment, Moment.AFTER)

    async def close(self) -> None:
        """Close."""
        await self._database.close()

    def statistics(self) -> DatabaseStatistics:
        """What has been done."""
        return self._database.statistics()


class _DeadlyRows(list[tuple[Value, ...]]):
    """The last statement's rows: the process dies when it is its turn, after all others have run."""

    def __init__(self, rows: Sequence[tuple[Value, ...]], death: Death) -> None:
        super().__init__(rows)
        self._death = death

    def __iter__(self) -> Iterator[tuple[Value, ...]]:
        self._death.dies(Moment.HALFWAY, Moment.HALFWAY)
        return super().__iter__()


def failing_databases(death: Death) -> object:
    """An `OpenDatabase` with that death among the transactions of what it opens."""

    @asynccontextmanager
    async def opened(
        path: Path, schema: Schema, settings: StorageSettings, *, applied_at: str
    ) -> AsyncIterator[Database]:
        moment = death.begins(f"open {schema.name}")
        async with open_database(path, schema, settings, applied_at=applied_at) as database:
            death.dies(moment, Moment.AFTER)
            yield FailingDatabase(database, schema.name, death)

    return opened
