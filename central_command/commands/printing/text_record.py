"""A record of the corpus that was made of a text of the intake, as it is printed to be read."""

from collections.abc import Iterator
from typing import Any

import msgspec

from central_command.commands.printing.terminal import clean
from central_command.commands.printing.trajectory import shortened
from persistence.format import json_text, times
from persistence.format.submitted_texts import RecordKind


class _Kind(msgspec.Struct, frozen=True):
    kind: RecordKind = RecordKind.TRAJECTORY


class _Scrubbed(msgspec.Struct, frozen=True):
    by_category: dict[str, int] = {}
    withheld: int = 0


class TextOfCorpus(msgspec.Struct, frozen=True):
    """What is shown of such a record."""

    record_id: str
    session_id: str
    content_type: str
    domain: str
    timestamp: float
    content: str
    metadata: dict[str, Any]
    scrubbed: _Scrubbed


_KIND = msgspec.json.Decoder(_Kind)
_TEXT = msgspec.json.Decoder(TextOfCorpus)


def read_text_record(line: bytes) -> TextOfCorpus | None:
    """Read a line of the corpus; None for the record of a trajectory. Raises msgspec.DecodeError for a damaged one."""
    if json_text.decode(_KIND, line).kind is RecordKind.TRAJECTORY:
        return None
    return json_text.decode(_TEXT, line)


def printed_lines(found: TextOfCorpus, lines_max: int | None) -> Iterator[str]:
    """What it is, a name and a value a line with a tab between, and its content below, cut to `lines_max` lines."""
    counts = [f"{count:,} {name}" for name, count in sorted(found.scrubbed.by_category.items())]
    counts += [f"{found.scrubbed.withheld:,} text(s) withheld"] if found.scrubbed.withheld else []
    for name, value in (
        ("record", found.record_id),
        ("session", found.session_id),
        ("type", found.content_type),
        ("domain", found.domain),
        ("received", times.to_text(found.timestamp)),
        ("scrubbed", ", ".join(counts) or "nothing found"),
        *((f"metadata {name}", str(value)) for name, value in sorted(found.metadata.items())),
    ):
        yield f"{clean(name)}\t{clean(value)}"
    yield ""
    yield shortened(clean(found.content), lines_max)
