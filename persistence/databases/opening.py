"""How a database is opened: created, migrated, connected to, and closed at the end."""

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Final

import aiosqlite
import trio
import trio_asyncio
from trio_asyncio import aio_as_trio

from persistence.databases.connection import Connection, InlineConnection, ThreadedConnection, set_up
from persistence.databases.database import SQLITE_ERRORS, Database, DatabaseFailure, failure_of
from persistence.databases.migrations import Schema, migrate
from persistence.databases.sqlite_database import SqliteDatabase
from persistence.files.regular import NotAFileError, check_file
from persistence.settings.storage import StorageSettings

READER_PRAGMAS: Final = ("PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")


def _prepare(path: Path, schema: Schema, settings: StorageSettings, applied_at: str) -> None:
    """Create the file (0600 in 0700; its -wal and -shm take its mode) and migrate it, over a connection of its own."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
            _sync_folder(path.parent)
        check_file(path)
    except NotAFileError as error:
        raise DatabaseFailure(f"{schema.name} cannot be opened in {path.parent}: {error.strerror}") from error
    except OSError as error:
        raise DatabaseFailure(f"{schema.name} cannot be created in {path.parent}: {error.strerror}") from error
    try:
        connecting = sqlite3.connect(path, isolation_level=None, timeout=settings.database_busy_timeout_s)
        with closing(connecting) as connection:
            for pragma in _writer_pragmas(settings):
                connection.execute(pragma)
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, schema, applied_at=applied_at)
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
            for pragmas in ((*_writer_pragmas(settings), *schema.pragmas), READER_PRAGMAS):
                connection = await connect()
                connections.append(connection)
                await connection.do(partial(set_up, pragmas))
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
