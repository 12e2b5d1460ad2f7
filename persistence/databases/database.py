"""The databases: one writing and one reading connection each, and the only bridge to aiosqlite.

Theory of operation. SQLite before 3.51.3 can lose committed transactions when two connections of a database checkpoint
at once, so exactly one connection writes and checkpoints: the reader is `query_only`, has `wal_autocheckpoint = 0`, and
is closed first, because whoever closes last checkpoints. aiosqlite awaits asyncio futures, so this module runs it under
the loop of `bridge_to_asyncio`, which the storage enters first. Each call crosses a thread and costs about half a
millisecond, whatever it does: so a transaction is one call, and callers batch.

Cancellation. Waiting for a connection is a checkpoint; from BEGIN to COMMIT or ROLLBACK is shielded, so a caller that
is cancelled leaves either nothing or a whole transaction behind, and never a connection in the middle of one.

The order of the calls is written once, over `Connection`, which aiosqlite and plain sqlite3 both serve: `rebuild`, the
commands and simulations run the same code in place.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite
import msgspec
import trio
import trio_asyncio
from trio_asyncio import aio_as_trio

from persistence.databases.migrations import NewerSchema, Schema, migrate
from persistence.files.failures import StorageFailure
from persistence.settings.storage import StorageSettings

Value = str | int | float | bytes | None
Row = tuple[Any, ...]
Query = tuple[str, Sequence[Value]]
T = TypeVar("T")

REST_ROWS = 50
"""Rows between two rests of a transaction that is not durable: half a millisecond's work."""

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises; the second when a name or a text in a damaged database is no UTF-8 any more."""


class DatabaseFailure(StorageFailure):
    """A database cannot do its work any more (disk full, input or output error, damage): one sentence says why."""


class DatabaseUnavailable(DatabaseFailure):
    """A transaction is not possible now: nothing was changed, and it may be tried again later."""


class DatabaseFull(DatabaseUnavailable):
    """The disk has no room for a transaction; there may be some later."""


class DatabaseBusy(DatabaseUnavailable):
    """Another program has held the database for longer than `database_busy_timeout_s`; it may let go of it later."""


class Statement(msgspec.Struct, frozen=True):
    """One SQL statement and the rows of parameters to run it with, one after another; no rows, nothing is run."""

    sql: str
    rows: Sequence[Sequence[Value]]


class DatabaseStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a database has done since it was opened."""

    transactions: int
    durable_transactions: int
    reads: int
    checkpoints: int


class Database(Protocol):
    """One SQLite database in WAL mode. Every method raises `DatabaseFailure` when the database cannot do its work."""

    @property
    def path(self) -> Path | None:
        """The database's file; None when it is in memory only."""
        ...

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        """Run all statements in one IMMEDIATE transaction; answer how many rows each changed.

        `durable` syncs before it returns (`synchronous = FULL`); otherwise a crash of the machine may undo the
        transaction, never damage the database (`NORMAL`).
        """
        ...

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer all rows of one query; bound it with LIMIT."""
        ...

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several queries from one and the same state of the database."""
        ...

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database and empty it, as far as no reader holds it."""
        ...

    async def close(self) -> None:
        """Close both connections, the reader first; a second call does nothing."""
        ...

    def statistics(self) -> DatabaseStatistics:
        """What has been done so far."""
        ...


class Connection(Protocol):
    """What a database needs of a connection; errors are `sqlite3.Error`."""

    rest_s: float
    """Seconds to rest after every `REST_ROWS` rows of a transaction that is not durable; 0 for never."""

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` makes of the connection, in one go: nothing else happens on it meanwhile."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class ThreadedConnection:
    """A connection of aiosqlite, called from trio.

    SQLite gives the interpreter's lock away and takes it back with every row. While it does so for a thousand rows on
    end, a journal's thread and the event loop wait for the lock behind it and behind each other, and a group commit
    takes several times as long. So projection rests now and then, and takes a little longer; openings do not.
    """

    rest_s = 0.001

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the connection's thread."""
        # What all methods of aiosqlite's connection are made of. Through them a transaction would be as many trips to
        # the thread as it has statements, and each trip costs the event loop more than its statement does.
        execute = self._connection._execute  # noqa: SLF001
        answer: T = await aio_as_trio(execute)(work, self._connection._conn)  # noqa: SLF001
        return answer

    async def close(self) -> None:
        """Close it and end its thread."""
        await aio_as_trio(self._connection.close)()


class InlineConnection:
    """A connection of sqlite3, called in place."""

    rest_s = 0.0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now."""
        return work(self._connection)

    async def close(self) -> None:
        """Close it."""
        self._connection.close()


def _set_up(pragmas: Sequence[str], connection: sqlite3.Connection) -> None:
    for pragma in pragmas:
        connection.execute(pragma).fetchall()


def _transact(
    statements: Sequence[Statement], pragma: str | None, rest_s: float, connection: sqlite3.Connection
) -> list[int]:
    """Run all statements in one transaction; answer how many rows each changed."""
    if pragma is not None:
        # Before BEGIN: within a transaction SQLite ignores it.
        connection.execute(pragma).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        counts = [_run_many(each, rest_s, connection) for each in statements]
        connection.execute("COMMIT")
    except BaseException:
        # After some errors (a full disk) SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return counts


def _run_many(statement: Statement, rest_s: float, connection: sqlite3.Connection) -> int:
    """Run one statement for each of its rows; answer how many rows of the database it changed."""
    rows, changed = statement.rows, 0
    if not rows:
        return 0
    if not rest_s or len(rows) <= REST_ROWS:
        return connection.executemany(statement.sql, rows).rowcount
    for start in range(0, len(rows), REST_ROWS):
        if start:
            time.sleep(rest_s)
        changed += connection.executemany(statement.sql, rows[start : start + REST_ROWS]).rowcount
    return changed


def _fetch_all(sql: str, parameters: Sequence[Value], connection: sqlite3.Connection) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()


def _fetch_snapshot(queries: Sequence[Query], connection: sqlite3.Connection) -> list[list[Row]]:
    connection.execute("BEGIN")
    try:
        return [_fetch_all(sql, parameters, connection) for sql, parameters in queries]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # nothing was written: this only lets go of the snapshot


def _empty_log(connection: sqlite3.Connection) -> None:
    # Without the wait for whoever reads an older state: what cannot be moved now is moved by a later checkpoint.
    ((waiting_ms,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {waiting_ms}").fetchall()


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

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        """Run all statements in one IMMEDIATE transaction."""
        async with self._writer_lock:
            with trio.CancelScope(shield=True):
                counts = await self._translated(lambda: self._write(statements, durable=durable))
        return counts

    async def _write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        pragma = (
            None if durable is self._synchronous_full else f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}"
        )
        self._synchronous_full = None  # until it is known to have been set
        rest_s = 0.0 if durable else self._writer.rest_s
        counts = await self._writer.do(partial(_transact, statements, pragma, rest_s))
        self._synchronous_full = durable
        self._transactions += 1
        self._durable_transactions += durable
        return counts

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer all rows of one query."""
        async with self._reader_lock:
            with trio.CancelScope(shield=True):
                self._reads += 1
                rows = await self._translated(lambda: self._reader.do(partial(_fetch_all, sql, parameters)))
        return rows

    async def read_snapshot(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Answer several queries from one and the same state of the database."""
        async with self._reader_lock:
            with trio.CancelScope(shield=True):
                self._reads += 1
                answers = await self._translated(lambda: self._reader.do(partial(_fetch_snapshot, queries)))
        return answers

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database and empty it, as far as no reader holds it."""
        async with self._writer_lock:
            with trio.CancelScope(shield=True):
                await self._translated(lambda: self._writer.do(_empty_log))
                self._checkpoints += 1

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


def failure_of(error: Exception, name: str) -> DatabaseFailure:
    """Say in one sentence what happened to the database `name` (codes: sqlite.org/rescode.html)."""
    unknown = sqlite3.SQLITE_CORRUPT if isinstance(error, UnicodeDecodeError) else 0
    code = getattr(error, "sqlite_errorcode", unknown) & 0xFF
    sentences = {
        sqlite3.SQLITE_FULL: f"no space is left on the disk for {name}",
        sqlite3.SQLITE_IOERR: f"the disk failed while {name} was read or written",
        sqlite3.SQLITE_CORRUPT: f"{name} is damaged; rebuild it from the journals or restore a backup",
        sqlite3.SQLITE_NOTADB: f"{name} is not a database; rebuild it from the journals or restore a backup",
        sqlite3.SQLITE_BUSY: f"another process holds {name}",
        sqlite3.SQLITE_READONLY: f"{name} cannot be written; check who owns it and its mode",
        sqlite3.SQLITE_CANTOPEN: f"{name} cannot be opened; check its folder, who owns it and its mode",
        sqlite3.SQLITE_CONSTRAINT: f"{name} holds something else than the journals say",
    }
    failure = {sqlite3.SQLITE_FULL: DatabaseFull, sqlite3.SQLITE_BUSY: DatabaseBusy}.get(code, DatabaseFailure)
    return failure(f"{sentences.get(code, f'{name} failed')} ({error})")


def _prepare(path: Path, schema: Schema, settings: StorageSettings, applied_at: str) -> None:
    """Create the file (0600 in 0700; its -wal and -shm take its mode) and migrate it, over a connection of its own."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
            _sync_folder(path.parent)
    except OSError as error:
        raise DatabaseFailure(f"{schema.name} cannot be created in {path.parent}: {error.strerror}") from error
    try:
        connecting = sqlite3.connect(path, isolation_level=None, timeout=settings.database_busy_timeout_s)
        with closing(connecting) as connection:
            for pragma in _writer_pragmas(settings):
                connection.execute(pragma)
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, schema, applied_at=applied_at)
    except NewerSchema as error:
        raise DatabaseFailure(str(error)) from error
    except SQLITE_ERRORS as error:
        raise failure_of(error, schema.name) from error


def _sync_folder(folder: Path) -> None:
    """Make a new entry of `folder` durable: a session key in a file that a power cut removes was never stored."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writer_pragmas(settings: StorageSettings) -> list[str]:
    return [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        f"PRAGMA wal_autocheckpoint = {settings.wal_checkpoint_pages}",
    ]


READER_PRAGMAS = ("PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")


@asynccontextmanager
async def open_database(
    path: Path, schema: Schema, settings: StorageSettings, *, applied_at: str
) -> AsyncIterator[Database]:
    """Open (create, migrate) the database at `path` over aiosqlite; close it at the end.

    Must run within `bridge_to_asyncio()`. `applied_at` is the time noted with migrations applied now (see `times`).
    Raises `DatabaseFailure`, also when the database was written by a newer version.
    """

    async def connect() -> Connection:
        connecting = aiosqlite.connect(path, isolation_level=None, timeout=settings.database_busy_timeout_s)

        async def connected() -> aiosqlite.Connection:
            return await connecting

        return ThreadedConnection(await aio_as_trio(connected)())

    await trio.to_thread.run_sync(_prepare, path, schema, settings, applied_at)
    async with _opened(path, schema, settings, connect) as database:
        yield database


@asynccontextmanager
async def open_inline_database(
    path: Path | None, schema: Schema, settings: StorageSettings, *, applied_at: str
) -> AsyncIterator[Database]:
    """Open a database whose calls run in place, without a thread: for simulation, commands and `rebuild`.

    `path` None means in memory. Otherwise as `open_database`.
    """

    async def connect() -> Connection:
        return InlineConnection(
            sqlite3.connect(path or ":memory:", isolation_level=None, timeout=settings.database_busy_timeout_s)
        )

    if path is not None:
        _prepare(path, schema, settings, applied_at)
        async with _opened(path, schema, settings, connect) as database:
            yield database
        return
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection, schema, applied_at=applied_at)
    only = InlineConnection(connection)
    memory = SqliteDatabase(None, schema.name, only, only)
    try:
        yield memory
    finally:
        await memory.close()


def connect_read_only(path: Path, *, busy_timeout_s: float = 5.0) -> sqlite3.Connection:
    """Connect to an existing database that nothing may be written to; raises what sqlite3 raises."""
    return sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None, timeout=busy_timeout_s)


def read_only_uri(path: Path) -> str:
    """What names a database that nothing may be written to (sqlite.org/uri.html), also for ATTACH."""
    return f"{path.resolve().as_uri()}?mode=ro"


@asynccontextmanager
async def open_database_read_only(path: Path, schema: Schema) -> AsyncIterator[Database]:
    """Open an existing database for reading, in place, also while a server writes to it: for commands.

    Nothing is created or migrated. Raises `DatabaseFailure`, also when its schema is not the one that is known here.
    """
    try:
        connection = connect_read_only(path)
    except SQLITE_ERRORS as error:
        raise failure_of(error, schema.name) from error
    try:
        (version,) = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
        if version != len(schema.migrations):
            raise DatabaseFailure(
                f"{schema.name} has schema version {version}, and this version of the program reads version "
                f"{len(schema.migrations)}: start the server once with this version, or use the other one"
            )
        yield reading_database(connection, schema)
    except SQLITE_ERRORS as error:
        raise failure_of(error, schema.name) from error
    finally:
        connection.close()


def reading_database(connection: sqlite3.Connection, schema: Schema) -> Database:
    """Return a database over a connection that the caller has opened, and closes."""
    only = InlineConnection(connection)
    return SqliteDatabase(None, schema.name, only, only)


@asynccontextmanager
async def bridge_to_asyncio() -> AsyncIterator[None]:
    """Run the event loop that aiosqlite needs, around everything that calls a database of `open_database`."""
    async with trio_asyncio.open_loop():
        yield


@asynccontextmanager
async def _opened(
    path: Path, schema: Schema, settings: StorageSettings, connect: Callable[[], Awaitable[Connection]]
) -> AsyncIterator[Database]:
    """Connect twice, set each connection up, and close both whatever happens."""
    connections: list[Connection] = []
    try:
        with trio.CancelScope(shield=True):
            for pragmas in (_writer_pragmas(settings), READER_PRAGMAS):
                connection = await connect()
                connections.append(connection)
                await connection.do(partial(_set_up, pragmas))
        writer, reader = connections
    except BaseException as error:
        with trio.CancelScope(shield=True):
            for connection in reversed(connections):
                await connection.close()
        if isinstance(error, SQLITE_ERRORS):
            raise failure_of(error, schema.name) from error
        raise
    database = SqliteDatabase(path, schema.name, writer, reader)
    try:
        yield database
    finally:
        await database.close()
