"""access.db: the tokens, of each its digest, what it is for, until when, and when it was used last.

It is the one database that several processes write: commands make and revoke tokens beside the server, and the server
notes their use. So it has no write-ahead log, which in SQLite before 3.51.3 can lose a commit when two write at once,
but a rollback journal, with locks that make one wait for the other; and each call opens it, does one short transaction,
and closes it. What a command has committed, the server's next look sees. Blocking.
"""

import hmac
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.database import SQLITE_ERRORS, DatabaseFailure, failure_of
from persistence.databases.migrations import ACCESS_SCHEMA, migrate
from persistence.files.regular import check_file
from persistence.format import times

BUSY_TIMEOUT_S: Final = 5.0

COLUMNS: Final = "token_id, sha256, name, scopes, created_at, expires_at, revoked_at, last_used_at"
INSERT: Final = f"INSERT INTO tokens ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)"  # noqa: S608 all in this file
SELECT: Final = f"SELECT {COLUMNS} FROM tokens WHERE sha256 = ?"  # noqa: S608
SELECT_ALL: Final = f"SELECT {COLUMNS} FROM tokens ORDER BY created_at, token_id"  # noqa: S608
SELECT_BEGINNING: Final = "SELECT token_id FROM tokens WHERE token_id >= ? AND token_id < ? ORDER BY token_id LIMIT 2"
COUNT: Final = "SELECT count(*) FROM tokens"
# Those of which nothing can be used any more, longest dead first.
DELETE_DEAD: Final = """
DELETE FROM tokens WHERE token_id IN (SELECT token_id FROM tokens
    WHERE revoked_at IS NOT NULL OR expires_at <= ?1 ORDER BY coalesce(revoked_at, expires_at) LIMIT ?2)
"""
REVOKE: Final = "UPDATE tokens SET revoked_at = ? WHERE token_id = ? AND revoked_at IS NULL"
DELETE_DEAD_SINCE: Final = "DELETE FROM tokens WHERE revoked_at < ?1 OR expires_at < ?1"
NOTE_USE: Final = "UPDATE tokens SET last_used_at = ?1 WHERE token_id = ?2 AND coalesce(last_used_at, '') < ?1"

_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept; times are texts (`persistence.format.times`), None for never."""

    token_id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None

    def is_valid(self, now: float) -> bool:
        """Whether it may be used at a time, in seconds since the epoch."""
        return self.revoked_at is None and (self.expires_at is None or times.to_text(now) < self.expires_at)


class TooManyTokens(msgspec.Struct, frozen=True):
    """There are as many tokens as there may be, all in use: nothing was made."""


class TokenFile:
    """The tokens of a data directory; the file is made with the first of them. Raises DatabaseFailure.

    `clock` gives seconds since the epoch, for when migrations were applied.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock

    def __repr__(self) -> str:
        return f"<TokenFile {self._path}>"

    def add(self, token: StoredToken, sha256: str, *, tokens_max: int) -> TooManyTokens | None:
        """Add a token, durably; where there is no room, dead ones go first."""
        row = (
            token.token_id,
            sha256,
            token.name,
            " ".join(sorted(token.scopes)),
            token.created_at,
            token.expires_at,
        )
        with self._transaction(create=True) as connection:
            assert connection is not None, "it is made where it is missing"
            ((count,),) = connection.execute(COUNT)
            connection.execute(DELETE_DEAD, (token.created_at, max(0, count + 1 - tokens_max)))
            ((count,),) = connection.execute(COUNT)
            if count >= tokens_max:
                return TooManyTokens()
            connection.execute(INSERT, row)
            return None

    def find(self, sha256: str) -> StoredToken | None:
        """The token with that digest, valid or not."""
        with self._connected() as connection:
            rows = [] if connection is None else connection.execute(SELECT, (sha256,)).fetchall()
        if not rows or not hmac.compare_digest(rows[0][1], sha256):
            return None
        return _stored(rows[0])

    def all(self) -> list[StoredToken]:
        """All tokens, oldest first."""
        with self._connected() as connection:
            return [] if connection is None else [_stored(row) for row in connection.execute(SELECT_ALL)]

    def revoke(self, beginning: str, at: str) -> str | None:
        """Revoke the one token whose id begins so, durably; its id, or None where there is none, or more than one."""
        with self._transaction() as connection:
            if connection is None or not beginning:
                return None
            found = connection.execute(SELECT_BEGINNING, (beginning, beginning + _LAST)).fetchall()
            if len(found) != 1:
                return None
            connection.execute(REVOKE, (at, found[0][0]))
            return str(found[0][0])

    def note_uses(self, last_used: Mapping[str, str]) -> None:
        """Note when tokens were used last, by their ids."""
        with self._transaction() as connection:
            if connection is not None:
                connection.executemany(NOTE_USE, [(at, token_id) for token_id, at in last_used.items()])

    def remove_dead(self, before: str) -> int:
        """Remove the tokens that were revoked, or have expired, before a time; return how many."""
        with self._transaction() as connection:
            return 0 if connection is None else connection.execute(DELETE_DEAD_SINCE, (before,)).rowcount

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
    def _connected(self, *, create: bool = False) -> Iterator[sqlite3.Connection | None]:
        """Open the file; None where there is none, unless it is to be made (0600, its tables in it)."""
        try:
            check_file(self._path)
            if create and not self._path.exists():
                self._path.touch(mode=0o600)
        except OSError as error:
            raise DatabaseFailure(f"access.db cannot be opened: {error.strerror}") from error
        if not self._path.exists():
            yield None
            return
        try:
            with closing(_connect(self._path)) as connection:
                migrate(connection, ACCESS_SCHEMA, applied_at=times.to_text(self._clock()))
                yield connection
        except SQLITE_ERRORS as error:
            raise failure_of(error, ACCESS_SCHEMA.name) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")  # the folder, too, once the rollback journal is gone
    return connection


def _stored(row: tuple[str, ...]) -> StoredToken:
    token_id, _, name, scopes, created_at, expires_at, revoked_at, last_used_at = row
    return StoredToken(
        token_id=token_id,
        name=name,
        scopes=tuple(scopes.split()),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
