"""Stitching: a closed session's stored envelopes become one trajectory (contract, "TrajectoryStitcher"). Pure.

What clients sent stays the bytes that they sent: steps, metadata, outcome and feedback are cut out of the stored texts
and put into the trajectory's line as they are. Only what is counted or sorted by is decoded.

A session may be far larger than the memory that stitching may take. So its lines are read one after the other, and
what is kept of them is numbers: where each step stands, its step number, its type and its digest. The trajectory's text
is then written from those places (`actors.trajectories.writing`), which reads the lines a second time.

Chunks are ordered by `chunk_sequence`, then their steps by step number. Both sorts are stable: chunks of the same
`chunk_sequence` stay in the order in which they were accepted, and steps of the same number, within a chunk or in
different ones, stay in the order of their chunks. None is dropped, because nothing tells which would be the right one.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Annotated, Self

import msgspec

from actors.envelopes.reading import Envelope
from actors.envelopes.repeated_names import has_repeated_name
from actors.envelopes.schema import TIME_SHIFT_S_MAX, seconds_of
from actors.trajectories.chunk_lines import ChunkLine, present, read_chunk, read_stored, values_of
from actors.trajectories.coordination import COORDINATION_TYPES, CoordinationLink, answered, link
from actors.trajectories.lines import SessionLines, Span
from persistence.format import json_text
from persistence.format.records import ClosedBy, CopiedRun, EnvelopeKind, SequenceGap
from persistence.format.step_runs import StepDigests

TOOL_CHARS_MAX = 1_000
"""A longer text is no tool's name: it is left out of `tools`, and stays in its step."""


class StepPlaces(msgspec.Struct, frozen=True):
    """Where the steps of a trajectory stand, in its order: the line of each, and its bytes in that line's text."""

    lines: "array[int]"
    starts: "array[int]"
    ends: "array[int]"

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def size_bytes(self) -> int:
        """How many bytes they have together."""
        return sum(self.ends) - sum(self.starts)

    def __iter__(self) -> Iterator[Span]:
        for line, start, end in zip(self.lines, self.starts, self.ends, strict=True):
            yield Span(line, start, end)

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Self:
        """Those of some spans."""
        lines, starts, ends = (
            [span.line for span in spans],
            [span.start for span in spans],
            [span.end for span in spans],
        )
        return cls(array("l", lines), array("q", starts), array("q", ends))

    def runs(self) -> Iterator[tuple[int, "array[int]", "array[int]"]]:
        """Yield the places in a row that are in one line: that line, and where each starts and ends."""
        first = 0
        for line, group in groupby(self.lines):
            last = first + sum(1 for _ in group)
            yield line, self.starts[first:last], self.ends[first:last]
            first = last


class StepKinds:
    """The type of each step, in a byte a step; in the order in which they were accepted, or another."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._steps = bytearray()

    def __repr__(self) -> str:
        return f"<StepKinds {len(self._steps)}>"

    def add(self, kinds: Iterable[str]) -> None:
        """Take in the next steps."""
        codes = self._codes
        self._steps += bytes([codes.setdefault(kind, len(codes)) for kind in kinds])

    def in_order(self, places: Sequence[int]) -> "StepKinds":
        """The same steps in another order, given by their places."""
        if places == list(range(len(self._steps))):
            return self
        other = StepKinds()
        other._codes = self._codes
        other._steps = bytearray([self._steps[place] for place in places])
        return other

    def counts(self, without: Iterable[CopiedRun] = ()) -> dict[str, int]:
        """How many steps there are of each type, but for those of some runs; types without any are left out."""
        counted = Counter(self._steps)
        for run in without:
            counted -= Counter(self._steps[run.from_step - 1 : run.to_step])
        return {name: counted[code] for name, code in self._codes.items() if counted[code]}


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """A whole session, its texts by their places in the session's lines; `model` is its `model_engine`.

    `metadata`, `contributor_id`, `provider`, `model` and `task_complexity` are the first chunk's; `close_metadata` and
    `outcome` are SESSION_CLOSE's, None when the server closed the session. `tools` is sorted and holds each once.
    `started_at` and `ended_at` are the real times of the first and the last of its steps by time, in seconds since the
    epoch, whatever `time_shift_s` its clients' times were moved by (None when they do not say).
    `repeated_members` counts the session's envelopes in which an object has a name twice.
    """

    session_id: str
    contributor_id: str
    provider: str
    model: str
    task_complexity: str | None
    metadata: Span
    close_metadata: Span | None
    steps: StepPlaces
    links: tuple[CoordinationLink, ...]
    outcome: Span | None
    total_tokens: int
    tools: tuple[str, ...]
    step_kinds: StepKinds
    step_digests: StepDigests
    started_at: float | None
    ended_at: float | None
    time_shift_s: float | None
    total_chunks: int
    gaps: tuple[SequenceGap, ...]
    repeated_members: int
    feedback: tuple[Span, ...]
    closed_by: ClosedBy

    @property
    def step_type_counts(self) -> dict[str, int]:
        """How many steps there are of each type."""
        return self.step_kinds.counts()


def stitch(
    session_id: str, lines: SessionLines, *, gaps: Iterable[SequenceGap], closed_by: ClosedBy
) -> Trajectory | None:
    """Stitch a session, or None when it has no chunk; reads each line once.

    The lines are JSON object texts that passed the schema, such as journal lines. Raises ValueError for a text that
    never passed it.
    """
    of_kind: dict[EnvelopeKind, list[int]] = {kind: [] for kind in EnvelopeKind}
    for index, kind in enumerate(lines.kinds):
        of_kind[kind].append(index)
    if not of_kind[EnvelopeKind.CHUNK]:
        return None
    session = _Chunks()
    for index in of_kind[EnvelopeKind.CHUNK]:
        session.add(index, lines.text(index))
    assert session.first is not None
    order = session.order()
    close = of_kind[EnvelopeKind.SESSION_CLOSE][:1]
    closing = read_stored(lines.text(close[0])) if close else None
    repeated_members = session.repeated_members + (closing is not None and has_repeated_name(values_of(closing)))
    feedback: list[Span] = []
    for index in of_kind[EnvelopeKind.USER_FEEDBACK]:
        told = read_stored(lines.text(index))
        member = present(told, "feedback")
        feedback.append(Span(index, member.value_start, member.value_end))
        repeated_members += has_repeated_name(values_of(told))
    return Trajectory(
        session_id=session_id,
        contributor_id=session.first.contributor_id,
        provider=session.first.provider,
        model=session.first.model,
        task_complexity=session.first.task_complexity,
        metadata=session.first.metadata,
        close_metadata=None if closing is None else _span(close[0], closing, "metadata"),
        steps=session.steps_in(order),
        links=session.links_in(order),
        outcome=None if closing is None else _span(close[0], closing, "outcome"),
        total_tokens=session.tokens,
        tools=tuple(sorted(session.tools)),
        step_kinds=session.kinds.in_order(order),
        step_digests=session.digests.in_order(order),
        started_at=session.started_at,
        ended_at=session.ended_at,
        time_shift_s=session.first.time_shift_s,
        total_chunks=len(of_kind[EnvelopeKind.CHUNK]),
        gaps=tuple(gaps),
        repeated_members=repeated_members,
        feedback=tuple(feedback),
        closed_by=closed_by,
    )


class _First(msgspec.Struct, frozen=True):
    """What a trajectory takes from its first chunk."""

    chunk_sequence: int
    contributor_id: str
    provider: str
    model: str
    task_complexity: str | None
    time_shift_s: float | None
    metadata: Span


class _Chunks:
    """What is counted and noted of a session's chunks, in the order in which they were accepted."""

    def __init__(self) -> None:
        self.first: _First | None = None
        self.tokens = 0
        self.kinds = StepKinds()
        self.digests = StepDigests()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.tools: set[str] = set()
        self.repeated_members = 0
        self._sequences: dict[int, int] = {}
        self._numbers = array("q")
        self._lines = array("l")
        self._starts = array("q")
        self._ends = array("q")
        self._links: dict[int, CoordinationLink] = {}

    def add(self, index: int, text: bytes) -> None:
        """Take in the chunk that is line `index`."""
        chunk = read_chunk(text)
        self._sequences[index] = chunk.chunk_sequence
        described = _first_of(index, chunk)
        if self.first is None or chunk.chunk_sequence < self.first.chunk_sequence:
            self.first = described
        self._note_times(chunk.times, described.time_shift_s or 0.0)
        for place, step in enumerate(chunk.steps):
            if step.type in COORDINATION_TYPES:
                found = link(text[chunk.starts[place] : chunk.ends[place]])
                assert found is not None
                self._links[len(self._numbers) + place] = found
        self.kinds.add([step.type for step in chunk.steps])
        are_plain = self.digests.add(chunk.steps)
        self.repeated_members += has_repeated_name(chunk.others if are_plain else chain(chunk.arguments, chunk.others))
        self.tokens += chunk.tokens
        self.tools |= {name for tool in chunk.tools if (name := _tool_name(tool)) and len(name) <= TOOL_CHARS_MAX}
        self._numbers.extend(chunk.numbers)
        self._lines.extend([index] * len(chunk.steps))
        self._starts.extend(chunk.starts)
        self._ends.extend(chunk.ends)

    def _note_times(self, given: Sequence[float], shift_s: float) -> None:
        """Note the real times of a chunk's steps: those that its client gave them, without its shift."""
        times = [seconds_of(each) - shift_s for each in given]
        if times:
            self.started_at = min(times) if self.started_at is None else min(self.started_at, *times)
            self.ended_at = max(times) if self.ended_at is None else max(self.ended_at, *times)

    def order(self) -> list[int]:
        """The steps in the trajectory's order, by their place in the order of acceptance."""
        ranks = {index: rank for rank, index in enumerate(sorted(self._sequences, key=self._sequences.__getitem__))}
        keys = [*zip(self._numbers, map(ranks.__getitem__, self._lines), strict=True)]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def steps_in(self, order: Sequence[int]) -> StepPlaces:
        """Where the steps stand, in this order."""
        return StepPlaces(
            array("l", [self._lines[place] for place in order]),
            array("q", [self._starts[place] for place in order]),
            array("q", [self._ends[place] for place in order]),
        )

    def links_in(self, order: Sequence[int]) -> tuple[CoordinationLink, ...]:
        """The coordination links, in this order."""
        return answered([self._links[place] for place in order if place in self._links])


# Reading what is stored.


class _MetadataFacts(msgspec.Struct, frozen=True):
    provider: str
    model_engine: str
    task_complexity: str | None = None
    # Chunks that were accepted by earlier versions may hold anything here.
    time_shift_s: msgspec.Raw = msgspec.Raw()


_METADATA = msgspec.json.Decoder(_MetadataFacts)
_TIME_SHIFT = msgspec.json.Decoder(Annotated[float, msgspec.Meta(ge=-TIME_SHIFT_S_MAX, le=TIME_SHIFT_S_MAX)] | None)
_TEXT = msgspec.json.Decoder(str)


def _first_of(index: int, chunk: ChunkLine) -> _First:
    metadata = json_text.decode(_METADATA, chunk.metadata)
    return _First(
        chunk_sequence=chunk.chunk_sequence,
        contributor_id=chunk.contributor_id.lower(),
        provider=metadata.provider,
        model=metadata.model_engine,
        task_complexity=metadata.task_complexity,
        time_shift_s=_time_shift_s(bytes(metadata.time_shift_s)),
        metadata=Span(index, chunk.metadata_start, chunk.metadata_start + len(chunk.metadata)),
    )


def _time_shift_s(value: bytes) -> float | None:
    try:
        return json_text.decode(_TIME_SHIFT, value) if value else None
    except msgspec.DecodeError:
        return None


def _tool_name(value: bytes) -> str | None:
    return json_text.decode(_TEXT, value) if value.startswith(b'"') else None


def _span(index: int, envelope: Envelope, name: str) -> Span | None:
    for member in envelope.members:
        if member.name == name:
            return Span(index, member.value_start, member.value_end)
    return None
