"""What must hold of everything that is stored, judged against what the clients sent and believe."""

import hashlib
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

from persistence.format import times
from persistence.format.records import JournalName
from tests.dead_letters import body_of
from tests.simulation.model import Belief, Model, Sent, SessionModel
from tests.simulation.scoring_model import Copies, points_of

Line = dict[str, Any]
ROUNDING = 1e-6
NOTHING: Mapping[Path, bytes] = MappingProxyType({})


class Checker:
    """Compares journals, and databases below `root`, with the model; each difference is one sentence in `found`."""

    def __init__(
        self, model: Model, root: Path, journals: Mapping[Path, bytes], removed: Mapping[Path, bytes] = NOTHING
    ) -> None:
        self._model = model
        self._root = root
        self.found: list[str] = []
        self._dropped = _dropped_of(journals.get(root / JournalName.REFUSED / "dropped.jsonl", b""))
        self._journals = {path: text for path, text in journals.items() if not self._is_dropped(path)}
        gone = [text for path, text in {**removed, **journals}.items() if self._is_dropped(path, of_days=True)]
        self._dropped_letters = [json.loads(line) for text in gone for line in text.splitlines()]
        self._copied: dict[str, dict[int, str]] = {}
        self._raw: dict[JournalName, list[bytes]] = {name: self._lines_of(name) for name in JournalName}
        self._lines: dict[JournalName, list[Line]] = {
            name: [line for number, raw in enumerate(raws, start=1) if (line := self._parsed(name, number, raw))]
            for name, raws in self._raw.items()
        }

    def _is_dropped(self, path: Path, *, of_days: bool = False) -> bool:
        """Whether a file is no part of a journal: one of a dropped day, or what says which those are."""
        if path.parent != self._root / JournalName.REFUSED:
            return False
        return not of_days if path.name == "dropped.jsonl" else path.stem <= self._dropped["day"]

    def _lines_of(self, name: JournalName) -> list[bytes]:
        texts = [self._journals[path] for path in sorted(self._journals) if path.parent == self._root / name]
        for text in texts:
            if text and not text.endswith(b"\n"):
                self.found.append(f"a file of {name} does not end with a whole line")
        return [line for text in texts for line in text.splitlines()]

    def _parsed(self, name: JournalName, number: int, raw: bytes) -> Line | None:
        """Read a line by the format's description, not by the product's code."""
        end = raw.rfind(b',"crc32":"')
        if end < 0 or int(raw[end + 10 : end + 18], 16) != zlib.crc32(raw[:end]):
            self.found.append(f"line {number} of {name} fails its checksum")
            return None
        line: Line = json.loads(raw)
        if name is JournalName.REFUSED:
            number += self._dropped["n"]
        if line["received"]["n"] != number:
            self.found.append(f"line {number} of {name} has the number {line['received']['n']}")
        return line

    def check(self, *, complete: bool) -> None:
        """Check everything; `complete` says that all is closed and projected, and nothing runs."""
        accepted = self._check_envelopes()
        self._copied = self._copies(accepted)
        self._check_refused(complete=complete)
        for session in self._model.sessions.values():
            self._check_session(session, accepted.get(session.session_id, []), complete=complete)
        self._check_trajectories(accepted)
        if complete:
            self._check_ledger(accepted)

    # Envelopes

    def _check_envelopes(self) -> dict[str, list[Sent]]:
        """Every line was sent as it stands, and once; answer the accepted envelopes by session."""
        sent_by_signature = {
            sent.signature: (session, sent) for session in self._model.sessions.values() for sent in session.sent
        }
        accepted: dict[str, list[Sent]] = {}
        closes: Counter[str] = Counter()
        seen: set[str] = set()
        for raw, line in zip(self._raw[JournalName.ENVELOPES], self._lines[JournalName.ENVELOPES], strict=False):
            closes[line["session_id"]] += line.get("type") in {"SERVER_CLOSE", "SESSION_CLOSE"}
            if line.get("type") == "SERVER_CLOSE":
                self._check_server_close(line)
                continue
            signature = line["attestation"]["session_hmac"]
            if signature not in sent_by_signature:
                self.found.append(f"a line of {line['session_id']} was never sent")
                continue
            session, sent = sent_by_signature[signature]
            if signature in seen:
                self.found.append(f"{_name(session, sent)} is in the journal twice")
                continue
            seen.add(signature)
            self._check_envelope(_name(session, sent), sent, raw, line["envelope_id"])
            accepted.setdefault(session.session_id, []).append(sent)
        self.found += [f"{session_id} was closed {count} times" for session_id, count in closes.items() if count > 1]
        for session, sent in sent_by_signature.values():
            if sent.belief is Belief.ACKNOWLEDGED and sent.signature not in seen:
                self.found.append(f"{_name(session, sent)} was acknowledged and is lost")
        return accepted

    def _check_envelope(self, name: str, sent: Sent, raw: bytes, envelope_id: str) -> None:
        if not raw.startswith(b'{"envelope_id":"%s",%s,"received":{' % (envelope_id.encode(), sent.stored)):
            self.found.append(f"{name} is not in the journal as it was sent")
        if sent.belief is Belief.REFUSED:
            self.found.append(f"{name} was refused ({sent.code}) and is in the journal")
        if sent.belief is Belief.ACKNOWLEDGED and sent.envelope_id != envelope_id:
            self.found.append(f"{name} was acknowledged under another id than it is stored with")

    def _check_server_close(self, line: Line) -> None:
        session = self._model.sessions.get(line["session_id"])
        asked = session is not None and session.http_close_asked
        if line["closed_by"] == "http_close" and not asked:
            self.found.append(f"{line['session_id']} was closed by HTTP, which nobody asked for")
        is_due = times.from_text(line["received"]["at"]) >= self._model.abandons_from_s
        if line["closed_by"] == "abandoned" and not (is_due or self._model.may_be_abandoned):
            self.found.append(f"{line['session_id']} was closed as abandoned too early")

    def _check_refused(self, *, complete: bool) -> None:
        by_signature = {sent.signature: sent for each in self._model.sessions.values() for sent in each.sent}
        seen: set[str] = set()
        for line in (*self._dropped_letters, *self._lines[JournalName.REFUSED]):
            sent = by_signature.get(line["session_hmac"])
            if sent is None or sent.is_acceptable or not _is_of(line, sent.body):
                self.found.append(f"a dead letter of {line['session_id']} was never sent, or is not refusable")
            if line["session_hmac"] in seen:
                self.found.append(f"a dead letter of {line['session_id']} is there twice")
            seen.add(line["session_hmac"])
        for signature, sent in by_signature.items():
            if sent.code == "schema" and signature not in seen:
                self.found.append(f"{sent.kind} {sent.sequence} was refused for its schema and is lost")
        self._model.world.counts["letters dropped"] += len(self._dropped_letters) * complete
        if complete and self._dropped["n"]:
            known = self._rows("sessions.db", f"SELECT n FROM refused_envelopes WHERE n <= {self._dropped['n']}")
            if len(known) != self._dropped["n"]:
                self.found.append(f"the databases know {len(known)} of {self._dropped['n']} dropped letters")

    # Sessions

    def _check_session(self, session: SessionModel, accepted: list[Sent], *, complete: bool) -> None:
        refused = {
            line["session_hmac"]: line["sequence"]
            for line in (*self._dropped_letters, *self._lines[JournalName.REFUSED])
            if line["session_id"] == session.session_id and line["sequence"] is not None
        }
        numbers = sorted([sent.sequence for sent in accepted if sent.sequence is not None] + list(refused.values()))
        may_have_gaps = self._model.world.accepts_gaps
        if numbers != (sorted(set(numbers)) if may_have_gaps else list(range(len(numbers)))):
            self.found.append(f"{session.session_id} has used the sequence numbers {numbers}")
        if not complete:
            return
        expected = self._expected_points(session.session_id, accepted)
        copied = len(self._copied.get(session.session_id, {}))
        for reply in session.close_replies:
            if "points" in reply.body and (expected is None or abs(reply.body["points"] - expected) > ROUNDING):
                self.found.append(f"{session.session_id} was told {reply.body['points']} points, not {expected}")
            if "points" in reply.body and reply.body.get("copied_steps", 0) != copied:
                self.found.append(f"{session.session_id} was not told that {copied} of its steps are copies")

    @staticmethod
    def _chunks(accepted: list[Sent]) -> list[Sent]:
        return sorted((sent for sent in accepted if sent.kind == "CHUNK"), key=lambda sent: sent.chunk_sequence)

    def _steps(self, accepted: list[Sent]) -> list[dict[str, Any]]:
        steps = [step for chunk in self._chunks(accepted) for step in chunk.steps]
        return sorted(steps, key=lambda step: int(step["step"]))

    def _copies(self, accepted: dict[str, list[Sent]]) -> dict[str, dict[int, str]]:
        """The copies in each session, which follow from the order of the trajectories' lines alone."""
        copies = Copies()
        return {
            line["session_id"]: copies.next(line["session_id"], self._steps(accepted.get(line["session_id"], [])))
            for line in self._lines[JournalName.TRAJECTORIES]
        }

    def _expected_points(self, session_id: str, accepted: list[Sent]) -> float | None:
        chunks = self._chunks(accepted)
        if not chunks:
            return None
        first, copied = chunks[0].metadata, self._copied.get(session_id, {})
        new = [step for place, step in enumerate(self._steps(accepted)) if place not in copied]
        return points_of(new, first["model_engine"], first["task_complexity"])

    # Trajectories and credits

    def _check_trajectories(self, accepted: dict[str, list[Sent]]) -> None:
        seen: set[str] = set()
        for line in self._lines[JournalName.TRAJECTORIES]:
            session_id = line["session_id"]
            if session_id in seen:
                self.found.append(f"{session_id} has two trajectories")
            seen.add(session_id)
            expected = accepted.get(session_id, [])
            if line["trajectory_log"] != self._steps(expected):
                self.found.append(f"the trajectory of {session_id} does not hold exactly its accepted steps")
            if line["score"]["totalPoints"] != self._expected_points(session_id, expected):
                self.found.append(f"the trajectory of {session_id} has {line['score']['totalPoints']} points")
            marked = {
                place: run["session_id"]
                for run in line["copied_from"]
                for place in range(run["from_step"] - 1, run["to_step"])
            }
            self._model.world.counts["copies marked"] += len(marked)
            short = sum(run["to_step"] - run["from_step"] < 2 for run in line["copied_from"])
            self._model.world.counts["copies of one or two steps marked"] += short
            if marked != self._copied[session_id]:
                self.found.append(f"the trajectory of {session_id} marks the copies {marked}")

    def _check_ledger(self, accepted: dict[str, list[Sent]]) -> None:
        expected = [
            (session.contributor_id, session.session_id, points)
            for session in self._model.sessions.values()
            if (points := self._expected_points(session.session_id, accepted.get(session.session_id, []))) is not None
        ]
        self._model.world.counts["sessions credited"] += len(expected)
        rows = self._rows("ledger.db", "SELECT contributor_id, session_id, points FROM credits")
        if sorted(rows) != sorted(expected):
            self.found.append(f"the credits are {sorted(rows)}, not {sorted(expected)}")
        balances: Counter[str] = Counter()
        for contributor_id, _, points in expected:
            balances[contributor_id] += points  # type: ignore[assignment] # halves of points
        stored = dict(self._rows("ledger.db", "SELECT contributor_id, total_points FROM balances"))
        if stored.keys() != balances.keys() or any(abs(stored[who] - balances[who]) > ROUNDING for who in stored):
            self.found.append(f"the balances are {stored}, not {dict(balances)}")
        active = self._rows("sessions.db", "SELECT session_id FROM sessions WHERE status != 'closed'")
        if active:
            self.found.append(f"sessions were left active: {active}")

    def _rows(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._root / database)) as connection:
            return connection.execute(sql).fetchall()


def _dropped_of(text: bytes) -> dict[str, Any]:
    """What was dropped of the refused envelopes: the last good line says it."""
    for raw in reversed(text.split(b"\n")[:-1]):
        end = raw.rfind(b',"crc32":"')
        if end >= 0 and raw[end + 10 : end + 18] == b"%08x" % zlib.crc32(raw[:end]):
            dropped: dict[str, Any] = json.loads(raw)["dropped"]
            return dropped
    return {"n": 0, "day": ""}


def _is_of(letter: Line, body: bytes) -> bool:
    """Whether a dead letter holds this envelope, or says that it was this one."""
    if "body_sha256" in letter:
        return (letter["body_bytes"], letter["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    return body_of(letter) == body


def _name(session: SessionModel, sent: Sent) -> str:
    return f"{sent.kind} {sent.sequence} of {session.session_id}"
