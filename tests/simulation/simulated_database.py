"""SQLite for real, in place, on real files; a power failure cuts its write-ahead log back to an earlier commit.

A commit that was not synced (`synchronous = NORMAL`) may be undone by a power failure, together with all commits after
it; SQLite promises that what is left is a whole earlier state. A durable commit, or a checkpoint, makes everything up
to it stay. The wal-index (`-shm`) says after each commit how many frames the log has, in which generation (its salt),
and how many of them a checkpoint has copied: a change of the last two means that the log was synced first.
"""

import errno
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import trio

from persistence.databases.database import (
    Database,
    DatabaseBusy,
    DatabaseFailure,
    DatabaseFull,
    DatabaseStatistics,
    Query,
    Row,
    Statement,
    Value,
)
from persistence.databases.migrations import Schema
from persistence.databases.opening import open_inline_database
from persistence.settings.storage import StorageSettings
from tests.simulation.randomness import Stream
from tests.simulation.simulated_disk import Crashed, Gate, When

WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
WAL_INDEX = struct.Struct("=14xH I 12x 8s 56x I")
"""Of the wal-index: page size, frames, salt (all of the first header), and how many frames are checkpointed."""


FAILURES: dict[int, type[DatabaseFailure]] = {errno.ENOSPC: DatabaseFull, errno.EBUSY: DatabaseBusy}
"""What the product takes an injected error of a transaction for."""


class WalState(msgspec.Struct, frozen=True):
    """The log as it is now."""

    page_bytes: int = 0
    frames: int = 0
    salt: bytes = b""
    checkpointed: int = 0


class Wal:
    """A write-ahead log's commits, and up to which of them it is on stable storage."""

    def __init__(self, path: Path) -> None:
        self._index = path.with_name(path.name + "-shm")
        self._state = WalState()
        self.commits: list[int] = [0]
        """Where the log may end after a power failure, in frames: the last synced commit first, then all later ones."""

    def committed(self, *, durable: bool) -> bool:
        """Look at the log after a commit; answer whether everything up to it, or just before it, was synced."""
        before, now = self._state, self._read()
        self._state = now
        is_new = now.salt != before.salt
        if is_new:
            self.commits = [0]  # what was before is in the database's main file
        self.commits.append(now.frames)
        if durable or now.checkpointed > (0 if is_new else before.checkpointed):
            self.commits = [now.frames]
            return True
        return False

    def emptied(self) -> None:
        """A checkpoint has emptied the log."""
        self._state = WalState()
        self.commits = [0]

    def survivor_bytes(self, chance: Stream) -> tuple[int, int]:
        """How long the log is after a power failure, and how many commits are undone.

        It may end within the first of these.
        """
        frame = FRAME_HEADER_BYTES + self._state.page_bytes
        kept = chance.randrange(len(self.commits))
        size = WAL_HEADER_BYTES + self.commits[kept] * frame
        if kept + 1 < len(self.commits):
            size += chance.randrange((self.commits[kept + 1] - self.commits[kept]) * frame or 1)
        return size, len(self.commits) - 1 - kept

    def _read(self) -> WalState:
        descriptor = os.open(self._index, os.O_RDONLY)
        try:
            page_bytes, frames, salt, checkpointed = WAL_INDEX.unpack(os.pread(descriptor, WAL_INDEX.size, 0))
        finally:
            os.close(descriptor)
        return WalState(page_bytes, frames, salt, checkpointed)


class DatabaseFiles(msgspec.Struct, frozen=True):
    """What is left of a database after a crash: its file and its log."""

    main: bytes
    log: bytes | None

    def restore(self, path: Path) -> None:
        """Write it to its place; the wal-index is not kept through a crash."""
        path.write_bytes(self.main)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        log = path.with_name(path.name + "-wal")
        log.unlink(missing_ok=True)
        if self.log is not None:
            log.write_bytes(self.log)


class SimulatedDatabase:
    """A database whose transactions pass the gate, and that knows what a power failure would leave of it."""

    def __init__(
        self,
        inner: Database,
        path: Path,
        gate: Gate,
        committed: Callable[[Sequence[Statement], bool], None],
        take_time: Callable[[], Awaitable[None]],
    ) -> None:
        self._inner = inner
        self._path = path
        self._gate = gate
        self._committed = committed
        self._take_time = take_time
        self._wal = Wal(path)

    @property
    def path(self) -> Path | None:
        """The database's file."""
        return self._path

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        """Run all statements in one transaction, which a crash within it undoes."""
        await self._wait()
        when = self._enter("commit")
        if when is When.BEFORE or when is When.HALFWAY:
            self._gate.end()
        counts = await self._inner.write(statements, durable=durable)
        if self._gate.is_over:
            raise Crashed  # while it waited for its turn: what is left of the database was taken before
        self._committed(statements, self._wal.committed(durable=durable))
        if when is When.AFTER:
            self._gate.end()
        await self._wait()
        return counts

    async def _wait(self) -> None:
        """A call crosses into a thread and back; whoever is cancelled meanwhile waits for it all the same."""
        with trio.CancelScope(shield=True):
            await self._take_time()
        if self._gate.is_over:
            raise Crashed

    def _enter(self, operation: str) -> When | None:
        try:
            return self._gate.enter(operation, self._path)
        except OSError as error:
            raise FAILURES.get(error.errno or 0, DatabaseFailure)(
                f"{self._path.name} failed ({error.strerror})"
            ) from error

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer all rows of one query."""
        rows = await self._inner.read(sql, parameters)
        await self._wait()
        return rows

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several queries from one state."""
        answers = await self._inner.read_snapshot(queries)
        await self._wait()
        return answers

    async def checkpoint(self) -> None:
        """Move the log into the database."""
        await self._empty_log("checkpoint", self._inner.checkpoint)

    async def compact(self) -> None:
        """Write it anew."""
        await self._empty_log("compact", self._inner.compact)

    async def _empty_log(self, operation: str, call: Callable[[], Awaitable[None]]) -> None:
        when = self._enter(operation)
        if when is When.BEFORE or when is When.HALFWAY:
            self._gate.end()
        await call()
        if self._gate.is_over:
            raise Crashed
        self._wal.emptied()
        self._committed((), True)  # noqa: FBT003
        if when is When.AFTER:
            self._gate.end()

    async def close(self) -> None:
        """Close it."""
        await self._inner.close()

    def statistics(self) -> DatabaseStatistics:
        """What has been done so far."""
        return self._inner.statistics()

    def files(self, power_failure: Stream | None) -> tuple[DatabaseFiles, int]:
        """What a crash at this moment leaves, and how many commits it undoes."""
        log_path = self._path.with_name(self._path.name + "-wal")
        log = log_path.read_bytes() if log_path.exists() else None
        undone = 0
        if log is not None and power_failure is not None:
            size, undone = self._wal.survivor_bytes(power_failure)
            log = log[:size]
        return DatabaseFiles(self._path.read_bytes(), log), undone


class Databases:
    """Opens the databases of one life, and keeps hold of them for its crash."""

    def __init__(
        self,
        gate: Gate,
        committed: Callable[[str, Sequence[Statement], bool], None],
        take_time: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._gate = gate
        self._committed = committed
        self._take_time = take_time
        self._open: dict[Path, SimulatedDatabase] = {}
        self.undone: dict[str, int] = {}
        """How many commits the crash has undone, by database."""

    def open(
        self, path: Path, schema: Schema, settings: StorageSettings, *, applied_at: str
    ) -> AbstractAsyncContextManager[Database]:
        """Open a database: what `Platform.open_database` is in a simulation."""
        return self._opened(path, schema, settings, applied_at)

    @asynccontextmanager
    async def _opened(
        self, path: Path, schema: Schema, settings: StorageSettings, applied_at: str
    ) -> AsyncIterator[Database]:
        async with open_inline_database(path, schema, settings, applied_at=applied_at) as inner:
            database = SimulatedDatabase(
                inner,
                path,
                self._gate,
                lambda statements, synced: self._committed(path.name, statements, synced),
                self._take_time,
            )
            self._open[path] = database
            try:
                yield database
            finally:
                self._open.pop(path, None)

    def files(self, paths: Sequence[Path], power_failure: Stream | None) -> dict[Path, DatabaseFiles]:
        """What a crash at this moment leaves of every database, open or not."""
        left: dict[Path, DatabaseFiles] = {}
        for path in paths:
            if path in self._open:
                left[path], self.undone[path.name] = self._open[path].files(power_failure)
            elif path.exists():
                log = path.with_name(path.name + "-wal")
                left[path] = DatabaseFiles(path.read_bytes(), log.read_bytes() if log.exists() else None)
        return left
