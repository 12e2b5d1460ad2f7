"""`jsonl`: our own record as it is (docs/format.md, "corpus/"), without what is nobody's business outside.

Left out are the contributor's id, in whose place the pseudonym stands, the journal's own members, the signature by
which near copies are found, and `total_tokens`, which is an estimate that looks like a count.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.formats.format import Format, no_rows

FEATURES: Final = (
    ("record_id", "string"),
    ("trajectory_id", "string"),
    ("session_id", "string"),
    ("contributor", "string"),
    ("rules", "string"),
    ("consent", "json"),
    ("metadata", "json"),
    ("close_metadata", "json"),
    ("trajectory_log", "list: json"),
    ("outcome", "json"),
    ("total_steps", "int64"),
    ("copied_steps", "int64"),
    ("copied_from", "list: json"),
    ("started_at", "string"),
    ("ended_at", "string"),
    ("time_shift_s", "float64"),
    ("unique_tools_used", "list: string"),
    ("step_type_distribution", "json"),
    ("total_chunks", "int64"),
    ("sequence_gaps", "list: json"),
    ("repeated_members", "int64"),
    ("coordination_links", "list: json"),
    ("feedback", "list: json"),
    ("closed_by", "string"),
    ("score", "json"),
    ("scrubbed", "json"),
    ("enrichment", "json"),
    ("domain_tags", "json"),
    ("duplicates", "json"),
    ("tokens", "int64"),
    ("part", "int64"),
    ("parts", "int64"),
)
JUDGEMENT: Final = (("judgement", "json"),)
"""The member behind them where judgements are asked for."""
NOT_SHOWN_OF_DUPLICATES: Final = frozenset({"minima", "bands"})

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode
_NULL: Final = msgspec.Raw(b"null")


def rows_of_line(trajectory: Trajectory, line: bytes, first: int) -> Iterator[msgspec.Raw]:
    """The row of a record: its members in the order of FEATURES, each as it stands in the line."""
    members = _MEMBERS.decode(line)
    own: dict[str, Any] = {
        "contributor": trajectory.contributor,
        "repeated_members": trajectory.repeated_members,
        "tokens": trajectory.tokens,
        "part": trajectory.part,
        "parts": trajectory.parts,
    }
    duplicates = members.get("duplicates")
    if duplicates is not None:
        kept = {name: raw for name, raw in _MEMBERS.decode(duplicates).items() if name not in NOT_SHOWN_OF_DUPLICATES}
        own["duplicates"] = kept
    if trajectory.parts > 1 or first:
        own["trajectory_log"] = _ITEMS.decode(members["trajectory_log"])[first : first + len(trajectory.steps)]
    row = {name: own.get(name, members.get(name, _NULL)) for name, _ in FEATURES}
    if trajectory.judgement is not msgspec.UNSET:
        row["judgement"] = trajectory.judgement
    yield msgspec.Raw(_encode(row))


JSONL: Final = Format(name="jsonl", rows=no_rows, features=FEATURES, of_line=rows_of_line, version="1")
