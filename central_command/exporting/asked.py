"""What an export is asked for by name: the same names for the command's options and for requests over HTTP.

Only `--decontaminate`, `--tokenizer`, `--incremental` and `--workers` are the command's alone: they name files of the
machine, or what it has to spare.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec

from central_command.corpus.asked_members import read_members
from central_command.corpus.filters import ARGUMENTS, Count, Filters, check_values
from central_command.exporting.engine import check_selection
from central_command.exporting.formats.atif import ATIF
from central_command.exporting.formats.parquet import PARQUET
from central_command.exporting.formats.table import FORMATS, formats_of
from central_command.exporting.selection import Dedup, ExportRefused, NamedFile, Overlong, Selection
from central_command.exporting.shape import Documents, Nesting, ReasoningPlace, Shape, Subagents, SystemPlace
from central_command.exporting.splits import Split, read_splits
from central_command.exporting.texts import check_source

_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
_Seed = Annotated[int, msgspec.Meta(ge=-(2**53) + 1, le=2**53 - 1)]
_Texts = tuple[str, ...]

OF_SELECTION: Final = frozenset(
    {*ARGUMENTS, "keep_cut_arguments", "keep_sequence_gaps", "dedup", "limit", "sample", "seed"}
)
"""What of a request stands in `selection`; all else stands in `options`."""
ARGUMENTS_MAX: Final = 200
ARGUMENT_CHARS_MAX: Final = 1_000
"""Values of a request, and what one may hold: they become arguments of a process."""
OPTION: Final = re.compile(r"'[^']{0,1000}+'|--([a-z-]{1,40}+)")
"""An option of the command in a sentence, or what stands in quotes there."""


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
    quality_min: Count | None = None
    quality_max: Count | None = None
    tokens_min: Count | None = None
    tokens_max: Count | None = None
    steps_min: Count | None = None
    steps_max: Count | None = None
    training_eligible: bool = False
    keep_cut_arguments: bool = False
    keep_sequence_gaps: bool = False
    dedup: Dedup = "near"
    limit: _Positive | None = None
    sample: _Positive | None = None
    seed: _Seed = 0
    split: str | None = None
    reasoning: ReasoningPlace = "field"
    reasoning_key: str = "reasoning_content"
    split_parallel_calls: bool = False
    system: SystemPlace = "keep"
    subagents: Subagents = "separate"
    keep_incomplete: bool = False
    nested: Nesting = "json"
    documents: Documents = "lines"
    judgements: bool = False
    columns: str | None = None
    max_tokens: _Positive | None = None
    overlong: Overlong = "drop"
    license: str = "other"
    explain: bool = False


def selection_of(
    asked: Asked, *, benchmarks: tuple[NamedFile, ...] = (), tokenizer: NamedFile | None = None
) -> Selection:
    """What is asked for as a selection. Raises ExportRefused for a format, a split or a value that cannot be."""
    formats = asked.format
    _check_formats(asked)
    try:
        splits = read_splits(asked.split) if asked.split else (Split("train", 1.0),)
        filters = Filters(**{member: getattr(asked, name) for name, member in ARGUMENTS.items()})
        check_values(filters, for_records=any(FORMATS[name].of_record is not None for name in formats))
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
            judgements=asked.judgements,
            keep_incomplete=asked.keep_incomplete,
        ),
        tokenizer=tokenizer,
        max_tokens=asked.max_tokens,
        overlong=asked.overlong,
        columns=tuple(each.strip() for each in asked.columns.split(",")) if asked.columns else None,
        license=asked.license,
    )


def _check_formats(asked: Asked) -> None:
    formats = asked.format
    unknown = [name for name in formats if name not in FORMATS]
    if not formats or unknown:
        said = f"there is no format {unknown[0]!r}" if unknown else "name at least one format (--format)"
        raise ExportRefused(f"{said}; there are {', '.join(FORMATS)}.")
    twice = [name for name in formats if formats.count(name) > 1]
    if twice:
        raise ExportRefused(f"the format {twice[0]} is named twice (--format): name each once.")
    if asked.documents == "files" and ATIF.name not in formats:
        raise ExportRefused(f"--documents files is of {ATIF.name} alone: {', '.join(formats)} has no documents.")
    if asked.nested == "struct" and PARQUET.name not in formats:
        raise ExportRefused(f"--nested struct is of {PARQUET.name} alone, which is not among the formats (--format).")


def asked_by_options(options: Mapping[str, Any]) -> Asked:
    """Read the options of the command. Raises ExportRefused for a value that an option cannot have."""
    names = [field.name for field in msgspec.structs.fields(Asked)]
    try:
        return read_members(
            {name: options[name] for name in names}, Asked, names={name: _option(name) for name in names}
        )
    except ValueError as error:
        raise ExportRefused(str(error)) from None


def read_asked(members: Mapping[str, Any]) -> Asked:
    """Read a request: `formats`, `selection`, `options`. Raises ExportRefused for what no export can be made of."""
    try:
        return _read_asked(members)
    except ExportRefused as refused:
        sentence = str(refused).replace("(--format)", "(formats)").replace("--format ", "the format ")
        raise ExportRefused(OPTION.sub(_as_member, sentence)) from None


def _as_member(found: re.Match[str]) -> str:
    """What a request calls an option of the command; what stands in quotes is somebody's value."""
    name = (found[1] or "").replace("-", "_")
    return name if name in Asked.__struct_fields__ else found[0]


def _read_asked(members: Mapping[str, Any]) -> Asked:
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
        together = {**selection, **options, "format": members.get("formats", [])}
        asked = read_members(together, Asked, names={"format": "formats"})
    except ValueError as error:
        raise ExportRefused(str(error)) from None
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
        option = _option(field.name)
        if value is True:
            yield option
        elif isinstance(value, tuple):
            yield from (f"{option}={each}" for each in value)
        elif value != field.default:
            yield f"{option}={value}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
