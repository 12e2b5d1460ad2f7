"""What becomes of an envelope: all checks in their order (decisions, "Verification"), without I/O and without waiting.

`decide` says what is to be done: answer, or keep the envelope as a line (of the session, or of the dead letters) and
then answer. What takes long it does not compute itself: an HMAC over a large body, writing one anew, the schema of a
large one. It says which of them it lacks; its caller finds that out wherever it holds nobody up, notes it in `Found`
and asks again. So all that is decided is decided here, and all that waits, writes or takes long is done elsewhere.

It changes nothing but `Found`, where it notes what it computes. The same envelope may be decided on once more when the
session has moved on: that costs next to nothing.
"""

from enum import Enum, auto

import msgspec

from actors.consent.restrictions import Restrictions, contributor_key
from actors.envelopes.attestation import verify_received
from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import ChunkFacts, Facts, check
from actors.envelopes.settings import SchemaSettings
from actors.sessions.lifecycle import State, refusal_for
from actors.sessions.outcomes import Accepted
from actors.sessions.prospect import Standing
from actors.sessions.settings import SequenceGaps, SessionSettings
from persistence.format.records import EnvelopeKind


class Inquiry(Enum):
    """What has to be found out before more can be decided: a pure computation that takes long.

    The first and the last are asked for only of a body of more than `inline_bytes_max`.
    """

    SIGNED_AS_RECEIVED = auto()
    """`attestation.verify_received`: is the HMAC that of the bytes as they came?"""
    SIGNED_AS_CANONICAL = auto()
    """`attestation.verify_canonical`: is it that of the body as ECMAScript would write it? A hundred times slower."""
    SCHEMA = auto()
    """`schema.check`: the envelope's facts, or its fault."""


class Found(msgspec.Struct):
    """What has been found out about one envelope so far, a member an inquiry; None is what nobody has looked at."""

    signed_as_received: bool | None = None
    signed_as_canonical: bool | None = None
    schema: Facts | Refusal | None = None


class Answer(msgspec.Struct, frozen=True):
    """Answer this; nothing is written and nothing counted."""

    outcome: Accepted | Refusal


class Keep(msgspec.Struct, frozen=True):
    """Write the envelope to the session's lines, then answer that it is accepted; `gap` numbers were skipped."""

    facts: Facts
    gap: int

    @property
    def is_plain_chunk(self) -> bool:
        """Whether others may follow it into the same commit: it changes nothing but the session's counts."""
        return self.facts.kind is EnvelopeKind.CHUNK and not self.gap


class KeepRefused(msgspec.Struct, frozen=True):
    """Write the envelope to the dead letters, then answer the refusal.

    That uses up its number: the client has moved on to the next. `sequence` is None for feedback, which has none.
    Without `with_body` nothing of its text is kept.
    """

    refusal: Refusal
    sequence: int | None
    gap: int
    with_body: bool = True


Decision = Answer | Keep | KeepRefused


class _Case(msgspec.Struct, frozen=True):
    """What each check may look at.

    `sequence` is the number that the envelope uses up; None for feedback, which takes no part in counting, and where
    there is no attestation. `gap` is how many numbers it skips; below 0 for one that was used up before.
    """

    envelope: Envelope
    standing: Standing
    found: Found
    sessions: SessionSettings
    schema: SchemaSettings
    now_s: float
    is_large: bool
    is_feedback: bool
    sequence: int | None
    gap: int
    restrictions: Restrictions


NOBODY = Restrictions()
"""Nobody was erased or has withdrawn, and nobody has a key."""


def decide(
    envelope: Envelope,
    standing: Standing,
    found: Found,
    sessions: SessionSettings,
    schema: SchemaSettings,
    now_s: float,
    restrictions: Restrictions = NOBODY,
) -> Decision | Inquiry:
    """Return what is to be done with the envelope, or what has to be found out first.

    `standing` is that of its session to this envelope; `now_s` is seconds since the epoch, for the age of timestamps;
    `restrictions` say of which contributors nothing is taken. Nothing is asked for that is found already.
    """
    is_feedback = envelope.type == EnvelopeKind.USER_FEEDBACK
    sequence = None if is_feedback or envelope.attestation is None else envelope.attestation.sequence
    gap = 0 if sequence is None else sequence - standing.expected_sequence
    is_large = len(envelope.body) > sessions.inline_bytes_max
    case = _Case(envelope, standing, found, sessions, schema, now_s, is_large, is_feedback, sequence, gap, restrictions)
    return _unread(case) or _hmac(case) or _authentic(case)


def decide_late(
    envelope: Envelope,
    standing: Standing,
    found: Found,
    sessions: SessionSettings,
    schema: SchemaSettings,
    now_s: float,
    restrictions: Restrictions = NOBODY,
) -> Keep | Answer | Inquiry:
    """Return what is to be done with an envelope that was refused before, and kept as a dead letter: all as `decide`.

    Except that its letter has used up its number and its place among the session's envelopes, so neither is looked at;
    that a session which has ended takes it, unless it would end it again; and that what is refused is not kept once
    more. `now_s` is when it came.
    """
    is_feedback = envelope.type == EnvelopeKind.USER_FEEDBACK
    is_large = len(envelope.body) > sessions.inline_bytes_max
    case = _Case(envelope, standing, found, sessions, schema, now_s, is_large, is_feedback, None, 0, restrictions)
    step = _resend(case) or _late_status(case) or _attestation(case) or _hmac(case) or _authentic(case)
    return Answer(step.refusal) if isinstance(step, KeepRefused) else step


def _late_status(case: _Case) -> Answer | None:
    """The session is known, and its keys; if it has ended, this is not its end."""
    if case.standing.lifecycle is not State.ABSENT and not case.standing.has_keys:
        return _refused(RefusalCode.UNKNOWN_SESSION, KEYS_LOST)
    ends = case.envelope.type == EnvelopeKind.SESSION_CLOSE
    return _status(case) if case.standing.lifecycle is State.ABSENT or ends else None


# Each check returns None when there is nothing against the envelope, and the next one looks at it. Nearly all envelopes
# are plain chunks in order: for these, only what has something to look at is called.


def _unread(case: _Case) -> Answer | Inquiry | None:
    """What can be said before the text is looked at."""
    standing = case.standing
    # Before the status and the limit: a session's last envelope may come again after its close.
    if standing.earlier is not None and (answer := _resend(case)) is not None:
        return answer
    is_usual = standing.lifecycle is State.ACTIVE and standing.has_keys
    if not is_usual and (refused := _status(case)) is not None:
        return refused
    return _attestation(case) or _envelope_limit(case)


def _authentic(case: _Case) -> Keep | KeepRefused | Answer | Inquiry:
    """What becomes of an envelope whose signature is the session's."""
    if case.gap and (refused := _sequence(case)) is not None:
        return refused
    if case.restrictions and (refused_for_whom := _contributor(case)) is not None:
        return refused_for_whom
    return _session_size(case) or _schema(case)


def _resend(case: _Case) -> Answer | Inquiry | None:
    """What was answered is answered again, if it is the very text: its HMAC is verified anew."""
    earlier = case.standing.earlier
    if earlier is None or not case.standing.has_keys:
        return None
    signed = _is_signed(case)
    if isinstance(signed, Inquiry):
        return signed
    return Answer(earlier) if signed else None


def _status(case: _Case) -> Answer | None:
    """The session is known, its keys too, and takes envelopes of this kind."""
    code = refusal_for(case.standing.lifecycle, feedback=case.is_feedback)
    if code is None and not case.standing.has_keys:
        code = RefusalCode.UNKNOWN_SESSION
    return None if code is None else _refused(code, _STATUS_REASONS[code])


def _attestation(case: _Case) -> Answer | None:
    attestation = case.envelope.attestation
    if attestation is None:
        reason = "The envelope has no attestation with a text session_hmac and an integer sequence."
        return _refused(RefusalCode.MISSING_ATTESTATION, reason)
    if not attestation.session_hmac:
        return _refused(RefusalCode.MISSING_ATTESTATION, "The attestation's session_hmac is empty.")
    return None


def _envelope_limit(case: _Case) -> Answer | None:
    limit = case.sessions.envelopes_max
    if case.standing.envelope_count < limit:
        return None
    return _refused(RefusalCode.ENVELOPE_LIMIT, f"The session has sent {limit} envelopes, which is its limit.")


def _hmac(case: _Case) -> Answer | Inquiry | None:
    signed = _is_signed(case)
    if isinstance(signed, Inquiry):
        return signed
    if signed:
        return None
    reason = "The HMAC does not match the envelope, its sequence and the session's key."
    return _refused(RefusalCode.INVALID_HMAC, reason)


def _sequence(case: _Case) -> Answer | None:
    """The number is the expected one; a higher one only where gaps are accepted, and never beyond the highest."""
    if case.gap == 0 or case.sequence is None:
        return None
    accepts_gaps = case.sessions.sequence_gaps is SequenceGaps.ACCEPT
    if case.gap > 0 and accepts_gaps and case.sequence <= case.schema.sequence_max:
        return None
    reason = f"The envelope has sequence {case.sequence}, but {case.standing.expected_sequence} is the next one."
    return _refused(RefusalCode.SEQUENCE_MISMATCH, reason)


# From here on the envelope is authentic and in order: what is refused is kept, and uses up its number, if it is the
# very text that was signed.


def _contributor(case: _Case) -> KeepRefused | Answer | None:
    """Whom it names was not erased, has not withdrawn, and has no key that the session's opening was not signed with.

    Of whom was erased nothing is kept, also not that an envelope came.
    """
    restrictions = case.restrictions
    named = _named(case.envelope)
    if named in restrictions.erased or case.standing.contributor in restrictions.erased:
        reason = "The contributor's data was erased, and no more of it is taken."
        return _refused(RefusalCode.CONTRIBUTOR_ERASED, reason)
    if named in restrictions.withdrawn or case.standing.contributor in restrictions.withdrawn:
        reason = "The contributor has withdrawn their consent."
        return _kept_refused(case, Refusal(RefusalCode.CONSENT_WITHDRAWN, reason), with_body=False)
    if named in restrictions.keys and named != case.standing.signed_by:
        reason = "The contributor has registered a key, and the session's opening was not signed with it."
        return _kept_refused(case, Refusal(RefusalCode.CONTRIBUTOR_KEY_REQUIRED, reason), with_body=False)
    return None


def _named(envelope: Envelope) -> bytes | None:
    """The contributor that an envelope names, whatever else is right about it; None where it names none."""
    if isinstance(envelope.facts, ChunkFacts):
        return contributor_key(envelope.facts.contributor_id)
    text = envelope.member("contributor_id")
    if text is None:
        return None
    try:
        return contributor_key(_TEXT.decode(text))
    except (msgspec.DecodeError, UnicodeError):
        return None


def _session_size(case: _Case) -> KeepRefused | Answer | None:
    limit = case.sessions.session_bytes_max
    if case.standing.bytes_total + len(case.envelope.body) <= limit:
        return None
    refusal = Refusal(RefusalCode.SESSION_TOO_LARGE, f"The session has reached its limit of {limit} bytes.")
    return _kept_refused(case, refusal)


def _schema(case: _Case) -> Keep | KeepRefused | Answer | Inquiry:
    checked = case.found.schema
    if checked is None:
        if case.is_large and case.envelope.facts is None:
            return Inquiry.SCHEMA
        checked = case.found.schema = check(case.envelope, case.schema, case.now_s)
    return _kept_refused(case, checked) if isinstance(checked, Refusal) else Keep(checked, case.gap)


_TEXT = msgspec.json.Decoder(str)

KEYS_LOST = "The session's keys were lost with its database, so the envelope's signature cannot be checked."

_STATUS_REASONS = {
    RefusalCode.UNKNOWN_SESSION: "The session is not known.",
    RefusalCode.SESSION_CLOSED: "The session is closed and takes no more envelopes of this kind.",
}


def _is_signed(case: _Case) -> bool | Inquiry:
    """Whether the HMAC is that of either text: as received, or else, if that is not too much, as ECMAScript writes."""
    found = case.found
    if found.signed_as_received is None:
        if case.is_large:
            return Inquiry.SIGNED_AS_RECEIVED
        found.signed_as_received = verify_received(case.standing.secret, case.envelope)
    if found.signed_as_received:
        return True
    if len(case.envelope.body) > case.sessions.rewritten_bytes_max:
        return False
    return Inquiry.SIGNED_AS_CANONICAL if found.signed_as_canonical is None else found.signed_as_canonical


def _refused(code: RefusalCode, reason: str) -> Answer:
    return Answer(Refusal(code, reason))


def _kept_refused(case: _Case, refusal: Refusal, *, with_body: bool = True) -> KeepRefused | Answer:
    """The refusal of an envelope that is authentic; it uses up a number only for the very bytes that were signed.

    Whoever overhears an envelope can send another text that ECMAScript would write as the signed one (`1.0` for `1`):
    it must not take the number from the genuine one.
    """
    if not case.found.signed_as_received:
        return Answer(refusal)
    return KeepRefused(refusal, case.sequence, case.gap, with_body)
