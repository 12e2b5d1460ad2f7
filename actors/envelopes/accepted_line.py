"""The journal line of an accepted envelope: what the index needs to know of it, and its text."""

from actors.envelopes import journal_text
from actors.envelopes.reading import Envelope
from actors.envelopes.schema import ChunkFacts, Facts, FeedbackFacts
from persistence.format.records import ClosedBy, EnvelopeRecord


def accepted_line(envelope: Envelope, facts: Facts, envelope_id: str, gap: int) -> tuple[EnvelopeRecord, bytes, bytes]:
    """Return the record, the members and the additions to `received`, as a journal's `Line` holds them."""
    return (
        _record_of(envelope, facts, envelope_id, gap),
        journal_text.envelope_members(envelope_id, envelope),
        journal_text.envelope_received(envelope, gap),
    )


def _record_of(envelope: Envelope, facts: Facts, envelope_id: str, gap: int) -> EnvelopeRecord:
    assert envelope.attestation is not None
    if isinstance(facts, FeedbackFacts):
        return EnvelopeRecord(
            envelope_id=envelope_id,
            session_id=envelope.session_id,
            kind=facts.kind,
            session_hmac=envelope.attestation.session_hmac,
            signal=facts.signal,
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
    )
