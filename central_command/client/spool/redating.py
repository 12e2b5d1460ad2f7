"""What waited so long to be signed that no server takes its times any more is moved in time when its session is opened.

A server takes no step that is older than seven days, and a session may wait longer for one that opens it. All that
waits of it is moved as a whole, and its metadata say by how much (`time_shift_s`, seconds), as those of an upload of an
old file do (`contract.placing`). What is signed stays as it is: the server may have it.
"""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from central_command.client.contract.chunking import as_written, encode_json
from central_command.client.contract.placing import MARGIN_S, Placing, placing_for


class _Timed(msgspec.Struct, frozen=True):
    timestamp: float


class _Times(msgspec.Struct, frozen=True):
    """The times of a chunk's steps, and that of a feedback, in seconds."""

    trajectory_log: tuple[_Timed, ...] = ()
    feedback: _Timed | None = None


_TIMES = msgspec.json.Decoder(_Times)
_UNSIGNED = "session_id = ? AND state = 'waiting' AND NOT signed"


def redate(connection: sqlite3.Connection, session: sqlite3.Row, now_s: float) -> None:
    """Move the times of all drafts of a session, if `now_s` is too late (or too early) for them.

    A session that was begun less than `MARGIN_S` ago is not looked at: whoever put its steps saw to that much.
    """
    if abs(now_s - session["created_s"]) <= MARGIN_S:
        return
    times = [each.timestamp for text in _texts(connection, session["session_id"]) for each in _times(text)]
    placing = placing_for(min(times), max(times), now_s=now_s) if times else Placing()
    if not placing.moves:
        return
    rows = connection.execute(
        f"SELECT position FROM envelopes WHERE {_UNSIGNED}",  # noqa: S608 -- fixed text
        (session["session_id"],),
    ).fetchall()
    for (position,) in rows:
        key = (session["session_id"], position)
        body, split = connection.execute(
            "SELECT body, split FROM envelopes WHERE session_id = ? AND position = ?", key
        ).fetchone()
        after = _placed(b"{" + body[split + 1 :], placing)
        if after is not None:
            moved = body[:split] + b"," + after[1:]
            connection.execute(
                "UPDATE envelopes SET body = ?, bytes = ? WHERE session_id = ? AND position = ?",
                (moved, len(moved), *key),
            )


def _texts(connection: sqlite3.Connection, session_id: str) -> Iterator[bytes]:
    """What of each draft stands behind its attestation, as a JSON object."""
    rows = connection.execute(
        f"SELECT body, split FROM envelopes WHERE {_UNSIGNED}",  # noqa: S608 -- fixed text
        (session_id,),
    )
    return (b"{" + body[split + 1 :] for body, split in rows)


def _times(text: bytes) -> tuple[_Timed, ...]:
    try:
        found = _TIMES.decode(text)
    except msgspec.DecodeError:  # whoever sends it hears what is wrong
        return ()
    return found.trajectory_log if found.feedback is None else (found.feedback,)


def _placed(text: bytes, placing: Placing) -> bytes | None:
    """The same with its times moved; None for what cannot be written again, which is left as it is."""
    members: dict[str, Any] = json.loads(text)
    for timed in [*members.get("trajectory_log", ()), *([members["feedback"]] if "feedback" in members else [])]:
        timed["timestamp"] = as_written(placing.place(timed["timestamp"]))
    if isinstance(metadata := members.get("metadata"), dict):
        metadata["time_shift_s"] = as_written(round(metadata.get("time_shift_s", 0) + placing.shift_s, 3))
        if placing.factor != 1:
            metadata["time_scale"] = metadata.get("time_scale", 1) * placing.factor
    try:
        return encode_json(members)
    except ValueError:  # a number that JSON has no word for
        return None
