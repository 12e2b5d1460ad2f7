"""How a database is opened only to be read: beside its server, at rest, and where nothing can be written.

A database in WAL mode is read by way of its write-ahead log, and of shared memory that SQLite makes beside it even for
a reader. Where it cannot (a read-only mount), it refuses to open the database (sqlite.org/wal.html, "Read-Only
Databases"). Then nobody writes to it, so it is read as it lies there; and if something is in its log that a crash left,
a private copy of both is read, because only beside a database can its log be read.
"""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from persistence.databases.connection import InlineConnection
from persistence.databases.database import SQLITE_ERRORS, Database, SchemaRefused, failure_of
from persistence.databases.migrations import Schema, version_of
from persistence.databases.sqlite_database import SqliteDatabase
from persistence.files.file_copies import copy_file
from persistence.files.regular import check_file

BUSY_TIMEOUT_S: Final = 5.0
"""How long a reader waits for a program that has the database to itself."""

NOTHING_CAN_BE_WRITTEN: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


@contextmanager
def readable(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[str]:
    """Give a URI (sqlite.org/uri.html) under which an existing database can be read as long as the block lasts.

    Raises what sqlite3 raises; OSError for what is no file (SQLite would wait for the other end of a FIFO), and where
    there is no room for a copy.
    """
    check_file(path)
    path = path.resolve()
    try:
        with closing(_connect(_uri(path), busy_timeout_s)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in NOTHING_CAN_BE_WRITTEN or not path.is_file():
            raise
    else:
        yield _uri(path)
        return
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        yield f"{_uri(path)}&immutable=1"
        return
    with tempfile.TemporaryDirectory(prefix="central-command-read-") as folder:  # 0700
        for file in (path, log):
            copy_file(file, Path(folder), file.name)
        yield _uri(Path(folder) / path.name)


@contextmanager
def connected_to_read(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """Give a connection to an existing database that nothing may be written to; raises as `readable`."""
    with readable(path, busy_timeout_s=busy_timeout_s) as uri, closing(_connect(uri, busy_timeout_s)) as connection:
        yield connection


@asynccontextmanager
async def open_database_read_only(path: Path, schema: Schema) -> AsyncIterator[Database]:
    """Open an existing database for reading, in place, also while a server writes to it: for commands.

    Nothing is created or migrated. Raises `DatabaseFailure`, also when its schema is not the one that is known here.
    """
    try:
        with connected_to_read(path) as connection:
            check_version(connection, schema)
            yield reading_database(connection, schema)
    except SQLITE_ERRORS as error:
        raise failure_of(error, schema.name) from error


def check_version(connection: sqlite3.Connection, schema: Schema, database: str = "main") -> None:
    """Raise SchemaRefused where the database (attached as `database`) is not of the version that is known here."""
    version = version_of(connection, database)
    if version != len(schema.migrations):
        raise SchemaRefused(
            f"{schema.name} has schema version {version}, and this version of the program reads version "
            f"{len(schema.migrations)}: start the server once with this version, or use the other one"
        )


def reading_database(connection: sqlite3.Connection, schema: Schema) -> Database:
    """Return a database over a connection that the caller has opened, and closes."""
    only = InlineConnection(connection)
    return SqliteDatabase(None, schema.name, only, only)


def _connect(uri: str, busy_timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_timeout_s)


def _uri(path: Path) -> str:
    return f"{path.as_uri()}?mode=ro"
