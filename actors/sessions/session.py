"""The actor of one session: it owns the secret, the sequence and the buffer, and takes one message at a time.

An envelope passes the checks in this order (decisions, "Verification"): session known → a resend? → status →
attestation present → HMAC non-empty → envelope limit → HMAC → sequence → schema → journal → answer. Because the actor
takes the next message only after the line is on disk, two envelopes can never pass the same check, and a failed append
leaves nothing to undo: the state changes only after the line is durable. Several envelopes in one message are no
exception: runs of plain chunks are checked against the state as it will be (`ChunkGroup`) and appended together, and
all else waits until they are on disk.

A resend is recognised before the status and the limit, so that the last envelope of a session can be repeated after
the close; its HMAC is verified again, so that only the very text that was accepted is acknowledged.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, assert_never

import trio

from actors.envelopes import attestation, journal_text
from actors.envelopes.accepted_line import accepted_line
from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import Facts, check, envelope_kind
from actors.sessions import closing, opening
from actors.sessions.environment import Environment
from actors.sessions.group import ChunkGroup
from actors.sessions.lifecycle import State, refusal_for
from actors.sessions.messages import CloseSession, Finish, Ingest, IngestMany, Message, OpenSession
from actors.sessions.outcomes import (
    AbandonOutcome,
    Accepted,
    ActorFailed,
    Busy,
    Closed,
    CloseOutcome,
    IngestManyOutcome,
    IngestOutcome,
    OpenOutcome,
    StillActive,
    StorageFull,
    UnknownSession,
)
from actors.sessions.request import Request
from actors.sessions.settings import SequenceGaps
from actors.sessions.state import SessionState, empty_buffer
from actors.sessions.unavailable import unavailable
from persistence.format.records import ClosedBy, EnvelopeKind, EnvelopeRecord, RefusalRecord
from persistence.journals.journal import AppendRefused, Line

T = TypeVar("T")

_REASONS = {
    RefusalCode.UNKNOWN_SESSION: "The session is not known.",
    RefusalCode.SESSION_CLOSED: "The session is closed and takes no more envelopes of this kind.",
}


class SessionActor:
    """One session. `run` is its task; everything is asked through its mailbox."""

    def __init__(self, session_id: str, environment: Environment) -> None:
        self._environment = environment
        self._state = SessionState(session_id, buffer=empty_buffer())

    def __repr__(self) -> str:
        return f"<SessionActor {self._state!r}>"

    async def run(self, mailbox: trio.MemoryReceiveChannel[Request[Any] | None], retire: Callable[[], bool]) -> None:
        """Load the session, then serve the mailbox until it says so, or is closed and empty."""
        stored = await self._environment.storage.registry.load(self._state.session_id)
        self._state = SessionState.restored(self._state.session_id, stored, self._environment)
        try:
            while await self._serve_next(mailbox) or not retire():
                pass
        except trio.EndOfChannel:
            return
        finally:
            self._state.buffer.release()

    async def _serve_next(self, mailbox: trio.MemoryReceiveChannel[Request[Any] | None]) -> bool:
        """Serve one request, or return False when there is nothing more to wait for; EndOfChannel at the end.

        On its own so that nothing of a request, least of all its body, stays referenced while the next is waited for.
        """
        request = await self._next(mailbox)
        if request is not None:
            await self._serve(request)
        return request is not None

    async def _next(self, mailbox: trio.MemoryReceiveChannel[Request[Any] | None]) -> Request[Any] | None:
        """Return the next request; None when there is nothing more to wait for, or the directory asks to end."""
        try:
            return mailbox.receive_nowait()
        except trio.WouldBlock:
            if self._state.lifecycle is State.ABSENT:
                return None  # nothing is worth keeping of a session that does not exist
        return await mailbox.receive()

    async def settled(self) -> None:
        """Return once every line that this activation wrote has been projected."""
        for journal, n in self._state.appended.items():
            await self._environment.storage.projector.wait_projected(journal, n)

    async def _serve(self, request: Request[Any]) -> None:
        try:
            request.answer(await self._handle(request.message, request))
        finally:
            # Reached without an answer only when an exception ends this actor.
            request.answer(ActorFailed())

    async def _handle(
        self, message: Message, request: Request[Any]
    ) -> OpenOutcome | IngestOutcome | IngestManyOutcome | AbandonOutcome:
        match message:
            case OpenSession():
                return await opening.open_session(message, self._state, self._environment)
            case Ingest(envelope):
                outcome = await self._ingest(envelope)
                request.answer(outcome)
                await self._finish_if_closing()
                return outcome
            case IngestMany(envelopes):
                outcomes = await self._ingest_many(envelopes)
                request.answer(outcomes)
                await self._finish_if_closing()
                return outcomes
            case CloseSession():
                return await self._close(message)
            case Finish():
                return await self._finished(already_closed=True)
            case unreachable:
                assert_never(unreachable)

    # Envelopes

    async def _ingest(self, envelope: Envelope) -> IngestOutcome:
        state = self._state
        kind = envelope_kind(envelope.type)
        is_feedback = kind is EnvelopeKind.USER_FEEDBACK
        earlier = state.earlier_answer(envelope.attestation, feedback=is_feedback)
        if earlier is not None and await self._is_authentic(envelope):
            return earlier
        refusal = self._refused_before_signature(envelope, is_feedback=is_feedback)
        if refusal is not None:
            return refusal
        if not await self._is_authentic(envelope):
            reason = "The HMAC does not match the envelope, its sequence and the session's key."
            return Refusal(RefusalCode.INVALID_HMAC, reason)
        gap = 0
        if not is_feedback:
            gap_or_refusal = self._gap_before(envelope)
            if isinstance(gap_or_refusal, Refusal):
                return gap_or_refusal
            gap = gap_or_refusal
        facts = await self._checked(envelope)
        if isinstance(facts, Refusal):
            return await self._record_refusal(envelope, facts, gap, is_feedback=is_feedback)
        return await self._record(envelope, facts, gap)

    def _refused_before_signature(self, envelope: Envelope, *, is_feedback: bool, before_it: int = 0) -> Refusal | None:
        """Status, attestation and limit: what needs no key to be checked; `before_it` envelopes are not counted yet."""
        state = self._state
        code = refusal_for(state.lifecycle, feedback=is_feedback)
        if code is None and not state.has_keys:
            code = RefusalCode.UNKNOWN_SESSION
        if code is not None:
            return Refusal(code, _REASONS[code])
        if envelope.attestation is None:
            reason = "The envelope has no attestation with a text session_hmac and an integer sequence."
            return Refusal(RefusalCode.MISSING_ATTESTATION, reason)
        if not envelope.attestation.session_hmac:
            return Refusal(RefusalCode.MISSING_ATTESTATION, "The attestation's session_hmac is empty.")
        if state.envelope_count + before_it >= self._environment.sessions.envelopes_max:
            limit = self._environment.sessions.envelopes_max
            return Refusal(RefusalCode.ENVELOPE_LIMIT, f"The session has sent {limit} envelopes, which is its limit.")
        return None

    async def _is_authentic(self, envelope: Envelope) -> bool:
        secret = self._state.secret
        if not secret:
            return False
        if await self._computed(envelope, attestation.verify_received, secret, envelope):
            return True
        # Writing the body again as JavaScript would is slow: whoever sends garbage must not hold up everyone else.
        async with self._environment.rewrites:
            return await self._environment.offload(attestation.verify_canonical, secret, envelope)

    def _gap_before(self, envelope: Envelope) -> int | Refusal:
        """Return how many sequence numbers this envelope skips, or why its number is refused."""
        assert envelope.attestation is not None
        sequence, expected = envelope.attestation.sequence, self._state.expected_sequence
        gap = sequence - expected
        accepts_gaps = self._environment.sessions.sequence_gaps is SequenceGaps.ACCEPT
        if gap == 0 or (gap > 0 and accepts_gaps and sequence <= self._environment.schema.sequence_max):
            return gap
        reason = f"The envelope has sequence {sequence}, but {expected} is the next one."
        return Refusal(RefusalCode.SEQUENCE_MISMATCH, reason)

    async def _checked(self, envelope: Envelope, *, bytes_before_it: int = 0) -> Facts | Refusal:
        limit = self._environment.sessions.session_bytes_max
        if self._state.bytes_total + bytes_before_it + len(envelope.body) > limit:
            return Refusal(RefusalCode.SESSION_TOO_LARGE, f"The session has reached its limit of {limit} bytes.")
        return await self._computed(envelope, check, envelope, self._environment.schema, self._environment.clock())

    async def _computed(self, envelope: Envelope, function: Callable[..., T], *args: object) -> T:
        """Return `function(*args)`; off the event loop for a large envelope, which would hold up everyone else."""
        if len(envelope.body) <= self._environment.sessions.inline_bytes_max:
            return function(*args)
        return await self._environment.offload(function, *args)

    async def _record(self, envelope: Envelope, facts: Facts, gap: int) -> IngestOutcome:
        envelope_id = self._environment.identifiers.envelope_id()
        record, members, received = accepted_line(envelope, facts, envelope_id, gap)
        position = await self._environment.storage.envelopes.append(record, members, received)
        if isinstance(position, AppendRefused):
            return unavailable(position)
        self._state.record_accepted(record, position, b"{%s}" % members)
        return Accepted(envelope_id)

    async def _record_refusal(
        self, envelope: Envelope, refusal: Refusal, gap: int, *, is_feedback: bool
    ) -> IngestOutcome:
        """Keep an authentic envelope that was refused, and use up its sequence number: the client has moved on."""
        assert envelope.attestation is not None
        sequence = None if is_feedback else envelope.attestation.sequence
        envelope_id = self._environment.identifiers.envelope_id()
        record = RefusalRecord(
            envelope_id=envelope_id,
            session_id=envelope.session_id,
            kind=journal_text.claimed_type(envelope),
            sequence=sequence,
            session_hmac=envelope.attestation.session_hmac,
            gap=gap,
            code=refusal.code,
            reason=refusal.reason,
        )
        members = journal_text.refusal_members(envelope_id, envelope, sequence, refusal)
        position = await self._environment.storage.refused.append(record, members, b',"gap":%d' % gap if gap else b"")
        if isinstance(position, AppendRefused):
            return unavailable(position)
        self._state.record_refused(record, position, refusal)
        return refusal

    # Several envelopes at once

    async def _ingest_many(self, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        """Take envelopes in order, each as if it had come alone, with one group commit for each run of plain chunks.

        What follows one that could not be stored is answered alike and not looked at: it would be told that its
        sequence is wrong, which clients take for delivered.
        """
        outcomes: list[IngestOutcome] = []
        group = ChunkGroup(self._state, self._environment.storage.envelopes)
        turn_bytes = 0
        for envelope in envelopes:
            turn_bytes += len(envelope.body)
            if turn_bytes > self._environment.sessions.inline_bytes_max:
                turn_bytes = 0
                await trio.lowlevel.checkpoint()
            line = await self._line_of_plain_chunk(envelope, group)
            if line is None or not group.has_room_for(line):
                outcomes += await self._append(group)
                if line is None and not _is_unable(outcomes):
                    await self._finish_if_closing()
                    outcomes.append(await self._ingest(envelope))
                if _is_unable(outcomes):
                    break
            if line is not None:
                group.add(line)
        outcomes += await self._append(group)
        outcomes += outcomes[-1:] * (len(envelopes) - len(outcomes))
        return tuple(outcomes)

    async def _line_of_plain_chunk(self, envelope: Envelope, group: ChunkGroup) -> Line | None:
        """Return the line of a new chunk that is right in all respects behind `group`; None for all else."""
        state = self._state
        if (
            envelope_kind(envelope.type) is not EnvelopeKind.CHUNK
            or self._refused_before_signature(envelope, is_feedback=False, before_it=len(group)) is not None
            or envelope.attestation is None
            or envelope.attestation.sequence != group.expected_sequence
            or state.earlier_answer(envelope.attestation, feedback=False) is not None
            or not await self._computed(envelope, attestation.verify_received, state.secret, envelope)
        ):
            return None
        facts = await self._checked(envelope, bytes_before_it=group.size_bytes)
        if isinstance(facts, Refusal):
            return None
        return Line(*accepted_line(envelope, facts, self._environment.identifiers.envelope_id(), gap=0))

    async def _append(self, group: ChunkGroup) -> Sequence[IngestOutcome]:
        """Append what the group holds, all or nothing, and move the state on for each; the group is empty after it."""
        lines = group.take()
        if not lines:
            return ()
        positions = await self._environment.storage.envelopes.append_many(lines)
        if isinstance(positions, AppendRefused):
            return [unavailable(positions)] * len(lines)
        accepted = []
        for line, position in zip(lines, positions, strict=True):
            assert isinstance(line.record, EnvelopeRecord)
            self._state.record_accepted(line.record, position, b"{%s}" % line.members)
            accepted.append(Accepted(line.record.envelope_id))
        return accepted

    # Closing

    async def _finish_if_closing(self) -> None:
        if self._state.lifecycle is State.CLOSING:
            await closing.finish(self._state, self._environment)

    async def _close(self, message: CloseSession) -> AbandonOutcome:
        state = self._state
        match state.lifecycle:
            case State.ABSENT:
                return UnknownSession()
            case State.CLOSING | State.CLOSED:
                return await self._finished(already_closed=True)
            case State.ACTIVE:
                pass
            case unreachable:
                assert_never(unreachable)
        if message.unless_active_since is not None and state.last_activity_at > message.unless_active_since:
            return StillActive()
        refused = await self._record_server_close(message.closed_by)
        return unavailable(refused) if refused is not None else await self._finished(already_closed=False)

    async def _record_server_close(self, closed_by: ClosedBy) -> AppendRefused | None:
        state = self._state
        envelope_id = self._environment.identifiers.envelope_id()
        record = EnvelopeRecord(
            envelope_id=envelope_id,
            session_id=state.session_id,
            kind=EnvelopeKind.SERVER_CLOSE,
            closed_by=closed_by,
        )
        members = journal_text.server_close_members(envelope_id, state.session_id, closed_by)
        position = await self._environment.storage.envelopes.append(record, members, essential=True)
        if isinstance(position, AppendRefused):
            return position
        state.record_accepted(record, position, b"{%s}" % members)
        return None

    async def _finished(self, *, already_closed: bool) -> CloseOutcome:
        state = self._state
        if state.lifecycle is State.ABSENT:
            return UnknownSession()
        if state.lifecycle is State.CLOSING:
            refused = await closing.finish(state, self._environment)
            if refused is not None:
                return unavailable(refused)
        return Closed(already_closed=already_closed, credit=state.credit)


def _is_unable(outcomes: Sequence[IngestOutcome]) -> bool:
    return bool(outcomes) and isinstance(outcomes[-1], Busy | StorageFull)
