"""Disks and databases that kill their own process at a chosen operation: what `kill -9` hits only by chance."""

import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from persistence.databases.database import Database, DatabaseStatistics, Query, Row, Statement, Value
from persistence.databases.fingerprints import LOOK
from persistence.databases.migrations import Schema
from persistence.databases.opening import open_database
from persistence.files.file_system import Buffer, OsFile, OsFileSystem
from persistence.settings.storage import StorageSettings


class Phase(StrEnum):
    """What the service is about. A day change is the first write of a journal into a new day's file."""

    FIRST_START = "first start"
    RECOVERY = "recovery"
    SERVING = "serving"
    DAY_CHANGE = "day change"
    STOP = "stop"


class Moment(StrEnum):
    """When the process dies, seen from the operation. A write and a transaction can also be cut in half."""

    BEFORE = "before"
    HALFWAY = "halfway"
    AFTER = "after"


class Operation(msgspec.Struct, frozen=True):
    """What is done, where, in which phase: `serving: sync envelopes`."""

    phase: Phase
    action: str
    where: str

    def __str__(self) -> str:
        return f"{self.phase}: {self.action} {self.where}"


class Failpoint(msgspec.Struct, frozen=True):
    """The `count`-th time, counted from 1, of an operation; of any operation of a phase if `operation` ends in ": "."""

    operation: str
    count: int
    moment: Moment


class Death:
    """Counts operations, from whatever thread, and kills the process at the failpoint; without one it only counts."""

    def __init__(self, failpoint: Failpoint | None, phase: Phase) -> None:
        self._failpoint = failpoint
        self._lock = threading.Lock()
        self.phase = phase
        self.operations: Counter[str] = Counter()

    def begins(self, action: str, where: str, phase: Phase | None = None) -> Moment | None:
        """Count an operation that is about to happen; return the moment at which this very one is to die."""
        operation = Operation(phase or self.phase, action, where)
        names = (str(operation), f"{operation.phase}: ")
        with self._lock:
            self.operations.update(names)
            failpoint = self._failpoint
            if failpoint is None or failpoint.operation not in names:
                return None
            if self.operations[failpoint.operation] != failpoint.count:
                return None
        self.dies(failpoint.moment, Moment.BEFORE)
        return failpoint.moment

    @contextmanager
    def around(self, action: str, where: str, phase: Phase | None = None) -> Iterator[Moment | None]:
        """Count an operation and die before or after it."""
        moment = self.begins(action, where, phase)
        yield moment
        self.dies(moment, Moment.AFTER)

    def is_ahead(self) -> bool:
        """Whether it is still to come, and comes if only clients go on."""
        failpoint = self._failpoint
        return (
            failpoint is not None
            and failpoint.operation.startswith((Phase.SERVING, Phase.DAY_CHANGE))
            and self.operations[failpoint.operation] < failpoint.count
        )

    @staticmethod
    def dies(moment: Moment | None, now: Moment) -> None:
        """Die if it is time."""
        if moment is now:
            os.kill(os.getpid(), signal.SIGKILL)


class FailingFile(OsFile):
    """A file whose operations are counted."""

    def __init__(self, file: OsFile, death: Death, where: str, phase: Phase | None = None) -> None:
        super().__init__(file._descriptor)
        self._death = death
        self._where = where
        self._phase = phase
        self._is_written = False

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write, perhaps only the first half of the bytes."""
        with self._death.around("write", self._where, self._phase) as moment:
            if moment is Moment.HALFWAY:
                octets = b"".join(buffers)
                super().write_at([octets[: len(octets) // 2]], offset)
                self._death.dies(moment, Moment.HALFWAY)
            super().write_at(buffers, offset)
        self._is_written = True

    def read_at(self, offset: int, length: int) -> bytes:
        """Read."""
        with self._death.around("read", self._where):
            return super().read_at(offset, length)

    def sync(self) -> None:
        """Sync; a new file is no longer new once its first lines are synced."""
        with self._death.around("sync" if self._is_written or not self._phase else "sync new file in", *self._place()):
            super().sync()
        if self._is_written:
            self._phase = None

    def _place(self) -> tuple[str, Phase | None]:
        return self._where, self._phase

    def truncate(self, size: int) -> None:
        """Cut."""
        with self._death.around("truncate", *self._place()):
            super().truncate(size)


class FailingFileSystem(OsFileSystem):
    """The operating system's files below a data directory, with a death among their operations."""

    def __init__(self, root: Path, death: Death) -> None:
        self._root = root
        self._death = death
        self._created_in: dict[str, Phase] = {}

    def _where(self, path: Path) -> str:
        """The folder of the data directory that a path belongs to."""
        if path == self._root or not path.is_relative_to(self._root):
            return "data" if path == self._root else "beside data"
        return path.relative_to(self._root).parts[0]

    def make_directory(self, path: Path) -> None:
        """Create a folder."""
        with self._death.around("make folder", self._where(path)):
            super().make_directory(path)

    def list_names(self, path: Path) -> list[str]:
        """List a folder."""
        with self._death.around("list", self._where(path)):
            return super().list_names(path)

    def create(self, path: Path) -> FailingFile:
        """Create a file."""
        where = self._where(path)
        phase = self._death.phase
        if path.suffix == ".jsonl" and any(path.parent.iterdir()):
            phase = Phase.DAY_CHANGE
        self._created_in[where] = phase
        with self._death.around("create file in", where, phase):
            return FailingFile(super().create(path), self._death, where, phase)

    def open(self, path: Path) -> FailingFile:
        """Open a file."""
        return FailingFile(super().open(path), self._death, self._where(path))

    def open_read_only(self, path: Path) -> FailingFile:
        """Open a file for reading."""
        return FailingFile(super().open_read_only(path), self._death, self._where(path))

    def remove(self, path: Path) -> None:
        """Remove a file."""
        with self._death.around("remove file in", self._where(path)):
            super().remove(path)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another's name."""
        with self._death.around("rename file in", self._where(source)):
            super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        """Sync a folder."""
        where = self._where(path)
        with self._death.around("sync folder", where, self._created_in.pop(where, None)):
            super().sync_directory(path)


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
        with self._death.around("commit an opening in" if durable else "commit lines in", self._name) as moment:
            if moment is Moment.HALFWAY:
                deadly = Statement("UPDATE totals SET id = id WHERE id = ?", _DeadlyRows([(1,)], self._death))
                statements = [*statements, deadly]
            return await self._database.write(statements, durable=durable)

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer a query; one that looks for steps that were sent before is a look into the database."""
        if sql != LOOK:
            return await self._database.read(sql, parameters)
        with self._death.around("look into", self._name):
            return await self._database.read(sql, parameters)

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several."""
        with self._death.around("look into", self._name):
            return await self._database.read_snapshot(queries)

    async def checkpoint(self) -> None:
        """Checkpoint."""
        with self._death.around("checkpoint", self._name):
            await self._database.checkpoint()

    async def compact(self) -> None:
        """Write it anew."""
        with self._death.around("compact", self._name):
            await self._database.compact()

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
        moment = death.begins("open", schema.name)
        async with open_database(path, schema, settings, applied_at=applied_at) as database:
            death.dies(moment, Moment.AFTER)
            yield FailingDatabase(database, schema.name, death)
            moment = death.begins("close", schema.name)
        death.dies(moment, Moment.AFTER)

    return opened
