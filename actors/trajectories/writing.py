"""A trajectory's journal line, as pieces of bytes: so that its length is known, and all of it never in memory. Pure.

Steps are copied from the session's lines. Those that stand near each other in one line, as a client's usually do, are
cut out of one reading of it; others are read one by one, so that steps in any order cost what they weigh.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
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

SHARE_TAKEN_MIN: Final = 0.25
"""Steps in a row are read at once where they are at least so much of what that reads."""

_LINE_BREAKS_AS_SPACES = bytes.maketrans(b"\n\r", b"  ")
_encode = msgspec.json.Encoder().encode


Value = bytes | Span | Iterable[Span]
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

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members, in their order."""
        return tuple(self._values)

    def value(self, name: str) -> Iterator[bytes]:
        """Yield the text of one member's value in pieces, as it stands in the line."""
        return self._pieces([self._values[name]])

    def _pieces(self, parts: Iterable[Value]) -> Iterator[bytes]:
        held: list[bytes] = []
        held_bytes = 0
        for text in self._texts(parts):
            held.append(text)
            held_bytes += len(text)
            if held_bytes >= PIECE_BYTES:
                yield b"".join(held).translate(_LINE_BREAKS_AS_SPACES)
                held, held_bytes = [], 0
        if held:
            # Inside a JSON string a line break is always escaped, so these are white space between tokens.
            yield b"".join(held).translate(_LINE_BREAKS_AS_SPACES)

    def _texts(self, parts: Iterable[Value]) -> Iterator[bytes]:
        for part in parts:
            if isinstance(part, bytes):
                yield part
            elif isinstance(part, Span):
                yield self._lines.part(part.line, part.start, part.end)
            else:
                yield from self._array(part)

    def _array(self, spans: Iterable[Span]) -> Iterator[bytes]:
        before = b"["
        for line, group in groupby(spans, key=attrgetter("line")):
            run = list(group)
            for text in self._cut(line, run):
                yield before
                yield text
                before = b","
        yield b"]" if before == b"," else b"[]"

    def _cut(self, line: int, run: list[Span]) -> Iterator[bytes]:
        """Yield the bytes of spans of one line, whatever their order in it."""
        first, last = min(span.start for span in run), max(span.end for span in run)
        if sum(span.size_bytes for span in run) < SHARE_TAKEN_MIN * (last - first):
            for span in run:
                yield self._lines.part(line, span.start, span.end)
            return
        text = self._lines.part(line, first, last)
        for span in run:
            yield text[span.start - first : span.end - first]


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
    yield "feedback", trajectory.feedback
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
    if isinstance(part, StepPlaces):
        items, size_bytes = len(part), part.size_bytes
    else:
        sizes = [span.size_bytes for span in part]
        items, size_bytes = len(sizes), sum(sizes)
    return size_bytes + max(0, items - 1) + len(b"[]")
