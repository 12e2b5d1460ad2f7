"""Dead letters taken in late: by the same checks as what comes over HTTP, once, and without a second trajectory.

Theory of operation. A letter has used up its sequence number, and was counted when it came. So what it is taken in as
is an ordinary line of the envelopes journal with the letter's number in `received`, which counts its steps and nothing
twice. The line is the fact: whoever tries the letter again, whatever crash came between, and a client that sends the
same envelope again, finds the session's sequence and HMAC accepted, and is told so.

An open session has the late envelope like any other; it is stitched and credited with it. A trajectory that is on disk
is never computed anew, so a session that has one keeps it: the envelope is kept with the session as evidence, late
feedback counts as always, and nothing is credited. A session that ended without a chunk has no trajectory yet: it is
stitched from its letters, all that are acceptable together, because that happens once. A crash between two of their
lines leaves a session with fewer chunks, which the restart stitches; the rest is taken in as late.

Rejected: a second trajectory of the same session (its score is of the whole: model, complexity and bonuses would be
computed twice with different results, and whoever reads one line a session would read wrong), and opening a session
again (its client has ended it, and counts on the answer that it got).
"""

import logging
from typing import assert_never

import msgspec

from actors.consent.restrictions import Restrictions
from actors.envelopes import attestation, journal_lines, letter_bodies, schema
from actors.envelopes.letter_bodies import BodyMembers, UnreadableBody
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from actors.sessions import closing
from actors.sessions.deciding import KEYS_LOST, Answer, Found, Inquiry, Keep, decide_late
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import State
from actors.sessions.messages import RetryLetters
from actors.sessions.outcomes import (
    Accepted,
    Busy,
    LetterOutcome,
    RetryOutcome,
    StaysRefused,
    StorageFull,
    TakenIn,
    unavailable,
)
from actors.sessions.prospect import Prospect, Standing
from actors.sessions.settings import SessionSettings
from actors.sessions.state import SessionState
from persistence.databases.letters import Letter
from persistence.format import json_text
from persistence.format.records import ClosedBy, EnvelopeKind, EnvelopeRecord, JournalName
from persistence.journals.erased_lines import is_erased
from persistence.journals.journal import AppendRefused, Line
from persistence.journals.reading import JournalDamage

log = logging.getLogger("central_command.sessions")

_BODY = msgspec.json.Decoder(BodyMembers)

WITHOUT_BODY = "Of this envelope only the length and the checksum were kept, so it cannot be taken in."
ERASED = "What this letter held was erased."
DROPPED = "This letter was dropped, with the day that it came on, to make room for later ones."
ENDED = "Its session has ended, and cannot end again."
WITHDRAWN = "Its session was closed because its contributor withdrew."
OF_ANOTHER = "The envelope is of another session than its letter says."
TAKEN_IN = "It was taken in already."


def obstacle(letter: Letter, dropped_n: int) -> tuple[str, str] | None:
    """Why a letter cannot be taken in, whatever the settings: a code and one sentence; None when a try can tell.

    `dropped_n` is the last line of the refused journal that was dropped.
    """
    if letter.taken_in_as is not None:
        return "taken_in", TAKEN_IN
    if letter.is_erased:
        return "erased", ERASED
    if not letter.with_body:
        return "without_body", WITHOUT_BODY
    if letter.position.n <= dropped_n:
        return "dropped", DROPPED
    if not letter.has_keys:
        return "keys_lost", KEYS_LOST
    if letter.closed_by is ClosedBy.WITHDRAWN:
        return "session_closed", WITHDRAWN
    if letter.is_closed and letter.kind == EnvelopeKind.SESSION_CLOSE:
        return "session_closed", ENDED
    return None


async def retry(message: RetryLetters, state: SessionState, environment: Environment) -> RetryOutcome:
    """Take letters in that are acceptable now; one outcome for each that was asked for or came along, in line order.

    What cannot be stored ends it: what was taken in before stays, and a later try finds it so.
    """
    if state.lifecycle is State.CLOSING:
        ended = await closing.finish(state, environment)
        if isinstance(ended, Busy | StorageFull):
            return ended
    for journal in (JournalName.REFUSED, JournalName.ENVELOPES):
        await environment.storage.projector.wait_projected(journal, state.appended.get(journal, 0))
    letters = await environment.storage.letters.of_session(state.session_id)
    asked_for = [each for each in letters if each.envelope_id in message.letter_ids]
    makes_trajectory = any(each.kind == EnvelopeKind.SESSION_CLOSE for each in asked_for) and not state.closed_by
    if not state.lacks_trajectory and not makes_trajectory:
        letters = asked_for
    is_stitched = state.lacks_trajectory or state.lifecycle is State.ACTIVE
    attempt = _Attempt(state, environment, is_stitched=is_stitched)
    for letter in letters:
        await attempt.take(letter)
        if attempt.unable is not None:
            return attempt.unable
    return await attempt.done() or tuple(attempt.outcomes)


class _Attempt:
    """Letters of one session on their way: decided on one after the other, appended as many together as fit."""

    def __init__(self, state: SessionState, environment: Environment, *, is_stitched: bool) -> None:
        self._state = state
        self._environment = environment
        self._session = Prospect(state, environment.storage.envelopes.fits_one_commit)
        self._waiting: list[str] = []
        self._is_stitched = is_stitched
        self.outcomes: list[LetterOutcome] = []
        self.unable: Busy | StorageFull | None = None

    async def take(self, letter: Letter) -> None:
        """Decide on a letter; its line waits, or is on disk, or it stays refused."""
        letter_id = letter.envelope_id
        if letter.taken_in_as is not None:
            self.outcomes.append(self._taken_in(letter_id, letter.taken_in_as, already=True))
            return
        hindered = obstacle(letter, self._environment.storage.refused_quota.dropped_n)
        body = None if hindered is not None else await self._body(letter)
        if body is None:
            code, reason = hindered or ("dropped", DROPPED)
            self.outcomes.append(StaysRefused(letter_id=letter_id, code=code, reason=reason))
            return
        if isinstance(body, UnreadableBody):
            self.outcomes.append(StaysRefused(letter_id=letter_id, code="unreadable", reason=f"{body}."))
            return
        decided = await self._decided(body, letter)
        match decided:
            case Refusal(code, reason):
                self.outcomes.append(StaysRefused(letter_id=letter_id, code=code, reason=reason))
            case Accepted(envelope_id):
                self.outcomes.append(self._taken_in(letter_id, envelope_id, already=True))
            case Line():
                await self._add(letter_id, decided)

    async def done(self) -> Busy | StorageFull | None:
        """Append what waits, and stitch a session that has ended; or why that is not possible now."""
        await self._append()
        if self.unable is None and self._state.lifecycle is State.CLOSING:
            await closing.finish(self._state, self._environment)  # or the next message, or the next start
        return self.unable

    async def _add(self, letter_id: str, line: Line) -> None:
        ends = isinstance(line.record, EnvelopeRecord) and line.record.closed_by is not None
        if not self._session.add(line):
            await self._append()
            if self.unable is None:
                self._session.add(line)
        self._waiting.append(letter_id)
        if ends:  # so that what follows finds a session that has ended
            await self.done()
            self._is_stitched = False

    async def _append(self) -> None:
        lines, letter_ids = self._session.take(), self._waiting
        self._waiting = []
        if not lines or self.unable is not None:
            return
        positions = await self._environment.storage.envelopes.append_many(lines)
        if isinstance(positions, AppendRefused):
            self.unable = unavailable(positions)
            return
        for letter_id, line, position in zip(letter_ids, lines, positions, strict=True):
            assert isinstance(line.record, EnvelopeRecord)
            assert isinstance(line.members, bytes)
            self._state.record_accepted(line.record, position, line.members)
            self.outcomes.append(self._taken_in(letter_id, line.record.envelope_id, already=False))
            log.info("letter %s of session %s was taken in late", letter_id, self._state.session_id)

    def _taken_in(self, letter_id: str, envelope_id: str, *, already: bool) -> TakenIn:
        return TakenIn(letter_id=letter_id, envelope_id=envelope_id, already=already, is_stitched=self._is_stitched)

    async def _body(self, letter: Letter) -> bytes | UnreadableBody | None:
        """What the letter holds; None when it was dropped meanwhile."""
        storage = self._environment.storage
        try:
            (line,) = await storage.refused.read([letter.position])
        except JournalDamage:
            if letter.position.n <= storage.refused_quota.dropped_n:
                return None
            raise
        return await self._environment.offload(body_in, line)

    async def _decided(self, body: bytes, letter: Letter) -> Line | Accepted | Refusal:
        environment = self._environment
        envelope = await environment.offload(_read, body, environment.schema)
        if isinstance(envelope, Refusal):
            return envelope
        if envelope.session_id != self._state.session_id:
            return Refusal(RefusalCode.UNKNOWN_SESSION, OF_ANOTHER)
        standing = self._session.standing(envelope)
        if isinstance(standing.earlier, Refusal):  # the very one that is tried again
            standing = msgspec.structs.replace(standing, earlier=None)
        decided = await environment.offload(
            _judged,
            envelope,
            standing,
            environment.sessions,
            environment.schema,
            letter.position.at,
            environment.restrictions,
        )
        if isinstance(decided, Keep):
            envelope_id = environment.identifiers.envelope_id()
            return journal_lines.accepted_line(envelope, decided.facts, envelope_id, 0, letter=letter.position.n)
        return decided


def _read(body: bytes, settings: SchemaSettings) -> Envelope | Refusal:
    """Read a body, within what an open session's may have."""
    return read_envelope(body, nesting_max=settings.nesting_hard_max, members_max=settings.members_max)


def _judged(
    envelope: Envelope,
    standing: Standing,
    sessions: SessionSettings,
    settings: SchemaSettings,
    came_at: float,
    restrictions: Restrictions,
) -> Keep | Accepted | Refusal:
    """Decide, and find out what is asked for on the way (slow for a large envelope)."""
    found = Found()
    while True:
        step = decide_late(envelope, standing, found, sessions, settings, came_at, restrictions)
        match step:
            case Keep():
                return step
            case Answer(outcome):
                return outcome
            case Inquiry.SIGNED_AS_RECEIVED:
                found.signed_as_received = attestation.verify_received(standing.secret, envelope)
            case Inquiry.SIGNED_AS_CANONICAL:
                found.signed_as_canonical = attestation.verify_canonical(standing.secret, envelope)
            case Inquiry.SCHEMA:
                found.schema = schema.check(envelope, settings, came_at)
            case unreachable:
                assert_never(unreachable)


def body_in(line: bytes) -> bytes | UnreadableBody:
    """The envelope in a line of the refused journal, byte for byte; or what keeps it from being read."""
    if is_erased(line):
        return UnreadableBody(ERASED.removesuffix("."))
    try:
        body = letter_bodies.read(json_text.decode(_BODY, line))
    except msgspec.DecodeError as error:
        return UnreadableBody(f"the letter cannot be read: {error}")
    except UnreadableBody as unreadable:
        return unreadable
    return UnreadableBody(WITHOUT_BODY.removesuffix(".")) if body is None else body
