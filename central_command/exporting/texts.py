"""Records of the intake as the source of an export: which belong in it, and what is made of one.

Records of the same content are copies, and a cluster: they are in one split, and one of them is kept. That users have
agreed to it, and what is taken back or erased, the corpus itself heeds.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from central_command.corpus.filters import FOR_RECORDS, Filters
from central_command.corpus.reading import ReadRecord, UnreadableLine
from central_command.corpus.stored import ShownRecords, StoredCorpus
from central_command.exporting.contents import Entry
from central_command.exporting.formats.format import Format
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.selection import ExportRefused, Selection
from central_command.exporting.shape import Row
from central_command.exporting.source import Found, Left, Means, Rows, check_without_reading
from central_command.exporting.splits import split_of

HEEDED: Final = frozenset(
    {"formats", "filters", "dedup", "benchmarks", "limit", "sample", "seed", "splits", "columns", "license"}
)
"""What of a selection says something of records; all else is as it is by default."""


class Texts:
    """The records of the intake; copies are those of what the plan has kept before."""

    def __init__(
        self,
        stored: StoredCorpus,
        plan: Plan,
        selection: Selection,
        formats: Sequence[Format],
        means: Means,
    ) -> None:
        self._stored = stored
        self._plan = plan
        self._selection = selection
        self._formats = formats
        self._benchmarks = means.benchmarks

    def __repr__(self) -> str:
        return f"<Texts of {self._stored!r}>"

    def found(self, snapshot: ShownRecords) -> Iterator[Found]:
        """Yield what there is."""
        selection = self._selection
        for stored in snapshot.texts():
            row = stored.record
            contributor = self._stored.pseudonyms.of(row.subject)
            candidate = Candidate(
                0,
                row.record_id,
                row.record_id,
                row.session_id,
                contributor,
                row.sha256,
                row.sha256,
                split_of(contributor, selection.splits, selection.seed),
                stored.position,
            )
            code = selection.filters.against_text_row(row, contributor)
            yield Found(candidate, None if code is None else LeftOutReason(code))

    def check(self, candidate: Candidate, *, is_chosen: bool) -> None:
        """Raise Left for a copy."""
        if not is_chosen:
            check_without_reading(candidate, plan=self._plan, selection=self._selection)

    def judged(self, candidate: Candidate) -> ReadRecord:
        """Read a record that passed its check; raises Left for one that does not belong in the export."""
        read = self.read(candidate)
        code = self._selection.filters.against_record(read.record)
        if code is not None:
            raise Left(LeftOutReason(code))
        matched = self._benchmarks.found_in_texts([read.record.content])
        if matched is not None:
            raise Left(LeftOutReason.CONTAMINATED, matched)
        return read

    def read(self, candidate: Candidate) -> ReadRecord:
        """Read a record that was judged before; raises Left for one that is not there any more."""
        try:
            return self._stored.read_text(candidate.position)
        except UnreadableLine:
            raise Left(LeftOutReason.UNREADABLE) from None

    def made(self, candidate: Candidate, item: ReadRecord) -> tuple[Rows, Entry]:
        """Make the row of a record in each format, and say what is counted of it."""
        record = item.record
        entry = Entry(
            record_id=candidate.record_id,
            session_id=candidate.session_id,
            contributor=candidate.contributor,
            split=self._selection.splits[candidate.split].name,
            cluster=candidate.cluster,
            sha256=candidate.sha256,
            domain=record.domain,
            consent_version=record.consent_version,
            rules=record.rules,
            chars=len(record.content),
            findings=record.scrubbed.by_category,
            mended_numbers=item.mended.numbers,
            mended_surrogates=item.mended.surrogates,
        )
        return {known.name: [self._row(known, item)] for known in self._formats}, entry

    def _row(self, known: Format, item: ReadRecord) -> Row:
        assert known.of_record is not None, "check_source has said so"
        row = known.of_record(item.record)
        columns = self._selection.columns
        return row if columns is None else {name: row[name] for name in columns}


def check_source(selection: Selection, formats: Sequence[Format]) -> None:
    """Raise ExportRefused for formats of different sources, and for what says nothing of the one they have."""
    of_records = [known.name for known in formats if known.of_record is not None]
    if not of_records:
        return
    name = of_records[0]
    if len(of_records) < len(formats):
        raise ExportRefused(f"{name} is of the intake's records, not of sessions: export it into a folder of its own.")
    unheeded = [
        *_differing(selection, Selection(formats=selection.formats), HEEDED),
        *_differing(selection.filters, Filters(), FOR_RECORDS),
    ]
    if unheeded:
        raise ExportRefused(
            f"{unheeded[0]} is about sessions: {name} is chosen by {', '.join(FOR_RECORDS)}, and has no shape."
        )


def _differing(one: msgspec.Struct, other: msgspec.Struct, heeded: Collection[str]) -> list[str]:
    names = [field.name for field in msgspec.structs.fields(one)]
    return [name for name in names if name not in heeded and getattr(one, name) != getattr(other, name)]
