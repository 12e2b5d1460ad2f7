"""What the index knows of a line, read back from its members.

A record is decoded only as far as the index needs it: what belongs to another kind of line is left as it is, because
the schema of the line's own kind never looked at it.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

import msgspec

from persistence.format import erased_names, json_text
from persistence.format.consent_events import ConsentEvent, event_sha256
from persistence.format.records import (
    AuditRecord,
    ClosedBy,
    ConsentRecord,
    ContributorKeyRecord,
    CopiedRun,
    CorpusRecord,
    DigestRecord,
    EnvelopeKind,
    EnvelopeRecord,
    IntakeRecord,
    JournalName,
    OperationRecord,
    ReadUpTo,
    Record,
    RefusalRecord,
    TrajectoryRecord,
    most_copied_from,
)
from persistence.format.step_runs import StepTexts, fingerprints_of
from persistence.journals.corpus_lines import parse_corpus_line
from persistence.journals.decoding import METADATA, Count, LineError, Metadata, decode
from persistence.journals.erased_lines import Erased, ErasedLine, Kept, fingerprints_in, is_erased, read_erased
from persistence.journals.framing import Received


class _Attestation(msgspec.Struct, frozen=True):
    session_hmac: str
    sequence: Count | None = None


class _EnvelopeLine(msgspec.Struct, frozen=True):
    """Raw members are read only in lines of the kind that they belong to."""

    envelope_id: str
    session_id: str
    received: Received
    type: str | None = None
    attestation: msgspec.Raw = msgspec.Raw()
    chunk_sequence: msgspec.Raw = msgspec.Raw()
    contributor_id: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    trajectory_log: msgspec.Raw = msgspec.Raw()
    feedback: msgspec.Raw = msgspec.Raw()
    closed_by: msgspec.Raw = msgspec.Raw()


class _Feedback(msgspec.Struct, frozen=True):
    signal: str | None = None


class _RefusalReason(msgspec.Struct, frozen=True):
    code: str
    reason: str


class _RefusalLine(msgspec.Struct, frozen=True):
    envelope_id: str
    session_id: str
    type: str
    sequence: Count | None
    session_hmac: str
    refused: _RefusalReason
    received: Received
    body_sha256: str | None = None


class _TrajectoryLine(msgspec.Struct, frozen=True):
    trajectory_id: str
    session_id: str
    contributor_id: str
    metadata: Metadata
    total_steps: Count
    total_tokens: int
    total_chunks: Count
    closed_by: ClosedBy
    score: msgspec.Raw
    trajectory_log: list[StepTexts] = []
    copied_from: list[CopiedRun] = []


class _OperationLine(msgspec.Struct, frozen=True):
    operation: msgspec.Raw
    read_up_to: ReadUpTo | None = None


class _IntakeLine(msgspec.Struct, frozen=True):
    record_id: str
    subject: str
    session_id: str
    content_type: str
    received: Received


class _Score(msgspec.Struct, frozen=True, rename="camel"):
    base_points: Count
    total_points: float


class _ContributorKey(msgspec.Struct, frozen=True):
    subject: str
    public_key: str
    at_us: Count


class _ConsentLine(msgspec.Struct, frozen=True):
    """What is neither a key nor an event is read as an event, and found to be none."""

    contributor_key: _ContributorKey | None = None


_TEXT: Final = msgspec.json.Decoder(str)
_COUNT: Final = msgspec.json.Decoder(Count)
_CLOSED_BY: Final = msgspec.json.Decoder(ClosedBy)
_ATTESTATION: Final = msgspec.json.Decoder(_Attestation)
_FEEDBACK: Final = msgspec.json.Decoder(_Feedback)
_STEPS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ENVELOPE: Final = msgspec.json.Decoder(_EnvelopeLine)
_REFUSAL: Final = msgspec.json.Decoder(_RefusalLine)
_TRAJECTORY: Final = msgspec.json.Decoder(_TrajectoryLine)
_AUDIT: Final = msgspec.json.Decoder(AuditRecord)
_DIGEST: Final = msgspec.json.Decoder(DigestRecord)
_INTAKE: Final = msgspec.json.Decoder(_IntakeLine)
_SCORE: Final = msgspec.json.Decoder(_Score)
_OPERATION: Final = msgspec.json.Decoder(_OperationLine)
_CONSENT: Final = msgspec.json.Decoder(_ConsentLine)
_CONSENT_EVENT: Final = msgspec.json.Decoder(ConsentEvent)


def parse_envelope_line(line: bytes) -> EnvelopeRecord:
    """The record of a line of the envelopes journal; raises `LineError`.

    `chunk_sequence`, `contributor_id` and `steps` are read for CHUNK only, `provider` and `model` for CHUNK and
    SESSION_CLOSE, `signal` for USER_FEEDBACK: what a kind's schema does not name may be anything in its lines.
    `sequence` is None for feedback and server closes; `session_hmac` is empty for a server close only.
    """
    head = decode(_ENVELOPE, line, "the line")
    try:
        kind = EnvelopeKind(head.type or EnvelopeKind.CHUNK)
    except ValueError as error:
        raise LineError(f"the member type is {head.type!r}, which is no kind of envelope") from error
    if kind is EnvelopeKind.SERVER_CLOSE:
        closed_by = decode(_CLOSED_BY, head.closed_by, "the member closed_by")
        return EnvelopeRecord(envelope_id=head.envelope_id, session_id=head.session_id, kind=kind, closed_by=closed_by)
    attestation = decode(_ATTESTATION, head.attestation, "the member attestation")
    if kind is EnvelopeKind.USER_FEEDBACK:
        return EnvelopeRecord(
            envelope_id=head.envelope_id,
            session_id=head.session_id,
            kind=kind,
            session_hmac=attestation.session_hmac,
            signal=decode(_FEEDBACK, head.feedback, "the member feedback").signal,
            letter=head.received.letter,
        )
    if attestation.sequence is None:
        raise LineError("the attestation has no sequence")
    metadata = decode(METADATA, head.metadata, "the member metadata")
    if kind is EnvelopeKind.SESSION_CLOSE:
        return EnvelopeRecord(
            envelope_id=head.envelope_id,
            session_id=head.session_id,
            kind=kind,
            sequence=attestation.sequence,
            session_hmac=attestation.session_hmac,
            gap=head.received.gap,
            provider=metadata.provider,
            model=metadata.model_engine,
            closed_by=ClosedBy.SESSION_CLOSE,
            letter=head.received.letter,
        )
    return _chunk(head, attestation, metadata)


def _chunk(head: _EnvelopeLine, attestation: _Attestation, metadata: Metadata) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=head.envelope_id,
        session_id=head.session_id,
        kind=EnvelopeKind.CHUNK,
        sequence=attestation.sequence,
        session_hmac=attestation.session_hmac,
        gap=head.received.gap,
        chunk_sequence=decode(_COUNT, head.chunk_sequence, "the member chunk_sequence"),
        contributor_id=decode(_TEXT, head.contributor_id, "the member contributor_id").lower(),
        provider=metadata.provider,
        model=metadata.model_engine,
        steps=len(decode(_STEPS, head.trajectory_log, "the member trajectory_log")),
        letter=head.received.letter,
    )


def parse_refusal_line(line: bytes) -> RefusalRecord:
    """The record of a line of the refused journal; raises `LineError`."""
    refusal = decode(_REFUSAL, line, "the line")
    return RefusalRecord(
        envelope_id=refusal.envelope_id,
        session_id=refusal.session_id,
        kind=refusal.type,
        sequence=refusal.sequence,
        session_hmac=refusal.session_hmac,
        gap=refusal.received.gap,
        code=refusal.refused.code,
        reason=refusal.refused.reason,
        with_body=refusal.body_sha256 is None,
    )


def parse_trajectory_line(line: bytes) -> TrajectoryRecord:
    """The record of a line of the trajectories journal; raises `LineError`.

    `multiplier_breakdown` is the text of the member `score`, byte for byte; `base_points` and `total_points` are its
    `basePoints` and `totalPoints`; `provider` and `model` are the metadata's `provider` and `model_engine`.
    `fingerprints` are computed from the steps.
    """
    trajectory = decode(_TRAJECTORY, line, "the line")
    score = decode(_SCORE, trajectory.score, "the member score")
    return TrajectoryRecord(
        trajectory_id=trajectory.trajectory_id,
        session_id=trajectory.session_id,
        contributor_id=trajectory.contributor_id.lower(),
        provider=trajectory.metadata.provider,
        model=trajectory.metadata.model_engine,
        steps=trajectory.total_steps,
        tokens=trajectory.total_tokens,
        chunks=trajectory.total_chunks,
        base_points=score.base_points,
        total_points=score.total_points,
        multiplier_breakdown=bytes(trajectory.score).decode(),
        closed_by=trajectory.closed_by,
        copied_steps=sum(run.steps for run in trajectory.copied_from),
        copied_from=most_copied_from(trajectory.copied_from),
        fingerprints=fingerprints_of(trajectory.trajectory_log),
    )


def parse_intake_line(line: bytes) -> IntakeRecord:
    """The record of a line of the intake journal; raises `LineError`."""
    found = decode(_INTAKE, line, "the line")
    return IntakeRecord(
        record_id=found.record_id,
        subject=found.subject,
        session_id=found.session_id,
        content_type=found.content_type,
    )


def parse_consent_line(line: bytes) -> ConsentRecord | ContributorKeyRecord:
    """The record of a line of the consent journal; raises `LineError`. The hash of an event is computed from it."""
    key = decode(_CONSENT, line, "the line").contributor_key
    if key is not None:
        return ContributorKeyRecord(subject=key.subject, public_key=key.public_key, at_us=key.at_us)
    event = decode(_CONSENT_EVENT, line, "the line")
    return ConsentRecord(event=event, sha256=event_sha256(event))


def parse_audit_line(line: bytes) -> AuditRecord:
    """The record of a line of the audit journal; raises `LineError`."""
    return decode(_AUDIT, line, "the line")


def parse_operation_line(line: bytes) -> OperationRecord:
    """The record of a line of the operations journal; raises `LineError`."""
    found = decode(_OPERATION, line, "the line")
    if not bytes(found.operation).startswith(b"{"):
        raise LineError("its operation is no object")
    return OperationRecord(operation=found.operation, read_up_to=found.read_up_to)


def parse_line(journal: JournalName, line: bytes) -> Record:
    """The record of a line of the journal; raises `LineError`.

    That of an erased line has other names (`persistence.format.erased_names`), and counts like the one before.
    """
    if is_erased(line):
        return _erased_record(journal, line)
    return _PARSERS[journal](line)


_PARSERS: Final[Mapping[JournalName, Callable[[bytes], Record]]] = {
    JournalName.ENVELOPES: parse_envelope_line,
    JournalName.REFUSED: parse_refusal_line,
    JournalName.TRAJECTORIES: parse_trajectory_line,
    JournalName.CORPUS: parse_corpus_line,
    JournalName.CONSENT: parse_consent_line,
    JournalName.INTAKE: parse_intake_line,
    JournalName.AUDIT: parse_audit_line,
    JournalName.OPERATIONS: parse_operation_line,
    JournalName.DIGESTS: lambda line: decode(_DIGEST, line, "the line"),
}


def _erased_record(journal: JournalName, line: bytes) -> Record:
    try:
        read = read_erased(line)
        match journal:
            case JournalName.ENVELOPES:
                return _erased_envelope(read)
            case JournalName.REFUSED:
                return _erased_refusal(read)
            case JournalName.TRAJECTORIES:
                return _erased_trajectory(read.erased)
            case JournalName.CORPUS:
                return _erased_record_of_corpus(read.erased)
            case JournalName.INTAKE:
                kept = read.erased.kept or Kept(session_id="", record_id=erased_names.text_name(read.received.n))
                return kept.text
            case JournalName.CONSENT | JournalName.AUDIT | JournalName.OPERATIONS | JournalName.DIGESTS:
                raise LineError(f"nothing of the journal of {journal} is erased")
            case unreachable:
                assert_never(unreachable)
    except (msgspec.DecodeError, ValueError) as error:
        raise LineError(f"the erased line cannot be read: {error}") from error


def _erased_envelope(read: ErasedLine) -> EnvelopeRecord:
    erased = read.erased
    closes = erased.kind is EnvelopeKind.SESSION_CLOSE
    kept = erased.kept or Kept(
        session_id=erased_names.session_name(erased.session), envelope_id=erased_names.envelope_name(read.received.n)
    )
    return EnvelopeRecord(
        envelope_id=kept.envelope_id,
        session_id=kept.session_id,
        session_hmac=kept.session_hmac,
        contributor_id=kept.contributor_id,
        kind=erased.kind,
        sequence=erased.sequence,
        gap=read.received.gap,
        chunk_sequence=erased.chunk_sequence,
        provider=erased.provider,
        model=erased.model,
        steps=erased.steps,
        signal=erased.signal,
        closed_by=ClosedBy.SESSION_CLOSE if closes else erased.closed_by,
        letter=read.received.letter,
    )


def _erased_refusal(read: ErasedLine) -> RefusalRecord:
    return RefusalRecord(
        envelope_id=erased_names.refused_name(read.received.n),
        session_id=erased_names.session_name(read.erased.session),
        kind="",
        sequence=read.erased.sequence,
        session_hmac="",
        gap=read.received.gap,
        code=read.erased.code,
        reason="",
        with_body=not read.erased.without_body,
    )


def _erased_trajectory(erased: Erased) -> TrajectoryRecord:
    if erased.closed_by is None:
        raise ValueError("it does not say what ended its session")
    score = json_text.decode(_SCORE, erased.score)
    kept = erased.kept or Kept(
        session_id=erased_names.session_name(erased.session),
        trajectory_id=erased_names.trajectory_name(erased.session),
        contributor_id=erased.request,
    )
    return TrajectoryRecord(
        trajectory_id=kept.trajectory_id,
        session_id=kept.session_id,
        contributor_id=kept.contributor_id or "",
        copied_from=kept.copied_from,
        provider=erased.provider,
        model=erased.model,
        steps=erased.steps,
        tokens=erased.tokens,
        chunks=erased.chunks,
        base_points=score.base_points,
        total_points=score.total_points,
        multiplier_breakdown=bytes(erased.score).decode(),
        closed_by=erased.closed_by,
        copied_steps=erased.copied_steps,
        fingerprints=fingerprints_in(erased.fingerprints),
    )


def _erased_record_of_corpus(erased: Erased) -> CorpusRecord:
    return CorpusRecord(
        trajectory_id=erased_names.trajectory_name(erased.session),
        record_id="",
        session_id=erased_names.session_name(erased.session),
        contributor_id=erased.request,
        rules="",
        is_erased=True,
    )
