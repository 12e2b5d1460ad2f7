"""Steps of a record by their numbers, some at a time: no more than so many, and no more bytes than can be shown. Pure
but for what it reads through the record.
"""

from collections.abc import Collection, Iterator
from typing import Final, Protocol

import msgspec

from central_command.viewing.settings import ViewerSettings
from central_command.viewing.steps import ViewedStep
from persistence.format.step_places import BLOCK_STEPS, StepBlock, StepPlace

RESULTS: Final = frozenset({"observation", "error"})
CONTEXT_STEPS: Final = 3
"""Steps that stand before the one that a link leads to."""

SEGMENTS: Final = 120
"""Parts that a timeline has at most."""
FINE_BLOCKS_MAX: Final = 8
"""A session of no more blocks has a timeline of steps, a longer one of blocks."""


class Steps(Protocol):
    """Where steps are, and how one is read."""

    def summaries(self) -> list[StepBlock]:
        """All blocks, without the places."""
        ...

    def places(self, first: int) -> list[StepPlace]:
        """The places of the block that a step is in; empty behind the last one."""
        ...

    def place(self, number: int) -> StepPlace | None:
        """The place of one step."""
        ...

    def step(self, place: StepPlace, bytes_max: int) -> ViewedStep:
        """A step as it is shown."""
        ...


class Shown(msgspec.Struct, frozen=True):
    """A step of a window, with the result of its call beside it.

    `is_apart` is whether that result stands outside the window, too far away to be shown only here. `call` is the place
    of the call whose result this step is, where that stands outside the window.
    """

    step: ViewedStep
    result: ViewedStep | None = None
    is_apart: bool = False
    call: int = 0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in a row, of the chosen types. `before` and `behind` are where the next windows end and begin; 0 for none.

    `first` and `last` are the places that it covers, also of steps that were not chosen.
    """

    shown: list[Shown]
    first: int
    last: int
    before: int
    behind: int
    total: int


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a timeline: its steps, the type that most of them have, and how many of them failed."""

    first: int
    last: int
    kind: str
    failed: int
    turns: int


def window_from(steps: Steps, first: int, types: Collection[str], total: int, settings: ViewerSettings) -> Window:
    """The window that begins with a step."""
    chosen, used = list[StepPlace](), 0
    behind = 0
    for place in _forward(steps, max(first, 1), types):
        if _is_full(chosen, used, place, settings):
            behind = place.place
            break
        chosen.append(place)
        used += _shown_bytes(place, settings)
    begin = max(first, 1)
    before = next((place.place for place in _backward(steps, begin - 1, types)), 0)
    last = behind - 1 if behind else total
    return _window(steps, chosen, (begin, last), before, behind, total, settings)


def window_until(steps: Steps, last: int, types: Collection[str], total: int, settings: ViewerSettings) -> Window:
    """The window that ends with a step."""
    chosen, used = list[StepPlace](), 0
    before = 0
    last = min(last, total)
    for place in _backward(steps, last, types):
        if _is_full(chosen, used, place, settings):
            before = place.place
            break
        chosen.append(place)
        used += _shown_bytes(place, settings)
    chosen.reverse()
    behind = next((place.place for place in _forward(steps, last + 1, types)), 0)
    return _window(steps, chosen, (before + 1, last), before, behind, total, settings)


def turn_begins(steps: Steps, turn: int) -> int | None:
    """The place of the first step of a turn, from 1; None where there are not so many."""
    passed = 0
    for block in steps.summaries():
        if passed + block.turns >= turn:
            return next(
                (each.place for each in steps.places(block.first) if each.begins_turn and each.turn == turn), None
            )
        passed += block.turns
    return None


def timeline(steps: Steps) -> list[Segment]:
    """The whole session in no more than SEGMENTS parts."""
    summaries = steps.summaries()
    if len(summaries) > FINE_BLOCKS_MAX:
        return _merged([_of_block(block) for block in summaries])
    places = [place for block in summaries for place in steps.places(block.first)]
    return _merged(
        [(place.place, place.place, {place.type: 1}, int(place.has_failed), int(place.begins_turn)) for place in places]
    )


_Part = tuple[int, int, dict[str, int], int, int]


def _of_block(block: StepBlock) -> _Part:
    return block.first, block.first + block.steps - 1, block.type_counts(), block.failed, block.turns


def _merged(parts: list[_Part]) -> list[Segment]:
    each = max(1, -(-len(parts) // SEGMENTS))
    found = list[Segment]()
    for at in range(0, len(parts), each):
        some = parts[at : at + each]
        counts = dict[str, int]()
        for _, _, of_part, _, _ in some:
            for kind, count in of_part.items():
                counts[kind] = counts.get(kind, 0) + count
        found.append(
            Segment(
                first=some[0][0],
                last=some[-1][1],
                kind=max(counts, key=lambda kind: counts[kind], default=""),
                failed=sum(part[3] for part in some),
                turns=sum(part[4] for part in some),
            )
        )
    return found


def _window(
    steps: Steps,
    chosen: list[StepPlace],
    covered: tuple[int, int],
    before: int,
    behind: int,
    total: int,
    settings: ViewerSettings,
) -> Window:
    """The chosen steps as they are shown: a result stands in its call's place where that is in the same window."""
    within = {place.place for place in chosen}
    left = settings.window_bytes_max
    shown = list[Shown]()
    for place in chosen:
        is_result = place.type in RESULTS
        if is_result and place.partner in within:
            continue
        step = steps.step(place, settings.step_bytes_max)
        if is_result or not place.partner:
            shown.append(Shown(step, call=place.partner if is_result else 0))
            continue
        answer = steps.place(place.partner)
        is_apart = place.partner not in within
        if answer is None or (is_apart and _shown_bytes(answer, settings) > left):
            shown.append(Shown(step, is_apart=answer is not None))
            continue
        if is_apart:
            left -= _shown_bytes(answer, settings)
        shown.append(Shown(step, steps.step(answer, settings.step_bytes_max), is_apart=is_apart))
    return Window(shown=shown, first=covered[0], last=covered[1], before=before, behind=behind, total=total)


def _forward(steps: Steps, first: int, types: Collection[str]) -> Iterator[StepPlace]:
    """Yield the places of the chosen steps from one on; a block that holds none of them is not read."""
    for block in steps.summaries():
        if block.first + block.steps > first and _holds(block, types):
            yield from (
                place for place in steps.places(block.first) if place.place >= first and _is_chosen(place, types)
            )


def _backward(steps: Steps, last: int, types: Collection[str]) -> Iterator[StepPlace]:
    for block in reversed(steps.summaries()):
        if block.first <= last and _holds(block, types):
            yield from (
                place
                for place in reversed(steps.places(block.first))
                if place.place <= last and _is_chosen(place, types)
            )


def _holds(block: StepBlock, types: Collection[str]) -> bool:
    return not types or not block.type_counts().keys().isdisjoint(types)


def _is_chosen(place: StepPlace, types: Collection[str]) -> bool:
    return not types or place.type in types


def _is_full(chosen: list[StepPlace], used: int, place: StepPlace, settings: ViewerSettings) -> bool:
    if len(chosen) >= settings.window_steps:
        return True
    return bool(chosen) and used + _shown_bytes(place, settings) > settings.window_bytes_max


def _shown_bytes(place: StepPlace, settings: ViewerSettings) -> int:
    return min(place.length, settings.step_bytes_max)


assert BLOCK_STEPS > CONTEXT_STEPS, "a step and what stands before it are in two blocks at most"
