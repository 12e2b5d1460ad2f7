"""What a session's turns are about: a list to jump from, some at a time, wherever they begin. Blocking."""

import time
from collections.abc import Iterator

import msgspec

from actors.curation.summaries import READ_CHARS, line_of
from central_command.viewing.settings import ViewerSettings
from central_command.viewing.windows import Steps
from persistence.format.step_places import StepPlace


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn: its number, the place of its first step, and the first sentence of what was asked for; "" without one."""

    number: int
    place: int
    title: str


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """Turns in a row; `before` and `behind` are those that the lists beside this one begin with, 0 where none does."""

    found: list[Turn]
    before: int
    behind: int


def turns_from(steps: Steps, first: int, settings: ViewerSettings) -> Turns:
    """The list that begins with a turn: at most `turns_max`, as far as the time goes (`timeout_s`)."""
    deadline = time.monotonic() + settings.timeout_s
    found = list[Turn]()
    behind = 0
    for place in _beginnings(steps, first):
        if len(found) >= settings.turns_max or (found and time.monotonic() > deadline):
            behind = place.turn
            break
        found.append(Turn(number=place.turn, place=place.place, title=line_of(steps.step(place, READ_CHARS).text)))
    return Turns(found=found, before=max(1, first - settings.turns_max) if first > 1 else 0, behind=behind)


def _beginnings(steps: Steps, first: int) -> Iterator[StepPlace]:
    """Yield the first steps of turns from one on; a block in which none begins is not read."""
    passed = 0
    for block in steps.summaries():
        passed += block.turns
        if block.turns and passed >= first:
            yield from (each for each in steps.places(block.first) if each.begins_turn and each.turn >= first)
