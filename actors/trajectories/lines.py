"""Where a session's stored lines are read from while it is stitched: one at a time, or a part of one."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from persistence.format.records import EnvelopeKind, Position
from persistence.journals.reading import JournalReader


class SessionLines(Protocol):
    """A session's lines in the order in which they were accepted, by their place in that order. Its methods block."""

    @property
    def kinds(self) -> Sequence[EnvelopeKind]:
        """What each line is."""
        ...

    def text(self, index: int) -> bytes:
        """A line's JSON text, checked to be what was stored."""
        ...

    def part(self, index: int, start: int, end: int) -> bytes:
        """Some bytes of a line's text that was read before; the rest need not be read, and nothing is checked."""
        ...


class HeldLines:
    """Lines that are in memory."""

    def __init__(self, kinds: Sequence[EnvelopeKind], texts: Sequence[bytes]) -> None:
        assert len(kinds) == len(texts)
        self.kinds = kinds
        self._texts = texts

    def __repr__(self) -> str:
        return f"<HeldLines {len(self._texts)}>"

    def text(self, index: int) -> bytes:
        """A line's JSON text."""
        return self._texts[index]

    def part(self, index: int, start: int, end: int) -> bytes:
        """Some bytes of a line's text."""
        return self._texts[index][start:end]


class JournalLines:
    """A session's lines, read when they are asked for: of a large session, one is in memory at a time."""

    def __init__(self, journal: JournalReader, kinds: Sequence[EnvelopeKind], places: Sequence[Position]) -> None:
        assert len(kinds) == len(places)
        self.kinds = kinds
        self._journal = journal
        self._places = places

    def __repr__(self) -> str:
        return f"<JournalLines {len(self._places)}>"

    def text(self, index: int) -> bytes:
        """A line's JSON text, checked to be what was stored."""
        return self._journal.read_now(self._places[index])

    def part(self, index: int, start: int, end: int) -> bytes:
        """Some bytes of a line's text that was read before."""
        return self._journal.part_now(self._places[index], start, end)


class Span(msgspec.Struct, frozen=True):
    """Bytes of a line: `start` to `end` in the text of the line with this index."""

    line: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many bytes they are."""
        return self.end - self.start
