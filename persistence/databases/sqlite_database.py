"""A database over two connections of SQLite: one that writes, and one that reads.

Theory of operation. SQLite before 3.51.3 can lose committed transactions when two connections of a database checkpoint
at once, so exactly one connection writes and checkpoints: the reader is `query_only`, has `wal_autocheckpoint = 0`, and
is closed first, because whoever closes last checkpoints. A trip to a connection costs the same whatever it does
(`persistence.databases.connection`), so callers batch.

Cancellation. Waiting for a connection is a checkpoint; from BEGIN to COMMIT or ROLLBACK is shielded, so a caller that
is cancelled leaves either nothing or a whole transaction behind, and never a connection in the middle of one.

The order of the calls is written once, over `Connection`, which aiosqlite and plain sqlite3 both serve: `rebuild`, the
commands and simulations run the same code in place.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from persistence.databases.connection import Connection, empty_log, fetch_all, fetch_snapshot, transact, written_anew
from persistence.databases.database import (
    SQLITE_ERRORS,
    DatabaseBusy,
    DatabaseStatistics,
    Query,
    Row,
    Statement,
    Value,
    failure_of,
)

T = TypeVar("T")


class SqliteDatabase:
    """The database over two connections (or one, in memory, that is both)."""

    def __init__(self, path: Path | None, name: str, writer: Connection, reader: Connection) -> None:
        self._path = path
        self._name = name
        self._writer = writer
        self._reader = reader
        self._writer_lock = trio.Lock()
        # One connection cannot answer a reader while it is within a writer's transaction.
        self._reader_lock = trio.Lock() if reader is not writer else self._writer_lock
        self._synchronous_full: bool | None = False
        self._closed = False
        self._transactions = 0
        self._durable_transactions = 0
        self._reads = 0
        self._checkpoints = 0

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self._name} {'closed' if self._closed else 'open'} transactions={self._transactions}>"

    @property
    def path(self) -> Path | None:
        """The database's file; None when it is in memory only."""
        return self._path

    async def write(self, statements: Iterable[Statement], *, durable: bool) -> list[int]:
        """Run all statements in one IMMEDIATE transaction."""
        async with self._writer_lock:
            with trio.CancelScope(shield=True):
                counts = await self._translated(lambda: self._write(statements, durable=durable))
        return counts

    async def _write(self, statements: Iterable[Statement], *, durable: bool) -> list[int]:
        pragma = (
            None if durable is self._synchronous_full else f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}"
        )
        self._synchronous_full = None  # until it is known to have been set
        rest_s = 0.0 if durable else self._writer.rest_s
        counts = await self._writer.do(partial(transact, statements, pragma, rest_s))
        self._synchronous_full = durable
        self._transactions += 1
        self._durable_transactions += durable
        return counts

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer all rows of one query."""
        async with self._reader_lock:
            with trio.CancelScope(shield=True):
                self._reads += 1
                rows = await self._translated(lambda: self._reader.do(partial(fetch_all, sql, parameters)))
        return rows

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several queries from one and the same state of the database."""
        async with self._reader_lock:
            with trio.CancelScope(shield=True):
                self._reads += 1
                answers = await self._translated(lambda: self._reader.do(partial(fetch_snapshot, queries)))
        return answers

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database and empty it, as far as no reader holds it."""
        async with self._writer_lock:
            with trio.CancelScope(shield=True):
                await self._translated(lambda: self._writer.do(empty_log))
                self._checkpoints += 1

    async def compact(self) -> None:
        """Write the database anew without what was deleted from it, and empty its log, with nobody else at work.

        Raises DatabaseBusy when another process reads it, and something of what was there may be left.
        """
        no_reader = nullcontext() if self._reader is self._writer else self._reader_lock
        async with self._writer_lock, no_reader:
            with trio.CancelScope(shield=True):
                is_done = await self._translated(lambda: self._writer.do(written_anew))
                self._checkpoints += 1
        if not is_done:
            raise DatabaseBusy(f"another process reads {self._name}: what was deleted from it is still in its files")

    async def close(self) -> None:
        """Close both connections, the reader first; a second call does nothing."""
        with trio.CancelScope(shield=True):
            async with self._writer_lock:
                if self._closed:
                    return
                self._closed = True
                try:
                    if self._reader is not self._writer:
                        async with self._reader_lock:
                            await self._reader.close()
                finally:
                    await self._translated(self._writer.close)

    def statistics(self) -> DatabaseStatistics:
        """What has been done so far."""
        return DatabaseStatistics(
            transactions=self._transactions,
            durable_transactions=self._durable_transactions,
            reads=self._reads,
            checkpoints=self._checkpoints,
        )

    async def _translated(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except SQLITE_ERRORS as error:
            raise failure_of(error, self._name) from error
