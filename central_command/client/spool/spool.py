"""What was recorded and not yet delivered, kept on disk: sessions, their keys, and their envelopes in order.

Nothing is sent that was not committed here before, with its sequence number counted up in the same transaction, and
what is sent again is the same bytes. The server recognises those, so a lost answer, a killed process and two
processes that deliver the same session are all harmless: nothing is delivered twice, no sequence is broken.

A session can be recorded before the server was ever reached: its envelopes wait as drafts, which are complete but for
the attestation. The first one of them to be sent is signed in a transaction of its own, and from then on it is bytes.

The file is SQLite with a rollback journal: several processes may share it, and SQLite before 3.51.3 can lose a commit
when two of them checkpoint a write-ahead log. Every call is a transaction that ends in a sync: milliseconds, and more
on a slow disk, so trio programs call it in a thread. One `Spool` may be used by several threads.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from central_command.client.contract.signing import Draft, SessionKey, agree
from central_command.client.spool.envelopes import Restate, insert, move_contents, signed_envelope, take_back
from central_command.client.spool.forgetting import forget_waiting, waiting_for
from central_command.client.spool.ownership import Ownership
from central_command.client.spool.queries import (
    backlog_of,
    current_row,
    has_content,
    last_sessions,
    session_row,
    stored_session,
    waiting_totals,
)
from central_command.client.spool.records import (
    Backlog,
    Opening,
    SessionDoneError,
    SessionState,
    SpoolError,
    SpoolFullError,
    SpoolSettings,
    SpoolStatistics,
    SpoolTotals,
    StoredEnvelope,
    StoredSession,
    Unsigned,
    WaitingFor,
    connect,
)
from central_command.client.spool.redating import redate

_MOVES_MAX = 3


class Spool:
    """A spool file, opened for one process; close it, or use it as a context manager.

    A session belongs to the process that added or claimed it, until that process closes the spool or ends, however it
    ends (a lock on a file beside the spool says so). Only its owner puts and delivers. Every method raises SpoolError
    when the file cannot be read or written, and KeyError for a session that is not there.
    """

    def __init__(
        self, path: Path, *, settings: SpoolSettings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._settings = settings or SpoolSettings()
        self._clock = clock
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ownership = Ownership(path)
            self._owner = self._ownership.owner
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise SpoolError(f"Cannot keep a spool in {path}: {error.strerror or error}.") from error
        try:
            self._connection = connect(path)
        except SpoolError:
            self._ownership.give_up()
            raise

    def __repr__(self) -> str:
        return f"<Spool {self._path}>"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._path.parent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up what is owned; what waits stays. May be called again."""
        with self._lock:
            self._connection.close()
            self._ownership.give_up()

    # -- Sessions

    def add_session(
        self, session_id: str, *, url: str, opening: Opening, source: str | None = None, source_state: bytes = b""
    ) -> StoredSession:
        """Add a new session with a new key of its own, owned by this process; it need not be open yet."""
        with self._transaction() as connection:
            row = (session_id, url, SessionState.RECORDING, self._owner, SessionKey().private_key)
            connection.execute(
                "INSERT INTO sessions (session_id, url, state, owner, private_key, provider, model,"
                " machine_fingerprint, app_version_hash, client_version, contributor_id, source, source_state,"
                " created_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, *msgspec.structs.astuple(opening), source, source_state, self._clock()),
            )
            self._forget_done(connection)
            return stored_session(session_row(connection, session_id))

    def session(self, session_id: str) -> StoredSession:
        """A session as it is now."""
        with self._transaction() as connection:
            return stored_session(session_row(connection, session_id))

    def current(self, session_id: str) -> StoredSession:
        """A session as it is now, or the one that took over from it (`move`)."""
        with self._transaction() as connection:
            return stored_session(current_row(connection, session_id))

    def sessions_of(self, source: str) -> list[StoredSession]:
        """All sessions of one source, oldest first, whoever owns them."""
        return self._select("source = ?", source)

    def sources_of(self, family: str) -> set[str]:
        """The sources whose names begin with `family` and a colon."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT DISTINCT source FROM sessions WHERE source >= ? AND source < ?", (f"{family}:", f"{family};")
            )
            return {source for (source,) in rows}

    def sources_like(self, start: str, end: str) -> set[str]:
        """The sources whose names begin with `start` and end with `end`."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT DISTINCT source FROM sessions WHERE source >= ? AND source < ? AND substr(source, -?) = ?",
                (start, f"{start[:-1]}{chr(ord(start[-1]) + 1)}", len(end), end),
            )
            return {source for (source,) in rows}

    def sessions_with_source(self, url: str) -> list[StoredSession]:
        """All sessions for `url` that have a source, oldest first."""
        return self._select("source IS NOT NULL AND url = ?", url)

    def unfinished(self, url: str) -> list[StoredSession]:
        """All sessions for `url` that are not done, oldest first."""
        return self._select("state IN ('recording', 'ended') AND url = ?", url)

    def urls(self, *, limit: int) -> list[str]:
        """The servers that something was for, at most `limit`, the one of the last session first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT url FROM sessions GROUP BY url ORDER BY max(created_s) DESC, max(rowid) DESC LIMIT ?", (limit,)
            )
            return [url for (url,) in rows]

    def sessions_to(self, url: str, *, limit: int) -> list[StoredSession]:
        """The last `limit` sessions for one server, oldest first, but for those whose content went to another one.

        What the server never opened comes before all others, and is left out before any of them.
        """
        with self._transaction() as connection:
            return last_sessions(connection, url, limit=limit)

    def totals_to(self, url: str) -> SpoolTotals:
        """What all sessions for one server come to."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(envelopes_accepted > 0), 0),"
                " coalesce(sum(state IN ('recording', 'ended')), 0), coalesce(sum(steps_accepted), 0),"
                " coalesce(sum(points), 0.0), (SELECT count(*) FROM envelopes JOIN sessions AS of_it USING (session_id)"
                " WHERE of_it.url = ?1 AND envelopes.state = 'waiting'),"
                " (SELECT count(*) FROM envelopes JOIN sessions AS of_it USING (session_id)"
                " WHERE of_it.url = ?1 AND envelopes.state = 'waiting' AND of_it.source IS NULL),"
                " (SELECT count(*) FROM kept_steps JOIN sessions AS of_it USING (session_id) WHERE of_it.url = ?1)"
                " FROM sessions WHERE url = ?1 AND moved_to IS NULL",
                (url,),
            ).fetchone()
            return SpoolTotals(*row)

    def claim_orphans(self, url: str, *, with_source: bool = False) -> list[StoredSession]:
        """Take over all sessions for `url` that are not done and whose owner is gone, oldest first.

        Those with a source are left to whoever reads sources, unless `with_source`.
        """
        found = self._select("url = ? AND state IN ('recording', 'ended') AND owner IS NOT ?", url, self._owner)
        return [each for each in found if (with_source or each.source is None) and self.claim(each.session_id)]

    def claim(self, session_id: str) -> bool:
        """Take over one session; False while another process that is alive owns it, and when it was forgotten."""
        with self._transaction() as connection:
            row = connection.execute("SELECT owner FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
            if row is None:
                return False
            owner = row["owner"]
            if owner == self._owner:
                return True
            if owner is not None and self._ownership.is_alive(owner):
                return False
            connection.execute("UPDATE sessions SET owner = ? WHERE session_id = ?", (self._owner, session_id))
            return True

    def has_unfinished(self) -> bool:
        """Whether a session that this process owns is not done: something of it waits, or it is not closed."""
        with self._transaction() as connection:
            query = "SELECT EXISTS (SELECT 1 FROM sessions WHERE state IN ('recording', 'ended') AND owner = ?)"
            return bool(connection.execute(query, (self._owner,)).fetchone()[0])

    def release(self, session_id: str) -> None:
        """Give up a session, so that any process can claim it."""
        self._update(session_id, "owner = NULL")

    def opened(self, session_id: str, server_public_key: str) -> StoredSession:
        """Keep the secret that the server's answer to the opening gives; why it gave none before is over.

        Raises InvalidServerKeyError (and keeps nothing) for a key that is none.
        """
        with self._transaction() as connection:
            row = session_row(connection, session_id)
            if row["shared_secret"] is None and row["private_key"] is not None:
                secret = agree(row["private_key"], server_public_key)
                connection.execute(
                    "UPDATE sessions SET shared_secret = ?, problem = NULL WHERE session_id = ?", (secret, session_id)
                )
                redate(connection, row, self._clock())
            return stored_session(session_row(connection, session_id))

    def end(self, session_id: str) -> None:
        """Say that no more CHUNK will come: deliver what waits and close it."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE sessions SET state = 'ended' WHERE session_id = ? AND state = 'recording'",
                (current_row(connection, session_id)["session_id"],),
            )

    def closed(
        self, session_id: str, *, points: float | None = None, steps: int | None = None, answer: str | None = None
    ) -> None:
        """Note that the server has closed it, what it credited and what else its `answer` says.

        Its envelopes are forgotten, and its own key; the shared secret stays for late feedback.
        """
        self._finish(session_id, SessionState.CLOSED, points, steps, None, answer)

    def fail(self, session_id: str, problem: str) -> None:
        """Give up what still waits, for a reason that no retry can mend. Keys and envelopes are forgotten."""
        self._finish(session_id, SessionState.FAILED, None, None, problem)

    def restate(self, session_id: str, source_state: bytes) -> None:
        """Note something else of a session's source; whatever else is known of the session stays."""
        self._update(session_id, "source_state = ?", source_state)

    def explain(self, session_id: str, problem: str) -> None:
        """Say why a session is refused, or otherwise why it was; whatever else is known of it stays."""
        self._update(session_id, "problem = ?", problem)

    def forget_unsent(self, source: str, problems: Sequence[str]) -> None:
        """Forget the sessions of a source that were given up and of which nothing was ever answered.

        Those whose problem begins with one of `problems`.
        """
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM sessions WHERE source = ?1 AND state = 'failed' AND substr(problem, 1, length(?2)) = ?2"
                " AND moved_to IS NULL AND envelopes_accepted = 0 AND envelopes_refused = 0",
                [(source, problem) for problem in problems],
            )

    def waiting_for(self) -> list[WaitingFor]:
        """What was never delivered, by server."""
        with self._transaction() as connection:
            return waiting_for(connection)

    def forget_waiting(self, url: str) -> WaitingFor:
        """Drop what waits for a server, and say how much that was (`forgetting`).

        Raises SessionsInUseError, and drops nothing, while another process that is alive owns a session for it.
        """
        with self._transaction() as connection:
            return forget_waiting(
                connection, url, lambda owner: owner != self._owner and self._ownership.is_alive(owner)
            )

    def move(self, session_id: str, new_session_id: str, problem: str) -> StoredSession | None:
        """Give what still waits to a new session with a new key, because the server takes no more for the old one.

        The old session is failed for `problem`; its source and state, and what is put to it later, go to the new one.
        Nothing that was answered is sent again. None, and nothing is changed, when no CHUNK and no kept step waits, or
        when this is the fourth move in a row without one envelope accepted.
        """
        with self._transaction() as connection:
            old = session_row(connection, session_id)
            moves = 1 if old["envelopes_accepted"] else old["moves"] + 1
            if moves > _MOVES_MAX or not (old["state"] == "recording" or has_content(connection, session_id)):
                return None
            connection.execute(
                "INSERT INTO sessions (session_id, private_key, owner, moves, url, state, provider, model,"
                " machine_fingerprint, app_version_hash, client_version, contributor_id, source, source_state,"
                " created_s) SELECT ?, ?, ?, ?, url, state, provider, model, machine_fingerprint, app_version_hash,"
                " client_version, contributor_id, source, source_state, created_s FROM sessions WHERE session_id = ?",
                (new_session_id, SessionKey().private_key, self._owner, moves, session_id),
            )
            move_contents(connection, session_id, new_session_id, self._owner)
            connection.execute(
                "UPDATE sessions SET state = 'failed', moved_to = ?, problem = ?, private_key = NULL,"
                " shared_secret = NULL, owner = NULL WHERE session_id = ?",
                (new_session_id, problem, session_id),
            )
            return stored_session(session_row(connection, new_session_id))

    # -- Envelopes

    def put(
        self,
        session_id: str,
        kind: str,
        draft: Draft,
        *,
        steps: int = 0,
        source_state: bytes | None = None,
        ends: bool = False,
    ) -> int:
        """Keep an envelope behind all others of its session and return its position; signed at once when it can be.

        `ends` says that no more CHUNK will come, as `end` does, in the same transaction.

        Position, sequence, `source_state` (when given) and envelope are one transaction. Raises SpoolFullError at a
        bound; envelopes without steps (SESSION_CLOSE, USER_FEEDBACK) are always taken, they are small and end things.
        """
        unsigned = Unsigned(kind=kind, draft=draft, steps=steps)
        return self.put_many(session_id, [unsigned], source_state=source_state, ends=ends)

    def put_many(
        self,
        session_id: str,
        envelopes: Sequence[Unsigned],
        *,
        source_state: bytes | None = None,
        ends: bool = False,
    ) -> int:
        """Keep several envelopes (at least one) as `put` does, all or none; gives the first one's position.

        Raises SessionDoneError, too, for steps of a session that has ended.
        """
        with self._transaction() as connection:
            row = current_row(connection, session_id)
            steps = sum(each.steps for each in envelopes)
            if steps:
                if row["state"] == SessionState.ENDED:
                    raise SessionDoneError(f"The session {row['session_id']} takes no more steps: it has ended.")
                self._check_room(connection, sum(len(each.draft.before) + len(each.draft.after) for each in envelopes))
            position = row["next_position"]
            for each in envelopes:
                draft = each.draft.readdressed(session_id, row["session_id"])
                state = source_state if each is envelopes[-1] else None
                insert(connection, row, each.kind, draft, each.steps, state, self._owner)
                row = session_row(connection, row["session_id"])
            if ends:
                connection.execute("UPDATE sessions SET state = 'ended' WHERE session_id = ?", (row["session_id"],))
            return int(position)

    def keep_steps(self, session_id: str, texts: Sequence[bytes], *, source_state: bytes | None = None) -> None:
        """Keep steps (each its JSON text) that are not enough for a chunk yet, so that they outlive the process.

        Raises SpoolFullError at a bound, and keeps none of them.
        """
        with self._transaction() as connection:
            current = current_row(connection, session_id)["session_id"]
            self._check_room(connection, sum(map(len, texts)))
            connection.executemany(
                "INSERT INTO kept_steps (session_id, text) VALUES (?, ?)", [(current, text) for text in texts]
            )
            if source_state is not None:
                connection.execute("UPDATE sessions SET source_state = ? WHERE session_id = ?", (source_state, current))

    def put_kept_steps(self, session_id: str, draft: Callable[[StoredSession, bytes], Draft]) -> int:
        """Make all kept steps of a session one CHUNK, of `draft(session, trajectory_log)`, and return how many."""
        with self._transaction() as connection:
            row = current_row(connection, session_id)
            current = row["session_id"]
            rows = connection.execute("SELECT text FROM kept_steps WHERE session_id = ? ORDER BY n", (current,))
            texts = [text for (text,) in rows]
            if texts:
                chunk = draft(stored_session(row), b"[" + b",".join(texts) + b"]")
                insert(connection, row, "CHUNK", chunk, len(texts), None, self._owner)
                connection.execute("DELETE FROM kept_steps WHERE session_id = ?", (current,))
            return len(texts)

    def next_waiting(self, session_id: str) -> StoredEnvelope | None:
        """The first envelope that waits, signed; None when none does. The session must be open.

        Asked again before `accepted` or `refused`, it gives the same bytes.
        """
        return next(iter(self.waiting(session_id, envelopes_max=1, bytes_max=0)), None)

    def waiting(self, session_id: str, *, envelopes_max: int, bytes_max: int) -> list[StoredEnvelope]:
        """The first envelopes that wait, signed, in order; as `next_waiting`.

        At most `envelopes_max`, and about `bytes_max` bytes together, but the first however large it is.
        """
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT position, bytes FROM envelopes WHERE session_id = ? AND state = 'waiting'"
                " ORDER BY position LIMIT ?",
                (session_id, envelopes_max),
            ).fetchall()
            totals = accumulate(row["bytes"] for row in rows)
            positions = [
                row["position"]
                for n, (row, total) in enumerate(zip(rows, totals, strict=True))
                if not n or total <= bytes_max
            ]
            return [signed_envelope(connection, session_id, position) for position in positions]

    def accepted(self, session_id: str, *positions: int) -> None:
        """Note that the server has these envelopes; their bytes are forgotten."""
        self._answered(session_id, positions, "delivered", None)

    def refused(self, session_id: str, position: int, answer: str) -> None:
        """Note that the server refused an envelope for good, and in what words; its bytes are forgotten."""
        self._answered(session_id, (position,), "refused", answer)

    def take_back(self, session_id: str, position: int, answer: str, restate: Restate) -> None:
        """Note as `refused` does, and forget all that waits behind it, because its steps can be read again.

        The session ends. Its source state becomes what `restate` makes of it. A second call changes nothing.
        """
        with self._transaction() as connection:
            take_back(connection, session_id, position, answer, restate)

    def backlog(self, session_id: str) -> Backlog:
        """What of a session waits, as large as it is when it is signed."""
        with self._transaction() as connection:
            return backlog_of(connection, session_id)

    # -- Counting

    def count_dropped(self, *, envelopes: int, steps: int) -> None:
        """Count what could not be put because the spool was full."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
                [("envelopes", envelopes), ("steps", steps)],
            )

    def statistics(self) -> SpoolStatistics:
        """What waits now and what was dropped, over all processes."""
        with self._transaction() as connection:
            waiting = waiting_totals(connection)
            sessions = connection.execute(
                "SELECT count(*) FROM sessions WHERE state IN ('recording', 'ended')"
            ).fetchone()[0]
            dropped = dict(connection.execute("SELECT name, count FROM dropped").fetchall())
        return SpoolStatistics(
            sessions=sessions,
            envelopes=waiting[0],
            bytes=waiting[1],
            envelopes_dropped=dropped.get("envelopes", 0),
            steps_dropped=dropped.get("steps", 0),
        )

    # -- Inside

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                finally:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise SpoolError(f"The spool {self._path} cannot be used: {error}.") from error

    def _select(self, condition: str, *values: Any) -> list[StoredSession]:
        with self._transaction() as connection:
            rows = connection.execute(
                f"SELECT * FROM sessions WHERE {condition} ORDER BY created_s, rowid",  # noqa: S608 -- fixed texts
                values,
            ).fetchall()
            return [stored_session(row) for row in rows]

    def _update(self, session_id: str, assignment: str, *values: Any, only: str = "TRUE") -> None:
        with self._transaction() as connection:
            session_row(connection, session_id)
            connection.execute(
                f"UPDATE sessions SET {assignment} WHERE session_id = ? AND {only}",  # noqa: S608 -- fixed texts
                (*values, session_id),
            )

    def _check_room(self, connection: sqlite3.Connection, size: int) -> None:
        count, waiting_bytes = waiting_totals(connection)
        if count >= self._settings.envelopes_max or waiting_bytes + size > self._settings.bytes_max:
            raise SpoolFullError(
                f"The spool {self._path} is full: {count} envelopes, {waiting_bytes} bytes wait in it."
            )

    def _answered(self, session_id: str, positions: Sequence[int], state: str, answer: str | None) -> None:
        """An envelope that was answered before stays as it is: it is counted once."""
        with self._transaction() as connection:
            found = [
                connection.execute(
                    "UPDATE envelopes SET state = ?, answer = ?, body = NULL"
                    " WHERE session_id = ? AND position = ? AND state = 'waiting' RETURNING steps",
                    (state, answer, session_id, position),
                ).fetchone()
                for position in positions
            ]
            counted = [row["steps"] for row in found if row is not None]
            if not counted:
                return
            accepted = state == "delivered"
            connection.execute(
                "UPDATE sessions SET envelopes_accepted = envelopes_accepted + ?,"
                " envelopes_refused = envelopes_refused + ?, steps_accepted = steps_accepted + ?,"
                " problem = coalesce(problem, ?) WHERE session_id = ?",
                (
                    len(counted) if accepted else 0,
                    0 if accepted else len(counted),
                    sum(counted) if accepted else 0,
                    answer,
                    session_id,
                ),
            )

    def _finish(
        self,
        session_id: str,
        state: SessionState,
        points: float | None,
        steps: int | None,
        problem: str | None,
        answer: str | None = None,
    ) -> None:
        with self._transaction() as connection:
            session_row(connection, session_id)
            connection.execute(
                "UPDATE sessions SET state = ?, points = ?, credited_steps = ?, close_answer = ?,"
                " problem = coalesce(?, problem), private_key = NULL, owner = NULL,"
                " shared_secret = CASE WHEN ? THEN shared_secret END WHERE session_id = ?",
                (state, points, steps, answer, problem, state is SessionState.CLOSED, session_id),
            )
            connection.execute("DELETE FROM envelopes WHERE session_id = ?", (session_id,))
            connection.execute("DELETE FROM kept_steps WHERE session_id = ?", (session_id,))

    def _forget_done(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "DELETE FROM sessions WHERE state IN ('closed', 'failed') AND source IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM sessions AS later WHERE later.session_id = sessions.moved_to"
            " AND later.state IN ('recording', 'ended')) AND rowid NOT IN"
            " (SELECT rowid FROM sessions WHERE state IN ('closed', 'failed') AND source IS NULL"
            " ORDER BY rowid DESC LIMIT ?)",
            (self._settings.done_sessions_max,),
        )
