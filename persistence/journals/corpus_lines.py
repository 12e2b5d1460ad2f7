"""What the index knows of a line of the corpus: a record of a trajectory or of a text, or what a judge said."""

from typing import Final

import msgspec

from persistence.format.records import CorpusLineRecord, CorpusRecord, CorpusTextRecord, JudgementRecord
from persistence.format.submitted_texts import RecordKind
from persistence.journals.decoding import METADATA, Count, decode
from persistence.journals.framing import Received


class _Scrubbed(msgspec.Struct, frozen=True):
    findings: Count
    withheld: Count


class _Target(msgspec.Struct, frozen=True):
    target: str | None


class _Quality(msgspec.Struct, frozen=True):
    score: Count
    tier: str
    training_eligible: bool


class _Enrichment(msgspec.Struct, frozen=True):
    cognitive_target: _Target
    quality_assessment: _Quality


class _Domain(msgspec.Struct, frozen=True):
    domain: str


class _DomainTags(msgspec.Struct, frozen=True):
    primary: _Domain | None = None


class _Duplicates(msgspec.Struct, frozen=True):
    sha256: str
    cluster: str
    minima: bytes
    bands: bytes


class _Judgement(msgspec.Struct, frozen=True):
    model: str
    sha256: str
    cognitive_target: str
    quality: Count
    outcome: str
    rationale: str


class _CorpusLine(msgspec.Struct, frozen=True):
    record_id: str
    trajectory_id: str
    session_id: str
    contributor_id: str
    rules: str
    received: Received
    taken_back: str | None = None
    judgement: _Judgement | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    started_at: str | None = None
    total_steps: Count = 0
    total_tokens: int = 0
    feedback: list[msgspec.Raw] = []
    scrubbed: _Scrubbed = _Scrubbed(0, 0)
    enrichment: msgspec.Raw = msgspec.Raw()
    domain_tags: _DomainTags | None = None
    duplicates: msgspec.Raw = msgspec.Raw()


class _CorpusKind(msgspec.Struct, frozen=True):
    kind: RecordKind = RecordKind.TRAJECTORY


class _CorpusTextLine(msgspec.Struct, frozen=True):
    record_id: str
    user_id: str
    session_id: str
    content_type: str
    rules: str
    received: Received
    taken_back: str | None = None
    domain: str = ""
    content: str = ""
    scrubbed: _Scrubbed = _Scrubbed(0, 0)
    sha256: str = ""


_CORPUS: Final = msgspec.json.Decoder(_CorpusLine)
_CORPUS_KIND: Final = msgspec.json.Decoder(_CorpusKind)
_CORPUS_TEXT: Final = msgspec.json.Decoder(_CorpusTextLine)
_ENRICHMENT: Final = msgspec.json.Decoder(_Enrichment)
_DUPLICATES: Final = msgspec.json.Decoder(_Duplicates)


def parse_corpus_line(line: bytes) -> CorpusLineRecord:
    """The record of a line of the corpus journal; raises `LineError`."""
    if decode(_CORPUS_KIND, line, "the line").kind is RecordKind.TEXT:
        return _corpus_text(line)
    found = decode(_CORPUS, line, "the line")
    if found.judgement is not None:
        return _judgement(found, found.judgement)
    if found.taken_back is not None:
        return CorpusRecord(
            trajectory_id=found.trajectory_id,
            record_id=found.record_id,
            session_id=found.session_id,
            contributor_id=found.contributor_id,
            rules=found.rules,
            taken_back=found.taken_back,
        )
    metadata = decode(METADATA, found.metadata, "the member metadata")
    enrichment = decode(_ENRICHMENT, found.enrichment, "the member enrichment")
    duplicates = decode(_DUPLICATES, found.duplicates, "the member duplicates")
    field = None if found.domain_tags is None else found.domain_tags.primary
    return CorpusRecord(
        trajectory_id=found.trajectory_id,
        record_id=found.record_id,
        session_id=found.session_id,
        contributor_id=found.contributor_id,
        rules=found.rules,
        provider=metadata.provider,
        model=metadata.model_engine,
        started_at=found.started_at,
        steps=found.total_steps,
        tokens=found.total_tokens,
        feedback=len(found.feedback),
        findings=found.scrubbed.findings,
        withheld=found.scrubbed.withheld,
        cognitive_target=enrichment.cognitive_target.target,
        quality=enrichment.quality_assessment.score,
        tier=enrichment.quality_assessment.tier,
        training_eligible=enrichment.quality_assessment.training_eligible,
        domain=None if field is None else field.domain,
        sha256=duplicates.sha256,
        cluster=duplicates.cluster,
        minima=duplicates.minima,
        bands=duplicates.bands,
    )


def _judgement(line: _CorpusLine, judgement: _Judgement) -> JudgementRecord:
    return JudgementRecord(
        trajectory_id=line.trajectory_id,
        record_id=line.record_id,
        session_id=line.session_id,
        contributor_id=line.contributor_id,
        rules=line.rules,
        model=judgement.model,
        sha256=judgement.sha256,
        cognitive_target=judgement.cognitive_target,
        quality=judgement.quality,
        outcome=judgement.outcome,
        rationale=judgement.rationale,
    )


def _corpus_text(line: bytes) -> CorpusTextRecord:
    found = decode(_CORPUS_TEXT, line, "the line")
    return CorpusTextRecord(
        record_id=found.record_id,
        subject=found.user_id,
        session_id=found.session_id,
        content_type=found.content_type,
        rules=found.rules,
        taken_back=found.taken_back,
        domain=found.domain,
        chars=len(found.content),
        findings=found.scrubbed.findings,
        withheld=found.scrubbed.withheld,
        sha256=found.sha256,
    )
