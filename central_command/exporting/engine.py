"""An export, from what is asked for to a folder that holds it whole.

1. *Gather*: the rows of corpus.db, at one moment, become a plan on disk: what passes the filters that need no reading,
   in the order in which it will be read (split, then trajectory). Nothing that comes later changes it.
2. *Choose*, only for `--limit` and `--sample`: records are judged in their order (of a sample, that of a hash) until
   there are enough.
3. *Write*: each record is read once, judged, and written in all formats, a segment at a time
   (`central_command.exporting.segments`). Files are written below `.unfinished`, and a segment counts once its files
   are on disk and the plan says so, in one transaction.
4. *Publish*: what was erased meanwhile is taken out, files get their names, then the card, and last the manifest.

Killed anywhere, the same command goes on behind the last whole segment, and makes the same bytes. In memory are a
record with its rows, a row group of Parquet, and what filters need; never the corpus, and never all of its rows.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.contents import Entry, Place
from central_command.exporting.dispatching import started_workers
from central_command.exporting.formats.format import Format
from central_command.exporting.orders import Order
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.prepared import Prepared
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.segments import Segment, numbers_behind
from central_command.exporting.selection import ExportRefused, Selection
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shaped import Shaped, Shapes
from central_command.exporting.shaping import Shaping
from central_command.exporting.source import Found, Left, Source
from central_command.exporting.splits import share_of

REASONING_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MESSAGE_MEMBERS: Final = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
"""What a message of a chat has beside its reasoning."""


class Progress(msgspec.Struct, frozen=True):
    """How far an export is: records and bytes of the corpus that are done, of how many."""

    records: int
    records_total: int
    read_bytes: int
    read_bytes_total: int
    rows: int


class Export:
    """One run of an export over a plan."""

    def __init__(
        self,
        stored: StoredCorpus,
        source: Source[Any],
        plan: Plan,
        folder: Path,
        selection: Selection,
        formats: Sequence[Format],
        *,
        settings: ExportSettings,
        order: Order | None,
        report: Callable[[Progress], None],
    ) -> None:
        """`order` is for the processes that shape rows beside; None where this one has to."""
        self._stored = stored
        self._source = source
        self._plan = plan
        self._folder = folder
        self._selection = selection
        self._formats = formats
        self._settings = settings
        self._order = order
        self._report = report
        self._rows = 0
        self._segment: Segment | None = None

    def __repr__(self) -> str:
        return f"<Export {self._folder}>"

    def gather(self) -> None:
        """Fix what is looked at: all that is not in the export yet, also what an earlier run has left out."""
        with self._stored.snapshot() as snapshot:
            self._plan.gather(self._gathered(self._source.found(snapshot)))
            self._plan.set_state("corpus_n", b"%d" % snapshot.reached_n)
        self._plan.commit()

    def _gathered(self, records: Iterable[Found]) -> Iterator[tuple[Candidate, float]]:
        seen = 0
        has_kept = next(self._plan.kept_ids(), None) is not None
        for found in records:
            candidate = found.candidate
            if has_kept and self._plan.is_kept(candidate.record_id):
                continue
            seen += 1
            if found.left_out is not None:
                self._plan.leave_out(candidate.record_id, found.left_out)
            else:
                yield candidate, self._rank(candidate)
        self._plan.set_state("seen", b"%d" % seen)

    def _rank(self, candidate: Candidate) -> float:
        """By what records are ordered: a sample by their hash, what is limited only by their ids, else by splits."""
        selection = self._selection
        if selection.sample is not None:
            return share_of(candidate.record_id, selection.seed)
        return 0.0 if selection.limit is not None else candidate.split

    def choose(self) -> None:
        """Judge until there are enough, where only some are wanted."""
        selection = self._selection
        wanted = min(each for each in (selection.sample, selection.limit) if each is not None)
        too_many = LeftOutReason.LIMIT if wanted == selection.limit else LeftOutReason.SAMPLE
        found = 0
        with self._stored.kept_open():
            for candidate in self._plan.candidates(0):
                is_chosen = False
                if found >= wanted:
                    self._plan.leave_out(candidate.record_id, too_many)
                else:
                    try:
                        self._source.check(candidate, is_chosen=False)
                        self._source.judged(candidate)
                    except Left as left:
                        self._plan.leave_out(candidate.record_id, left.reason, left.detail)
                    else:
                        is_chosen = True
                        self._plan.keep(_stand_in(candidate))
                        found += 1
                self._plan.choose(candidate.ordinal, is_chosen=is_chosen)
        self._plan.forget_kept()
        self._plan.put_in_order()
        self._plan.set_state("is_chosen", b"1")
        self._plan.commit()

    def write(self) -> None:
        """Read what is left to read, and write it."""
        first = int(self._plan.state("next") or b"0")
        is_chosen = self._plan.state("is_chosen") is not None
        try:
            with self._shaper(first, is_chosen=is_chosen) as shaped:
                self._write(first, shaped, is_chosen=is_chosen)
        finally:
            if self._segment is not None:
                self._segment.abandon()

    @contextmanager
    def _shaper(self, first: int, *, is_chosen: bool) -> Iterator[Shapes]:
        """What becomes of the records from a place on, found by processes beside where there is enough to do."""
        candidates = self._plan.candidates(first)
        size_bytes = self._plan.totals()[1] - self._plan.totals(first)[1]
        count = min(self._settings.workers, size_bytes // self._settings.worker_bytes_min)
        if self._order is None or not count:
            shaping = Shaping(self._source, self._formats, self._selection.shape, is_chosen=is_chosen)
            with self._stored.kept_open():
                yield shaping.shaped(candidates)
            return
        order = msgspec.structs.replace(self._order, is_chosen=is_chosen)
        with started_workers(order, count, self._settings.worker_batch_bytes_max) as workers:
            yield workers.shaped(candidates, lambda each: self._left(each, is_chosen=is_chosen) is not None)

    def _left(self, candidate: Candidate, *, is_chosen: bool) -> Shaped | None:
        """What becomes of a record that is left out for what was kept before; None of all others."""
        try:
            self._source.check(candidate, is_chosen=is_chosen)
        except Left as left:
            return Shaped(left_out=left.reason, detail=left.detail)
        return None

    def _write(self, first: int, shapes: Shapes, *, is_chosen: bool) -> None:
        (done, read_bytes), (total, total_bytes) = self._plan.totals(first), self._plan.totals()
        for candidate, shaped_now in shapes:
            shaped = self._left(candidate, is_chosen=is_chosen) or shaped_now()
            if shaped.entry is None:
                assert shaped.left_out is not None, "a record is kept or left out"
                self._plan.leave_out(candidate.record_id, shaped.left_out, shaped.detail)
            else:
                places = self._add(candidate, shaped.prepared)
                self._plan.keep(msgspec.structs.replace(shaped.entry, places=places))
                self._rows += sum(place.rows for place in places.values())
            done, read_bytes = done + 1, read_bytes + candidate.position.length
            self._report(Progress(done, total, read_bytes, total_bytes, self._rows))
        if self._segment is not None:
            self._close(self._segment, candidate.ordinal + 1)
        self._plan.set_state("is_written", b"1")
        self._plan.commit()

    def _add(self, candidate: Candidate, prepared: Mapping[str, Prepared]) -> dict[str, Place]:
        """Write rows into the segment that is open, or into a new one; answer where they are."""
        split = self._selection.splits[candidate.split].name
        segment = self._segment or self._open(split)
        length = candidate.position.length
        if segment.split != split or not segment.has_room(prepared, length):
            self._close(segment, candidate.ordinal)
            segment = self._open(split)
        return segment.add(candidate.record_id, prepared, length)

    def _open(self, split: str) -> Segment:
        self._segment = Segment(
            self._folder,
            split,
            self._formats,
            self._numbers(),
            shape=self._selection.shape,
            settings=self._settings,
        )
        return self._segment

    def _close(self, segment: Segment, behind: int) -> None:
        """End a segment: from here on, it and all that was found out so far counts."""
        files = segment.close()
        self._segment = None
        for file in files:
            self._plan.add_file(file)
        self._plan.set_state("numbers", msgspec.json.encode(numbers_behind(self._numbers(), files)))
        self._plan.set_state("next", b"%d" % behind)
        self._plan.commit()

    def _numbers(self) -> dict[str, int]:
        return msgspec.json.decode(self._plan.state("numbers") or b"{}", type=dict[str, int])


def _stand_in(candidate: Candidate) -> Entry:
    """What copies of a record that was chosen are told by."""
    return Entry(
        record_id=candidate.record_id,
        session_id=candidate.session_id,
        split="",
        cluster=candidate.cluster,
        sha256=candidate.sha256,
    )


def check_selection(selection: Selection, formats: Sequence[Format]) -> None:
    """Raise ExportRefused for what cannot be asked for: a column that a format has not, a member that is another one's
    already, or a text that is none.
    """
    try:
        msgspec.json.encode(selection)
    except UnicodeEncodeError:
        raise ExportRefused("an option or the name of a file holds what is not UTF-8: write it another way.") from None
    if selection.shape.subagents == "embed" and selection.max_tokens is not None:
        raise ExportRefused("--max-tokens cuts no session with others within it: --subagents separate takes both.")
    key = selection.shape.reasoning_key
    if REASONING_KEY.fullmatch(key) is None or key in MESSAGE_MEMBERS:
        taken = ", ".join(sorted(MESSAGE_MEMBERS))
        raise ExportRefused(f"--reasoning-key is up to 64 letters, digits and _, and none of {taken}; it is {key!r}.")
    for known in formats:
        names = [name for name, _ in known.features]
        unknown = [name for name in selection.columns or () if name not in names]
        if unknown:
            raise ExportRefused(f"--format {known.name} has no column {unknown[0]!r}; it has {', '.join(names)}.")


def clear_unfinished(folder: Path) -> None:
    """Forget what an export has begun."""
    shutil.rmtree(folder, ignore_errors=True)
