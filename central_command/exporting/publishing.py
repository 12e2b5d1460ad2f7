"""What an export has written gets its names: without what has gone from the corpus, then the card, last the manifest.

All of it can be done again: so an export that was killed meanwhile ends as one that was not.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.card import cards
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.contents import INDEX_NAME, Entry, WrittenFile
from central_command.exporting.facts import facts_of
from central_command.exporting.formats.format import Format
from central_command.exporting.manifest import (
    MANIFEST_NAME,
    MANIFEST_VERSION,
    UNFINISHED,
    FormatCounts,
    Manifest,
    encoded,
)
from central_command.exporting.plan import Plan
from central_command.exporting.prepared import PARQUET
from central_command.exporting.rewriting import without
from central_command.exporting.selection import Selection
from central_command.exporting.settings import ExportSettings
from central_command.exporting.tokens import TokenCounter
from central_command.exporting.verifying import described
from central_command.exporting.writing import LINES, HashedFile, draft_of, move_file, put_file
from persistence.files.file_system import OsFileSystem

CARD: Final = "README.md"
LEFT_OUT: Final = "left_out"
ERASED: Final = "erased"
OUTDATED: Final = "outdated"
"""A record whose sub-agent has gone from the corpus: it was taken out with that, and written anew without."""

ITEMS_AT_ONCE: Final = 1_000

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is made with: what is asked for, and what that needs."""

    selection: Selection
    settings: ExportSettings
    benchmarks: Benchmarks
    counter: TokenCounter | None = None
    providers: tuple[str, ...] = ()
    """Those that the server takes; with those in the corpus, all that can be asked for. Empty: not known."""
    is_incremental: bool = False
    explain: bool = False


class Done(msgspec.Struct, frozen=True):
    """An export that is whole: its manifest, and what became of that which is not in the corpus any more.

    `rewritten` are the files that were written anew without it, `removed` those that held nothing else. `taken_out`
    counts it by the corpus's own reason, `ERASED` where the corpus knows nothing of it any more.
    """

    manifest: Manifest
    rewritten: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    taken_out: dict[str, int] = {}


def publish(
    stored: StoredCorpus,
    target: Path,
    plan: Plan,
    given: Given,
    formats: Sequence[Format],
    earlier: Manifest | None,
) -> Done:
    """Give everything its name; what this does it can do again."""
    drafts = target / UNFINISHED
    if plan.state("removed") is None:
        _take_out(stored, target, plan)
    removed = json.loads(plan.state("removed") or b"[]")
    rewritten = tuple(json.loads(plan.state("rewritten") or b"[]"))
    files = plan.files()
    for file in files:
        source = drafts / file.path
        if source.exists():
            move_file(source, target / file.path)
    for path in removed:
        (target / path).unlink(missing_ok=True)
    for folder in sorted({(target / file.path).parent for file in files}):
        OsFileSystem().sync_directory(folder)
    manifest = _manifest(target, plan, given, formats, earlier)
    _remove_empty_folders(target, removed)
    put_file(target / MANIFEST_NAME, encoded(manifest))
    return Done(manifest, rewritten, tuple(removed), json.loads(plan.state("taken_out") or b"{}"))


def withdraw(target: Path, plan: Plan) -> None:
    """Take away what an export that is not whole has published: another one will not have all of these files."""
    files = plan.files()
    beside = [Path(f"{name}.{LINES}") for name in (INDEX_NAME, LEFT_OUT)]
    beside += [Path(folder, CARD) for folder in {"", *(file.format for file in files)}]
    for path in (
        *(Path(file.path) for file in files),
        *beside,
        *(draft_of(path) for path in (*beside, Path(MANIFEST_NAME))),
    ):
        (target / path).unlink(missing_ok=True)
    _remove_empty_folders(target, (file.path for file in files))


def gone_records(stored: StoredCorpus, plan: Plan, *, mine: bool) -> frozenset[str]:
    """The records that are kept and not in the corpus any more: those of this run, or of earlier ones."""
    before = earlier_count(plan)
    own = (record_id for number, record_id in enumerate(plan.kept_ids()) if (number >= before) == mine)
    incomplete: set[str] = set()
    gone: set[str] = set()
    with stored.snapshot() as snapshot:
        for pairs in in_pages(plan.embedded()):
            held = snapshot.held([record_id for record_id, _ in pairs])
            incomplete.update(parent for record_id, parent in pairs if record_id not in held)
        for record_ids in in_pages(own):
            gone.update(set(record_ids) - (snapshot.held(record_ids) - incomplete))
    return frozenset(gone)


def in_pages(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield items some at a time, for who asks a database about them."""
    rest = iter(items)
    while some := list(islice(rest, ITEMS_AT_ONCE)):
        yield some


def earlier_count(plan: Plan) -> int:
    """How many of the records that are kept earlier runs have written."""
    return int(plan.state("earlier") or b"0")


def made_with(formats: Sequence[Format]) -> dict[str, str]:
    """The versions that the bytes of an export depend on."""
    versions = {"central-command": version("central-command")}
    if any(known.ending == PARQUET for known in formats):
        from central_command.exporting.parquet import pyarrow_version  # noqa: PLC0415 (an extra)

        versions["pyarrow"] = pyarrow_version()
    return versions


def _take_out(stored: StoredCorpus, target: Path, plan: Plan) -> None:
    """Take out of earlier files what is not in the corpus any more."""
    gone = gone_records(stored, plan, mine=False)
    rewritten: list[str] = []
    removed: list[str] = []
    taken_out: Counter[str] = Counter()
    if gone:
        files = {file.path: file for file in plan.files()}
        entries = (entry for entry in plan.kept() if entry.record_id in gone)
        made = without(entries, files, target, target / UNFINISHED)
        taken_out = _reasons(stored, (entry for entry in plan.kept() if entry.record_id in gone))
        plan.replace_kept(made.moved(entry) for entry in plan.kept() if entry.record_id not in gone)
        plan.set_state("earlier", b"%d" % (earlier_count(plan) - len(gone)))
        for file in made.files:
            plan.add_file(file)
        for path in made.removed:
            plan.remove_file(path)
        rewritten, removed = [file.path for file in made.files], made.removed
    plan.set_state("taken_out", _encode(taken_out))
    plan.set_state("rewritten", _encode(rewritten))
    plan.set_state("removed", _encode(removed))
    plan.commit()


def _reasons(stored: StoredCorpus, gone: Iterable[Entry]) -> Counter[str]:
    """Why records are not in the corpus any more, counted."""
    with stored.snapshot() as snapshot:
        return Counter(
            OUTDATED
            if entry.record_id.startswith(OUTDATED)
            else snapshot.reason(entry.session_id, entry.record_id) or ERASED
            for entry in gone
        )


def _remove_empty_folders(target: Path, removed: Iterable[str]) -> None:
    """Remove the folders that hold nothing any more, now that these files are gone."""
    folders = {folder for path in removed for folder in Path(path).parents if folder.name}
    for folder in sorted(folders, reverse=True):
        with suppress(OSError):
            (target / folder).rmdir()


def _manifest(target: Path, plan: Plan, given: Given, formats: Sequence[Format], earlier: Manifest | None) -> Manifest:
    index = _write_lines(target / f"{INDEX_NAME}.{LINES}", plan.kept_texts())
    beside = [index]
    listed = f"{LEFT_OUT}.{LINES}"
    was_explained = earlier is not None and any(file.path == listed for file in earlier.files)
    if given.explain or was_explained:
        explained = (
            _encode({"record_id": record_id, "reason": reason, "detail": detail})
            for record_id, reason, detail in plan.left_out()
        )
        beside.append(_write_lines(target / listed, explained))
    else:
        (target / listed).unlink(missing_ok=True)
    manifest = Manifest(
        version=MANIFEST_VERSION,
        made_with=made_with(formats),
        selection=given.selection,
        corpus_n=int(plan.state("corpus_n") or b"0"),
        seen=earlier_count(plan) + int(plan.state("seen") or b"0"),
        kept=sum(1 for _ in plan.kept_ids()),
        left_out=dict(plan.reasons()),
        formats=_counts(formats, plan),
        facts=facts_of(plan.kept()),
        files=plan.files(),
    )
    for folder, text in cards(manifest, formats, license_name=given.selection.license):
        path = Path(folder, CARD)
        put_file(target / path, text.encode())
        beside.append(described(target, str(path)))
    for path in {Path(known.name, CARD) for known in formats} - {Path(file.path) for file in beside}:
        (target / path).unlink(missing_ok=True)  # of a format that has no rows any more
    return msgspec.structs.replace(manifest, files=[*manifest.files, *beside])


def _counts(formats: Sequence[Format], plan: Plan) -> dict[str, FormatCounts]:
    trajectories: dict[str, int] = {}
    rows: dict[str, int] = {}
    left_out: dict[str, dict[str, int]] = {}
    for entry in plan.kept():
        for name, place in entry.places.items():
            trajectories[name] = trajectories.get(name, 0) + 1
            rows[name] = rows.get(name, 0) + place.rows
        for name, reason in entry.left_out.items():
            of_format = left_out.setdefault(name, {})
            of_format[reason] = of_format.get(reason, 0) + 1
    return {
        known.name: FormatCounts(
            version=known.version,
            trajectories=trajectories.get(known.name, 0),
            rows=rows.get(known.name, 0),
            left_out=dict(sorted(left_out.get(known.name, {}).items())),
        )
        for known in formats
    }


def _write_lines(path: Path, lines: Iterable[bytes]) -> WrittenFile:
    draft = draft_of(path)
    file = HashedFile(draft)
    rows = 0
    for line in lines:
        file.write(line + b"\n")
        rows += 1
    file.close()
    draft.replace(path)
    return WrittenFile(path=path.name, rows=rows, size_bytes=file.size_bytes, sha256=file.sha256)
