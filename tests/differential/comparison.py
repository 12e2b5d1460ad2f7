"""Sends each sequence in three ways, which must look alike to its client, and makes what differs small."""

import difflib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tests.differential.drawn import Piece, drawn
from tests.differential.target import Target
from tests.differential.transcripts import Transcript

LINE_CHARS_MAX = 600
"""Of a line that says what differs."""
TRIES_MAX = 400
"""Deliveries that making a sequence small may take."""

AS_IT_IS, WITHOUT_SHORTCUT, IN_ONE_PIECE = "as it is", "without the short way", "in one piece"


class Difference(msgspec.Struct, frozen=True):
    """A sequence that does not look alike in all ways."""

    seed: int
    pieces: tuple[Piece, ...]
    half_closed: bool
    transcripts: dict[str, Transcript]

    def __str__(self) -> str:
        """The pieces, what came of them as it is, and how each other way differs from that."""
        lines = [f"seed {self.seed}: {len(self.pieces)} pieces{', then the client ends its side' * self.half_closed}"]
        lines += [
            f"    {piece.data!r}{(' and all that can happen', ' and some time')[piece.pause - 1] * bool(piece.pause)}"
            for piece in self.pieces
        ]
        first = str(self.transcripts[AS_IT_IS]).splitlines()
        lines += [f"  {AS_IT_IS}:", *(f"    {line}" for line in first)]
        for way, transcript in self.transcripts.items():
            changes = [*difflib.unified_diff(first, str(transcript).splitlines(), n=0, lineterm="")][2:]
            if changes:
                lines += [f"  {way}:", *(f"    {line}" for line in changes if not line.startswith("@@"))]
        return "\n".join(line if len(line) <= LINE_CHARS_MAX else f"{line[:LINE_CHARS_MAX]}..." for line in lines)


class Comparison:
    """Compares on one target; `deliveries` and `answers` say how much there was to compare."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.deliveries = 0
        self.answers = 0

    def difference(self, seed: int) -> Difference | None:
        """What differs in the sequence of a seed, as small as it can be made."""
        found = self.first_difference(seed)
        return None if found is None else self._smallest(found)

    def first_difference(self, seed: int) -> Difference | None:
        """The same as it was drawn."""
        sequence = drawn(seed)
        return self._compare(seed, sequence.pieces, half_closed=sequence.half_closed)

    def _compare(self, seed: int, pieces: Sequence[Piece], *, half_closed: bool) -> Difference | None:
        whole = (Piece(b"".join(piece.data for piece in pieces)),)
        transcripts = {}
        for number, (way, sent, shortcut) in enumerate(
            ((AS_IT_IS, pieces, True), (WITHOUT_SHORTCUT, pieces, False), (IN_ONE_PIECE, whole, True))
        ):
            transcripts[way] = self.target.transcript(
                sent, half_closed=half_closed, shortcut=shortcut, seed=seed * 3 + number
            )
            self.deliveries += 1
        first = transcripts[AS_IT_IS]
        self.answers += len(first.answers)
        if all(other == first for other in transcripts.values()) and not first.failures:
            return None
        return Difference(seed, tuple(pieces), half_closed, transcripts)

    def _smallest(self, found: Difference) -> Difference:
        """Take away and join pieces as long as something still differs."""
        limit = self.deliveries + 3 * TRIES_MAX
        simpler = True
        while simpler and self.deliveries < limit:
            simpler = False
            for pieces in _simpler(found.pieces):
                smaller = self._compare(found.seed, pieces, half_closed=found.half_closed)
                if smaller is not None:
                    found, simpler = smaller, True
                    break
                if self.deliveries >= limit:
                    break
        return found


def _simpler(pieces: tuple[Piece, ...]) -> Iterator[tuple[Piece, ...]]:
    """The same with less in it: pieces joined, requests or parts of them left out, no pauses."""
    count = len(pieces)
    step = count // 2
    while step:
        for start in range(0, count, step):
            joined = Piece(b"".join(piece.data for piece in pieces[start : start + step]), pieces[start].pause)
            yield (*pieces[:start], *pieces[start + step :])
            if step > 1:
                yield (*pieces[:start], joined, *pieces[start + step :])
        step //= 2
    for at in range(count - 1):
        yield (*pieces[:at], Piece(pieces[at].data + pieces[at + 1].data, pieces[at + 1].pause), *pieces[at + 2 :])
    for at, piece in enumerate(pieces):
        if piece.pause:
            yield (*pieces[:at], Piece(piece.data, piece.pause - 1), *pieces[at + 1 :])
        for less in _less(piece.data):
            yield (*pieces[:at], Piece(less, piece.pause), *pieces[at + 1 :])


def _less(data: bytes) -> Iterator[bytes]:
    lines = data.splitlines(keepends=True)
    for at in range(len(lines) if len(lines) > 1 else 0):
        yield b"".join(lines[:at] + lines[at + 1 :])
    if len(data) > 400:
        yield data[: len(data) // 2]


def differences(
    target: Target, seeds: Sequence[int], progress: Callable[[int], None] = lambda _count: None
) -> tuple[list[Difference], Comparison]:
    """What differs in the sequences of these seeds."""
    comparison = Comparison(target)
    found: list[Difference] = []
    for count, seed in enumerate(seeds, start=1):
        difference = comparison.difference(seed)
        if difference is not None:
            found.append(difference)
        progress(count)
    return found, comparison
