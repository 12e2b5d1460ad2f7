"""Who may open no sessions, in access.db: machines, contributors, networks. Blocking."""

from typing import Final

import msgspec

from persistence.databases.access_file import AccessFile, has_room, id_beginning
from persistence.databases.database import Row

COLUMNS: Final = "ban_id, kind, subject, reason, created_at, expires_at"
SELECT_ALL: Final = f"SELECT {COLUMNS} FROM bans ORDER BY created_at, ban_id"  # noqa: S608 all in this file
SELECT: Final = f"SELECT {COLUMNS} FROM bans WHERE kind = ? AND subject = ?"  # noqa: S608
SELECT_ID: Final = f"SELECT {COLUMNS} FROM bans WHERE ban_id = ?"  # noqa: S608
SELECT_BEGINNING: Final = "SELECT ban_id FROM bans WHERE ban_id >= ? AND ban_id < ? ORDER BY ban_id LIMIT 2"
# Another ban of the same subject takes the place of the one before, and keeps its id.
INSERT: Final = """
INSERT INTO bans (ban_id, kind, subject, reason, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, subject) DO UPDATE SET
    reason = excluded.reason, created_at = excluded.created_at, expires_at = excluded.expires_at
"""
COUNT: Final = "SELECT count(*) FROM bans"
DELETE: Final = "DELETE FROM bans WHERE ban_id = ?"
DELETE_DEAD: Final = """
DELETE FROM bans WHERE ban_id IN (SELECT ban_id FROM bans WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
"""


class StoredBan(msgspec.Struct, frozen=True, kw_only=True):
    """A ban as it is kept; times are texts (`persistence.format.times`), None for never."""

    ban_id: str
    kind: str
    subject: str
    reason: str
    created_at: str
    expires_at: str | None

    @property
    def named(self) -> str:
        """Which ban it is, and of whom, for the audit journal: it is gone once it is taken back."""
        return f"{self.ban_id} {self.kind} {self.subject}"


class TooManyBans(msgspec.Struct, frozen=True):
    """There are as many bans as there may be, all in force: nothing was made."""


class BanFile(AccessFile):
    """The bans of a data directory."""

    def add(self, ban: StoredBan, *, bans_max: int) -> StoredBan | TooManyBans:
        """Add a ban, durably, and return it; one of the same subject is replaced, and its id stays."""
        with self._adding() as connection:
            known = connection.execute(SELECT, (ban.kind, ban.subject)).fetchall()
            if not known and not has_room(connection, COUNT, DELETE_DEAD, now=ban.created_at, rows_max=bans_max):
                return TooManyBans()
            connection.execute(INSERT, msgspec.structs.astuple(ban))
            return _stored(connection.execute(SELECT, (ban.kind, ban.subject)).fetchone())

    def all(self) -> list[StoredBan]:
        """All bans, oldest first, those past their time included while they are kept."""
        return [_stored(row) for row in self._rows(SELECT_ALL)]

    def remove(self, beginning: str) -> StoredBan | None:
        """Take back the one ban whose id begins so, durably; None where there is none, or more than one."""
        with self._transaction() as connection:
            ban_id = None if connection is None else id_beginning(connection, SELECT_BEGINNING, beginning)
            if connection is None or ban_id is None:
                return None
            removed = _stored(connection.execute(SELECT_ID, (ban_id,)).fetchone())
            connection.execute(DELETE, (ban_id,))
            return removed


def _stored(row: Row) -> StoredBan:
    ban_id, kind, subject, reason, created_at, expires_at = row
    return StoredBan(
        ban_id=ban_id, kind=kind, subject=subject, reason=reason, created_at=created_at, expires_at=expires_at
    )
