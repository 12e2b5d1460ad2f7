"""What every database is to its callers: transactions of statements, bounded reads, and how they fail."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from persistence.files.failures import StorageFailure

Value = str | int | float | bytes | None
Row = tuple[Any, ...]
Query = tuple[str, Sequence[Value]]

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises; the second when a name or a text in a damaged database is no UTF-8 any more."""


class DatabaseFailure(StorageFailure):
    """A database cannot do its work any more (disk full, input or output error, damage): one sentence says why."""


class SchemaRefused(DatabaseFailure):
    """A database's tables are those of another version of the program: nothing was changed, and no restart mends it."""


class DatabaseConflict(DatabaseFailure):
    """A transaction contradicts what the database holds already: nothing was changed."""


class DatabaseUnavailable(DatabaseFailure):
    """A transaction is not possible now: nothing was changed, and it may be tried again later."""


class DatabaseFull(DatabaseUnavailable):
    """The disk has no room for a transaction; there may be some later."""


class DatabaseBusy(DatabaseUnavailable):
    """Another program has held the database for longer than `database_busy_timeout_s`; it may let go of it later."""


FAILURES: Final[Mapping[int, type[DatabaseFailure]]] = {
    sqlite3.SQLITE_FULL: DatabaseFull,
    sqlite3.SQLITE_BUSY: DatabaseBusy,
    sqlite3.SQLITE_CONSTRAINT: DatabaseConflict,
}


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
    failure = FAILURES.get(code, DatabaseFailure)
    return failure(f"{sentences.get(code, f'{name} failed')} ({error})")


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

    async def write(self, statements: Iterable[Statement], *, durable: bool) -> list[int]:
        """Run all statements in one IMMEDIATE transaction; answer how many rows each changed.

        What yields them one by one is asked for the next when the one before was run; what it raises undoes them all.

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

    async def compact(self) -> None:
        """Write the database anew without what was deleted from it, and empty its log; whoever writes waits."""
        ...

    async def close(self) -> None:
        """Close both connections, the reader first; a second call does nothing."""
        ...

    def statistics(self) -> DatabaseStatistics:
        """What has been done so far."""
        ...
