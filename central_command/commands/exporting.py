"""`export`: what trainers read, written and checked."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.options import data_options, settings_from
from central_command.process.paths import PathTo
from central_command.process.steering import escaped
from central_command.terminal.unread import going_on_unread

if TYPE_CHECKING:
    from central_command.exporting.engine import Progress
    from central_command.exporting.manifest import Manifest
    from central_command.exporting.publishing import Done, Given
    from central_command.exporting.tokens import TokenCounter
    from central_command.settings.configuration import Settings

PROGRESS_S: Final = 1.0
PROGRESS_IN_LOGS_S: Final = 30.0
"""Seconds between two reports, on a terminal and elsewhere."""

_FILTERS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("--after", str, "Sessions that began then or later (2026-11-20, UTC; 2026-11-20T10:00:00+02:00), and"),
    ("--before", str, "before this one."),
    ("--provider", list, "Of this agent. Options such as this may be repeated: any of them."),
    ("--model", list, "Of this model; may hold * and ?."),
    ("--domain", list, "About this field of work."),
    ("--cognitive-target", list, "That were for this: debugging, review, …"),
    ("--tier", list, "Of this tier: A, B or C."),
    ("--outcome", list, "That the client says ended so: SUCCESS, CRASH, KILLED, SHUTDOWN, or none."),
    ("--feedback", list, "That somebody said this of: accepted, modified, rejected, iterated, or none."),
    ("--contributor", list, "Of this contributor, by pseudonym."),
    ("--tool", list, "In which this tool was called."),
    ("--text", list, "In which this text stands, in any case; all of them."),
    ("--quality-min", int, "With at least this quality, 0 to 100."),
    ("--quality-max", int, "With at most this quality."),
    ("--tokens-min", int, "With at least so many tokens, as estimated (characters / 4)."),
    ("--tokens-max", int, "With at most so many."),
    ("--steps-min", int, "With at least so many steps."),
    ("--steps-max", int, "With at most so many."),
)
"""The filters that take values: the option, its type, and what it says."""


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option, kind, text in reversed(_FILTERS):
        many = kind is list
        add = click.option(option, multiple=many, type=None if many else kind, help=text)
        command = add(command)
    return command


_KEPT_WITH: Final = {
    "exact_copy": "--dedup none",
    "near_copy": "--dedup exact",
    "cut_arguments": "--keep-cut-arguments",
    "sequence_gaps": "--keep-sequence-gaps",
}
"""The option that keeps what was left out though nobody asked for that, by the reason."""


@click.command()
@data_options(must_exist=False)
@click.argument("folders", metavar="[verify] DIR", nargs=-1, type=PathTo("folder", must_exist=False), required=True)
@click.option("--format", multiple=True, help="What to write: messages, records, …; may be repeated.")
@_filters
@click.option("--training-eligible", is_flag=True, help="Only what curation found fit to be trained on.")
@click.option("--keep-cut-arguments", is_flag=True, help="Also sessions with calls whose arguments were cut.")
@click.option("--keep-sequence-gaps", is_flag=True, help="Also sessions in which envelopes are missing.")
@click.option("--dedup", type=click.Choice(["exact", "near", "none"]), default="near", show_default=True)
@click.option(
    "--decontaminate",
    "benchmarks",
    multiple=True,
    type=PathTo("file", must_exist=True),
    help="Leave out what shares 13 words in a row with this file of a benchmark.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many sessions, the earliest.")
@click.option("--sample", type=click.IntRange(1), help="So many sessions by chance (--seed).")
@click.option("--seed", default=0, show_default=True, help="Of --sample and --split: another one, another choice.")
@click.option("--split", help="train=0.9,validation=0.05,test=0.05: by contributor and near copies.")
@click.option(
    "--reasoning",
    type=click.Choice(["field", "inline", "drop", "last-only"]),
    default="field",
    show_default=True,
    help="Where reasoning goes.",
)
@click.option("--reasoning-key", default="reasoning_content", show_default=True, help="The member's name.")
@click.option("--split-parallel-calls", is_flag=True, help="Calls of one turn one after the other.")
@click.option("--system", type=click.Choice(["fold", "keep", "drop"]), default="keep", show_default=True)
@click.option("--subagents", type=click.Choice(["embed", "separate", "drop"]), default="separate", show_default=True)
@click.option("--keep-incomplete", is_flag=True, help="Keep calls at the end that have no result.")
@click.option("--nested", type=click.Choice(["json", "struct"]), default="json", show_default=True, help="In Parquet.")
@click.option("--documents", type=click.Choice(["lines", "files"]), default="lines", show_default=True, help="Of ATIF.")
@click.option("--judgements", is_flag=True, help="Say what the judge said, in columns of their own.")
@click.option("--columns", help="Only these columns of rows, with commas between them.")
@click.option("--tokenizer", type=PathTo("file", must_exist=True), help="Count tokens with this tokenizer.json.")
@click.option("--max-tokens", type=click.IntRange(1), help="At most so many a row; counted with the embedded one.")
@click.option(
    "--overlong",
    type=click.Choice(["drop", "cut", "split"]),
    default="drop",
    show_default=True,
    help="What happens to longer ones.",
)
@click.option("--license", default="other", show_default=True, help="As the card names it.")
@click.option("--incremental", is_flag=True, help="Add what is new, take out what has gone from the corpus.")
@click.option("--workers", type=click.IntRange(0, 64), help="Processes that shape rows beside; 0: none.")
@click.option("--ends-with-input", is_flag=True, hidden=True, help="End when standard input does.")
@click.option("--explain", is_flag=True, help="List what is left out, and why, in left_out.jsonl.")
@going_on_unread()
def export(config: Path | None, data_dir: Path, folders: tuple[Path, ...], **options: Any) -> None:
    """Write the corpus of a data directory to DIR as a dataset, or check one: `export verify DIR`.

    DIR gets a folder for each format, README.md (a dataset card), manifest.json and an index. Interrupted, the same
    command goes on where it was. The same options on the same corpus give the same bytes. It may be used while the
    server runs.

    What each format holds, and who reads it: docs/exports.md. One that there is not is answered with those there are.

    \b
    Example:
      central-command export out --format messages --format parquet --tier A
      central-command export out --format messages --split train=0.9,test=0.1 --explain
      central-command export out --incremental
      central-command export verify out

    Exit status: 0 the export is whole, 1 `verify` found something, 2 nothing was written, 3 stored data is damaged, 5 a
    database failed, 130 interrupted: the same command goes on.
    """
    if len(folders) == 2 and str(folders[0]) == "verify":
        _verify(folders[1])
        return
    if len(folders) != 1:
        raise click.UsageError("Name one folder: DIR, or verify DIR.")
    from central_command.exporting import exporting
    from central_command.process.collector import collecting_seldom

    if options["ends_with_input"]:
        from central_command.process.children import end_with_parent

        end_with_parent()
    settings = settings_from(config, {})
    os.nice(settings.export.nice)
    with one_sentence_for_failures(), collecting_seldom():
        given = _given(folders[0], options, settings)
        reports = Reports()
        done = exporting.export(data_dir, folders[0], given, reports)
        reports.end()
    _say(folders[0], done)


def _verify(folder: Path) -> None:
    from central_command.exporting.verifying import verify_export

    count = 0
    with one_sentence_for_failures():
        for finding in verify_export(folder):
            click.echo(escaped(finding))
            count += 1
    if count:
        click.echo(f"{count} place(s) where the export is not what its manifest says", err=True)
        raise SystemExit(EXIT_FAILED)
    click.echo("all is well")


def _given(target: Path, options: dict[str, Any], settings: "Settings") -> "Given":
    """What the options ask for; of `--incremental` without formats, what the export was made with."""
    import msgspec

    from central_command.exporting.asked import asked_by_options, selection_of
    from central_command.exporting.contamination import Benchmarks
    from central_command.exporting.manifest import read_manifest
    from central_command.exporting.publishing import Given

    workers = options["workers"]
    benchmarks = Benchmarks(settings.export.benchmark_ngrams_max)
    for path in options["benchmarks"]:
        benchmarks.add(path)
    earlier = read_manifest(target).selection if options["incremental"] and not options["format"] else None
    needs_counter = options["tokenizer"] or options["max_tokens"] or (earlier is not None and earlier.tokenizer)
    counter = _counter(options["tokenizer"], settings.embedding.source) if needs_counter else None
    if earlier is None:
        selection = selection_of(
            asked_by_options(options),
            benchmarks=tuple(benchmarks.files),
            tokenizer=None if counter is None else counter.file,
        )
    else:
        selection = earlier
    return Given(
        selection=selection,
        settings=settings.export if workers is None else msgspec.structs.replace(settings.export, workers=workers),
        benchmarks=benchmarks,
        counter=counter,
        providers=settings.schema.providers,
        is_incremental=options["incremental"],
        explain=options["explain"],
    )


def _counter(path: Path | None, model_source: str) -> "TokenCounter":
    from actors.embedding.source import TOKENIZER_NAME, installed_model
    from central_command.exporting.tokens import load_counter

    if path is None:
        folder = installed_model() if model_source == "package" else Path(model_source)
        if folder is None or not (folder / TOKENIZER_NAME).is_file():
            leave("the embedded tokeniser is not installed: name a tokenizer.json with --tokenizer.", EXIT_REFUSED)
        path = folder / TOKENIZER_NAME
    return load_counter(path)


def _say(folder: Path, done: "Done") -> None:
    from central_command.exporting.card import subject_of
    from central_command.exporting.formats.table import FORMATS

    manifest = done.manifest
    noun = subject_of([FORMATS[name] for name in manifest.formats]).noun
    rows = ", ".join(f"{counts.rows:,} {name}" for name, counts in manifest.formats.items())
    click.echo(escaped(f"{folder} holds {manifest.kept:,} of {manifest.seen:,} {noun}; rows: {rows}"))
    for reason, count in sorted(manifest.left_out.items(), key=lambda each: -each[1]):
        kept_with = f" (kept with {_KEPT_WITH[reason]})" if reason in _KEPT_WITH else ""
        click.echo(f"left out: {count:,} {reason}{kept_with}")
    for name, counts in manifest.formats.items():
        for reason, count in counts.left_out.items():
            click.echo(f"left out of {name}: {count:,} {reason}")
    mended = manifest.facts.mended_numbers + manifest.facts.mended_surrogates
    if mended:
        click.echo(f"mended: {mended:,} numbers and halves of characters that readers stumble over")
    for line in _nothing_to_load(manifest):
        click.echo(line)
    for reason, count in done.taken_out.items():
        click.echo(f"taken out, because the corpus holds it no more: {count:,} {reason}")
    for path in done.rewritten:
        click.echo(f"written anew without what was taken out: {path}")
    for path in done.removed:
        click.echo(f"removed with what was taken out: {path}")


def _nothing_to_load(manifest: "Manifest") -> Iterator[str]:
    """The formats and splits that a reader would not find, and why; of splits nothing where nothing was kept."""
    for name, counts in manifest.formats.items():
        if not counts.rows:
            yield f"{name} holds no rows: there is nothing to load of it"
    in_files = {(file.format, file.split) for file in manifest.files}
    for split in manifest.selection.splits if manifest.kept else ():
        if split.name not in manifest.facts.splits:
            yield (
                f"{split.name} is empty: contributors are put into splits whole, by a hash of their pseudonym, and no "
                "session that was kept is of one in it; another --seed puts them otherwise"
            )
            continue
        for name, counts in manifest.formats.items():
            if counts.rows and (name, split.name) not in in_files:
                yield f"{name} holds no rows of {split.name}: what is in that split was left out of {name}"


class Reports:
    """Says on stderr how far an export is, now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_at = self._said_at = clock()
        self._stream = sys.stderr
        self._interval_s = PROGRESS_S if self._stream.isatty() else PROGRESS_IN_LOGS_S

    def end(self) -> None:
        """Take the line away that is written over and over."""
        if self._stream.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)

    def __call__(self, progress: "Progress") -> None:
        """Say it if it is time to."""
        now = self._clock()
        if now - self._said_at < self._interval_s:
            return
        self._said_at = now
        share = progress.read_bytes / max(1, progress.read_bytes_total)
        left_s = (now - self._began_at) * (1 - share) / share if share else 0.0
        line = (
            f"{progress.records:,} of {progress.records_total:,} sessions, {progress.rows:,} rows, "
            f"{progress.read_bytes / 1e6:,.0f} of {progress.read_bytes_total / 1e6:,.0f} MB read, {left_s:,.0f} s left"
        )
        click.echo(f"\r{line}\x1b[K" if self._stream.isatty() else line, err=True, nl=not self._stream.isatty())
