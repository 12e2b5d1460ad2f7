"""The journal line of an accepted envelope: what the index needs to know of it, and its text."""

from typing import assert_never

from actors import journal_text
from actors.envelope import ChunkFacts, CloseFacts, Facts, FeedbackFacts
from actors.reading import Envelope
from persistence.records import ClosedBy, EnvelopeRecord


def accepted_line(envelope: Envelope, facts: Facts, envelope_id: str, gap: int) -> tuple[EnvelopeRecord, bytes, bytes]:
    """Return the record, the members and the additions to `received`, as `persistence.journal.Line` holds them."""
    return (
        _record_of(envelope, facts, envelope_id, gap),
        journal_text.envelope_members(envelope_id, envelope),
        journal_text.envelope_received(envelope, gap),
    )


def _record_of(envelope: Envelope, facts: Facts, envelope_id: str, gap: int) -> EnvelopeRecord:
    assert envelope.attestation is not None
    session_hmac, sequence = envelope.attestation.session_hmac, envelope.attestation.sequence
    match facts:
        case ChunkFacts():
            return EnvelopeRecord(
                envelope_id=envelope_id,
                session_id=envelope.session_id,
                kind=facts.kind,
                session_hmac=session_hmac,
                sequence=sequence,
                gap=gap,
                provider=facts.provider,
                model=facts.model,
                chunk_sequence=facts.chunk_sequence,
                contributor_id=facts.contributor_id,
                steps=facts.steps,
            )
        case CloseFacts():
            return EnvelopeRecord(
                envelope_id=envelope_id,
                session_id=envelope.session_id,
                kind=facts.kind,
                session_hmac=session_hmac,
                sequence=sequence,
                gap=gap,
                provider=facts.provider,
                model=facts.model,
                closed_by=ClosedBy.SESSION_CLOSE,
            )
        case FeedbackFacts():
            return EnvelopeRecord(
                envelope_id=envelope_id,
                session_id=envelope.session_id,
                kind=facts.kind,
                session_hmac=session_hmac,
                signal=facts.signal,
            )
        case unreachable:
            assert_never(unreachable)
