"""How stored lines are read: the one interface that stitching, commands, upkeep, and whatever else wants lines go by.

It says nothing of files, so that another engine can stand behind it. Three things satisfy it, and pass the same tests:
the journal that is being written (`persistence.journals.journal`), a data directory's journal at rest or served by
another process (`persistence.journals.stored`), and lines in memory, for tests (`persistence.journals.memory`).

Lines are checked where they are read. A line whose checksum or number is wrong is never handed out, and what was on
disk once and is not there any more raises JournalDamage, which says where. The one exception is the end of a journal
that another process writes, or that a crash has left: what stands there and is not whole was never acknowledged, or is
not yet (see `persistence.journals.recovery`), so a scan ends before it and says so (`Scan.torn`).

Who follows a journal that another process writes may also see whole lines that are not acknowledged yet, and that are
taken back if the disk has no room for the rest of their batch. What must rest on acknowledged lines alone reads by the
journal that is being written, or up to the positions that the databases have.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from persistence.files.failures import StorageDamage
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.day_names import name_of


def where_is(n: int, day: str, offset: int) -> str:
    """Return where a line stands, for people."""
    return f"line {n} at byte {offset} of {name_of(day)}"


class StoredLine(msgspec.Struct, frozen=True):
    """A line that passed its checks: its JSON text without the newline, where it stands, and its group commit.

    `batch` is the number of the first line of the same group commit.
    """

    text: bytes
    position: Position
    batch: int

    @property
    def where(self) -> str:
        """Where it stands, for people."""
        return where_is(self.position.n, self.position.day, self.position.offset)


class BadLine(msgspec.Struct, frozen=True):
    """The first place where a journal cannot be believed: where line `expected_n` belongs."""

    day: str
    offset: int
    expected_n: int
    what: str

    @property
    def where(self) -> str:
        """What stands there, and where, for people."""
        return f"{self.what} at byte {self.offset} of {name_of(self.day)}"


class JournalDamage(StorageDamage):
    """A line that was stored is missing or changed; `what` says which and where, without the journal and the advice.

    `behind` is where good lines go on, for a scan that goes on there; None where there are none, or nobody has looked.
    """

    def __init__(self, name: JournalName, what: str, behind: Mark | None = None) -> None:
        super().__init__(f"the {name} journal is damaged: {what}: restore that file from a backup.")
        self.what = what
        self.behind = behind


class JournalOutOfReach(JournalDamage):
    """A part of the journal is in an archive that cannot be reached now; `what` says which, and why."""

    def __init__(self, name: JournalName, what: str) -> None:
        StorageDamage.__init__(self, f"the {name} journal cannot be read: {what}: make its archive reachable again.")
        self.what = what
        self.behind = None


class StoredStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes the journal's lines take on disk."""

    stored_bytes: int = 0


class Piece(msgspec.Struct, frozen=True):
    """The next lines of a scan, no more than a read completes; none at the end. What ends it there may be `torn`."""

    lines: Sequence[StoredLine]
    torn: BadLine | None = None


class Scan:
    """A journal's lines in order, some at a time: `async for lines in scan`.

    It ends where the journal does, and holds nothing open in between: it can be given up anywhere, and when it is
    iterated again it goes on with what has come since. In memory are the lines of one read (`scanning.READ_BYTES`, and
    at least one line, whatever its length).
    """

    def __init__(
        self,
        start: int | Mark,
        *,
        find: Callable[[int], Awaitable[Mark]],
        next_lines: Callable[[Mark], Awaitable[Piece]],
    ) -> None:
        self._from_n = start if isinstance(start, int) else start.n + 1
        self._mark = None if isinstance(start, int) else start
        self._find = find
        self._next_lines = next_lines
        self.torn: BadLine | None = None
        """What the scan ended before, if it was not the end of a whole line; None until it has ended."""

    def __repr__(self) -> str:
        return f"<Scan from_n={self._from_n} mark={self._mark}>"

    @property
    def mark(self) -> Mark | None:
        """Behind the last line that was handed out, to go on from at another time; None before anything was read."""
        return self._mark

    def __aiter__(self) -> "Scan":
        return self

    async def __anext__(self) -> Sequence[StoredLine]:
        if self._mark is None:
            self._mark = await self._find(self._from_n)
        while True:
            piece = await self._next_lines(self._mark)
            self.torn = piece.torn
            if not piece.lines:
                raise StopAsyncIteration
            self._mark = piece.lines[-1].position.end
            wanted = [line for line in piece.lines if line.position.n >= self._from_n]
            if wanted:
                return wanted


class JournalReader(Protocol):
    """One journal, for reading."""

    @property
    def name(self) -> JournalName:
        """Which journal it is."""
        ...

    def scan(self, start: int | Mark = 1) -> Scan:
        """Read the lines from number `start` on, or those behind a mark, in order.

        A mark costs nothing to go to. A number is looked for: that reads some lines and what stands in the same file
        before it, never the whole journal. While it is iterated the scan raises JournalDamage where a line is missing
        or changed, StorageFailure when the disk fails.
        """
        ...

    async def read(self, places: Sequence[Position]) -> list[bytes]:
        """Read lines by their places, in the order given, each without its newline.

        Raises JournalDamage when another line than that stands there, or none, StorageFailure when the disk fails.
        """
        ...

    def read_now(self, place: Position) -> bytes:
        """Read a line as `read` does, in the thread that asks: it blocks."""
        ...

    def part_now(self, place: Position, start: int, end: int) -> bytes:
        """Read the bytes `start` to `end` of a line's text, of which nothing is checked; it blocks.

        For who has read the line before, and has not room for all of it. Raises StorageFailure when the disk fails.
        """
        ...

    def statistics(self) -> StoredStatistics:
        """Return the current figures; it blocks where they are read from the files."""
        ...
