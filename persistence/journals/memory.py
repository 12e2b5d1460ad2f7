"""A journal in memory, for tests of what reads one: it passes the same tests as those on disk."""

from collections.abc import Sequence

import trio

from persistence.format import times
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.framing import Frame, frame, parse_frame
from persistence.journals.reading import BadLine, JournalDamage, Piece, Scan, StoredLine, StoredStatistics

PIECE_LINES = 3
"""Few, so that whoever scans meets several pieces."""


class MemoryJournal:
    """Lines in a list, each as it would be on disk."""

    def __init__(self, name: JournalName) -> None:
        self._name = name
        self._positions: list[Position] = []
        self.texts: list[bytes] = []
        """A line each, with its newline; a test may change one, take the last ones away, or add one that is torn."""

    @property
    def name(self) -> JournalName:
        """Which journal it is."""
        return self._name

    def commit(self, members: Sequence[bytes], *, at: float) -> list[Position]:
        """Add lines, each of JSON members without braces, as one group commit at the time `at`."""
        day, batch = times.day_of(at), len(self.texts) + 1
        for each in members:
            text = b"".join(frame(each, b"", n=len(self.texts) + 1, at=times.to_text(at).encode(), batch=batch))
            before = self._positions[-1].end if self._positions else Mark()
            offset = before.offset if before.day == day else 0
            self.texts.append(text)
            self._positions.append(Position(n=len(self.texts), day=day, offset=offset, length=len(text), at=at))
        return self._positions[batch - 1 :]

    def scan(self, start: int | Mark = 1) -> Scan:
        """Read the lines from number `start` on, or those behind a mark, in order (`JournalReader.scan`)."""
        return Scan(start, find=self._find, next_lines=self._next_lines)

    async def read(self, places: Sequence[Position]) -> list[bytes]:
        """Read lines by their places, in the order given, each without its newline."""
        await trio.lowlevel.checkpoint()
        return [self.read_now(place) for place in places]

    def read_now(self, place: Position) -> bytes:
        """Read a line in the thread that asks (`JournalReader.read_now`)."""
        if place not in self._positions or self._frame(place.n) is None:
            raise JournalDamage(self._name, "a line is not where it was")
        return self.texts[place.n - 1][:-1]

    def part_now(self, place: Position, start: int, end: int) -> bytes:
        """Read some bytes of a line, unchecked (`JournalReader.part_now`)."""
        return self.texts[place.n - 1][start:end]

    def statistics(self) -> StoredStatistics:
        """Return the current figures."""
        return StoredStatistics(stored_bytes=sum(map(len, self.texts)))

    async def _find(self, n: int) -> Mark:
        await trio.lowlevel.checkpoint()
        return self._positions[min(n - 1, len(self._positions)) - 1].end if n > 1 and self._positions else Mark()

    async def _next_lines(self, mark: Mark) -> Piece:
        await trio.lowlevel.checkpoint()
        lines: list[StoredLine] = []
        for n in range(mark.n + 1, min(mark.n + PIECE_LINES, len(self.texts)) + 1):
            found = self._frame(n)
            if found is None:
                break
            lines.append(StoredLine(self.texts[n - 1][:-1], self._positions[n - 1], found.batch))
        bad_n = mark.n + 1
        if lines or bad_n > len(self.texts):
            return Piece(lines)
        later = [found for n in range(bad_n, len(self.texts) + 1) if (found := self._frame(n)) is not None]
        if any(each.batch > bad_n for each in later):
            raise JournalDamage(self._name, f"line {bad_n} was changed")
        return Piece((), BadLine(mark.day, mark.offset, bad_n, "a line that fails its checksum"))

    def _frame(self, n: int) -> Frame | None:
        """The frame of line `n`, if that is whole."""
        text = self.texts[n - 1] if n <= len(self.texts) else b""
        found = parse_frame(text) if text.endswith(b"\n") else None
        return found if found is not None and found.n == n else None
