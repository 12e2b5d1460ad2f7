"""A trajectory's journal line, as pieces of bytes: so that its length is known, and all of it never in memory. Pure.

Steps are copied from the session's lines. Those that stand near each other in one line, as a client's usually do, are
cut out of one reading of it; others are read one by one, so that steps in any order cost what they weigh.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import lt
from typing import Final

import msgspec

from actors.trajectories.enrichment import Enrichment
from actors.trajectories.lines import SessionLines, Span
from actors.trajectories.scoring import Score
from actors.trajectories.stitching import StepPlaces, Trajectory
from persistence.format import times
from persistence.format.records import CopiedRun

PIECE_BYTES: Final = 262_144
"""Pieces are about this long; only a single step or member can be longer."""

SLICE_BYTES: Final = 4_096
"""What pieces are made of, where many steps can be taken as they stand."""

SHARE_TAKEN_MIN: Final = 0.25
"""Steps in a row are read at once where they are at least so much of what that reads."""

_LINE_BREAKS_AS_SPACES = bytes.maketrans(b"\n\r", b"  ")
_encode = msgspec.json.Encoder().encode


Value = bytes | Span | StepPlaces
"""What a member's value is made of."""


class TrajectoryText:
    """The members of a trajectory's line, without braces and without line breaks; may be iterated again."""

    def __init__(
        self,
        trajectory_id: str,
        trajectory: Trajectory,
        score: Score,
        enrichment: Enrichment,
        lines: SessionLines,
        copies: Sequence[CopiedRun] = (),
    ) -> None:
        self._lines = lines
        self._values = dict(_members(trajectory_id, trajectory, score, enrichment, copies))
        self._parts: list[Value] = []
        for name, value in self._values.items():
            self._parts += [b'%s"%s":' % (b"," if self._parts else b"", name.encode()), value]
        self._size_bytes = sum(map(_size_of, self._parts))

    def __repr__(self) -> str:
        return f"<TrajectoryText {self._size_bytes} bytes>"

    def __len__(self) -> int:
        """How many bytes all pieces have together."""
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces(self._parts)

    def whole(self) -> bytes:
        """All pieces in one, for a text that may be in memory as a whole."""
        return _on_one_line(b"".join(self._texts(self._parts)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members, in their order."""
        return tuple(self._values)

    def value(self, name: str) -> Iterator[bytes]:
        """Yield the text of one member's value in pieces, as it stands in the line."""
        return self._pieces([self._values[name]])

    def _pieces(self, parts: Iterable[Value]) -> Iterator[bytes]:
        held: list[bytes | memoryview] = []
        held_bytes = 0
        for text in self._texts(parts):
            held.append(text)
            held_bytes += len(text)
            if held_bytes >= PIECE_BYTES:
                yield _on_one_line(b"".join(held))
                held, held_bytes = [], 0
        if held:
            yield _on_one_line(b"".join(held))

    def _texts(self, parts: Iterable[Value]) -> Iterator[bytes | memoryview]:
        for part in parts:
            if isinstance(part, bytes):
                yield part
            elif isinstance(part, Span):
                yield self._lines.part(part.line, part.start, part.end)
            else:
                yield from self._array(part)

    def _array(self, places: StepPlaces) -> Iterator[bytes | memoryview]:
        yield b"["
        before = b""
        for line, starts, ends in places.runs():
            yield before
            yield from self._cut(line, starts, ends)
            before = b","
        yield b"]"

    def _cut(self, line: int, starts: "array[int]", ends: "array[int]") -> Iterator[bytes | memoryview]:
        """Yield items in one line, whatever their order in it, and a comma between each two."""
        first, last = min(starts), max(ends)
        size_bytes = sum(ends) - sum(starts)
        if size_bytes < SHARE_TAKEN_MIN * (last - first):
            yield from _separated(self._lines.part(line, *place) for place in zip(starts, ends, strict=True))
            return
        text = self._lines.part(line, first, last)
        if size_bytes + len(starts) - 1 == last - first and all(map(lt, ends, starts[1:])):
            # They stand there as they are wanted: in order, and with nothing but a comma between each two.
            whole = memoryview(text)
            yield from (whole[start : start + SLICE_BYTES] for start in range(0, len(text), SLICE_BYTES))
            return
        yield from _separated(text[start - first : end - first] for start, end in zip(starts, ends, strict=True))


def _separated(items: Iterable[bytes]) -> Iterator[bytes]:
    before = b""
    for item in items:
        yield before
        yield item
        before = b","


def _on_one_line(text: bytes) -> bytes:
    """JSON text with spaces for line breaks: inside a string they are escaped, so these stand between tokens."""
    return text.translate(_LINE_BREAKS_AS_SPACES) if b"\n" in text or b"\r" in text else text


def _members(
    trajectory_id: str, trajectory: Trajectory, score: Score, enrichment: Enrichment, copies: Sequence[CopiedRun]
) -> Iterator[tuple[str, Value]]:
    yield "trajectory_id", _encode(trajectory_id)
    yield "session_id", _encode(trajectory.session_id)
    yield "contributor_id", _encode(trajectory.contributor_id)
    yield "metadata", trajectory.metadata
    yield "close_metadata", b"null" if trajectory.close_metadata is None else trajectory.close_metadata
    yield "trajectory_log", trajectory.steps
    yield "outcome", b"null" if trajectory.outcome is None else trajectory.outcome
    yield "total_steps", _encode(len(trajectory.steps))
    yield "copied_steps", _encode(sum(run.steps for run in copies))
    yield "copied_from", _encode(copies)
    yield "started_at", _encode(_time(trajectory.started_at))
    yield "ended_at", _encode(_time(trajectory.ended_at))
    yield "time_shift_s", _encode(trajectory.time_shift_s)
    yield "total_tokens", _encode(trajectory.total_tokens)
    yield "unique_tools_used", _encode(trajectory.tools)
    yield "step_type_distribution", _encode(trajectory.step_type_counts)
    yield "total_chunks", _encode(trajectory.total_chunks)
    yield "sequence_gaps", _encode(trajectory.gaps)
    if trajectory.repeated_members:
        yield "repeated_members", _encode(trajectory.repeated_members)
    yield "coordination_links", _encode(trajectory.links)
    yield "feedback", StepPlaces.of(trajectory.feedback)
    yield "closed_by", _encode(trajectory.closed_by)
    yield "score", _encode(score)
    yield "enrichment", _encode(enrichment)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else times.to_text(seconds)


def _size_of(part: Value) -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, Span):
        return part.size_bytes
    return part.size_bytes + max(0, len(part) - 1) + len(b"[]")
