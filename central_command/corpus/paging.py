"""A corpus for programs of other machines: a page at a time, as JSON lines, of what passes some filters. Blocking.

A page is made of pieces, each of what the corpus holds at its moment, so that what is erased or taken back while a
page is sent is not in the rest of it. Each line is an object with a `trajectory`, beside it the session's `title` and
`summary` where it has them, or with a `record`; the last is `end`, with the cursor of the next page: a page without it
broke off. What a trajectory or a record is on a line is what `open_corpus` gives of a folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from central_command.corpus.choosing import FIRST, Looked, Records, Trajectories, look_through
from central_command.corpus.cursors import Cursors, digest_of
from central_command.corpus.filters import Filters
from central_command.corpus.stored import StoredCorpus
from central_command.corpus.trajectory import Record, Trajectory
from persistence.databases.summaries import Summary

PIECE_BYTES_MAX: Final = 262_144
"""Bytes of lines that are read for a piece, but for a longer line; guards the server's other threads, and memory."""
PIECE_ROWS_MAX: Final = 200
"""Rows of the database that are looked at for a piece. Guards the same."""
PAGE_ROWS_MAX: Final = 10_000
"""And for a page: where a filter leaves out nearly all, it may be empty, and the cursor goes on behind it."""
PLACE_CHARS_MAX: Final = 200

Kind = Literal["trajectories", "records"]
CURSORS: Final[Cursors[str]] = Cursors(
    Annotated[str, msgspec.Meta(min_length=1, max_length=PLACE_CHARS_MAX)], "reading"
)

_encode: Final = msgspec.json.Encoder().encode


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is read: of which kind, and which of it."""

    kind: Kind
    filters: Filters


class End(msgspec.Struct, frozen=True):
    """The last line of a page: with what the next one is asked for, null where there is none.

    `too_long` are records whose lines are longer than the server reads for anybody (`export.page_line_bytes_max`).
    """

    cursor: str | None
    too_long: tuple[str, ...] = ()


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a page: one of these; beside a trajectory what it is called, and what it was about."""

    trajectory: Trajectory | None = None
    title: str | None = None
    summary: str | None = None
    record: Record | None = None
    end: End | None = None


class PageBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much a page is of: records, and bytes of the corpus that are read, but for one line of `line_bytes`."""

    records: int
    read_bytes: int
    line_bytes: int


class Page:
    """One page, a piece at a time. Raises CursorError for a cursor that is none of this reading."""

    def __init__(self, data_directory: Path, asked: Asked, cursor: str | None, bounds: PageBounds) -> None:
        self._data_directory = data_directory
        self._asked = asked
        self._digest = digest_of(asked)
        self._place: str | None = FIRST if cursor is None else CURSORS.place(cursor, self._digest)
        self._bounds = bounds
        self._records = self._rows = self._read_bytes = 0
        self._too_long: list[str] = []
        self._stored: StoredCorpus | None = None
        self.is_whole = False

    def __repr__(self) -> str:
        return f"<Page of {self._asked.kind} records={self._records} read_bytes={self._read_bytes}>"

    def next_piece(self) -> bytes:
        """The next lines; with the last of them the page `is_whole`.

        Raises NoDataDirectory, DatabaseFailure, StorageFailure, MasterKeyError.
        """
        stored = self._stored = self._stored or StoredCorpus(self._data_directory)
        items: list[Trajectory | Record] = []
        read_bytes = self._read_bytes
        if self._place is not None:
            for looked in self._look(stored, self._place):
                self._place = looked.behind
                self._rows += 1
                self._read_bytes += looked.read_bytes
                self._too_long += looked.too_long
                if looked.item is not None:
                    self._records += 1
                    items.append(looked.item)
                if self._is_full or self._read_bytes - read_bytes >= PIECE_BYTES_MAX:
                    break
        lines = [_encode(line) for line in _lines(stored, items)]
        if self._place is None or self._is_full:
            cursor = None if self._place is None else CURSORS.text(self._digest, self._place)
            lines.append(_encode(Line(end=End(cursor, tuple(self._too_long)))))
            self.is_whole = True
        return b"".join(line + b"\n" for line in lines)

    def _look(self, stored: StoredCorpus, place: str) -> Iterator[Looked[Trajectory] | Looked[Record]]:
        filters, line_bytes = self._asked.filters, self._bounds.line_bytes
        if self._asked.kind == "records":
            return look_through(stored, Records(stored, filters), place, PIECE_ROWS_MAX, line_bytes)
        return look_through(stored, Trajectories(stored, filters), place, PIECE_ROWS_MAX, line_bytes)

    @property
    def _is_full(self) -> bool:
        bounds = self._bounds
        return self._records >= bounds.records or self._read_bytes >= bounds.read_bytes or self._rows >= PAGE_ROWS_MAX


def _lines(stored: StoredCorpus, items: Sequence[Trajectory | Record]) -> Iterator[Line]:
    """The items as lines; titles and summaries are those of this moment."""
    session_ids = [each.session_id for each in items if isinstance(each, Trajectory)]
    summaries = dict[str, Summary]()
    if session_ids:
        with stored.snapshot() as snapshot:
            summaries = snapshot.summaries(session_ids)
    for item in items:
        if isinstance(item, Record):
            yield Line(record=item)
        elif found := summaries.get(item.session_id):
            yield Line(trajectory=item, title=found.title, summary=found.summary)
        else:
            yield Line(trajectory=item)
