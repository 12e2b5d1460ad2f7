"""README.md of an export: a dataset card, whose YAML says to `datasets` which files are which split of what type.

`datasets` reads all configurations of a folder in one way, as JSON lines or as Parquet. So where an export has both,
what is not of the first format's kind is a dataset of its own, whose card is in the format's folder.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from central_command.exporting.facts import Lengths
from central_command.exporting.formats.format import Format
from central_command.exporting.manifest import Manifest
from central_command.exporting.prepared import PARQUET

SHOWN_MAX = 20
"""Models, domains and the like that the card lists; all are in the manifest."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

LIMITS = """\
- Personal data and secrets were replaced by rules before anything was stored here; rules miss what they do not know.
- Sessions are those of people who agreed to this. Who withdraws is taken out at the next `--incremental` export.
- `outcome` is what the client reported, and `feedback` what somebody said of the session; most have neither.
- `quality`, `tier` and `cognitive_target` are derived from the steps by fixed rules, and judged by nobody.
- Schemas of tools were not captured: where `tools` are given they are inferred from the calls (`tools_inferred`).
- Texts that an agent or a client had cut are marked where the format can say so. Sessions with cut arguments or with
  gaps are left out unless the selection says otherwise.
"""

LIMITS_OF_JUDGEMENTS = """\
- `judge_…` and `judgement` are what another model said of a session when it was asked: an opinion, and no label.
"""

LIMITS_OF_RECORDS = """\
- Personal data and secrets were replaced by rules before anything was stored here; rules miss what they do not know.
- Records are those of people who agreed to this. Who withdraws is taken out at the next `--incremental` export.
- `domain` was found by fixed rules, and judged by nobody; `metadata` is what the application said, scrubbed.
"""


class Subject(msgspec.Struct, frozen=True):
    """What a card is about: its title, what one record of it is, the tags, the limits."""

    title: str
    noun: str
    tags: tuple[str, ...]
    limits: str


OF_SESSIONS = Subject("Sessions of AI coding agents", "sessions", ("agents", "code", "tool-use"), LIMITS)
OF_RECORDS = Subject("Texts of people who use language models", "records", (), LIMITS_OF_RECORDS)


def subject_of(formats: Sequence[Format]) -> Subject:
    """What an export in these formats is about."""
    return OF_RECORDS if formats[0].of_record is not None else OF_SESSIONS


def cards(manifest: Manifest, formats: Sequence[Format], *, license_name: str) -> Iterator[tuple[str, str]]:
    """Yield the cards: each the folder that it is for, empty for the export's own, and its text."""
    first = [known for known in formats if known.ending == formats[0].ending]
    for folder, described in [("", first), *((each.name, [each]) for each in formats if each not in first)]:
        readable = [each for each in described if _is_readable(manifest, each)]
        yaml = _yaml(manifest, readable, folder, license_name, subject_of(formats))
        if not folder or readable:
            yield folder, "".join(f"{line}\n" for line in (*yaml, *_body(manifest, formats)))


def _is_readable(manifest: Manifest, known: Format) -> bool:
    """Whether `datasets` can read a format, and there is something of it."""
    return bool(known.features) and not known.file_each and any(file.format == known.name for file in manifest.files)


def _yaml(
    manifest: Manifest, readable: Sequence[Format], folder: str, license_name: str, subject: Subject
) -> Iterator[str]:
    yield "---"
    yield f"license: {_quoted(license_name)}"
    yield f"pretty_name: {subject.title}"
    yield "task_categories:"
    yield "- text-generation"
    if subject.tags:
        yield "tags:"
        yield from (f"- {tag}" for tag in subject.tags)
    yield "size_categories:"
    yield f"- {next((name for most, name in SIZES if manifest.kept < most), '1M<n<10M')}"
    if readable:
        yield "configs:"
        for number, known in enumerate(readable):
            yield f"- config_name: {known.name}"
            if not number:
                yield "  default: true"
            yield "  data_files:"
            for split in manifest.selection.splits:
                if any(file.format == known.name and file.split == split.name for file in manifest.files):
                    yield f"  - split: {split.name}"
                    place = "" if folder else f"{known.name}/"
                    yield f'    path: "{place}{split.name}-*.{known.ending}"'
        yield "dataset_info:"
        for known in readable:
            if known.ending == PARQUET and manifest.selection.shape.nested == "struct":
                continue  # the files say it themselves
            yield f"- config_name: {known.name}"
            yield "  features:"
            yield from _features(known, manifest.selection.columns)
    yield "---"


def _features(known: Format, columns: Sequence[str] | None) -> Iterator[str]:
    for name, declared in known.features:
        if columns is not None and known.of_line is None and name not in columns:
            continue
        yield f"  - name: {name}"
        yield f"    {declared}" if ":" in declared else f"    dtype: {declared}"


def _body(manifest: Manifest, formats: Sequence[Format]) -> Iterator[str]:
    facts, subject = manifest.facts, subject_of(formats)
    yield ""
    yield f"# {subject.title}"
    yield ""
    yield (
        f"{manifest.kept:,} {subject.noun}, exported from Central Command up to line {manifest.corpus_n:,} "
        f"of its corpus; {sum(manifest.left_out.values()):,} of {manifest.seen:,} that were looked at are left out. "
        "`manifest.json` has the selection, every file with its SHA-256, and all counts."
    )
    yield ""
    yield f"| format | {subject.noun} | rows | left out of it |"
    yield "|---|---|---|---|"
    for known in formats:
        counts = manifest.formats[known.name]
        yield f"| {known.name} | {counts.trajectories:,} | {counts.rows:,} | {_listed(counts.left_out)} |"
    yield ""
    yield f"Left out: {_listed(manifest.left_out)}."
    yield ""
    for title, values in (
        ("split", facts.splits),
        ("provider", facts.providers),
        ("model", facts.models),
        ("domain", facts.domains),
        ("cognitive target", facts.cognitive_targets),
        ("tier", facts.tiers),
        ("outcome", facts.outcomes),
        ("feedback", facts.feedback),
        ("consent version", facts.consent_versions),
        ("rules", facts.rules),
        ("scrubbed", facts.findings),
    ):
        if subject is OF_SESSIONS or values.keys() != {"none"}:  # of records most of this says nothing
            yield f"- {title}: {_listed(values)}"
    yield ""
    yield "| length | p50 | p95 | most | sum |"
    yield "|---|---|---|---|---|"
    for title, lengths in (("steps", facts.steps), ("characters", facts.chars), ("tokens", facts.tokens)):
        if isinstance(lengths, Lengths):
            yield f"| {title} | {lengths.p50:,} | {lengths.p95:,} | {lengths.most:,} | {lengths.total:,} |"
    yield ""
    tokenizer = manifest.selection.tokenizer
    if tokenizer is not None:
        yield f"Tokens are those of `{tokenizer.name}` (SHA-256 `{tokenizer.sha256}`)."
        yield ""
    yield "## Known limits"
    yield ""
    yield subject.limits + (LIMITS_OF_JUDGEMENTS if manifest.selection.shape.judgements else "")


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    shown = ", ".join(f"{_cell(name)} {count:,}" for name, count in ordered[:SHOWN_MAX])
    more = len(ordered) - SHOWN_MAX
    return (f"{shown} and {more:,} more" if more > 0 else shown) or "none"


def _cell(name: str) -> str:
    """A name as one word of a table: names of models are what clients sent."""
    return "".join(char if char.isprintable() and char not in "|`<>*_[]" else " " for char in name)


def _quoted(text: str) -> str:
    """A text in YAML: JSON's strings are YAML's."""
    return msgspec.json.encode(text).decode()
