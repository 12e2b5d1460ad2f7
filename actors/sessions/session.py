"""The actor of one session: it owns the secret, the sequence and the buffer, and takes one message at a time.

Read from top to bottom, this is the way of an envelope: it comes in a request from the mailbox, is decided on
(`deciding.decide`, which has the checks and their order), becomes a line (`journal_lines`), is answered once that line
is on disk, and may leave a session behind that is to be closed.

Because the actor takes the next message only after the line is on disk, two envelopes can never pass the same check,
and a failed append leaves nothing to undo: the state changes only after the line is durable. Several envelopes in one
message are no exception: runs of plain chunks are decided on against the session as it will be (`Prospect`) and
appended together, and all else waits until they are on disk and is then taken in as if it had come alone.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

import trio

from actors.envelopes import attestation, journal_lines, letter_bodies, schema
from actors.envelopes.reading import Envelope
from actors.sessions import closing, opening, retrying
from actors.sessions.deciding import Answer, Decision, Found, Inquiry, Keep, KeepRefused, decide
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import State
from actors.sessions.mailbox import Mailbox
from actors.sessions.messages import CloseSession, Finish, Ingest, OpenSession, Request, RetryLetters
from actors.sessions.outcomes import (
    Accepted,
    ActorFailed,
    Busy,
    Forgotten,
    IngestOutcome,
    StorageFull,
    unavailable,
)
from actors.sessions.prospect import Prospect, Standing, standing_of
from actors.sessions.state import SessionState, empty_buffer
from persistence.files.file_system import inline
from persistence.format.records import EnvelopeRecord, RefusalRecord
from persistence.journals.journal import AppendRefused, Line

ENVELOPE_BYTES = 8_192
"""What an envelope takes, however small it is, in bytes that are verified in the same time."""

UNABLE = (Busy, StorageFull)
"""What is answered for an envelope that could not be stored, and for all that follow it in its message."""


class SessionActor:
    """One session. `run` is its task; everything is asked through its mailbox."""

    def __init__(self, session_id: str, environment: Environment) -> None:
        self._environment = environment
        self._state = SessionState(session_id, buffer=empty_buffer())

    def __repr__(self) -> str:
        return f"<SessionActor {self._state!r}>"

    async def run(self, mailbox: Mailbox, retire: Callable[[], bool]) -> None:
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

    async def settled(self) -> None:
        """Return once every line that this activation wrote has been projected."""
        for journal, n in self._state.appended.items():
            await self._environment.storage.projector.wait_projected(journal, n)

    async def _serve_next(self, mailbox: Mailbox) -> bool:
        """Serve one request, or return False when there is nothing more to wait for; EndOfChannel at the end.

        On its own so that nothing of a request, least of all its body, stays referenced while the next is waited for.
        """
        if self._state.lifecycle is State.ABSENT and mailbox.is_idle:
            return False  # nothing is worth keeping of a session that does not exist
        request = await mailbox.receive()
        if request is None:
            return False  # the directory asks to end
        await self._serve(request)
        return True

    async def _serve(self, request: Request[Any]) -> None:
        state, environment = self._state, self._environment
        try:
            match request.message:
                case Ingest(envelopes):
                    request.fill(await self._ingest(envelopes))
                    await self._finish_if_closing()
                    if environment.restrictions.withdrawn:  # while this was stored, its contributor may have
                        await closing.close_withdrawn(state, environment)
                case OpenSession() as message:
                    request.fill(await opening.open_session(message, state, environment))
                case CloseSession() as message:
                    outcome = await closing.close_session(message, state, environment)
                    if isinstance(outcome, Forgotten):
                        self._state = SessionState.restored(state.session_id, None, environment)
                    request.fill(outcome)
                case RetryLetters() as message:
                    retried = await retrying.retry(message, state, environment)
                    if state.lacks_trajectory and state.chunk_count:
                        await self._load_again()
                    request.fill(retried)
                    await closing.close_withdrawn(self._state, environment)
                case Finish():
                    request.fill(await closing.finish(state, environment))
                case unreachable:
                    assert_never(unreachable)
        except BaseException:
            request.fill(ActorFailed())
            raise

    async def _ingest(self, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        """Take envelopes in, in order, each as if it had come alone."""
        if len(envelopes) == 1:
            return (await self._take_in(envelopes[0], Found()),)
        return await self._take_in_several(envelopes)

    async def _take_in(self, envelope: Envelope, found: Found) -> IngestOutcome:
        """Decide on an envelope and do what is to be done; nothing waits before it."""
        decision = await self._decided(envelope, standing_of(self._state, envelope), found)
        match decision:
            case Keep():
                return (await self._append((self._line(envelope, decision),)))[0]
            case Answer(outcome):
                return outcome
            case KeepRefused():
                return await self._append_refused(envelope, decision)
            case unreachable:
                assert_never(unreachable)

    async def _decided(self, envelope: Envelope, standing: Standing, found: Found) -> Decision:
        """Decide on an envelope, and on the way find out what is asked for."""
        environment, now_s = self._environment, self._environment.clock()
        while True:
            step = decide(
                envelope, standing, found, environment.sessions, environment.schema, now_s, environment.restrictions
            )
            if not isinstance(step, Inquiry):
                return step
            await self._find_out(step, envelope, found)

    async def _find_out(self, inquiry: Inquiry, envelope: Envelope, found: Found) -> None:
        """Compute what takes long, off the event loop: it would hold up everyone else."""
        environment, secret = self._environment, self._state.secret
        match inquiry:
            case Inquiry.SIGNED_AS_RECEIVED:
                found.signed_as_received = await environment.offload(attestation.verify_received, secret, envelope)
            case Inquiry.SIGNED_AS_CANONICAL:
                found.signed_as_canonical = await self._is_signed_as_canonical(envelope)
            case Inquiry.SCHEMA:
                found.schema = await environment.offload(
                    schema.check, envelope, environment.schema, environment.clock()
                )
            case unreachable:
                assert_never(unreachable)

    async def _is_signed_as_canonical(self, envelope: Envelope) -> bool:
        """Writing the body again as JavaScript would is slow: whoever sends garbage must not hold up others."""
        if not attestation.claims_digest(envelope):
            return False
        text = await self._environment.rewriter.text_of(envelope.body)
        if text is None:
            return False
        return await self._environment.offload(attestation.verify_text, self._state.secret, envelope, text)

    def _line(self, envelope: Envelope, decision: Keep) -> Line:
        envelope_id = self._environment.identifiers.envelope_id()
        return journal_lines.accepted_line(envelope, decision.facts, envelope_id, decision.gap)

    async def _append(self, lines: Sequence[Line]) -> Sequence[IngestOutcome]:
        """Append lines together, all or none, and move the state on for each."""
        if not lines:
            return ()
        positions = await self._environment.storage.envelopes.append_many(lines)
        if isinstance(positions, AppendRefused):
            return [unavailable(positions)] * len(lines)
        accepted = []
        for line, position in zip(lines, positions, strict=True):
            assert isinstance(line.record, EnvelopeRecord)
            assert isinstance(line.members, bytes)
            self._state.record_accepted(line.record, position, line.members)
            accepted.append(Accepted(line.record.envelope_id))
        return accepted

    async def _append_refused(self, envelope: Envelope, decision: KeepRefused) -> IngestOutcome:
        """Append a dead letter, and move the state on."""
        line = await self._letter(envelope, decision)
        assert isinstance(line.record, RefusalRecord)
        position = await self._environment.storage.refused.append(line.record, line.members, line.received)
        if isinstance(position, AppendRefused):
            return unavailable(position)
        self._state.record_refused(line.record, position, decision.refusal)
        return decision.refusal

    async def _letter(self, envelope: Envelope, decision: KeepRefused) -> Line:
        """Return the dead letter of an envelope; without its body where there is no room for that."""
        write = partial(
            journal_lines.refused_line,
            envelope,
            decision.refusal,
            self._environment.identifiers.envelope_id(),
            sequence=decision.sequence,
            gap=decision.gap,
        )
        if not decision.with_body:
            return write(with_body=False)
        is_quick = len(envelope.body) <= letter_bodies.QUICK_BYTES_MAX
        offload = inline if is_quick else self._environment.offload
        line = await offload(write) if self._has_room_for_letter(0) else None
        if line is not None and self._has_room_for_letter(line.size_bytes):
            return line
        return await offload(partial(write, with_body=False))

    def _has_room_for_letter(self, size_bytes: int) -> bool:
        """Whether a dead letter of so many bytes has room in the session and in the quota."""
        held_bytes = self._state.bytes_total + self._state.refused_bytes
        return (
            held_bytes + size_bytes <= self._environment.sessions.session_bytes_max
            and self._environment.storage.has_room_for_letter(size_bytes)
        )

    async def _take_in_several(self, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        """The same for a batch's envelopes: runs of plain chunks are appended together.

        What follows one that could not be stored is answered alike and not looked at: it would be told that its
        sequence is wrong, which clients take for delivered.
        """
        outcomes: list[IngestOutcome] = []
        session = Prospect(self._state, self._environment.storage.envelopes.fits_one_commit)
        turn_bytes = 0
        for envelope in envelopes:
            if turn_bytes > self._environment.sessions.inline_bytes_max:
                turn_bytes = 0
                async with self._environment.line:
                    pass
            turn_bytes += len(envelope.body) + ENVELOPE_BYTES
            if outcomes:
                await self._finish_if_closing()
            outcomes += await self._take_in_behind(session, envelope)
            if _is_unable(outcomes):
                break
        outcomes += await self._append(session.take())
        outcomes += outcomes[-1:] * (len(envelopes) - len(outcomes))
        return tuple(outcomes)

    async def _take_in_behind(self, session: Prospect, envelope: Envelope) -> Sequence[IngestOutcome]:
        """Take an envelope in behind those that wait; return, in order, the outcomes that are certain by then.

        A plain chunk joins them; all else is decided on once more when they are on disk.
        """
        found = Found()
        decision = await self._decided(envelope, session.standing(envelope), found)
        line = self._line(envelope, decision) if isinstance(decision, Keep) and decision.is_plain_chunk else None
        if line is not None and session.add(line):
            return ()
        before = await self._append(session.take())
        if _is_unable(before):
            return before
        if line is not None:
            session.add(line)
            return before
        return (*before, await self._take_in(envelope, found))

    async def _load_again(self) -> None:
        """Come back as the next activation would: with chunks behind its end, a session is there to be stitched."""
        await self.settled()
        stored = await self._environment.storage.registry.load(self._state.session_id)
        self._state = SessionState.restored(self._state.session_id, stored, self._environment)
        await self._finish_if_closing()

    async def _finish_if_closing(self) -> None:
        """Stitch what a SESSION_CLOSE has closed; if it cannot be written now, the next message tries again."""
        if self._state.lifecycle is State.CLOSING:
            await closing.finish(self._state, self._environment)


def _is_unable(outcomes: Sequence[IngestOutcome]) -> bool:
    """Whether the last of them could not be stored."""
    return bool(outcomes) and isinstance(outcomes[-1], UNABLE)
