"""What a server has acknowledged, gathered from requests and answers alone, and whether its data directory holds it.

Nothing here is taken from the project's own code: lines, rows and points are read and counted again from the contract.
"""

import json
import math
import sqlite3
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from tests.server_process import CLOSE, INGEST, OPEN, Answer

TIERS = {"gpt-5.5": 5, "o4-mini": 2, "gemini-2.5-flash": 1.5, "claude-opus-4-6": 5, "claude-sonnet-4-6": 3}
"""Models of the workloads and what they count (contract, "MODEL_TIERS"); others count 1."""

RESEND_REFUSED = {"schema", "sequence_mismatch"}
"""What an envelope that breaks the schema can be answered, the second once its sequence is used up."""

Key = tuple[str, int | None, str]
"""Session, sequence (None for feedback) and HMAC."""


class AcknowledgedEnvelope(msgspec.Struct, frozen=True):
    """An accepted envelope, as it was sent, and the id that the server gave it."""

    body: bytes
    kind: str
    envelope_id: str


class AcknowledgedSession(msgspec.Struct):
    """What was acknowledged of one session; `points` is what the HTTP close said."""

    server_public_key: str
    envelopes: dict[Key, AcknowledgedEnvelope] = {}
    closed: bool = False
    points: float | None = None

    def chunks(self) -> list[dict[str, Any]]:
        """Its accepted chunks, in the order of their sequence."""
        return [json.loads(each.body) for each in self.envelopes.values() if each.kind == "CHUNK"]


class Acknowledged:
    """Everything acknowledged so far. Each session must be driven by one thread."""

    def __init__(self) -> None:
        self.sessions: dict[str, AcknowledgedSession] = {}
        self.answers = 0

    def take(self, path: str, body: bytes, answer: Answer) -> None:
        """Note an answer; AssertionError when it contradicts an earlier one or is none that a client can go on from."""
        sent = json.loads(body)
        session_id = sent["session_id"]
        assert answer.status == 200, f"{path} of session {session_id} was answered {answer}"
        if path == OPEN:
            self._take_opening(session_id, answer.members["server_public_key"])
        elif path == CLOSE:
            self._take_close(self.sessions[session_id], session_id, answer.members)
        else:
            assert path == INGEST
            self._take_envelope(self.sessions[session_id], sent, body, answer.members)
        self.answers += 1

    def _take_opening(self, session_id: str, server_public_key: str) -> None:
        known = self.sessions.setdefault(session_id, AcknowledgedSession(server_public_key))
        assert known.server_public_key == server_public_key, f"session {session_id} was given another key"

    def _take_close(self, session: AcknowledgedSession, session_id: str, members: dict[str, Any]) -> None:
        assert members["closed"] is True
        assert not session.closed or members.get("already_closed"), f"{session_id} was closed twice: {members}"
        points = members.get("points")
        assert not session.closed or session.points in (None, points), f"{session_id}: {session.points} or {points}?"
        session.closed, session.points = True, points

    def _take_envelope(
        self, session: AcknowledgedSession, sent: dict[str, Any], body: bytes, members: dict[str, Any]
    ) -> None:
        if not members["accepted"]:
            # The workload's only refusals: a provider that is not one.
            assert members["code"] in RESEND_REFUSED, members
            assert sent["metadata"]["provider"] == "unheard-of", f"a good envelope was refused: {members}"
            return
        kind = sent.get("type", "CHUNK")
        attestation = sent["attestation"]
        sequence = None if kind == "USER_FEEDBACK" else attestation["sequence"]
        key = (sent["session_id"], sequence, attestation["session_hmac"])
        envelope = AcknowledgedEnvelope(body, kind, members["envelope_id"])
        earlier = session.envelopes.setdefault(key, envelope)
        if earlier is not envelope:
            assert members.get("duplicate") is True, f"a resend was taken as new: {members}"
            assert earlier.envelope_id == envelope.envelope_id, f"a resend was given another id: {members}"
        session.closed |= kind == "SESSION_CLOSE"

    # What is on disk

    def differences(self, root: Path, *, closes_are_finished: bool = True) -> list[str]:
        """Say where the data directory does not hold what was acknowledged, exactly once; [] when all is well.

        `closes_are_finished` is so once a server has started on the directory and has projected what it found.
        """
        return [*self._envelope_differences(root), *(self._credit_differences(root) if closes_are_finished else [])]

    def _envelope_differences(self, root: Path) -> list[str]:
        lines: defaultdict[Key, list[bytes]] = defaultdict(list)
        sequences: Counter[tuple[str, int]] = Counter()
        for text in _lines(root / "envelopes"):
            line = _LINE.decode(text)
            if line.attestation is None:
                continue  # the server's own line for a close
            sequence = None if line.type == "USER_FEEDBACK" else line.attestation.sequence
            lines[line.session_id, sequence, line.attestation.session_hmac].append(text)
            if sequence is not None:
                sequences[line.session_id, sequence] += 1
        found = [f"{key} is stored {count} times" for key, count in sequences.items() if count > 1]
        for session in self.sessions.values():
            for key, envelope in session.envelopes.items():
                stored = lines[key]
                if len(stored) != 1:
                    found.append(f"{envelope.kind} {key} was acknowledged and is stored {len(stored)} times")
                elif not stored[0].startswith(_expected_members(envelope)):
                    found.append(f"{envelope.kind} {key} is not stored as it was sent: {stored[0]!r}")
        return found

    def _credit_differences(self, root: Path) -> list[str]:
        trajectories: defaultdict[str, list[_Trajectory]] = defaultdict(list)
        for text in _lines(root / "trajectories"):
            trajectory = _TRAJECTORY.decode(text)
            trajectories[trajectory.session_id].append(trajectory)
        credited: defaultdict[str, list[float]] = defaultdict(list)
        for session_id, points in rows(root / "ledger.db", "SELECT session_id, points FROM credits"):
            credited[session_id].append(points)
        found = [
            f"{session_id} has {len(trajectories[session_id])} trajectories, {len(credited[session_id])} credits"
            for session_id in {*trajectories, *credited}
            if len(trajectories[session_id]) != 1 or len(credited[session_id]) != 1
        ]
        for session_id, session in self.sessions.items():
            if not session.closed:
                continue
            chunks = session.chunks()
            expected = [points_of(chunks)] if chunks else []
            if credited[session_id] != expected:
                found.append(f"{session_id} was closed and has the credits {credited[session_id]}, not {expected}")
            if session.points is not None and [session.points] != expected:
                found.append(f"{session_id}: the close said {session.points} points, and {expected} is right")
            steps = [step for chunk in chunks for step in chunk["trajectory_log"]]
            if chunks and [each.trajectory_log for each in trajectories[session_id]] != [steps]:
                found.append(f"{session_id}: its trajectory does not hold its steps")
        return found


def points_of(chunks: list[dict[str, Any]]) -> float:
    """What a session's chunks are worth (contract, "TrajectoryScorer")."""
    metadata = chunks[0]["metadata"]
    kinds = [step["type"] for chunk in chunks for step in chunk["trajectory_log"]]
    steps = len(kinds)
    subtotal = steps * TIERS.get(metadata["model_engine"], 1)
    subtotal += min(kinds.count("correction"), steps * 3 // 10) * 10
    subtotal += min(kinds.count("coordination"), steps * 2 // 10) * 5
    subtotal += min(kinds.count("resolution"), kinds.count("error")) * 3
    subtotal += steps if metadata["task_complexity"] == "heavy" else 0
    return subtotal + (math.floor(subtotal / 10) if "resolution" in kinds and steps >= 5 else 0)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query a database."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of both databases, in the order of the rows' text."""
    found = {}
    for name in ("sessions.db", "ledger.db"):
        for (table,) in rows(root / name, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            found[f"{name} {table}"] = sorted(rows(root / name, f"SELECT * FROM {table}"), key=repr)
    return found


def lines_of(root: Path, journal: str) -> list[bytes]:
    """The whole lines of a journal."""
    return _lines(root / journal)


def _lines(folder: Path) -> list[bytes]:
    """A journal's lines; what a crash left after the last newline is none."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]]


def _expected_members(envelope: AcknowledgedEnvelope) -> bytes:
    """How the line begins: the server's id, the client's members without its own, and what the server adds."""
    _, _, members = envelope.body.partition(b",")  # the clients' own envelope_id comes first
    return b'{"envelope_id":"%s",%s,"received":{' % (envelope.envelope_id.encode(), members[:-1])


class _Attestation(msgspec.Struct):
    session_hmac: str
    sequence: int


class _Line(msgspec.Struct):
    session_id: str
    type: str = "CHUNK"
    attestation: _Attestation | None = None


class _Trajectory(msgspec.Struct):
    session_id: str
    trajectory_log: list[dict[str, Any]]


_LINE = msgspec.json.Decoder(_Line)
_TRAJECTORY = msgspec.json.Decoder(_Trajectory)
