"""The lines that a session writes to the journals: of each, the record that the index is made from, and its text.

A text is JSON members without braces, as `persistence.journals.journal` takes them.
"""

import msgspec

from actors.envelopes import letter_bodies
from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal
from actors.envelopes.schema import ChunkFacts, Facts, FeedbackFacts
from persistence.format.records import ClosedBy, EnvelopeKind, EnvelopeRecord, RefusalRecord
from persistence.journals.journal import Line

_encode = msgspec.json.encode


CLAIMED_TYPE_CHARS_MAX = 64
"""How much of an unknown type's name is kept in the index; the body has all of it."""

CLIENT_ENVELOPE_ID_BYTES_MAX = 200
"""The longest id of a client's own that is noted; real ones have 42 bytes with their quotes."""


# An accepted envelope


def accepted_line(envelope: Envelope, facts: Facts, envelope_id: str, gap: int, *, letter: int | None = None) -> Line:
    """Return the line of an envelope that was accepted, `gap` sequence numbers after the one that was expected.

    `letter` is the number of the dead letter that it is taken in from, late.
    """
    record = _accepted_record(envelope, facts, envelope_id, gap, letter)
    return Line(record, envelope_members(envelope_id, envelope), envelope_received(envelope, gap, letter))


def _accepted_record(
    envelope: Envelope, facts: Facts, envelope_id: str, gap: int, letter: int | None
) -> EnvelopeRecord:
    assert envelope.attestation is not None
    if isinstance(facts, FeedbackFacts):
        return EnvelopeRecord(
            envelope_id=envelope_id,
            session_id=envelope.session_id,
            kind=facts.kind,
            session_hmac=envelope.attestation.session_hmac,
            signal=facts.signal,
            letter=letter,
        )
    chunk = facts if isinstance(facts, ChunkFacts) else None
    return EnvelopeRecord(
        envelope_id=envelope_id,
        session_id=envelope.session_id,
        kind=facts.kind,
        sequence=envelope.attestation.sequence,
        session_hmac=envelope.attestation.session_hmac,
        gap=gap,
        chunk_sequence=chunk.chunk_sequence if chunk else None,
        contributor_id=chunk.contributor_id if chunk else None,
        provider=facts.provider,
        model=facts.model,
        steps=chunk.steps if chunk else 0,
        closed_by=None if chunk else ClosedBy.SESSION_CLOSE,
        letter=letter,
    )


def envelope_members(envelope_id: str, envelope: Envelope) -> bytes:
    """Return the server's envelope id, then the client's own members byte for byte without its own id."""
    return envelope.stored_members(b'"envelope_id":"%s",' % envelope_id.encode())


def envelope_received(envelope: Envelope, gap: int, letter: int | None = None) -> bytes:
    """Return what is noted of an envelope in `received`: skipped numbers, its dead letter, and the client's own id.

    The client's id is part of what it signed; with it, the signature can be checked again from the line.
    """
    own_id = envelope.member("envelope_id") or b""
    noted = _gap_received(gap)
    if letter is not None:
        noted += b',"letter":%d' % letter
    if own_id.startswith(b'"') and len(own_id) <= CLIENT_ENVELOPE_ID_BYTES_MAX:
        noted += b',"client_envelope_id":' + own_id
    return noted


def _gap_received(gap: int) -> bytes:
    return b',"gap":%d' % gap if gap else b""


# A dead letter


def refused_line(
    envelope: Envelope,
    refusal: Refusal,
    envelope_id: str,
    *,
    sequence: int | None,
    gap: int,
    with_body: bool = True,
) -> Line:
    """Return the line of an authentic envelope that was refused; `sequence` is the number that it uses up, if any.

    It takes some 20 ms for a million bytes, with its body or without.
    """
    assert envelope.attestation is not None
    record = RefusalRecord(
        envelope_id=envelope_id,
        session_id=envelope.session_id,
        kind=claimed_type(envelope),
        sequence=sequence,
        session_hmac=envelope.attestation.session_hmac,
        gap=gap,
        code=refusal.code,
        reason=refusal.reason,
        with_body=with_body,
    )
    members = refusal_members(envelope_id, envelope, sequence, refusal, with_body=with_body)
    return Line(record, members, _gap_received(gap))


def claimed_type(envelope: Envelope) -> str:
    """Return the type that an envelope claims to have, known or not."""
    return (envelope.type if envelope.type is not None else EnvelopeKind.CHUNK)[:CLAIMED_TYPE_CHARS_MAX]


def refusal_members(
    envelope_id: str, envelope: Envelope, sequence: int | None, refusal: Refusal, *, with_body: bool = True
) -> bytes:
    """Return a dead letter: what was refused and why, with the received text or what proves it (`letter_bodies`)."""
    assert envelope.attestation is not None
    head = _encode(
        {
            "envelope_id": envelope_id,
            "session_id": envelope.session_id,
            "type": claimed_type(envelope),
            "sequence": sequence,
            "session_hmac": envelope.attestation.session_hmac,
            "refused": {"code": refusal.code, "reason": refusal.reason},
        }
    )[1:-1]
    body = letter_bodies.whole(envelope.body) if with_body else letter_bodies.absent(envelope.body)
    return b"%s,%s" % (head, body)


# A session that ended without a SESSION_CLOSE


def server_close_line(envelope_id: str, session_id: str, closed_by: ClosedBy) -> Line:
    """Return the server's own line for a session that ended without a SESSION_CLOSE."""
    record = EnvelopeRecord(
        envelope_id=envelope_id, session_id=session_id, kind=EnvelopeKind.SERVER_CLOSE, closed_by=closed_by
    )
    return Line(record, server_close_members(envelope_id, session_id, closed_by))


def server_close_members(envelope_id: str, session_id: str, closed_by: ClosedBy) -> bytes:
    """Return the members of the server's own line: who was closed, and by what."""
    return _encode(
        {
            "envelope_id": envelope_id,
            "session_id": session_id,
            "type": EnvelopeKind.SERVER_CLOSE,
            "closed_by": closed_by,
        }
    )[1:-1]
