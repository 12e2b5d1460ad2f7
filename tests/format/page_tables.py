"""The databases' tables computed from the lines of the journals, as docs/format.md says what each column means.

Like `page_reader`, it knows the page alone. What has no line (openings, keys, times of migrations, trust) is not in it.
"""

import base64
import json
import struct
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from tests.format.page_fingerprints import fingerprints
from tests.format.page_reader import (
    Line,
    closed_by,
    counted,
    event_hash,
    event_of,
    kind_of,
    kind_of_record,
    subject_of,
)

FOLLOWED = ("envelopes", "refused", "trajectories", "consent", "intake")
Row = dict[str, Any]
Tables = dict[str, list[Row]]


def place_of(line: Line) -> Row:
    """Where a line stands, in the columns that say so."""
    return {"n": line.n, "day": line.day, "offset": line.offset, "length": line.length}


class SessionsDatabase:
    """The derived rows of `sessions.db`; `openings` are the times of the openings by session."""

    def __init__(self, journals: dict[str, list[Line]], openings: dict[str, str]) -> None:
        self.sessions: dict[str, Row] = {session_id: _new_session(at) for session_id, at in openings.items()}
        self.envelopes: list[Row] = []
        self.refused: list[Row] = []
        self.gaps: list[Row] = []
        self.feedback: list[Row] = []
        self.first_chunks: dict[str, Row] = {}
        self.trajectories: list[Row] = []
        self.daily: dict[str, Row] = defaultdict(lambda: {"envelopes": 0, "steps": 0, "sessions": 0, "points": 0.0})
        self.models: dict[str, Row] = defaultdict(lambda: {"sessions": 0, "steps": 0, "points": 0.0})
        self.providers: dict[str, Row] = defaultdict(lambda: {"sessions": 0, "steps": 0, "points": 0.0})
        self.points = 0.0
        self.consents: dict[str, Row] = {}
        self.events: list[Row] = []
        self.keys: list[Row] = []
        self.texts = [_text(line) for line in journals["intake"]]
        self.positions = [position_of(name, journals[name][-1]) for name in FOLLOWED if journals[name]]
        for line in journals["envelopes"]:
            self._add_envelope(line, counted("envelopes", line))
        for line in journals["refused"]:
            self._add_refused(line, counted("refused", line))
        for line in journals["trajectories"]:
            self._add_trajectory(line, counted("trajectories", line))
        for line in journals["consent"]:
            self._add_consent(line, line.members)

    def tables(self) -> Tables:
        """The rows of each table, by its name."""
        sessions = [{"session_id": session_id, **row} for session_id, row in self.sessions.items()]
        clients = [row for row in self.envelopes if row["kind"] != "SERVER_CLOSE"]
        totals = {
            "id": 1,
            "envelopes": len(clients),
            "steps": sum(row["steps"] for row in clients),
            "sessions": len(sessions),
            "sessions_closed": sum(row["status"] == "closed" for row in sessions),
            "sessions_with_chunks": sum(row["chunk_count"] > 0 for row in sessions),
            "points": self.points,
            "refused_without_body": sum(not row["with_body"] for row in self.refused),
            "sessions_unused": sum(row["status"] == "active" and not row["envelope_count"] for row in sessions),
        }
        return {
            "sessions": sessions,
            "processed_envelopes": self.envelopes,
            "refused_envelopes": self.refused,
            "sequence_gaps": self.gaps,
            "feedback": self.feedback,
            "first_chunks": list(self.first_chunks.values()),
            "trajectories": self.trajectories,
            "totals": [totals],
            "daily": [{"date": day, **row} for day, row in self.daily.items()],
            "models": [
                {"name": name, **row, "sessions": self._sessions_of("model", name)} for name, row in self.models.items()
            ],
            "providers": [
                {"name": name, **row, "sessions": self._sessions_of("provider", name)}
                for name, row in self.providers.items()
            ],
            "projection_positions": self.positions,
            "consents": list(self.consents.values()),
            "consent_events": self.events,
            "contributor_keys": self.keys,
            "intake_records": self.texts,
        }

    def _session(self, members: dict[str, Any], line: Line) -> Row:
        """A session's row; one that was erased has no opening."""
        if "erased" in line.members:
            self.sessions.setdefault(members["session_id"], {**_new_session(line.at), "placeholder": 1})
        return self.sessions[members["session_id"]]

    def _add_envelope(self, line: Line, members: dict[str, Any]) -> None:
        kind = kind_of(members)
        session = self._session(members, line)
        is_numbered = kind in ("CHUNK", "SESSION_CLOSE")
        attestation = members.get("attestation", {"session_hmac": ""})
        row = {
            "envelope_id": members["envelope_id"],
            "session_id": members["session_id"],
            "processed_at": line.at,
            "kind": kind,
            "sequence": attestation["sequence"] if is_numbered else None,
            "session_hmac": attestation["session_hmac"],
            "chunk_sequence": members["chunk_sequence"] if kind == "CHUNK" else None,
            "steps": len(members["trajectory_log"]) if kind == "CHUNK" else 0,
            "signal": members["feedback"]["signal"] if kind == "USER_FEEDBACK" else None,
            "gap": line.gap,
            **place_of(line),
            "letter": line.letter,
        }
        self.envelopes.append(row)
        session["bytes_total"] += line.length
        if line.letter is None:
            self._count(session, row, line, counts=kind != "SERVER_CLOSE")
        if kind != "SERVER_CLOSE":
            self.daily[line.at[:10]]["envelopes"] += 1
        if kind == "CHUNK":
            self._add_chunk(session, row, line, members)
        elif kind == "USER_FEEDBACK":
            self.feedback.append(
                {name: row[name] for name in ("session_id", "n", "envelope_id", "signal")}
                | {"received_at": line.at, "late": int(session["status"] == "closed")}
            )
        elif session["status"] == "active":
            ended_by = closed_by(members) if kind == "SERVER_CLOSE" else "session_close"
            session |= {"status": "closed", "closed_at": line.at, "closed_by": ended_by}

    def _add_chunk(self, session: Row, row: Row, line: Line, members: dict[str, Any]) -> None:
        metadata, subject = members["metadata"], ""
        if "contributor_id" in members:
            subject = subject_of(members["contributor_id"])
            consent = self._consent_of(subject)
            consent["first_chunk_at"] = min(consent["first_chunk_at"] or line.at, line.at)
        for table, name in ((self.models, metadata["model_engine"]), (self.providers, metadata["provider"])):
            table[name]["steps"] += row["steps"]
        first = self.first_chunks.get(row["session_id"])
        is_late = line.letter is not None and session["status"] == "closed"
        if first is None or (row["chunk_sequence"] < first["chunk_sequence"] and not is_late):
            self.first_chunks[row["session_id"]] = {
                "session_id": row["session_id"],
                "chunk_sequence": row["chunk_sequence"],
                "provider": metadata["provider"],
                "model": metadata["model_engine"],
                "subject": subject,
            }
        session["chunk_count"] += 1
        session["step_count"] += row["steps"]
        self.daily[line.at[:10]]["steps"] += row["steps"]

    def _consent_of(self, subject: str) -> Row:
        nothing = dict.fromkeys(("first_chunk_at", "state", "version", "source", "changed_at", "n"))
        return self.consents.setdefault(subject, {"subject": subject, **nothing})

    def _add_consent(self, line: Line, members: dict[str, Any]) -> None:
        event = event_of(members)
        if event is None:
            key = members["contributor_key"]
            row = {name: key[name] for name in ("subject", "public_key")}
            self.keys.append(row | {"registered_at": _time(key["at_us"]), "n": line.n})
            return
        self._consent_of(event["subject"]).update(
            **{name: event[name] for name in ("state", "version", "source")}, changed_at=_time(event["at_us"]), n=line.n
        )
        self.events.append(
            {
                "event_id": event["id"],
                **{name: event[name] for name in ("subject", "previous_sha256")},
                "sha256": event_hash(event),
                "received_at": line.at,
                **place_of(line),
            }
        )

    def _sessions_of(self, column: str, name: str) -> int:
        return sum(row[column] == name for row in self.first_chunks.values())

    def _add_refused(self, line: Line, members: dict[str, Any]) -> None:
        row = {
            "envelope_id": members["envelope_id"],
            "session_id": members["session_id"],
            "refused_at": line.at,
            "kind": members["type"],
            "sequence": members["sequence"],
            "session_hmac": members["session_hmac"],
            "gap": line.gap,
            "code": members["refused"]["code"],
            "reason": members["refused"]["reason"],
            **place_of(line),
            "with_body": int("body_sha256" not in members),
        }
        self.refused.append(row)
        self._count(self._session(members, line), row, line, counts=True)

    def _count(self, session: Row, row: Row, line: Line, *, counts: bool) -> None:
        session["envelope_count"] += counts
        session["last_activity_at"] = max(session["last_activity_at"], line.at)
        if row["sequence"] is None:
            return
        session["expected_sequence"] = max(session["expected_sequence"], row["sequence"] + 1)
        if line.gap:
            self.gaps.append({"session_id": row["session_id"], "before": row["sequence"], "missing": line.gap})

    def _add_trajectory(self, line: Line, members: dict[str, Any]) -> None:
        session = self._session(members, line)
        if session["trajectory_id"] is not None:
            return
        row = {
            "session_id": members["session_id"],
            "trajectory_id": members["trajectory_id"],
            "contributor_id": members["contributor_id"],
            "provider": members["metadata"]["provider"],
            "model": members["metadata"]["model_engine"],
            "points": float(members["score"]["totalPoints"]),
            "steps": members["total_steps"],
            "closed_by": closed_by(members),
            "created_at": line.at,
            **place_of(line),
            **_copied(members),
        }
        self.trajectories.append(row)
        session["trajectory_id"] = members["trajectory_id"]
        session["last_activity_at"] = max(session["last_activity_at"], line.at)
        self.daily[line.at[:10]]["sessions"] += 1
        for counter in (self.daily[line.at[:10]], self.models[row["model"]], self.providers[row["provider"]]):
            counter["points"] += row["points"]
        self.points += row["points"]


def ledger_tables(trajectories: list[Line]) -> Tables:
    """The derived rows of `ledger.db`, by table."""
    credited: list[Row] = []
    balances: dict[str, Row] = {}
    for line in trajectories:
        members = counted("trajectories", line)
        if any(row["session_id"] == members["session_id"] for row in credited):
            continue
        points = float(members["score"]["totalPoints"])
        start = line.text.rindex(b',"score":') + len(b',"score":')
        score = line.text[start : line.text.index(b"}", start) + 1].decode()
        credited.append(
            {
                "id": len(credited) + 1,
                "contributor_id": members["contributor_id"],
                "session_id": members["session_id"],
                "points": points,
                "base_points": members["score"]["basePoints"],
                "multiplier_breakdown": score,
                "created_at": line.at,
            }
        )
        balance = balances.setdefault(members["contributor_id"], {"total_points": 0.0, "total_sessions": 0})
        balance["total_points"] += points
        balance["total_sessions"] += 1
        balance["last_credit_at"] = line.at
    totals = {"id": 1, "credits": len(credited), "contributors": len(balances)}
    first_seen: dict[int, Row] = {}
    gathered: list[Row] = []
    for line in trajectories:
        if not (listed := _fingerprints_of(line)):
            continue
        total = sum(len(json.loads(row["fingerprints"])) for row in gathered) + len(listed)
        gathered.append({"n": line.n, "total": total, "fingerprints": json.dumps(listed, separators=(",", ":"))})
        if total >= 65_536:
            for row in gathered:
                for fingerprint in json.loads(row["fingerprints"]):
                    first_seen.setdefault(fingerprint, {"fingerprint": fingerprint, "n": row["n"]})
            gathered = []
    return {
        "gathered_fingerprints": gathered,
        "fingerprints": list(first_seen.values()),
        "fingerprinted": [
            {"n": line.n} | {name: counted("trajectories", line)[name] for name in ("session_id", "trajectory_id")}
            for line in trajectories
        ],
        "credits": credited,
        "balances": [{"contributor_id": contributor_id, **row} for contributor_id, row in balances.items()],
        "totals": [totals | {"points": sum(row["points"] for row in credited)}],
        "projection_positions": [position_of("trajectories", trajectories[-1])] if trajectories else [],
        "sqlite_sequence": [{"name": "credits", "seq": len(credited)}] if credited else [],
    }


def corpus_tables(journals: dict[str, list[Line]]) -> Tables:
    """The derived rows of `corpus.db`, by table."""
    records: dict[str, Row] = {}
    bands: dict[str, set[int]] = {}
    judgements: dict[str, Row] = {}
    texts: list[Row] = []
    for line in journals["corpus"]:
        members = line.members
        if "erased" in members:
            continue
        assert "taken_back" not in members
        if "judgement" in members:
            said = {"rules": members["rules"], **members["judgement"], "judged_at": line.at, "n": line.n}
            judgements[members["trajectory_id"]] = said
            continue
        if kind_of_record(members) == "text":
            texts.append(_corpus_text(line))
            continue
        enrichment, duplicates = members["enrichment"], members["duplicates"]
        quality = enrichment["quality_assessment"]
        own = ("record_id", "session_id", "contributor_id", "rules", "started_at")
        records[members["trajectory_id"]] = {
            **{name: members[name] for name in own},
            "provider": members["metadata"]["provider"],
            "model": members["metadata"]["model_engine"],
            "steps": members["total_steps"],
            "tokens": members["total_tokens"],
            "feedback": len(members["feedback"]),
            "findings": members["scrubbed"]["findings"],
            "withheld": members["scrubbed"]["withheld"],
            "cognitive_target": enrichment["cognitive_target"]["target"],
            "quality": quality["score"],
            "tier": quality["tier"],
            "training_eligible": int(quality["training_eligible"]),
            "domain": ((members["domain_tags"] or {}).get("primary") or {}).get("domain"),
            "sha256": duplicates["sha256"],
            "cluster": duplicates["cluster"],
            "minima": base64.b64decode(duplicates["minima"]),
            "curated_at": line.at,
            **place_of(line),
        }
        bands[members["trajectory_id"]] = {
            band for (band,) in struct.iter_unpack(">q", base64.b64decode(duplicates["bands"]))
        }
    looked_at = [
        {"journal": name, "n": journals[name][-1].n, "day": "", "next_offset": 0} for name in ("envelopes", "consent")
    ]
    return {
        "records": [{"trajectory_id": name, **row} for name, row in records.items()],
        "bands": [{"band": band, "trajectory_id": name} for name, own_bands in bands.items() for band in own_bands],
        "passed_over": [],
        "texts": texts,
        "texts_passed_over": [],
        "attempts": [],
        "judgements": [
            {"trajectory_id": name, **row}
            for name, row in judgements.items()
            if name in records and row["sha256"] == records[name]["sha256"]
        ],
        "unanswered": [],
        "summaries": [],
        "judging": [],
        "consent_terms": [{"only_one": 1, "terms": "client 1.0"}],
        "projection_positions": [
            *(position_of(name, journals[name][-1]) for name in ("corpus", "trajectories", "intake")),
            *looked_at,
        ],
    }


def _fingerprints_of(line: Line) -> list[int]:
    members = counted("trajectories", line)
    found: list[int] = members["fingerprints"] if "fingerprints" in members else fingerprints(members["trajectory_log"])
    return found


def _text(line: Line) -> Row:
    names = ("record_id", "subject", "session_id", "content_type")
    members = counted("intake", line)
    return {**{name: members[name] for name in names}, "received_at": line.at, **place_of(line)}


def _corpus_text(line: Line) -> Row:
    members = line.members
    return {
        **{name: members[name] for name in ("record_id", "session_id", "content_type", "domain", "sha256", "rules")},
        "subject": members["user_id"],
        "chars": len(members["content"]),
        "findings": members["scrubbed"]["findings"],
        "withheld": members["scrubbed"]["withheld"],
        "curated_at": line.at,
        **place_of(line),
    }


def _copied(members: dict[str, Any]) -> Row:
    steps: dict[str, int] = {}
    if "copied_from" not in members:  # it was erased
        return {"copied_steps": members["copied_steps"], "copied_from": members["most_copied_from"]}
    for run in members["copied_from"]:
        steps[run["session_id"]] = steps.get(run["session_id"], 0) + run["to_step"] - run["from_step"] + 1
    return {
        "copied_steps": sum(steps.values()),
        "copied_from": max(steps, key=lambda session_id: steps[session_id]) if steps else None,
    }


def _new_session(opened_at: str) -> Row:
    counts = dict.fromkeys(("expected_sequence", "envelope_count", "chunk_count", "step_count", "bytes_total"), 0)
    return {
        **counts,
        "status": "active",
        "closed_at": None,
        "closed_by": None,
        "last_activity_at": opened_at,
        "trajectory_id": None,
        "placeholder": 0,
    }


def _time(at_us: int) -> str:
    second = datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{at_us % 1_000_000:06d}Z"


def position_of(journal: str, line: Line) -> Row:
    """How far a database has followed a journal, when a line is the last one that it knows."""
    return {"journal": journal, "n": line.n, "day": line.day, "next_offset": line.offset + line.length}
