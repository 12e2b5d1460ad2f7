"""access.db as a file: who may ask for what, in tables that commands and the server write.

Several processes write it (`shared_file`): commands make and revoke beside the server, and the server notes what is
used. Each call opens it, does one short transaction, and closes it. Blocking.
"""

import hmac
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.database import SQLITE_ERRORS, DatabaseFailure, Row, failure_of
from persistence.databases.migrations import ACCESS_SCHEMA, migrate
from persistence.databases.shared_file import connect, is_there
from persistence.files.regular import open_file
from persistence.format import times

CHANGE_COUNTER: Final = slice(24, 28)
"""Where it stands in the file (sqlite.org/fileformat2.html, section 1.3.7)."""

_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may show to be let in, as it is kept; times are texts (`persistence.format.times`), None for never.

    It is valid until it is revoked, or expires.
    """

    name: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None

    def is_valid(self, now: float) -> bool:
        """Whether it may be used at a time, in seconds since the epoch."""
        return self.revoked_at is None and (self.expires_at is None or times.to_text(now) < self.expires_at)


class AccessFile:
    """The file, made with the first row of any table. Raises DatabaseFailure.

    `clock` gives seconds since the epoch, for when migrations were applied.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}>"

    def changes(self) -> bytes:
        """What differs after each transaction of any process: SQLite's file change counter; empty without a file."""
        try:
            descriptor = open_file(self._path, follows_links=True)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DatabaseFailure(f"access.db cannot be opened: {error.strerror}") from error
        with closing(os.fdopen(descriptor, "rb")) as file:
            return file.read(CHANGE_COUNTER.stop)[CHANGE_COUNTER]

    def _row(self, select: str, sha256: str) -> Row | None:
        """The row of what has that digest, as `row_of_digest`."""
        with self._connected() as connection:
            return None if connection is None else row_of_digest(connection, select, sha256)

    def _rows(self, select: str) -> list[Row]:
        """What a query without parameters finds; nothing where there is no file."""
        with self._connected() as connection:
            return [] if connection is None else connection.execute(select).fetchall()

    @contextmanager
    def _transaction(self, *, create: bool = False) -> Iterator[sqlite3.Connection | None]:
        with self._connected(create=create) as connection:
            if connection is None:
                yield None
                return
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _adding(self) -> Iterator[sqlite3.Connection]:
        """A transaction for which the file is made where it is missing."""
        with self._transaction(create=True) as connection:
            assert connection is not None, "it is made where it is missing"
            yield connection

    @contextmanager
    def _connected(self, *, create: bool = False) -> Iterator[sqlite3.Connection | None]:
        """Open the file; None where there is none, unless it is to be made (0600, its tables in it)."""
        if not is_there(self._path, create=create):
            yield None
            return
        try:
            with closing(connect(self._path)) as connection:
                migrate(connection, ACCESS_SCHEMA, applied_at=times.to_text(self._clock()))
                yield connection
        except SQLITE_ERRORS as error:
            raise failure_of(error, ACCESS_SCHEMA.name) from error


def row_of_digest(connection: sqlite3.Connection, select: str, sha256: str) -> Row | None:
    """The row with that digest, by a query whose second column is the digest."""
    rows: list[Row] = connection.execute(select, (sha256,)).fetchall()
    return rows[0] if rows and hmac.compare_digest(rows[0][1], sha256) else None


def id_beginning(connection: sqlite3.Connection, select: str, beginning: str) -> str | None:
    """The one id that begins so, by a query for two ids in a range; None where there is none, or more than one."""
    found = connection.execute(select, (beginning, beginning + _LAST)).fetchall() if beginning else []
    return str(found[0][0]) if len(found) == 1 else None


def has_room(connection: sqlite3.Connection, count: str, delete_dead: str, *, now: str, rows_max: int) -> bool:
    """Whether one more row may be added to a table; where there is no room, those of no more use go first.

    `count` counts its rows; `delete_dead` takes the time and how many rows must go.
    """
    ((rows,),) = connection.execute(count)
    connection.execute(delete_dead, (now, max(0, rows + 1 - rows_max)))
    ((rows,),) = connection.execute(count)
    return bool(rows < rows_max)
