"""What an export is asked for by name: the same names for the command's options and for requests over HTTP.

Only `--decontaminate`, `--tokenizer` and `--incremental` are the command's alone: they name files of the machine.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec

from central_command.corpus.filters import DOMAINS_OF_RECORDS, Filters, check_known, check_values
from central_command.exporting.engine import check_selection
from central_command.exporting.formats.table import FORMATS, formats_of
from central_command.exporting.selection import Dedup, ExportRefused, NamedFile, Overlong, Selection
from central_command.exporting.shape import Documents, Nesting, ReasoningPlace, Shape, Subagents, SystemPlace
from central_command.exporting.splits import Split, read_splits
from central_command.exporting.texts import check_source

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Texts = tuple[str, ...]

OF_FILTERS: Final[Mapping[str, str]] = {
    "after": "after",
    "before": "before",
    "provider": "providers",
    "model": "models",
    "domain": "domains",
    "cognitive_target": "cognitive_targets",
    "tier": "tiers",
    "outcome": "outcomes",
    "feedback": "feedback",
    "contributor": "contributors",
    "tool": "tools",
    "text": "texts",
    "quality_min": "quality_min",
    "quality_max": "quality_max",
    "tokens_min": "tokens_min",
    "tokens_max": "tokens_max",
    "steps_min": "steps_min",
    "steps_max": "steps_max",
    "training_eligible": "training_eligible",
}
"""The filters by the names of their options."""
OF_SELECTION: Final = frozenset(
    {*OF_FILTERS, "keep_cut_arguments", "keep_sequence_gaps", "dedup", "limit", "sample", "seed"}
)
"""What of a request stands in `selection`; all else stands in `options`."""
ARGUMENTS_MAX: Final = 200
ARGUMENT_CHARS_MAX: Final = 1_000
"""Values of a request, and what one may hold: they become arguments of a process."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options by their names, `_` for `-`; those that may be repeated are tuples."""

    format: _Texts = ()
    after: str | None = None
    before: str | None = None
    provider: _Texts = ()
    model: _Texts = ()
    domain: _Texts = ()
    cognitive_target: _Texts = ()
    tier: _Texts = ()
    outcome: _Texts = ()
    feedback: _Texts = ()
    contributor: _Texts = ()
    tool: _Texts = ()
    text: _Texts = ()
    quality_min: int | None = None
    quality_max: int | None = None
    tokens_min: int | None = None
    tokens_max: int | None = None
    steps_min: int | None = None
    steps_max: int | None = None
    training_eligible: bool = False
    keep_cut_arguments: bool = False
    keep_sequence_gaps: bool = False
    dedup: Dedup = "near"
    limit: _Positive | None = None
    sample: _Positive | None = None
    seed: int = 0
    split: str | None = None
    reasoning: ReasoningPlace = "field"
    reasoning_key: str = "reasoning_content"
    split_parallel_calls: bool = False
    system: SystemPlace = "keep"
    subagents: Subagents = "separate"
    keep_incomplete: bool = False
    nested: Nesting = "json"
    documents: Documents = "lines"
    columns: str | None = None
    max_tokens: _Positive | None = None
    overlong: Overlong = "drop"
    license: str = "other"
    explain: bool = False


def selection_of(
    asked: Asked, *, benchmarks: tuple[NamedFile, ...] = (), tokenizer: NamedFile | None = None
) -> Selection:
    """What is asked for as a selection. Raises ExportRefused for a format, a split or a value that cannot be."""
    formats = tuple(dict.fromkeys(asked.format))
    unknown = [name for name in formats if name not in FORMATS]
    if not formats or unknown:
        said = f"there is no format {unknown[0]!r}" if unknown else "name at least one format (--format)"
        raise ExportRefused(f"{said}; there are {', '.join(FORMATS)}.")
    try:
        splits = read_splits(asked.split) if asked.split else (Split("train", 1.0),)
        filters = Filters(**{member: getattr(asked, name) for name, member in OF_FILTERS.items()})
        check_values(filters)
        if any(FORMATS[name].of_record is not None for name in formats):
            check_known("domain of records", filters.domains, DOMAINS_OF_RECORDS)
    except ValueError as error:
        raise ExportRefused(str(error)) from None
    return Selection(
        formats=formats,
        filters=filters,
        dedup=asked.dedup,
        keep_cut_arguments=asked.keep_cut_arguments,
        keep_sequence_gaps=asked.keep_sequence_gaps,
        benchmarks=benchmarks,
        limit=asked.limit,
        sample=asked.sample,
        seed=asked.seed,
        splits=splits,
        shape=Shape(
            reasoning=asked.reasoning,
            reasoning_key=asked.reasoning_key,
            split_parallel_calls=asked.split_parallel_calls,
            system=asked.system,
            subagents=asked.subagents,
            nested=asked.nested,
            documents=asked.documents,
            keep_incomplete=asked.keep_incomplete,
        ),
        tokenizer=tokenizer,
        max_tokens=asked.max_tokens,
        overlong=asked.overlong,
        columns=tuple(each.strip() for each in asked.columns.split(",")) if asked.columns else None,
        license=asked.license,
    )


def read_asked(members: Mapping[str, Any]) -> Asked:
    """Read a request: `formats`, `selection`, `options`. Raises ExportRefused for what no export can be made of."""
    unknown = sorted(members.keys() - {"formats", "selection", "options"})
    if unknown:
        raise ExportRefused(f"{unknown[0][:100]!r} is none of formats, selection and options.")
    selection, options = members.get("selection", {}), members.get("options", {})
    if not isinstance(selection, dict) or not isinstance(options, dict):
        raise ExportRefused("selection and options must be objects.")
    of_options = {*Asked.__struct_fields__} - {*OF_SELECTION, "format"}
    misplaced = sorted({*(selection.keys() - OF_SELECTION), *(options.keys() - of_options)})
    if misplaced:
        raise ExportRefused(f"{misplaced[0][:100]!r} is no member of the object that it stands in.")
    try:
        asked = msgspec.convert({**selection, **options, "format": members.get("formats", [])}, Asked)
    except msgspec.ValidationError as error:
        raise ExportRefused(f"the export cannot be read: {error}.") from None
    arguments = list(arguments_of(asked))
    if len(arguments) > ARGUMENTS_MAX or any(len(text) > ARGUMENT_CHARS_MAX for text in arguments):
        raise ExportRefused(
            f"more than {ARGUMENTS_MAX} values, or {ARGUMENT_CHARS_MAX} characters in one, are too many."
        )
    if any("\0" in text or text.encode(errors="replace").decode() != text for text in arguments):
        raise ExportRefused("the export cannot be read: a text holds what no option can.")
    chosen = selection_of(asked)
    formats = formats_of(chosen)
    check_source(chosen, formats)
    check_selection(chosen, formats)
    return asked


def arguments_of(asked: Asked) -> Iterator[str]:
    """Yield the options of the command that ask for the same."""
    for field in msgspec.structs.fields(Asked):
        value = getattr(asked, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if value is True:
            yield option
        elif isinstance(value, tuple):
            yield from (f"{option}={each}" for each in value)
        elif value != field.default:
            yield f"{option}={value}"
