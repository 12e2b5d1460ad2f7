"""Browsers that have signed in, in access.db, and the links that they may sign in with, each once. Blocking."""

import sqlite3
from collections.abc import Mapping
from typing import Final

import msgspec

from persistence.databases import access_tokens
from persistence.databases.access_file import AccessFile, Held, has_room, id_beginning, row_of_digest
from persistence.databases.database import Row

COLUMNS: Final = "session_id, sha256, origin, name, scopes, created_at, expires_at, revoked_at, last_used_at"
INSERT: Final = f"INSERT INTO browser_sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)"  # noqa: S608 all in this file
SELECT: Final = f"SELECT {COLUMNS} FROM browser_sessions WHERE sha256 = ?"  # noqa: S608
SELECT_ALL: Final = f"SELECT {COLUMNS} FROM browser_sessions ORDER BY created_at, session_id"  # noqa: S608
SELECT_BEGINNING: Final = """
SELECT session_id FROM browser_sessions WHERE session_id >= ? AND session_id < ? ORDER BY session_id LIMIT 2
"""
COUNT: Final = "SELECT count(*) FROM browser_sessions"
# Those that are over, longest first.
DELETE_DEAD: Final = """
DELETE FROM browser_sessions WHERE session_id IN (SELECT session_id FROM browser_sessions
    WHERE revoked_at IS NOT NULL OR expires_at <= ?1 ORDER BY coalesce(revoked_at, expires_at) LIMIT ?2)
"""
REVOKE: Final = "UPDATE browser_sessions SET revoked_at = ? WHERE session_id = ? AND revoked_at IS NULL"
NOTE_USE: Final = (
    "UPDATE browser_sessions SET last_used_at = ?1 WHERE session_id = ?2 AND coalesce(last_used_at, '') < ?1"
)

INSERT_LINK: Final = (
    "INSERT INTO sign_in_links (link_id, sha256, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?)"
)
SELECT_LINK: Final = "SELECT link_id, sha256, scopes FROM sign_in_links WHERE sha256 = ? AND expires_at > ?"
COUNT_LINKS: Final = "SELECT count(*) FROM sign_in_links"
DELETE_LINK: Final = "DELETE FROM sign_in_links WHERE link_id = ?"
DELETE_DEAD_LINKS: Final = """
DELETE FROM sign_in_links WHERE link_id IN (SELECT link_id FROM sign_in_links WHERE expires_at <= ?1 ORDER BY expires_at
    LIMIT ?2)
"""


class StoredBrowserSession(Held, frozen=True, kw_only=True):
    """A browser session as it is kept: `origin` is the id of the token, or of the link, that it was opened with."""

    session_id: str
    origin: str

    @property
    def is_of_token(self) -> bool:
        """Whether it was opened with a token, not with a link."""
        return self.origin.startswith(access_tokens.TOKEN_ID_PREFIX)


class StoredLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that one may sign in with."""

    link_id: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A browser session that is to be opened: its id, its cookie's digest, from when, until when at most."""

    session_id: str
    sha256: str
    at: str
    until: str
    sessions_max: int


class NoSuchKey(msgspec.Struct, frozen=True):
    """What was shown is no valid token, or no link that can still be used: nothing was changed."""


class TooManyBrowserSessions(msgspec.Struct, frozen=True):
    """There are as many browser sessions as there may be, none of which is over: nothing was changed."""


class TooManyLinks(msgspec.Struct, frozen=True):
    """There are as many links as there may be, all of which can still be used: nothing was made."""


OpeningOutcome = StoredBrowserSession | NoSuchKey | TooManyBrowserSessions


class BrowserSessionFile(AccessFile):
    """The browser sessions and links of a data directory."""

    def add_link(self, link: StoredLink, sha256: str, *, links_max: int) -> TooManyLinks | None:
        """Add a link, durably; where there is no room, expired ones go first."""
        row = (link.link_id, sha256, " ".join(sorted(link.scopes)), link.created_at, link.expires_at)
        with self._adding() as connection:
            if not has_room(connection, COUNT_LINKS, DELETE_DEAD_LINKS, now=link.created_at, rows_max=links_max):
                return TooManyLinks()
            connection.execute(INSERT_LINK, row)
            return None

    def open_with_link(self, link_sha256: str, opening: Opening) -> OpeningOutcome:
        """Open a session and use the link up, both or neither, durably."""
        with self._transaction() as connection:
            if connection is None:
                return NoSuchKey()
            found = connection.execute(SELECT_LINK, (link_sha256, opening.at)).fetchall()
            if not found:
                return NoSuchKey()
            ((link_id, _, scopes),) = found
            if not _has_room(connection, opening):
                return TooManyBrowserSessions()
            connection.execute(DELETE_LINK, (link_id,))
            return _opened(connection, opening, origin=link_id, name="", scopes=scopes, until=opening.until)

    def open_with_token(self, token_sha256: str, opening: Opening, now: float) -> OpeningOutcome:
        """Open a session for a token that is valid now, durably; it is over no later than the token."""
        with self._transaction() as connection:
            row = None if connection is None else row_of_digest(connection, access_tokens.SELECT, token_sha256)
            token = None if row is None else access_tokens.stored_token(row)
            if connection is None or token is None or not token.is_valid(now):
                return NoSuchKey()
            if not _has_room(connection, opening):
                return TooManyBrowserSessions()
            until = opening.until if token.expires_at is None else min(opening.until, token.expires_at)
            scopes = " ".join(token.scopes)
            connection.execute(access_tokens.NOTE_USE, (opening.at, token.token_id))
            return _opened(connection, opening, origin=token.token_id, name=token.name, scopes=scopes, until=until)

    def find(self, sha256: str) -> StoredBrowserSession | None:
        """The session whose cookie has that digest, valid or not."""
        row = self._row(SELECT, sha256)
        return None if row is None else _stored(row)

    def all(self) -> list[StoredBrowserSession]:
        """All sessions, oldest first, those that are over included while they are kept."""
        return [_stored(row) for row in self._rows(SELECT_ALL)]

    def revoke(self, beginning: str, at: str) -> str | None:
        """Revoke the one session whose id begins so, durably; its id, or None where there is none, or more than one."""
        with self._transaction() as connection:
            session_id = None if connection is None else id_beginning(connection, SELECT_BEGINNING, beginning)
            if connection is not None and session_id is not None:
                connection.execute(REVOKE, (at, session_id))
            return session_id

    def note_uses(self, last_used: Mapping[str, str]) -> None:
        """Note when sessions were used last, by their ids."""
        with self._transaction() as connection:
            if connection is not None:
                connection.executemany(NOTE_USE, [(at, session_id) for session_id, at in last_used.items()])


def _has_room(connection: sqlite3.Connection, opening: Opening) -> bool:
    return has_room(connection, COUNT, DELETE_DEAD, now=opening.at, rows_max=opening.sessions_max)


def _opened(
    connection: sqlite3.Connection, opening: Opening, *, origin: str, name: str, scopes: str, until: str
) -> StoredBrowserSession:
    row = (opening.session_id, opening.sha256, origin, name, scopes, opening.at, until)
    connection.execute(INSERT, row)
    return _stored((*row, None, None))


def _stored(row: Row) -> StoredBrowserSession:
    session_id, _, origin, name, scopes, created_at, expires_at, revoked_at, last_used_at = row
    return StoredBrowserSession(
        session_id=session_id,
        origin=origin,
        name=name,
        scopes=tuple(scopes.split()),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
