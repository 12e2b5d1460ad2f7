"""What of a corpus passes some filters, read record by record from a place on. Blocking.

It is gone through by ids that a record keeps when it is made anew (as for feedback that comes late): so each record
that stays is come by exactly once, whatever curation does meanwhile. Rows are looked up a number at a time, of one
moment: what was erased or taken back by then is not among them, and what is erased after that has no line any more.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from central_command.corpus.filters import Filters
from central_command.corpus.reading import UnreadableLine
from central_command.corpus.stored import Rows, ShownRecords, StoredCorpus
from central_command.corpus.trajectory import Record, Trajectory
from persistence.databases.corpus_records import StoredRecord
from persistence.databases.corpus_texts import StoredText

Row = TypeVar("Row", StoredRecord, StoredText)
Item_co = TypeVar("Item_co", Trajectory, Record, covariant=True)

FIRST: Final = ""
"""The place before everything."""


class Looked(msgspec.Struct, Generic[Item_co], frozen=True):
    """A row that was looked at: what passes of it, bytes that were read for it, and the place from which to go on.

    The last one of a look is none of a row: its place is None where there is nothing behind. `too_long` names the
    record whose line has more bytes than are read.
    """

    item: Item_co | None
    read_bytes: int
    behind: str | None
    too_long: tuple[str, ...] = ()


class Shelf(Protocol[Row, Item_co]):
    """One kind of record of a corpus, of which some are chosen."""

    def rows(self, snapshot: ShownRecords, place: str, count: int) -> Rows[Row]:
        """Some rows behind a place."""
        ...

    def place_of(self, row: Row) -> str:
        """The place of a row."""
        ...

    def is_wanted(self, row: Row) -> bool:
        """Whether a row passes, as far as the database knows."""
        ...

    def read(self, row: Row) -> Item_co | None:
        """What a row's line holds, if that passes; raises UnreadableLine."""
        ...


class Trajectories:
    """Sessions."""

    def __init__(self, stored: StoredCorpus, filters: Filters) -> None:
        self._stored = stored
        self._filters = filters

    def __repr__(self) -> str:
        return f"<Trajectories of {self._stored!r}>"

    def rows(self, snapshot: ShownRecords, place: str, count: int) -> Rows[StoredRecord]:
        """Some rows behind a place."""
        return snapshot.records_behind(place, count)

    def place_of(self, row: StoredRecord) -> str:
        """The id of its trajectory."""
        return row.record.trajectory_id

    def is_wanted(self, row: StoredRecord) -> bool:
        """Whether a session passes, as far as the database knows."""
        contributor = self._stored.pseudonyms.of(row.record.contributor_id)
        return self._filters.against_row(row.record, contributor) is None

    def read(self, row: StoredRecord) -> Trajectory | None:
        """The trajectory, if it passes."""
        trajectory = self._stored.read(row.position).trajectory
        return trajectory if self._filters.against(trajectory) is None else None


class Records:
    """Records of the intake."""

    def __init__(self, stored: StoredCorpus, filters: Filters) -> None:
        self._stored = stored
        self._filters = filters

    def __repr__(self) -> str:
        return f"<Records of {self._stored!r}>"

    def rows(self, snapshot: ShownRecords, place: str, count: int) -> Rows[StoredText]:
        """Some rows behind a place."""
        return snapshot.texts_behind(place, count)

    def place_of(self, row: StoredText) -> str:
        """Its record's id."""
        return row.record.record_id

    def is_wanted(self, row: StoredText) -> bool:
        """Whether a text passes, as far as the database knows."""
        return self._filters.against_text_row(row.record, self._stored.pseudonyms.of(row.record.subject)) is None

    def read(self, row: StoredText) -> Record | None:
        """The record, if it passes."""
        record = self._stored.read_text(row.position).record
        return record if self._filters.against_record(record) is None else None


def look_through(
    stored: StoredCorpus, shelf: Shelf[Row, Item_co], place: str, rows_max: int, line_bytes_max: int | None = None
) -> Iterator[Looked[Item_co]]:
    """Look at so many rows behind a place, one by one; a row whose line is erased or damaged is passed by.

    With `line_bytes_max` a longer line is named, and not read: it takes several times its bytes of memory.

    Nothing is held open while the caller works. Raises NoDataDirectory, DatabaseFailure, StorageFailure.
    """
    with stored.snapshot() as snapshot:
        rows = shelf.rows(snapshot, place, rows_max)
    for row in rows.shown:
        place, length = shelf.place_of(row), row.position.length
        if not shelf.is_wanted(row):
            yield Looked(None, 0, place)
        elif line_bytes_max is not None and length > line_bytes_max:
            yield Looked(None, 0, place, (row.record.record_id,))
        else:
            item = None
            with suppress(UnreadableLine):
                item = shelf.read(row)
            yield Looked(item, length, place)
    yield Looked(None, 0, rows.behind)
