"""What is done to the envelopes of a spool inside a transaction."""

import sqlite3
from collections.abc import Callable, Sequence

from central_command.client.contract.signing import Draft, draft_of
from central_command.client.spool.queries import session_row
from central_command.client.spool.records import SessionDoneError, SessionState, StoredEnvelope

SEQUENCE_KINDS = frozenset({"CHUNK", "SESSION_CLOSE"})
"""What uses up a sequence number; USER_FEEDBACK is signed with the next one and leaves it (docs/protocol.md)."""
Restate = Callable[[bytes, Sequence[tuple[int, bool]]], bytes]
"""A session's source state without what was taken back: of the state, and of the steps of each chunk and whether the
server has them."""


def insert(
    connection: sqlite3.Connection,
    row: sqlite3.Row,
    kind: str,
    draft: Draft,
    steps: int,
    source_state: bytes | None,
    owner: str,
) -> int:
    """Put an envelope behind all others of the session of `row`, signed if it can be, and return its position."""
    session_id, position, sequence = row["session_id"], row["next_position"], row["next_sequence"]
    state = SessionState(row["state"])
    if state is SessionState.FAILED or (state is SessionState.CLOSED and kind != "USER_FEEDBACK"):
        raise SessionDoneError(f"The session {session_id} takes no more: it is {state}.")
    body, signed = draft.before + draft.after, row["shared_secret"] is not None
    if signed:
        body = draft.signed(row["shared_secret"], sequence, row["app_version_hash"])
    connection.execute(
        "INSERT INTO envelopes (session_id, position, kind, sequence, steps, state, split, signed, bytes, body)"
        " VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, ?)",
        (session_id, position, kind, sequence, steps, len(draft.before), signed, len(body), body),
    )
    connection.execute(
        "UPDATE sessions SET next_position = ?, next_sequence = ?, chunks = chunks + ?, steps = steps + ?,"
        " source_state = coalesce(?, source_state), state = ?, owner = ? WHERE session_id = ?",
        (
            position + 1,
            sequence + (kind in SEQUENCE_KINDS),
            kind == "CHUNK",
            steps,
            source_state,
            SessionState.ENDED if state is SessionState.CLOSED else state,
            owner,
            session_id,
        ),
    )
    return int(position)


def signed_envelope(connection: sqlite3.Connection, session_id: str, position: int) -> StoredEnvelope:
    """An envelope that waits, signed if it was not; the session must be open."""
    row = connection.execute(
        "SELECT * FROM envelopes WHERE session_id = ? AND position = ?", (session_id, position)
    ).fetchone()
    body = row["body"]
    if not row["signed"]:
        session = session_row(connection, session_id)
        if session["shared_secret"] is None:
            raise ValueError(f"{session_id} is not open")
        draft = Draft(body[: row["split"]], body[row["split"] :])
        body = draft.signed(session["shared_secret"], row["sequence"], session["app_version_hash"])
        connection.execute(
            "UPDATE envelopes SET body = ?, bytes = ?, signed = 1 WHERE session_id = ? AND position = ?",
            (body, len(body), session_id, position),
        )
    return StoredEnvelope(session_id=session_id, position=position, kind=row["kind"], steps=row["steps"], body=body)


def move_contents(connection: sqlite3.Connection, session_id: str, new_session_id: str, owner: str) -> None:
    """Give what waits of a session to another one, whose id and key it then carries."""
    connection.execute("UPDATE kept_steps SET session_id = ? WHERE session_id = ?", (new_session_id, session_id))
    rows = connection.execute(
        "SELECT * FROM envelopes WHERE session_id = ? AND state = 'waiting' ORDER BY position", (session_id,)
    ).fetchall()
    for row in rows:
        draft = draft_of(row["body"], row["split"], signed=row["signed"]).readdressed(session_id, new_session_id)
        new = session_row(connection, new_session_id)
        insert(connection, new, row["kind"], draft, row["steps"], None, owner)
    connection.execute("DELETE FROM envelopes WHERE session_id = ?", (session_id,))


def take_back(connection: sqlite3.Connection, session_id: str, position: int, answer: str, restate: Restate) -> None:
    """Note a refusal, and forget all that waits behind it: no more is sent of the session, which has ended."""
    refused = connection.execute(
        "UPDATE envelopes SET state = 'refused', answer = ?, body = NULL"
        " WHERE session_id = ? AND position = ? AND state = 'waiting' RETURNING position",
        (answer, session_id, position),
    ).fetchone()
    if refused is None:
        return
    chunks = connection.execute(
        "SELECT steps, state FROM envelopes WHERE session_id = ? AND kind = 'CHUNK' ORDER BY position", (session_id,)
    ).fetchall()
    connection.execute("DELETE FROM envelopes WHERE session_id = ? AND state = 'waiting'", (session_id,))
    before = session_row(connection, session_id)["source_state"]
    after = restate(before, [(row["steps"], row["state"] == "delivered") for row in chunks])
    connection.execute(
        "UPDATE sessions SET envelopes_refused = envelopes_refused + 1, problem = coalesce(problem, ?),"
        " source_state = ?, state = 'ended' WHERE session_id = ?",
        (answer, after, session_id),
    )
