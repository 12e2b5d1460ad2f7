"""A record of the corpus made from a trajectory's line: every text scrubbed, and what was found noted beside. Pure.

Numbers, names of members and ids of the protocol stay as they are; numbers keep their digits. Texts that cannot be
scrubbed are withheld one by one, and what cannot be read at all makes no record (fail-closed).

What is told of a session (`enrichment`, `duplicates`) is told from the scrubbed record: so it says nothing that the
record does not, and sessions that differ in names and paths only are near copies of each other.

Memory: the line, the record, and one step at a time as objects; so about three times the line.
"""

import struct
from collections import Counter
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
from actors.curation.scrubbed_values import ScrubbedValues
from actors.curation.scrubbing.rules_version import SCRUB_RULES_VERSION
from actors.curation.scrubbing.spans import WITHHELD
from actors.curation.settings import CurationSettings
from actors.curation.stitched import StitchedTrajectory, read_stitched
from persistence.format import json_text
from persistence.format.records import CorpusRecord
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


class Record(msgspec.Struct, frozen=True):
    """A record that was made: what the database knows of it, and its members without braces."""

    record: CorpusRecord
    members: bytes


_HEAD: Final = msgspec.json.Decoder(Head)
_OF: Final = msgspec.json.Decoder(_Of)


def read_head(line: bytes) -> Head | None:
    """Read the beginning of a trajectory's line; None for one that holds no trajectory any more (it was erased)."""
    if is_erased(line):
        kept = read_erased(line).erased.kept
        if kept is None:
            return None
        return Head(kept.trajectory_id, kept.session_id, kept.contributor_id or "", is_expired=True)
    try:
        return json_text.decode(_HEAD, line)
    except msgspec.DecodeError:
        return None


class Scrubbed(msgspec.Struct, frozen=True):
    """A trajectory's members, scrubbed, and the same as the rules read them; what is told of it comes next."""

    head: Head
    written: dict[str, bytes]
    counts: Counter[str]
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
    trajectory = json_text.decode(_MEMBERS, line)
    feedback = [*(bytes(each) for each in head.feedback), *late_feedback]
    written: dict[str, bytes] = {
        "record_id": _encode(head.record_id),
        "trajectory_id": _encode(head.trajectory_id),
        "session_id": _encode(head.session_id),
        "contributor_id": _encode(head.contributor_id),
        "rules": _encode(rules),
        "consent": _encode(consent),
    }
    for name, raw in trajectory.items():
        if name in written or name in REPLACED_MEMBERS:
            continue
        match name:
            case "trajectory_log":
                written[name] = _array(values, name, (bytes(step) for step in json_text.decode(_ARRAY, bytes(raw))))
            case "feedback":
                written[name] = _array(values, name, iter(feedback))
            case _ if name in SCRUBBED_MEMBERS:
                written[name] = values.scrubbed(bytes(raw), f"/{name}")
            case _:
                written[name] = bytes(raw)
    stitched = read_stitched(b"{%s}" % _joined({name: written[name] for name in written if name != "feedback"}))
    written["scrubbed"] = _encode(values.report())
    return Scrubbed(head, written, values.counts, len(feedback), stitched, signature_of(stitched.trajectory_log))


def finish_record(
    scrubbed: Scrubbed, membership: ClusterMembership, tags: FieldTags | None, settings: EnrichmentSettings
) -> Record:
    """Put to a scrubbed trajectory what is told of it: the cluster that it belongs to, its fields, its enrichment."""
    enrichment = enrich(scrubbed.trajectory, settings)
    signature = scrubbed.signature
    duplicates = {
        "version": SIGNATURE_VERSION,
        "sha256": signature.sha256,
        "cluster": membership.cluster,
        "similarity": membership.similarity,
        "minima": signature.minima,
        "bands": scrubbed.bands,
    }
    written = {
        **scrubbed.written,
        "enrichment": _encode(enrichment),
        "domain_tags": _encode(tags),
        "duplicates": _encode(duplicates),
    }
    return Record(_record(scrubbed, enrichment, membership, tags), _joined(written))


def _joined(members: dict[str, bytes]) -> bytes:
    return b",".join(b'"%s":%s' % (name.encode(), text) for name, text in members.items())


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
        "record_id": record.record_id,
        "trajectory_id": record.trajectory_id,
        "session_id": record.session_id,
        "contributor_id": record.contributor_id,
        "rules": record.rules,
        "taken_back": reason,
    }
    return Record(record, _encode(members)[1:-1])


def _array(values: ScrubbedValues, name: str, items: Iterator[bytes]) -> bytes:
    scrubbed = [values.scrubbed(item, f"/{name}/{place}") for place, item in enumerate(items)]
    return b"[%s]" % b",".join(scrubbed)


def _record(
    scrubbed: Scrubbed, enrichment: CuratedEnrichment, membership: ClusterMembership, tags: FieldTags | None
) -> CorpusRecord:
    head, written, quality = scrubbed.head, scrubbed.written, enrichment.quality_assessment
    of = json_text.decode(_OF, written["metadata"])
    return CorpusRecord(
        trajectory_id=head.trajectory_id,
        record_id=head.record_id,
        session_id=head.session_id,
        contributor_id=head.contributor_id,
        rules=msgspec.json.decode(written["rules"], type=str),
        provider=of.provider,
        model=of.model_engine,
        started_at=scrubbed.trajectory.started_at,
        steps=len(scrubbed.trajectory.trajectory_log),
        tokens=scrubbed.trajectory.total_tokens,
        feedback=scrubbed.feedback,
        findings=scrubbed.counts.total() - scrubbed.counts[WITHHELD],
        withheld=scrubbed.counts[WITHHELD],
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
