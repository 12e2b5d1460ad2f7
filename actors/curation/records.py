"""A record of the corpus made from a trajectory's line: every text scrubbed, and what was found noted beside. Pure.

Numbers, names of members and ids of the protocol stay as they are; numbers keep their digits. Texts that cannot be
scrubbed are withheld one by one, and what cannot be read at all makes no record (fail-closed).

Memory: the line, the record, and one step at a time as objects; so about three times the line.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from actors.curation.consent import ConsentState
from actors.curation.scrubbed_values import ScrubbedValues
from actors.curation.scrubbing.spans import WITHHELD
from actors.curation.settings import CurationSettings
from persistence.format import json_text
from persistence.format.records import CorpusRecord

SCRUBBING_VERSION: Final = 1
"""Raised whenever the same text would be scrubbed in another way."""

RULES: Final = f"scrubbing-{SCRUBBING_VERSION}"
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
_TEXT_OR_NULL: Final = msgspec.json.Decoder(str | None)
_COUNT: Final = msgspec.json.Decoder(int)


def read_head(line: bytes) -> Head | None:
    """Read the beginning of a trajectory's line; None for one that holds no trajectory any more (it was erased)."""
    try:
        return json_text.decode(_HEAD, line)
    except msgspec.DecodeError:
        return None


def make_record(
    line: bytes, head: Head, *, late_feedback: Sequence[bytes], consent: ConsentState, settings: CurationSettings
) -> Record:
    """Make the record of a trajectory; `late_feedback` is what was said of its session after the line was written.

    The same line gives the same record. Raises ValueError (msgspec.DecodeError, too) for what cannot be read.
    """
    values = ScrubbedValues(text_chars_max=settings.text_chars_max, findings_max=settings.findings_max)
    trajectory = json_text.decode(_MEMBERS, line)
    feedback = [*(bytes(each) for each in head.feedback), *late_feedback]
    written: dict[str, bytes] = {
        "record_id": _encode(head.record_id),
        "trajectory_id": _encode(head.trajectory_id),
        "session_id": _encode(head.session_id),
        "contributor_id": _encode(head.contributor_id),
        "rules": _encode(RULES),
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
    written["scrubbed"] = _encode(values.report())
    record = _record(head, written, feedback=len(feedback), found=values.counts)
    return Record(record, b",".join(b'"%s":%s' % (name.encode(), text) for name, text in written.items()))


def taken_back(head: Head, reason: str) -> Record:
    """The line that says that there is no record of a trajectory any more, and why."""
    record = CorpusRecord(
        trajectory_id=head.trajectory_id,
        record_id=head.record_id,
        session_id=head.session_id,
        contributor_id=head.contributor_id,
        rules=RULES,
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


def _record(head: Head, written: dict[str, bytes], *, feedback: int, found: Counter[str]) -> CorpusRecord:
    of = json_text.decode(_OF, written["metadata"])
    return CorpusRecord(
        trajectory_id=head.trajectory_id,
        record_id=head.record_id,
        session_id=head.session_id,
        contributor_id=head.contributor_id,
        rules=RULES,
        provider=of.provider,
        model=of.model_engine,
        started_at=_member(_TEXT_OR_NULL, written, "started_at", b"null"),
        steps=_member(_COUNT, written, "total_steps", b"0"),
        tokens=_member(_COUNT, written, "total_tokens", b"0"),
        feedback=feedback,
        findings=found.total() - found[WITHHELD],
        withheld=found[WITHHELD],
    )


def _member(decoder: msgspec.json.Decoder[Any], written: dict[str, bytes], name: str, missing: bytes) -> Any:  # noqa: ANN401
    return decoder.decode(written.get(name, missing))
