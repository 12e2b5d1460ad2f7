"""The folder of an export: begun, gone on with, and added to; `publishing` gives its files their names."""

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.engine import Export, Progress, check_selection, clear_unfinished
from central_command.exporting.families import join_families
from central_command.exporting.formats.format import Format
from central_command.exporting.formats.table import formats_of
from central_command.exporting.known_exports import note_export
from central_command.exporting.manifest import (
    MANIFEST_NAME,
    UNFINISHED,
    Manifest,
    read_manifest,
)
from central_command.exporting.orders import Order
from central_command.exporting.plan import Plan, open_plan
from central_command.exporting.publishing import (
    OUTDATED,
    Done,
    Given,
    gone_records,
    in_pages,
    made_with,
    publish,
    withdraw,
)
from central_command.exporting.selection import ExportRefused, Selection
from central_command.exporting.shaping import source_of
from central_command.exporting.source import Means
from central_command.exporting.texts import check_source
from central_command.exporting.verifying import described, read_index
from persistence.files.file_system import OsFileSystem
from persistence.files.regular import open_file
from persistence.format.layout import DataLayout

PLAN: Final = "plan.db"
TRIES: Final = 3
"""How often an export begins anew when something that it has written was erased meanwhile."""

_encode: Final = msgspec.json.Encoder().encode


class _Begun(msgspec.Struct, frozen=True):
    """What an unfinished export was begun with: with anything else it begins anew."""

    selection: Selection
    shard_bytes_max: int
    row_group_bytes_max: int
    made_with: dict[str, str]
    earlier: str = ""
    """The SHA-256 of the manifest that is added to; empty for a new export."""


def export(data_directory: Path, target: Path, given: Given, report: Callable[[Progress], None]) -> Done:
    """Make an export, or go on with one, in the folder `target`; blocking.

    Raises ExportRefused, and what reading the corpus raises: NoDataDirectory, DatabaseFailure, MasterKeyError, OSError.
    """
    _check_target(data_directory, target)
    formats = formats_of(given.selection)
    check_source(given.selection, formats)
    check_selection(given.selection, formats)
    made_with(formats)  # where what a format needs is not installed, nothing is begun
    stored = StoredCorpus(data_directory)
    _check_providers(stored, given)
    earlier = _earlier(target, given)
    OsFileSystem().make_directory(target)
    drafts = target / UNFINISHED
    drafts.mkdir(mode=0o700, exist_ok=True)
    note_export(data_directory, target)
    with _locked(target):
        before: list[Done] = []
        for _ in range(TRIES):
            try:
                done = _run(stored, target, given, formats, earlier, report)
            except _ErasedMeanwhile as erased:
                before += [] if erased.done is None else [erased.done]
                earlier = _earlier(target, given)
            else:
                return _together([*before, done])
        raise ExportRefused("the corpus is being erased from again and again: export it later.")


class _ErasedMeanwhile(Exception):  # noqa: N818 (a state of the world)
    """Something that was written is not in the corpus any more; `done` is what was done about it already."""

    def __init__(self, done: Done | None) -> None:
        super().__init__()
        self.done = done


def _together(runs: Sequence[Done]) -> Done:
    """What runs have done one after the other; of a file the last that became of it."""
    manifest = runs[-1].manifest
    whole = {file.path for file in manifest.files}
    taken_out: Counter[str] = Counter()
    for run in runs:
        taken_out.update(run.taken_out)
    return Done(
        manifest,
        tuple(dict.fromkeys(path for run in runs for path in run.rewritten if path in whole)),
        tuple(dict.fromkeys(path for run in runs for path in run.removed if path not in whole)),
        dict(sorted(taken_out.items())),
    )


def _check_target(data_directory: Path, target: Path) -> None:
    try:
        str(target.resolve()).encode()
    except UnicodeEncodeError:
        raise ExportRefused(f"the path of {target} is not UTF-8, and could not be remembered: name another.") from None
    is_own = target.resolve().parent == DataLayout(data_directory.resolve()).exports
    if target.resolve().is_relative_to(data_directory.resolve()) and not is_own:
        raise ExportRefused(f"{target} lies in the data directory: name a folder outside of it.")
    if target.exists() and not target.is_dir():
        raise ExportRefused(f"{target} is not a folder.")
    is_export = (target / MANIFEST_NAME).exists() or (target / UNFINISHED).exists()
    if target.is_dir() and not is_export and any(target.iterdir()):
        raise ExportRefused(f"the folder {target} is not empty, and holds no export: name a new one.")


def _earlier(target: Path, given: Given) -> Manifest | None:
    """The export that is added to; None for a new one."""
    if not (target / MANIFEST_NAME).exists():
        if given.is_incremental:
            raise ExportRefused(f"{target} holds no whole export to add to: leave out --incremental.")
        return None
    manifest = read_manifest(target)
    if not given.is_incremental:
        if (target / UNFINISHED).exists() and manifest.selection == given.selection:
            return None  # it was killed when all but the tidying was done
        raise ExportRefused(f"{target} holds an export already: add to it with --incremental, or name another folder.")
    if manifest.selection != given.selection:
        raise ExportRefused(f"{target} was made with other options: see `selection` in its {MANIFEST_NAME}.")
    if given.selection.sample is not None or given.selection.limit is not None:
        raise ExportRefused("--sample and --limit choose from all there is: nothing can be added to such an export.")
    _check_files(target, given)
    return manifest


def _check_files(target: Path, given: Given) -> None:
    """Raise ExportRefused unless the files that an export was made with are those that are there now."""
    wanted = given.selection.benchmarks
    if wanted != tuple(given.benchmarks.files):
        named = " ".join(f"--decontaminate {file.name}" for file in wanted) or "no --decontaminate"
        raise ExportRefused(f"{target} was made with {named}: give the same files, in the same order.")
    tokenizer = given.selection.tokenizer
    if tokenizer != (None if given.counter is None else given.counter.file):
        named = "no tokeniser" if tokenizer is None else f"--tokenizer {tokenizer.name} (SHA-256 {tokenizer.sha256})"
        raise ExportRefused(f"{target} was made with {named}: give the same.")


def _check_providers(stored: StoredCorpus, given: Given) -> None:
    """Raise ExportRefused for a provider that nothing is of, nor can be."""
    asked = given.selection.filters.providers
    if not given.providers:
        return
    try:
        stored.check_providers(asked, given.providers)
    except ValueError as error:
        raise ExportRefused(str(error)) from None


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    descriptor = open_file(target / UNFINISHED / "lock", os.O_RDWR | os.O_CREAT, follows_links=False)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ExportRefused(f"another process is exporting to {target}.") from None
        yield
    finally:
        os.close(descriptor)


def _run(
    stored: StoredCorpus,
    target: Path,
    given: Given,
    formats: Sequence[Format],
    earlier: Manifest | None,
    report: Callable[[Progress], None],
) -> Done:
    drafts = target / UNFINISHED
    begun = _Begun(
        given.selection,
        given.settings.shard_bytes_max,
        given.settings.row_group_bytes_max,
        made_with(formats),
        "" if earlier is None else described(target, MANIFEST_NAME).sha256,
    )
    if earlier is None and (target / MANIFEST_NAME).exists():
        return _tidied(target)
    _clear_others(target, begun)
    drafts.mkdir(mode=0o700, exist_ok=True)
    with open_plan(drafts / PLAN) as plan:
        was_publishing = plan.state("removed") is not None
        if not was_publishing:
            _write(stored, target, plan, given, formats, begun, earlier, report)
        done = None
        if (earlier is not None and was_publishing) or not gone_records(stored, plan, mine=True):
            done = publish(stored, target, plan, given, formats, earlier)
        elif was_publishing:
            withdraw(target, plan)
        is_late = done is not None and earlier is not None and was_publishing
        is_outdated = is_late and any(gone_records(stored, plan, mine=mine) for mine in (True, False))
    _clear(drafts)
    if done is None or is_outdated:
        raise _ErasedMeanwhile(done)
    clear_unfinished(drafts)
    OsFileSystem().sync_directory(target)
    return done


def _tidied(target: Path) -> Done:
    """The export that is whole, but for the tidying: this was all that was left to do when it was killed."""
    drafts = target / UNFINISHED
    known, _ = _begun_with(drafts)
    if known is not None and known.earlier:
        raise ExportRefused(f"{target} holds an export that something was being added to: go on with --incremental.")
    _clear(drafts)
    clear_unfinished(drafts)
    return Done(read_manifest(target))


def _begun_with(drafts: Path) -> tuple[_Begun | None, bool]:
    """What an unfinished export was begun with, and whether it was publishing already."""
    if not (drafts / PLAN).exists():
        return None, False
    with open_plan(drafts / PLAN) as plan:
        begun = plan.state("begun")
        known = msgspec.json.decode(begun, type=_Begun) if begun else None
        return known, plan.state("removed") is not None


def _clear_others(target: Path, begun: _Begun) -> None:
    """Clear away what is unfinished and cannot be gone on with: all that was begun with anything else.

    What has begun to add to this very export, and was publishing, has changed its files, and has to be gone on with.
    """
    drafts = target / UNFINISHED
    known, was_publishing = _begun_with(drafts)
    if known == begun:
        return
    if known is not None and was_publishing and begun.earlier and known.earlier == begun.earlier:
        return
    if known is not None and was_publishing and not begun.earlier:
        with open_plan(drafts / PLAN) as plan:
            withdraw(target, plan)
    _clear(drafts)


def _write(
    stored: StoredCorpus,
    target: Path,
    plan: Plan,
    given: Given,
    formats: Sequence[Format],
    begun: _Begun,
    earlier: Manifest | None,
    report: Callable[[Progress], None],
) -> None:
    """Write what is left to write, below `.unfinished`."""
    means = Means(benchmarks=given.benchmarks, counter=given.counter, family_bytes_max=given.settings.family_bytes_max)
    run = Export(
        stored,
        source_of(stored, plan, given.selection, formats, means),
        plan,
        target / UNFINISHED,
        given.selection,
        formats,
        settings=given.settings,
        order=_order(stored, target, given),
        report=report,
    )
    if plan.state("corpus_n") is None:
        if earlier is not None:
            _take_over(stored, target, plan, earlier, given.selection)
        plan.set_state("begun", _encode(begun))
        run.gather()
    _remove_strays(target / UNFINISHED, plan, earlier)
    if plan.state("is_written") is None and not gone_records(stored, plan, mine=True):
        wants_some = given.selection.sample is not None or given.selection.limit is not None
        if wants_some and plan.state("is_chosen") is None:
            run.choose()
        if given.selection.shape.subagents == "embed" and plan.state("is_joined") is None:
            join_families(stored, plan)
        run.write()


def _order(stored: StoredCorpus, target: Path, given: Given) -> Order | None:
    """What a process that shapes rows has to know; None where only the one that writes can shape them.

    Such are sub-agents within their parents, as which those are depends on what was kept before.
    """
    counter = given.counter
    has_files = len(given.benchmarks.paths) == len(given.benchmarks.files)
    if given.selection.shape.subagents == "embed" or not has_files or (counter and counter.path is None):
        return None
    return Order(
        data_directory=str(stored.root.resolve()),
        plan=str((target / UNFINISHED / PLAN).resolve()),
        selection=given.selection,
        family_bytes_max=given.settings.family_bytes_max,
        benchmark_ngrams_max=given.benchmarks.ngrams_max,
        benchmarks=tuple(str(path.resolve()) for path in given.benchmarks.paths),
        tokenizer=None if counter is None else str(counter.path),
    )


def _clear(drafts: Path) -> None:
    """Remove all but the lock, the plan last: as long as it is there, a whole export is known to be one."""
    paths = sorted(drafts.rglob("*"), reverse=True)
    for path in sorted(paths, key=lambda path: path.name.startswith(PLAN)):
        if path.is_dir():
            path.rmdir()
        elif path.name != "lock":
            path.unlink()


def _remove_strays(drafts: Path, plan: Plan, earlier: Manifest | None) -> None:
    """Remove what a segment left that does not count, and earlier files that were being written anew."""
    whole = {file.path for file in plan.files()} - {file.path for file in (earlier.files if earlier else ())}
    for path in drafts.rglob("*"):
        name = str(path.relative_to(drafts))
        if path.is_file() and name not in whole and not name.startswith((PLAN, "lock")):
            path.unlink()


def _take_over(stored: StoredCorpus, target: Path, plan: Plan, earlier: Manifest, selection: Selection) -> None:
    places = {split.name: number for number, split in enumerate(selection.splits)}
    count = 0
    with stored.snapshot() as snapshot:
        for entries in in_pages(read_index(target)):
            within = [each.record_id for entry in entries for each in entry.embedded]
            held = snapshot.held([*(entry.record_id for entry in entries), *within])
            for entry in entries:
                is_gone = entry.record_id not in held
                if not is_gone and not all(each.record_id in held for each in entry.embedded):
                    # What stands within it has gone: it is taken out with that, and made anew without.
                    plan.take_over(msgspec.structs.replace(entry, record_id=f"{OUTDATED} {entry.record_id}"), None)
                else:
                    plan.take_over(entry, None if is_gone else places.get(entry.split, 0))
            count += len(entries)
    plan.set_state("earlier", b"%d" % count)
    numbers: dict[str, int] = {}
    for file in earlier.files:
        if file.format:
            plan.add_file(file)
            key = f"{file.format}/{file.split}"
            numbers[key] = max(numbers.get(key, 0), _number_of(file.path, file.format, file.split) + 1)
    plan.set_state("numbers", _encode(numbers))


def _number_of(path: str, format_name: str, split: str) -> int:
    digits = path.removeprefix(f"{format_name}/{split}-").partition("/")[0].partition(".")[0]
    return int(digits) if digits.isdigit() else 0
