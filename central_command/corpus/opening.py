"""`open_corpus`: trajectories, and records of the intake, as objects, for programs that train."""

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from central_command.corpus.filters import DOMAINS_OF_RECORDS, FOR_RECORDS, Filters, check_known, check_values
from central_command.corpus.reading import UnreadableLine
from central_command.corpus.stored import ShownRecords, StoredCorpus
from central_command.corpus.trajectory import Record, Trajectory
from persistence.databases.corpus_records import StoredRecord
from persistence.databases.corpus_texts import StoredText

_Row = TypeVar("_Row", StoredRecord, StoredText)


class Corpus:
    """The trajectories of a corpus that pass some filters, in the order in which they came.

    It may be iterated again and again, and from several processes: each time it reads what there is then, a record at a
    time, and holds nothing open in between. A record that was erased, or whose line is damaged, is passed by.
    """

    def __init__(self, data_directory: Path, filters: Filters) -> None:
        self._data_directory = data_directory
        self._filters = filters

    def __repr__(self) -> str:
        return f"<Corpus {self._data_directory}>"

    def __iter__(self) -> Iterator[Trajectory]:
        stored = StoredCorpus(self._data_directory)
        for row in _rows(stored, ShownRecords.records):
            contributor = stored.pseudonyms.of(row.record.contributor_id)
            if self._filters.against_row(row.record, contributor) is not None:
                continue
            try:
                trajectory = stored.read(row.position).trajectory
            except UnreadableLine:
                continue
            if self._filters.against(trajectory) is None:
                yield trajectory

    def records(self, **filters: Any) -> Iterator[Record]:
        """Yield the records of the intake that pass these filters (`FOR_RECORDS`), in the order in which they came.

        The corpus's own filters are about trajectories. Raises TypeError for a filter that there is none of,
        ValueError for a value of one that nothing can have.
        """
        chosen = _chosen(filters, FOR_RECORDS)
        check_known("domain", chosen.domains, DOMAINS_OF_RECORDS)
        return self._records(chosen)

    def _records(self, filters: Filters) -> Iterator[Record]:
        stored = StoredCorpus(self._data_directory)
        for row in _rows(stored, ShownRecords.texts):
            if filters.against_text_row(row.record, stored.pseudonyms.of(row.record.subject)) is not None:
                continue
            try:
                record = stored.read_text(row.position).record
            except UnreadableLine:
                continue
            if filters.against_record(record) is None:
                yield record

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield the trajectories as plain dicts: what `datasets.Dataset.from_generator` takes."""
        for trajectory in self:
            yield msgspec.to_builtins(trajectory)


PAGE_ROWS = 500
"""Rows that are held while their records are read; guards memory."""


def open_corpus(path: str | Path, **filters: Any) -> Corpus:
    """The corpus of a data directory, of which only what passes the filters (`Filters`) is shown.

    Lists may be given for tuples. Raises NoDataDirectory where there is no corpus, TypeError for a filter that there is
    none of, ValueError for a value of one that nothing can have and for an address: only folders can be read.
    """
    if "://" in str(path):
        raise ValueError(f"{path} is an address: name a data directory of this machine.")
    root = Path(path)
    chosen = _chosen(filters, [field.name for field in msgspec.structs.fields(Filters)])
    StoredCorpus(root)
    return Corpus(root, chosen)


def _rows(stored: StoredCorpus, behind: Callable[[ShownRecords, int], Iterator[_Row]]) -> Iterator[_Row]:
    """Yield rows in the order of their lines; nothing is held open while the caller works."""
    behind_n = 0
    while True:
        with stored.snapshot() as snapshot:
            page = list(islice(behind(snapshot, behind_n), PAGE_ROWS))
        if not page:
            return
        yield from page
        behind_n = page[-1].position.n


def _chosen(filters: dict[str, Any], known: Collection[str]) -> Filters:
    try:
        chosen = msgspec.convert(filters, Filters, strict=True)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None
    unknown = filters.keys() - set(known)
    if unknown:
        raise TypeError(f"there is no filter {min(unknown)!r}")
    check_values(chosen)
    return chosen
