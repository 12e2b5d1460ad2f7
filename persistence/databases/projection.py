"""From journal lines to rows: which statements a batch of committed lines means for each database. Pure.

Theory of operation. Every row is a function of the sessions' opening facts and of the journals' lines, whatever way the
lines were cut into batches and however the three journals were interleaved: that is why a rebuild gives the same rows,
and why a batch can be as large as is convenient. So nothing here looks at a clock, times come from the lines, and what
two journals write to one row is combined by operations whose order does not matter (`max`, `min`, integer sums). Sums
of points are not such an operation, because they are floating point: they are added line by line (by triggers, see
`persistence.databases.migrations`), and only the trajectories journal adds to them.

A batch is summed up in Python first, one row a session, model and day, because a row's update costs the same for one
line as for a thousand. Each database's position is written with its rows: exactly once, whatever happens in between.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, assert_never

import msgspec

from persistence.databases.database import Statement, Value
from persistence.databases.repeated_lines import Claim
from persistence.format import times
from persistence.format.consent_events import subject_digest
from persistence.format.records import (
    ClosedBy,
    Committed,
    ConsentRecord,
    ContributorKeyRecord,
    EnvelopeKind,
    EnvelopeRecord,
    IntakeRecord,
    JournalName,
    Mark,
    Position,
    RefusalRecord,
    SessionRecord,
    TrajectoryRecord,
)

R = TypeVar("R", EnvelopeRecord, RefusalRecord, TrajectoryRecord, IntakeRecord)


INSERT_PLACEHOLDER = """
INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider,
    model, machine_fingerprint, app_version_hash, groove_version, created_at, last_activity_at, placeholder)
VALUES (?1, '', '', '', '', '', '', '', '', '', ?2, ?2, 1)
ON CONFLICT (session_id) DO UPDATE SET created_at = min(created_at, excluded.created_at) WHERE placeholder = 1
"""
"""Lines of a session whose opening was lost with its database must not be lost with it: they get an empty row."""

# The session is counted by triggers: for its first chunk's model and agent, and for those of an earlier one instead.
NOTE_FIRST_CHUNK = """
INSERT INTO first_chunks (session_id, chunk_sequence, provider, model, subject) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET chunk_sequence = excluded.chunk_sequence, provider = excluded.provider,
    model = excluded.model, subject = excluded.subject
WHERE excluded.chunk_sequence < chunk_sequence
"""
# What comes late into a session that has ended (in this batch: ?6) says who it is of only where nothing else does.
NOTE_FIRST_CHUNK_LATE = """
INSERT INTO first_chunks (session_id, chunk_sequence, provider, model, subject) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (session_id) DO UPDATE SET chunk_sequence = excluded.chunk_sequence, provider = excluded.provider,
    model = excluded.model, subject = excluded.subject
WHERE excluded.chunk_sequence < chunk_sequence AND NOT ?6
    AND (SELECT status FROM sessions WHERE session_id = ?1) = 'active'
"""
# Whatever order the lines of both journals come in: the earliest chunk, and the last event.
NOTE_CONTRIBUTOR = """
INSERT INTO consents (subject, first_chunk_at) VALUES (?, ?)
ON CONFLICT (subject) DO UPDATE SET first_chunk_at = excluded.first_chunk_at
WHERE first_chunk_at IS NULL OR excluded.first_chunk_at < first_chunk_at
"""
NOTE_CONSENT = """
INSERT INTO consents (subject, state, version, source, changed_at, n) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (subject) DO UPDATE SET state = excluded.state, version = excluded.version, source = excluded.source,
    changed_at = excluded.changed_at, n = excluded.n
WHERE consents.n IS NULL OR excluded.n > consents.n
"""
INSERT_CONSENT_EVENT = """
INSERT INTO consent_events (n, event_id, subject, previous_sha256, sha256, day, "offset", length, received_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_CONTRIBUTOR_KEY = "INSERT INTO contributor_keys (subject, public_key, registered_at, n) VALUES (?, ?, ?, ?)"
INSERT_INTAKE_RECORD = """
INSERT INTO intake_records (record_id, subject, session_id, content_type, received_at, n, day, "offset", length)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_FEEDBACK = """
INSERT INTO feedback (session_id, n, envelope_id, signal, received_at, late)
SELECT ?1, ?2, ?3, ?4, ?5, max(?6, status = 'closed') FROM sessions WHERE session_id = ?1
"""
INSERT_ENVELOPE = """
INSERT INTO processed_envelopes (envelope_id, session_id, processed_at, kind, sequence, session_hmac, chunk_sequence,
    steps, signal, gap, n, day, "offset", length, letter)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_REFUSAL = """
INSERT INTO refused_envelopes (envelope_id, session_id, refused_at, kind, sequence, session_hmac, gap, code, reason,
    n, day, "offset", length, with_body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_GAP = "INSERT INTO sequence_gaps (session_id, before, missing) VALUES (?, ?, ?)"
UPDATE_SESSION = """
UPDATE sessions SET
    expected_sequence = max(expected_sequence, ?2),
    envelope_count = envelope_count + ?3,
    chunk_count = chunk_count + ?4,
    step_count = step_count + ?5,
    bytes_total = bytes_total + ?6,
    last_activity_at = max(last_activity_at, ?7),
    status = CASE WHEN ?8 IS NULL THEN status ELSE 'closed' END,
    closed_at = coalesce(closed_at, ?8),
    closed_by = coalesce(closed_by, ?9)
WHERE session_id = ?1
"""
ADD_MODEL_STEPS = """
INSERT INTO models (name, steps) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET steps = steps + excluded.steps
"""
ADD_PROVIDER_STEPS = """
INSERT INTO providers (name, steps) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET steps = steps + excluded.steps
"""
ADD_DAY = """
INSERT INTO daily (date, envelopes, steps) VALUES (?, ?, ?)
ON CONFLICT (date) DO UPDATE SET envelopes = envelopes + excluded.envelopes, steps = steps + excluded.steps
"""
ADD_TOTALS = "UPDATE totals SET envelopes = envelopes + ?, steps = steps + ?"
INSERT_TRAJECTORY = """
INSERT INTO trajectories (session_id, trajectory_id, contributor_id, provider, model, points, steps, closed_by,
    created_at, n, day, "offset", length, copied_steps, copied_from)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# A second credit of a session is left out as a last resort: sessions.db refuses the second trajectory before.
# Not INSERT OR IGNORE: its conflict handling would reach into the trigger that keeps the balance.
INSERT_CREDIT = """
INSERT INTO credits (contributor_id, session_id, points, base_points, multiplier_breakdown, created_at)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session_id) DO NOTHING
"""
INSERT_FINGERPRINTED = """
INSERT INTO fingerprinted (n, session_id, trajectory_id) VALUES (?, ?, ?) ON CONFLICT (n) DO NOTHING
"""
# Before the row above, which says that they are there. A trigger puts them in their places, many at a time.
GATHER_FINGERPRINTS = """
INSERT INTO gathered_fingerprints (n, total, fingerprints)
SELECT ?1, ?2 + coalesce((SELECT total FROM gathered_fingerprints ORDER BY n DESC LIMIT 1), 0), ?3
WHERE NOT EXISTS (SELECT 1 FROM fingerprinted WHERE n = ?1)
"""
SET_POSITION = """
INSERT INTO projection_positions (journal, n, day, next_offset) VALUES (?, ?, ?, ?)
ON CONFLICT (journal) DO UPDATE SET n = excluded.n, day = excluded.day, next_offset = excluded.next_offset
"""


class _Session(msgspec.Struct):
    """What a batch adds to one session's row."""

    next_sequence: int = 0
    envelopes: int = 0
    chunks: int = 0
    steps: int = 0
    bytes: int = 0
    last_activity_at: str = ""
    closed_at: str | None = None
    closed_by: ClosedBy | None = None

    def take(self, sequence: int | None, at: str) -> None:
        """Count one envelope, accepted or refused: both consume their sequence number."""
        self.envelopes += 1
        if sequence is not None:
            self.next_sequence = max(self.next_sequence, sequence + 1)
        self.last_activity_at = max(self.last_activity_at, at)


def project_sessions(journal: JournalName, batch: Sequence[Committed]) -> list[Statement]:
    """The statements for sessions.db, position included; `batch` is of one journal, in line order and not empty."""
    match journal:
        case JournalName.ENVELOPES:
            projection = EnvelopeProjection()
            projection.add(batch)
            return projection.statements()
        case JournalName.REFUSED:
            statements = _refusals(batch)
        case JournalName.TRAJECTORIES:
            statements = _trajectories(batch)
        case JournalName.CONSENT:
            return [*_consents(batch), set_position(journal, batch[-1].position.end)]
        case JournalName.INTAKE:
            return [_intake_records(batch), set_position(journal, batch[-1].position.end)]
        case JournalName.CORPUS:
            raise AssertionError("sessions.db knows nothing of the corpus")
        case JournalName.AUDIT:
            raise AssertionError("nothing is projected from the audit journal")
        case JournalName.OPERATIONS | JournalName.DIGESTS:
            raise AssertionError("no database knows of these")
        case unreachable:
            assert_never(unreachable)
    first_at: dict[str, float] = {}
    _note_first(batch, first_at)
    return [_placeholders(first_at), *statements, set_position(journal, batch[-1].position.end)]


def project_ledger(batch: Sequence[Committed]) -> list[Statement]:
    """The statements for ledger.db, position included; `batch` is of the trajectories journal and not empty."""
    rows = [
        (
            record.contributor_id,
            record.session_id,
            record.total_points,
            record.base_points,
            record.multiplier_breakdown,
            times.to_text(position.at),
        )
        for record, position in _of(TrajectoryRecord, batch)
    ]
    return [
        Statement(INSERT_CREDIT, rows),
        *_fingerprints(batch),
        set_position(JournalName.TRAJECTORIES, batch[-1].position.end),
    ]


def _fingerprints(batch: Sequence[Committed]) -> list[Statement]:
    """Which runs there are where, in the order of the lines: a run belongs to the first that has it."""
    gathered: list[Sequence[Value]] = []
    sources: list[Sequence[Value]] = []
    for record, position in _of(TrajectoryRecord, batch):
        sources.append((position.n, record.session_id, record.trajectory_id))
        if record.fingerprints:
            listed = msgspec.json.encode(record.fingerprints.tolist()).decode()
            gathered.append((position.n, len(record.fingerprints), listed))
    return [Statement(GATHER_FINGERPRINTS, gathered), Statement(INSERT_FINGERPRINTED, sources)]


def _note_first(batch: Sequence[Committed], first_at: dict[str, float]) -> None:
    """Note when the first line of each session came."""
    for item in batch:
        assert isinstance(item.record, SessionRecord), "the others are no session's"
        session_id, at = item.record.session_id, item.position.at
        first_at[session_id] = min(first_at.get(session_id, at), at)


def _placeholders(first_at: dict[str, float]) -> Statement:
    return Statement(INSERT_PLACEHOLDER, [(session_id, times.to_text(at)) for session_id, at in first_at.items()])


class EnvelopeProjection:
    """What a batch of the envelopes journal adds up to; it may be added in parts, so that others get their turn."""

    def __init__(self) -> None:
        self.lines = 0
        self.first_at: dict[str, float] = {}
        self.last: Position | None = None
        self.sessions: dict[str, _Session] = {}
        self.first_chunks: dict[str, EnvelopeRecord] = {}
        self.late_chunks: list[tuple[EnvelopeRecord, bool]] = []
        """Chunks that came late, and whether their session had ended in this batch."""
        self.contributors: dict[str, str] = {}
        """When the first chunk that names each came."""
        self.envelopes: list[Sequence[Value]] = []
        self.feedback: list[Sequence[Value]] = []
        self.gaps: list[Sequence[Value]] = []
        self.model_steps: Counter[str] = Counter()
        self.provider_steps: Counter[str] = Counter()
        self.day_envelopes: Counter[str] = Counter()
        self.day_steps: Counter[str] = Counter()

    def add(self, batch: Sequence[Committed]) -> None:
        """Take in the next lines, in line order."""
        self.lines += len(batch)
        _note_first(batch, self.first_at)
        seconds, at = -1.0, ""
        for record, position in _of(EnvelopeRecord, batch):
            if position.at != seconds:  # the lines of one group commit have the same time
                seconds, at = position.at, times.to_text(position.at)
            self._add(record, position, at)
            self.last = position

    def _add(self, record: EnvelopeRecord, position: Position, at: str) -> None:
        session = self.sessions.setdefault(record.session_id, _Session())
        self.envelopes.append(_envelope_row(record, position, at))
        session.bytes += position.length
        if record.gap and record.sequence is not None:
            self.gaps.append((record.session_id, record.sequence, record.gap))
        match record.kind:
            case EnvelopeKind.CHUNK:
                self._add_chunk(record, session, at)
            case EnvelopeKind.USER_FEEDBACK:
                late = session.closed_at is not None  # what earlier batches closed, the statement finds itself
                self.feedback.append((record.session_id, position.n, record.envelope_id, record.signal, at, int(late)))
            case EnvelopeKind.SESSION_CLOSE | EnvelopeKind.SERVER_CLOSE:
                self._close(record, session, at)
        if record.kind is EnvelopeKind.SERVER_CLOSE:
            session.last_activity_at = max(session.last_activity_at, at)  # the server's own line: no envelope
            return
        if record.letter is None:  # else its letter has used up the number, and was counted when it came
            session.take(record.sequence, at)
        self.day_envelopes[at[:10]] += 1

    def _add_chunk(self, record: EnvelopeRecord, session: _Session, at: str) -> None:
        if record.letter is not None:
            self.late_chunks.append((record, session.closed_at is not None))
        elif _chunk_sequence(record) < _chunk_sequence(self.first_chunks.setdefault(record.session_id, record)):
            self.first_chunks[record.session_id] = record
        if record.contributor_id is not None:  # of an erased one nobody is known
            self.contributors[record.contributor_id] = min(self.contributors.get(record.contributor_id, at), at)
        session.chunks += 1
        session.steps += record.steps
        self.model_steps[record.model] += record.steps
        self.provider_steps[record.provider] += record.steps
        self.day_steps[at[:10]] += record.steps

    def _close(self, record: EnvelopeRecord, session: _Session, at: str) -> None:
        if session.closed_at is None:
            session.closed_at = at
            session.closed_by = record.closed_by or ClosedBy.SESSION_CLOSE

    def claims(self) -> list[Claim]:
        """What each line is the only one to say."""
        return [Claim._make((*row[:2], row[4], *row[10:13])) for row in self.envelopes]

    def statements(self) -> list[Statement]:
        """The statements for sessions.db, position included; there must have been lines.

        In this order: what asks for a session's state before the batch comes before the update of its row.
        """
        assert self.last is not None
        subjects: dict[str | None, str] = {each: subject_digest(each) for each in self.contributors}

        def first(record: EnvelopeRecord) -> tuple[Value, ...]:
            subject = subjects.get(record.contributor_id, "")
            return record.session_id, record.chunk_sequence, record.provider, record.model, subject

        late = [(*first(record), int(has_ended)) for record, has_ended in self.late_chunks]
        return [
            _placeholders(self.first_at),
            Statement(NOTE_FIRST_CHUNK, [first(record) for record in self.first_chunks.values()]),
            Statement(NOTE_FIRST_CHUNK_LATE, late),
            Statement(NOTE_CONTRIBUTOR, [(subjects[each], at) for each, at in self.contributors.items()]),
            Statement(INSERT_FEEDBACK, self.feedback),
            Statement(INSERT_ENVELOPE, self.envelopes),
            Statement(INSERT_GAP, self.gaps),
            _session_updates(self.sessions),
            Statement(ADD_MODEL_STEPS, list(self.model_steps.items())),
            Statement(ADD_PROVIDER_STEPS, list(self.provider_steps.items())),
            Statement(ADD_DAY, [(day, count, self.day_steps[day]) for day, count in self.day_envelopes.items()]),
            Statement(ADD_TOTALS, [(self.day_envelopes.total(), self.day_steps.total())]),
            set_position(JournalName.ENVELOPES, self.last.end),
        ]


def _chunk_sequence(record: EnvelopeRecord) -> int:
    assert record.chunk_sequence is not None, "a chunk has one"
    return record.chunk_sequence


def _envelope_row(record: EnvelopeRecord, position: Position, at: str) -> Sequence[Value]:
    return (
        record.envelope_id,
        record.session_id,
        at,
        record.kind,
        record.sequence,
        record.session_hmac,
        record.chunk_sequence,
        record.steps,
        record.signal,
        record.gap,
        position.n,
        position.day,
        position.offset,
        position.length,
        record.letter,
    )


def _refusals(batch: Sequence[Committed]) -> list[Statement]:
    sessions: dict[str, _Session] = {}
    rows: list[Sequence[Value]] = []
    gaps: list[Sequence[Value]] = []
    for record, position in _of(RefusalRecord, batch):
        at = times.to_text(position.at)
        sessions.setdefault(record.session_id, _Session()).take(record.sequence, at)
        if record.gap and record.sequence is not None:
            gaps.append((record.session_id, record.sequence, record.gap))
        rows.append(
            (
                record.envelope_id,
                record.session_id,
                at,
                record.kind,
                record.sequence,
                record.session_hmac,
                record.gap,
                record.code,
                record.reason,
                position.n,
                position.day,
                position.offset,
                position.length,
                int(record.with_body),
            )
        )
    return [Statement(INSERT_REFUSAL, rows), Statement(INSERT_GAP, gaps), _session_updates(sessions)]


def _trajectories(batch: Sequence[Committed]) -> list[Statement]:
    rows = [
        (
            record.session_id,
            record.trajectory_id,
            record.contributor_id,
            record.provider,
            record.model,
            record.total_points,
            record.steps,
            record.closed_by,
            times.to_text(position.at),
            position.n,
            position.day,
            position.offset,
            position.length,
            record.copied_steps,
            record.copied_from,
        )
        for record, position in _of(TrajectoryRecord, batch)
    ]
    return [Statement(INSERT_TRAJECTORY, rows)]


def _consents(batch: Sequence[Committed]) -> list[Statement]:
    events: list[Sequence[Value]] = []
    states: list[Sequence[Value]] = []
    keys: list[Sequence[Value]] = []
    for record, place in _of_consent(batch):
        at = times.to_text(place.at)
        match record:
            case ConsentRecord(event=event, sha256=sha256):
                said_at = times.to_text(event.at_us / 1e6)
                states.append((event.subject, event.state, event.version, event.source, said_at, place.n))
                where = (place.day, place.offset, place.length)
                events.append((place.n, event.id, event.subject, event.previous_sha256, sha256, *where, at))
            case ContributorKeyRecord():
                keys.append((record.subject, record.public_key, times.to_text(record.at_us / 1e6), place.n))
    return [
        Statement(INSERT_CONSENT_EVENT, events),
        Statement(NOTE_CONSENT, states),
        Statement(INSERT_CONTRIBUTOR_KEY, keys),
    ]


def _intake_records(batch: Sequence[Committed]) -> Statement:
    rows = [
        (
            record.record_id,
            record.subject,
            record.session_id,
            record.content_type,
            times.to_text(place.at),
            place.n,
            place.day,
            place.offset,
            place.length,
        )
        for record, place in _of(IntakeRecord, batch)
    ]
    return Statement(INSERT_INTAKE_RECORD, rows)


def _of_consent(batch: Iterable[Committed]) -> Iterator[tuple[ConsentRecord | ContributorKeyRecord, Position]]:
    for item in batch:
        assert isinstance(item.record, ConsentRecord | ContributorKeyRecord), "a batch holds its own journal's records"
        yield item.record, item.position


def _session_updates(sessions: dict[str, _Session]) -> Statement:
    rows = [
        (
            session_id,
            session.next_sequence,
            session.envelopes,
            session.chunks,
            session.steps,
            session.bytes,
            session.last_activity_at,
            session.closed_at,
            session.closed_by,
        )
        for session_id, session in sessions.items()
    ]
    return Statement(UPDATE_SESSION, rows)


def set_position(journal: JournalName, mark: Mark) -> Statement:
    """The statement that notes how far a database has seen a journal."""
    return Statement(SET_POSITION, [(journal, mark.n, mark.day, mark.offset)])


def _of(kind: type[R], batch: Iterable[Committed]) -> Iterator[tuple[R, Position]]:
    for item in batch:
        assert isinstance(item.record, kind), "a batch holds records of its own journal only"
        yield item.record, item.position
