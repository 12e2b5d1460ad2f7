"""A record of the corpus made from a trajectory's line: every text scrubbed, and what was found noted beside. Pure.

Numbers, names of members and ids of the protocol stay as they are; numbers keep their digits. Texts that cannot be
scrubbed are withheld one by one, and what cannot be read at all makes no record (fail-closed).

What is told of a session (`enrichment`, `duplicates`) is told from the scrubbed record: so it says nothing that the
record does not, and sessions that differ in names and paths only are near copies of each other.

Memory: the line and the scrubbed text; then, beside both, its steps as they are read, which is little for long ones. So
about two to three times the line, and once more where it holds half of a surrogate pair, which takes a copy.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from actors.curation.consent import Agreement
from actors.curation.duplicates import SIGNATURE_VERSION, ClusterMembership, Signature, signature_of
from actors.curation.enrichment.enriching import enrich
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.enrichment.verdicts import RULES_VERSION as ENRICHMENT_VERSION
from actors.curation.enrichment.verdicts import CuratedEnrichment
from actors.curation.fields import FieldTags
from actors.curation.scrubbed_values import ScrubbedValues, ScrubbingReport
from actors.curation.scrubbing.rules_version import SCRUB_RULES_VERSION
from actors.curation.settings import CurationSettings
from actors.curation.stitched import StitchedTrajectory, read_stitched
from persistence.files.file_system import Buffer
from persistence.format import json_text
from persistence.format.records import CorpusRecord
from persistence.format.submitted_texts import RecordKind
from persistence.journals.erased_lines import is_erased, read_erased

RULES: Final = f"scrubbing-{SCRUB_RULES_VERSION} enrichment-{ENRICHMENT_VERSION} duplicates-{SIGNATURE_VERSION}"
"""The version of all rules that make a record: what other ones made is made anew by `curate --all`."""

SCRUBBED_MEMBERS: Final = frozenset(
    {"metadata", "close_metadata", "outcome", "unique_tools_used", "coordination_links"}
)
"""Those with what clients wrote, beside the steps and the feedback, which are scrubbed one by one."""

REPLACED_MEMBERS: Final = frozenset({"enrichment", "received", "crc32"})
"""Those of the trajectory's line that a record has of its own."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


class Head(msgspec.Struct, frozen=True):
    """What of a trajectory's line is needed to decide whether a record is made of it."""

    trajectory_id: str
    session_id: str
    contributor_id: str
    feedback: list[msgspec.Raw] = []
    is_expired: bool = False
    """Whether the line has nothing but its names any more."""

    @property
    def record_id(self) -> str:
        """The record's id: the same, however often it is made."""
        return f"rec_{self.trajectory_id.removeprefix('traj_')}"


class _Of(msgspec.Struct, frozen=True):
    provider: str
    model_engine: str


class Members:
    """The members of a record's line, without braces, in two parts that are never joined: one may be very long."""

    def __init__(self, scrubbed: Buffer, told: bytes) -> None:
        self._parts = (scrubbed, b",", told)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self._parts)

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


class Record(msgspec.Struct, frozen=True):
    """A record that was made: what the database knows of it, and its members without braces."""

    record: CorpusRecord
    members: Members | bytes


_HEAD: Final = msgspec.json.Decoder(Head)
_OF: Final = msgspec.json.Decoder(_Of)


def read_head(line: bytes) -> Head | None:
    """Read the beginning of a trajectory's line; None for one that holds no trajectory any more (it was erased)."""
    try:
        if not is_erased(line):
            return json_text.decode(_HEAD, line)
        kept = read_erased(line).erased.kept
    except msgspec.DecodeError:
        return None
    if kept is None:
        return None
    return Head(kept.trajectory_id, kept.session_id, kept.contributor_id or "", is_expired=True)


class Scrubbed(msgspec.Struct, frozen=True):
    """A trajectory scrubbed: its text, which is a JSON object, and the same as the rules read it; what is told of it
    comes next.
    """

    head: Head
    rules: str
    text: bytearray
    report: ScrubbingReport
    feedback: int
    trajectory: StitchedTrajectory
    signature: Signature

    @property
    def bands(self) -> bytes:
        """The bands of the signature, each a signed number of 64 bits, big-endian."""
        return struct.pack(f">{len(self.signature.bands)}q", *self.signature.bands)


def scrub_trajectory(
    line: bytes,
    head: Head,
    *,
    late_feedback: Sequence[bytes],
    consent: Agreement,
    settings: CurationSettings,
    rules: str = RULES,
) -> Scrubbed:
    """Scrub a trajectory's line; `late_feedback` is what was said of its session after the line was written.

    Raises ValueError (msgspec.DecodeError, too) for what cannot be read.
    """
    values = ScrubbedValues(text_chars_max=settings.text_chars_max, findings_max=settings.findings_max)
    feedback = [*(bytes(each) for each in head.feedback), *late_feedback]
    text = _scrubbed_text(line, head, feedback, values, {"rules": rules, "consent": consent})
    stitched = read_stitched(text)
    signature = signature_of(stitched.trajectory_log)
    return Scrubbed(head, rules, text, values.report(), len(feedback), stitched, signature)


def finish_record(
    scrubbed: Scrubbed, membership: ClusterMembership, tags: FieldTags | None, settings: EnrichmentSettings
) -> Record:
    """Put to a scrubbed trajectory what is told of it: the cluster that it belongs to, its fields, its enrichment."""
    enrichment = enrich(scrubbed.trajectory, settings)
    signature = scrubbed.signature
    told = {
        "scrubbed": scrubbed.report,
        "enrichment": enrichment,
        "domain_tags": tags,
        "duplicates": {
            "version": SIGNATURE_VERSION,
            "sha256": signature.sha256,
            "cluster": membership.cluster,
            "similarity": membership.similarity,
            "minima": signature.minima,
            "bands": scrubbed.bands,
        },
    }
    members = Members(memoryview(scrubbed.text)[1:-1], _encode(told)[1:-1])
    return Record(_record(scrubbed, enrichment, membership, tags), members)


def _scrubbed_text(
    line: bytes, head: Head, feedback: Sequence[bytes], values: ScrubbedValues, own: dict[str, object]
) -> bytearray:
    """The JSON text of a trajectory with its texts scrubbed, and with the record's `own` members before them.

    It grows in place, step by step: so the line and this text are in memory, and no copies of either. Nobody may change
    it afterwards: what is read of it are views.
    """
    ids = {
        "kind": RecordKind.TRAJECTORY,
        "record_id": head.record_id,
        "trajectory_id": head.trajectory_id,
        "session_id": head.session_id,
        "contributor_id": head.contributor_id,
    }
    text = bytearray(_encode({**ids, **own})[:-1])
    for name, raw in json_text.decode(_MEMBERS, line).items():
        if name in ids or name in own or name in REPLACED_MEMBERS:
            continue
        text += b',"%s":' % name.encode()
        match name:
            case "trajectory_log":
                steps = json_text.decode(_ARRAY, memoryview(raw))
                _add_array(text, values, name, (bytes(step) for step in steps))
            case "feedback":
                _add_array(text, values, name, iter(feedback))
            case _ if name in SCRUBBED_MEMBERS:
                text += values.scrubbed(bytes(raw), f"/{name}")
            case _:
                text += raw
    text += b"}"
    return text


def taken_back(head: Head, reason: str, rules: str = RULES) -> Record:
    """The line that says that there is no record of a trajectory any more, and why."""
    record = CorpusRecord(
        trajectory_id=head.trajectory_id,
        record_id=head.record_id,
        session_id=head.session_id,
        contributor_id=head.contributor_id,
        rules=rules,
        taken_back=reason,
    )
    members = {
        "kind": RecordKind.TRAJECTORY,
        "record_id": record.record_id,
        "trajectory_id": record.trajectory_id,
        "session_id": record.session_id,
        "contributor_id": record.contributor_id,
        "rules": record.rules,
        "taken_back": reason,
    }
    return Record(record, _encode(members)[1:-1])


def _add_array(text: bytearray, values: ScrubbedValues, name: str, items: Iterator[bytes]) -> None:
    """Add the JSON array of these items, scrubbed."""
    text += b"["
    for place, item in enumerate(items):
        if place:
            text += b","
        text += values.scrubbed(item, f"/{name}/{place}")
    text += b"]"


def _record(
    scrubbed: Scrubbed, enrichment: CuratedEnrichment, membership: ClusterMembership, tags: FieldTags | None
) -> CorpusRecord:
    head, report, quality = scrubbed.head, scrubbed.report, enrichment.quality_assessment
    of = json_text.decode(_OF, bytes(scrubbed.trajectory.metadata))
    return CorpusRecord(
        trajectory_id=head.trajectory_id,
        record_id=head.record_id,
        session_id=head.session_id,
        contributor_id=head.contributor_id,
        rules=scrubbed.rules,
        provider=of.provider,
        model=of.model_engine,
        started_at=scrubbed.trajectory.started_at,
        steps=len(scrubbed.trajectory.trajectory_log),
        tokens=scrubbed.trajectory.total_tokens,
        feedback=scrubbed.feedback,
        findings=report.findings,
        withheld=report.withheld,
        cognitive_target=enrichment.cognitive_target.target,
        quality=quality.score,
        tier=quality.tier,
        training_eligible=quality.training_eligible,
        domain=None if tags is None or tags.primary is None else tags.primary.domain,
        sha256=scrubbed.signature.sha256,
        cluster=membership.cluster,
        minima=scrubbed.signature.minima,
        bands=scrubbed.bands,
    )
