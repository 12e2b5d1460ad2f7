"""What waits for a server is dropped at its sender's word: an address was wrong, or that server is no more.

Of a session that was never opened nothing can be at a server, and nothing of it is remembered. Of one that was, what
was noted stays, because its envelopes may be there, answered or not: nothing is sent to that server twice, later.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from central_command.client.spool.records import SessionsInUseError, WaitingFor

FORGOTTEN: Final = "what waited for this server was forgotten"
"""The problem of a session that was opened there."""

_WAITING: Final = (
    "SELECT sessions.*,"
    " (SELECT coalesce(sum(envelopes.steps), 0) FROM envelopes"
    "  WHERE envelopes.session_id = sessions.session_id AND envelopes.state = 'waiting')"
    " + (SELECT count(*) FROM kept_steps WHERE kept_steps.session_id = sessions.session_id) AS steps_waiting"
    " FROM sessions WHERE sessions.state IN ('recording', 'ended') AND (shared_secret IS NULL"
    " OR EXISTS (SELECT 1 FROM envelopes"
    "  WHERE envelopes.session_id = sessions.session_id AND envelopes.state = 'waiting')"
    " OR EXISTS (SELECT 1 FROM kept_steps WHERE kept_steps.session_id = sessions.session_id))"
)
"""Sessions of which something is undelivered: an envelope, a kept step, or all of it, the opening included."""

_IS_CLOSED: Final = "private_key IS NULL"
"""What waits of such a session is late feedback."""

_END_OPENED: Final = (
    "UPDATE sessions SET owner = NULL, private_key = NULL,"  # noqa: S608 -- fixed texts
    f" state = CASE WHEN {_IS_CLOSED} THEN 'closed' ELSE 'failed' END,"
    f" problem = CASE WHEN {_IS_CLOSED} THEN problem ELSE ? END,"
    f" shared_secret = CASE WHEN {_IS_CLOSED} THEN shared_secret END WHERE session_id = ?"
)


def waiting_for(connection: sqlite3.Connection) -> list[WaitingFor]:
    """What waits, by server, in the order of their names."""
    rows = connection.execute(
        "SELECT url, count(*), sum(steps_waiting), sum((source IS NULL) * steps_waiting)"  # noqa: S608 -- fixed texts
        f" FROM ({_WAITING}) GROUP BY url ORDER BY url"
    )
    return [WaitingFor(*row) for row in rows]


def forget_waiting(connection: sqlite3.Connection, url: str, is_in_use: Callable[[str], bool]) -> WaitingFor:
    """Drop what waits for `url`, and say how much that was.

    Raises SessionsInUseError, and drops nothing, while somebody of whom `is_in_use` says so owns a session for it.
    """
    owners = connection.execute(
        "SELECT DISTINCT owner FROM sessions WHERE url = ? AND state IN ('recording', 'ended') AND owner IS NOT NULL",
        (url,),
    ).fetchall()
    if any(is_in_use(owner) for (owner,) in owners):
        raise SessionsInUseError(f"Another program records or sends sessions for {url}: end it first.")
    found = next((each for each in waiting_for(connection) if each.url == url), WaitingFor(url, 0, 0, 0))
    rows = connection.execute(
        f"SELECT session_id, shared_secret IS NOT NULL OR EXISTS ("  # noqa: S608 -- fixed texts
        f"SELECT 1 FROM sessions WHERE moved_to = found.session_id) FROM ({_WAITING}) AS found WHERE url = ?",
        (url,),
    ).fetchall()
    unopened = [(session_id,) for session_id, is_noted in rows if not is_noted]
    opened = [(session_id,) for session_id, is_noted in rows if is_noted]
    connection.executemany("DELETE FROM sessions WHERE session_id = ?", unopened)  # and, with them, what waits
    connection.executemany("DELETE FROM envelopes WHERE session_id = ?", opened)
    connection.executemany("DELETE FROM kept_steps WHERE session_id = ?", opened)
    connection.executemany(_END_OPENED, [(FORGOTTEN, session_id) for (session_id,) in opened])
    return found
