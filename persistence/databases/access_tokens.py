"""The tokens in access.db: of each its digest, what it is for, until when, and when it was used last. Blocking."""

from collections.abc import Mapping
from typing import Final

import msgspec

from persistence.databases.access_file import AccessFile, Held, has_room, id_beginning
from persistence.databases.database import Row

TOKEN_ID_PREFIX: Final = "tok_"  # noqa: S105 (what names one, not what it is)
"""What a token's id begins with, and no link's."""

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
REVOKE_OPENED: Final = "UPDATE browser_sessions SET revoked_at = ? WHERE origin = ? AND revoked_at IS NULL"
DELETE_DEAD_SINCE: Final = "DELETE FROM tokens WHERE revoked_at < ?1 OR expires_at < ?1"
NOTE_USE: Final = "UPDATE tokens SET last_used_at = ?1 WHERE token_id = ?2 AND coalesce(last_used_at, '') < ?1"


class StoredToken(Held, frozen=True, kw_only=True):
    """A token as it is kept."""

    token_id: str


class TooManyTokens(msgspec.Struct, frozen=True):
    """There are as many tokens as there may be, all in use: nothing was made."""


class TokenFile(AccessFile):
    """The tokens of a data directory."""

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
        with self._adding() as connection:
            if not has_room(connection, COUNT, DELETE_DEAD, now=token.created_at, rows_max=tokens_max):
                return TooManyTokens()
            connection.execute(INSERT, row)
            return None

    def find(self, sha256: str) -> StoredToken | None:
        """The token with that digest, valid or not."""
        row = self._row(SELECT, sha256)
        return None if row is None else stored_token(row)

    def all(self) -> list[StoredToken]:
        """All tokens, oldest first."""
        return [stored_token(row) for row in self._rows(SELECT_ALL)]

    def revoke(self, beginning: str, at: str) -> str | None:
        """Revoke the one token whose id begins so, and the browser sessions opened with it, durably; return its id.

        None where there is none, or more than one.
        """
        with self._transaction() as connection:
            token_id = None if connection is None else id_beginning(connection, SELECT_BEGINNING, beginning)
            if connection is not None and token_id is not None:
                connection.execute(REVOKE, (at, token_id))
                connection.execute(REVOKE_OPENED, (at, token_id))
            return token_id

    def note_uses(self, last_used: Mapping[str, str]) -> None:
        """Note when tokens were used last, by their ids."""
        with self._transaction() as connection:
            if connection is not None:
                connection.executemany(NOTE_USE, [(at, token_id) for token_id, at in last_used.items()])

    def remove_dead(self, before: str) -> int:
        """Remove the tokens that were revoked, or have expired, before a time; return how many."""
        with self._transaction() as connection:
            return 0 if connection is None else connection.execute(DELETE_DEAD_SINCE, (before,)).rowcount


def stored_token(row: Row) -> StoredToken:
    """The token of a row with `COLUMNS`."""
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
