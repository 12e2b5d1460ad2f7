"""What an actor knows of its session: restored from the database, moved on by each durable line, and nothing else.

No method here suspends or does I/O. Each `record_…` is called after the line that it stands for is on disk.
"""

import base64

from actors.consent.restrictions import contributor_key, subject_key
from actors.envelopes.reading import Attestation
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.buffer import BufferBudget, SessionBuffer, StoredText
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import Event, State, after
from actors.sessions.outcomes import Accepted, Credit
from actors.trajectories.models import tier_of
from persistence.databases.registry import NewSession, StoredSession
from persistence.format.records import (
    ClosedBy,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    Position,
    RefusalRecord,
    SequenceGap,
    TrajectoryRecord,
)


class SessionState:
    """A session's secret, counters and history. Its repr shows no secret."""

    def __init__(self, session_id: str, *, buffer: SessionBuffer) -> None:
        self.session_id = session_id
        self.lifecycle = State.ABSENT
        self.secret = b""
        self.client_public_key = ""
        self.server_public_key = ""
        self.expected_sequence = 0
        self.envelope_count = 0
        self.chunk_count = 0
        self.bytes_total = 0
        self.refused_bytes = 0
        """What its dead letters take."""
        self.last_activity_at = 0.0
        self.closed_by: ClosedBy | None = None
        self.contributor: bytes | None = None
        """Whom its first chunk names, as `actors.consent.restrictions` has it."""
        self.signed_by: bytes | None = None
        """Who has signed its opening."""
        self.credit: Credit | None = None
        self.gaps: list[SequenceGap] = []
        self.buffer = buffer
        self.appended: dict[JournalName, int] = {}
        """The last line that this activation wrote to each journal, to wait for its projection."""
        self._accepted: dict[tuple[int | None, str], str] = {}
        self._refused_feedback: dict[str, Refusal] = {}

    def __repr__(self) -> str:
        return f"<SessionState {self.session_id} {self.lifecycle.name} expects {self.expected_sequence}>"

    @classmethod
    def restored(cls, session_id: str, stored: StoredSession | None, environment: Environment) -> "SessionState":
        """Return the state that the database holds; absent for None."""
        # A session that has lines already cannot have them all in memory: its close reads them back.
        is_new = stored is None or not stored.accepted
        buffer = SessionBuffer(
            environment.budget, bytes_max=environment.sessions.chunk_buffer_bytes_max, is_complete=is_new
        )
        state = cls(session_id, buffer=buffer)
        if stored is None:
            return state
        state.secret = base64.b64decode(stored.shared_secret)
        state.client_public_key = stored.client_public_key
        state.server_public_key = stored.server_public_key
        state.expected_sequence = stored.expected_sequence
        state.envelope_count = stored.envelope_count
        state.chunk_count = stored.chunk_count
        state.bytes_total = stored.bytes_total
        state.last_activity_at = stored.last_activity_at
        state.closed_by = stored.closed_by
        state.contributor = subject_key(stored.contributor) if stored.contributor else None
        state.signed_by = subject_key(stored.signed_by) if stored.signed_by else None
        state.gaps = list(stored.gaps)
        for envelope in stored.accepted:
            if envelope.session_hmac:
                state._accepted[envelope.sequence, envelope.session_hmac] = envelope.envelope_id
        state.refused_bytes = sum(refused.length for refused in stored.refused)
        for refused in stored.refused:
            if refused.sequence is None:
                state._refused_feedback[refused.session_hmac] = Refusal(RefusalCode(refused.code), refused.reason)
        if stored.trajectory is not None:
            found = stored.trajectory
            state.credit = Credit(
                total_points=found.points,
                total_steps=found.steps,
                copied_steps=found.copied_steps,
                copied_from=found.copied_from,
                has_model_tier=tier_of(found.model, environment.scoring.model_tiers) is not None,
            )
        state.lifecycle = _lifecycle_of(stored)
        return state

    @property
    def has_keys(self) -> bool:
        """Whether envelopes can be verified; not so after the database with the keys was lost."""
        return bool(self.secret)

    def earlier_answer(self, attestation: Attestation | None, *, feedback: bool) -> Accepted | Refusal | None:
        """Return the first answer to an envelope with this sequence and HMAC; None if there was none."""
        if attestation is None or not attestation.session_hmac:
            return None
        sequence = None if feedback else attestation.sequence
        envelope_id = self._accepted.get((sequence, attestation.session_hmac))
        if envelope_id is not None:
            return Accepted(envelope_id, duplicate=True)
        return self._refused_feedback.get(attestation.session_hmac) if feedback else None

    def record_opened(self, session: NewSession, secret: bytes) -> None:
        """The session's row is on disk."""
        self.lifecycle = after(self.lifecycle, Event.OPENED)
        self.secret = secret
        self.client_public_key = session.client_public_key
        self.server_public_key = session.server_public_key
        self.last_activity_at = session.created_at
        self.signed_by = subject_key(session.signed_by) if session.signed_by else None

    @property
    def lacks_trajectory(self) -> bool:
        """Whether it has ended without a chunk, when this activation began: what comes late makes its trajectory."""
        return self.lifecycle is State.CLOSED and self.credit is None and self.closed_by is not ClosedBy.WITHDRAWN

    @property
    def is_unused(self) -> bool:
        """Whether it is open, and nothing ever came from it."""
        return self.lifecycle is State.ACTIVE and self.has_keys and not self.envelope_count

    def record_accepted(self, record: EnvelopeRecord, position: Position, members: bytes) -> None:
        """A line of the envelopes journal is on disk, with these members."""
        self.appended[JournalName.ENVELOPES] = position.n
        self.bytes_total += position.length
        if self.buffer.is_complete:
            self.buffer.add(StoredText(record.kind, members))
        if record.kind is EnvelopeKind.CHUNK:
            self.chunk_count += 1
            if self.contributor is None and record.contributor_id is not None:
                self.contributor = contributor_key(record.contributor_id)
        if record.kind is not EnvelopeKind.SERVER_CLOSE:
            if record.letter is None:  # else its letter has used up the number, and was counted when it came
                self._count(record.sequence, record.gap, position)
            self._accepted[record.sequence, record.session_hmac] = record.envelope_id
        if record.closed_by is not None:
            self.closed_by = record.closed_by
            self.lifecycle = after(self.lifecycle, Event.CLOSE_RECORDED)

    def record_refused(self, record: RefusalRecord, position: Position, refusal: Refusal) -> None:
        """A line of the refused journal is on disk: it has used up its sequence number."""
        self.appended[JournalName.REFUSED] = position.n
        self.refused_bytes += position.length
        self._count(record.sequence, record.gap, position)
        if record.sequence is None:
            self._refused_feedback[record.session_hmac] = refusal

    def record_trajectory(self, record: TrajectoryRecord, position: Position, *, has_model_tier: bool = True) -> None:
        """The session's trajectory is on disk: this is its credit, whatever happens later."""
        self.appended[JournalName.TRAJECTORIES] = position.n
        self.credit = Credit(
            total_points=record.total_points,
            total_steps=record.steps,
            copied_steps=record.copied_steps,
            copied_from=record.copied_from,
            has_model_tier=has_model_tier,
        )
        self.lifecycle = after(self.lifecycle, Event.TRAJECTORY_RECORDED)
        self.buffer.release()

    def record_nothing_to_stitch(self) -> None:
        """The session is closed and never held a chunk, or its contributor has withdrawn."""
        self.lifecycle = after(self.lifecycle, Event.NOTHING_TO_STITCH)
        self.buffer.release()

    def _count(self, sequence: int | None, gap: int, position: Position) -> None:
        self.envelope_count += 1
        self.last_activity_at = max(self.last_activity_at, position.at)
        if sequence is not None:
            if gap:
                self.gaps.append(SequenceGap(before=sequence, missing=gap))
            self.expected_sequence = sequence + 1


def _lifecycle_of(stored: StoredSession) -> State:
    if not stored.closed:
        return State.ACTIVE
    is_stitched = not stored.chunk_count or stored.trajectory is not None or stored.closed_by is ClosedBy.WITHDRAWN
    return State.CLOSED if is_stitched else State.CLOSING


def empty_buffer() -> SessionBuffer:
    """Return a buffer that holds nothing, for a state before its session is loaded."""
    return SessionBuffer(BufferBudget(0), bytes_max=0, is_complete=False)
