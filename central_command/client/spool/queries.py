"""What is read of a spool inside a transaction; sessions are rows here, because their keys are in no record."""

import sqlite3

from central_command.client.contract.signing import ATTESTATION_BYTES_MAX, SessionKey
from central_command.client.spool.records import Backlog, Opening, SessionState, StoredSession

_SIGNED_BYTES = f"coalesce(sum(bytes + (signed = 0) * {ATTESTATION_BYTES_MAX}), 0)"
"""What envelopes will take: those that wait for their session to be opened grow when they are signed."""

_NEVER_OPENED = (
    "(state <> 'closed' AND shared_secret IS NULL AND problem IS NOT NULL"
    " AND envelopes_accepted = 0 AND envelopes_refused = 0)"
)
"""Of a session that a server refused to open: nothing of it is there."""


def session_row(connection: sqlite3.Connection, session_id: str) -> sqlite3.Row:
    """A session's row. Raises KeyError for one that is not there."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM sessions WHERE session_id = ?", (session_id,)
    ).fetchone()
    if row is None:
        raise KeyError(session_id)
    return row


def current_row(connection: sqlite3.Connection, session_id: str) -> sqlite3.Row:
    """Where envelopes for `session_id` go now, after any moves. Raises KeyError as `session_row` does."""
    row = session_row(connection, session_id)
    while row["moved_to"] is not None:
        row = session_row(connection, row["moved_to"])
    return row


def has_content(connection: sqlite3.Connection, session_id: str) -> bool:
    """Whether a CHUNK or a kept step of the session waits."""
    found = connection.execute(
        "SELECT 1 FROM envelopes WHERE session_id = :id AND state = 'waiting' AND kind = 'CHUNK'"
        " UNION ALL SELECT 1 FROM kept_steps WHERE session_id = :id LIMIT 1",
        {"id": session_id},
    ).fetchone()
    return found is not None


def waiting_totals(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many envelopes wait in all sessions, and how many bytes they and the kept steps will be when signed."""
    count, size = connection.execute(
        f"SELECT count(*), {_SIGNED_BYTES} + (SELECT coalesce(sum(length(text)), 0) FROM kept_steps)"  # noqa: S608
        " FROM envelopes WHERE state = 'waiting'"
    ).fetchone()
    return count, size


def backlog_of(connection: sqlite3.Connection, session_id: str) -> Backlog:
    """What of a session waits."""
    count, size, first = connection.execute(
        f"SELECT count(*), {_SIGNED_BYTES}, min(position) FROM envelopes"  # noqa: S608 -- fixed text
        " WHERE session_id = ? AND state = 'waiting'",
        (session_id,),
    ).fetchone()
    return Backlog(envelopes=count, bytes=size, first=first)


def last_sessions(connection: sqlite3.Connection, url: str, *, limit: int) -> list[StoredSession]:
    """The last sessions for a server, oldest first, those first of which nothing ever came there."""
    rows = connection.execute(
        f"SELECT * FROM (SELECT *, {_NEVER_OPENED} AS is_unopened, rowid AS place FROM sessions"  # noqa: S608
        " WHERE url = ? AND moved_to IS NULL ORDER BY is_unopened, created_s DESC, place DESC LIMIT ?)"
        " ORDER BY is_unopened DESC, created_s, place",
        (url, limit),
    )
    return [stored_session(row) for row in rows]


def stored_session(row: sqlite3.Row) -> StoredSession:
    """A row of `sessions` as its record."""
    names = ("provider", "model", "machine_fingerprint", "app_version_hash", "client_version", "contributor_id")
    private_key = row["private_key"]
    return StoredSession(
        session_id=row["session_id"],
        url=row["url"],
        state=SessionState(row["state"]),
        opening=Opening(**{name: row[name] for name in names}),
        public_key="" if private_key is None else SessionKey(private_key).public_key,
        opened=row["shared_secret"] is not None,
        next_sequence=row["next_sequence"],
        chunks=row["chunks"],
        steps=row["steps"],
        envelopes=row["next_position"],
        envelopes_accepted=row["envelopes_accepted"],
        envelopes_refused=row["envelopes_refused"],
        steps_accepted=row["steps_accepted"],
        points=row["points"],
        credited_steps=row["credited_steps"],
        close_answer=row["close_answer"],
        problem=row["problem"],
        source=row["source"],
        source_state=row["source_state"],
        moved_to=row["moved_to"],
    )
