"""What stands in a session, looked for in all of it: letters as they are, without case, wherever they stand.

The line is read through in pieces, and a step is decoded only where the piece may hold what is looked for. So a session
of a hundred thousand steps is looked through in some tenths of a second, and one step of any size in bounded memory.
"""

import re
import time
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from central_command.viewing.steps import ViewedStep
from persistence.format.searched_steps import leaves
from persistence.format.step_places import LARGE_BYTES, StepBlock, StepPlace

QUERY_CHARS_MAX: Final = 200
READ_BYTES: Final = 1_048_576
"""Bytes of steps that are read at a time; guards memory."""
BEFORE_CHARS: Final = 40
SNIPPET_CHARS: Final = 160
_WORD: Final = re.compile("[0-9a-z ]+")


class Searched(Protocol):
    """Steps that can be looked through."""

    def summaries(self) -> list[StepBlock]:
        """All blocks, without the places."""
        ...

    def places(self, first: int) -> list[StepPlace]:
        """The places of the block that a step is in."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """The bytes between two offsets."""
        ...

    def step(self, place: StepPlace, bytes_max: int) -> ViewedStep:
        """A step as it is shown."""
        ...

    def texts(self, place: StepPlace) -> Iterator[str]:
        """All that a step says."""
        ...


class SessionHit(msgspec.Struct, frozen=True, kw_only=True):
    """A step that holds what was looked for, and the piece around it: what stands before, the hit, what follows."""

    place: int
    type: str
    tool: str
    before: str
    hit: str
    behind: str


class Hits(msgspec.Struct, frozen=True):
    """Hits in the order of the steps. `behind` is the step to go on from, where there may be more; None at the end."""

    found: list[SessionHit]
    behind: int | None = None


def find(steps: Searched, query: str, first: int, hits_max: int, deadline: float) -> Hits:
    """The steps from one on that hold a text, at most so many, as far as the time goes (`time.monotonic`)."""
    wanted = query.lower()
    rare = max(_WORD.findall(wanted), key=len, default="").encode()
    found = list[SessionHit]()
    for some in _runs(steps, first):
        if len(found) >= hits_max or time.monotonic() > deadline:
            return Hits(found, some[0].place)
        start, end = some[0].offset, some[-1].offset + some[-1].length
        if len(some) == 1 and end - start > LARGE_BYTES:
            hit = _in_large(steps, some[0], wanted)
            found += [] if hit is None else [hit]
            continue
        piece = steps.read(start, end).lower()
        if rare and rare not in piece:
            continue
        for place in some:
            if rare and piece.find(rare, place.offset - start, place.offset - start + place.length) < 0:
                continue
            if len(found) >= hits_max:
                return Hits(found, place.place)
            hit = _in(place, steps, wanted)
            found += [] if hit is None else [hit]
    return Hits(found)


def _runs(steps: Searched, first: int) -> Iterator[list[StepPlace]]:
    """Yield places of steps that are read together: in a row, and no more bytes than may be; a large one by itself."""
    for block in steps.summaries():
        if block.first + block.steps <= first:
            continue
        some = list[StepPlace]()
        for place in steps.places(block.first):
            if place.place < first:
                continue
            is_large = place.length > LARGE_BYTES
            if some and (is_large or place.offset + place.length - some[0].offset > READ_BYTES):
                yield some
                some = []
            some.append(place)
            if is_large:
                yield some
                some = []
        if some:
            yield some


def _in(place: StepPlace, steps: Searched, wanted: str) -> SessionHit | None:
    step = steps.step(place, LARGE_BYTES)
    for text in (step.text, "\n".join(leaves(step.arguments)), step.tool):
        hit = _hit(place, text, wanted)
        if hit is not None:
            return hit
    return None


def _in_large(steps: Searched, place: StepPlace, wanted: str) -> SessionHit | None:
    """In a step that is not held as a whole: what stands across two pieces is found, too."""
    rest = ""
    for text in steps.texts(place):
        hit = _hit(place, rest + text, wanted)
        if hit is not None:
            return hit
        rest = (rest + text)[-(len(wanted) + BEFORE_CHARS) :]
    return _hit(place, place.tool, wanted)


def _hit(place: StepPlace, text: str, wanted: str) -> SessionHit | None:
    lowered = text.lower()
    at = lowered.find(wanted)
    if at < 0:
        return None
    # Of another length in small letters: then the place is no place in the text itself.
    shown = text if len(lowered) == len(text) else lowered
    end = at + len(wanted)
    start = max(0, at - BEFORE_CHARS)
    return SessionHit(
        place=place.place,
        type=place.type,
        tool=place.tool,
        before=("…" if start else "") + shown[start:at],
        hit=shown[at:end],
        behind=shown[end : end + SNIPPET_CHARS] + ("…" if len(shown) > end + SNIPPET_CHARS else ""),
    )
