"""Where each step of a record stands in its line, so that a window of steps is read without all the others. Pure.

A block is some steps in a row. What search.db holds of one is an array of arrays in JSON, compressed: docs/format.md
("step_blocks") has its members. Another way to read a line takes a migration of search.db, which makes it anew.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from persistence.format import json_text
from persistence.format.searched_steps import STEPS_MAX

BLOCK_STEPS: Final = 512
"""Steps of a block: each is read in less than a millisecond, and 100,000 steps are 200 of them."""

LARGE_BYTES: Final = 65_536
"""A longer step is never read as a whole to be shown, so the places of its members are noted, too."""

NAME_CHARS_MAX: Final = 64
"""Of a tool's name or a type that stays in a block; the step itself has all of it."""

NO_TURN: Final = frozenset({"program", "attachment", "notification", "hook", "api", "compaction"})
"""Sources of instructions that nobody gave."""

_RESULTS: Final = frozenset({"observation", "error"})
_LOG: Final = "trajectory_log"
_NO_TEXTS: Final = frozenset({"timestamp", "is_error"})


class MemberPlace(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A member of a large step: its name, where its value begins in the step, and how many bytes it has."""

    name: str
    offset: int
    length: int


class StepPlace(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A step: where its JSON text begins in the line, and what it is chosen by.

    `place` is where it stands among the steps, from 1. `turn` counts what people asked for, from 1; 0 before the first.
    `partner` is the place of the result of a call, or of the call of a result, by their `call_id`; 0 without one.
    `begins_turn` is whether it is the first step of its turn.
    """

    place: int
    offset: int
    length: int
    type: str
    tool: str
    turn: int
    at: float
    partner: int = 0
    has_failed: bool = False
    begins_turn: bool = False
    members: tuple[MemberPlace, ...] = ()


class StepBlock(msgspec.Struct, frozen=True):
    """Steps in a row: the place of the first, how many there are of each type, how many begin a turn, and all of them.

    `failed` counts those that failed.
    """

    first: int
    steps: int
    turns: int
    failed: int
    counts: bytes
    places: bytes

    def type_counts(self) -> dict[str, int]:
        """How many steps there are of each type."""
        return _COUNTS.decode(self.counts)

    def step_places(self) -> list[StepPlace]:
        """All of its steps, in order."""
        return _PLACES.decode(zlib.decompress(self.places))


class LogPlace(msgspec.Struct, frozen=True):
    """Where the array of steps begins and ends in a line, its brackets included."""

    start: int
    end: int


class StepFacts(msgspec.Struct, frozen=True, gc=False):
    """What steps are chosen by, as a step has it."""

    type: str = ""
    timestamp: float = 0.0
    tool: str | None = None
    call_id: str | None = None
    source: str | None = None
    is_error: bool | None = None

    @property
    def has_failed(self) -> bool:
        """Whether it says so."""
        return self.type == "error" or self.is_error is True


class Placeable(Protocol):
    """What of a step is told beside its place."""

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def timestamp(self) -> float:
        """When it was, by the clock of who sent it; 0 without."""
        ...

    @property
    def tool(self) -> str | None:
        """Its tool, if it names one."""
        ...

    @property
    def source(self) -> str | None:
        """Who gave it, if that is said."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether it says that something failed."""
        ...


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STEPS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FACTS: Final = msgspec.json.Decoder(StepFacts)
_ANY: Final = msgspec.json.Decoder(dict[str, Any])
_PLACES: Final = msgspec.json.Decoder(list[StepPlace])
_COUNTS: Final = msgspec.json.Decoder(dict[str, int])


def log_place(line: bytes) -> tuple[LogPlace, bytes]:
    """Where a line has its steps, and their JSON text; raises msgspec.DecodeError where it has none.

    The line is compact JSON without halves of surrogate pairs, as the corpus has it; in another no place is found.
    """
    place = log_among(line, json_text.decode(_MEMBERS, line))
    return place, line[place.start : place.end]


def log_among(line: bytes, members: dict[str, msgspec.Raw]) -> LogPlace:
    """Where a line whose members are known has its steps; raises as `log_place`."""
    for member in _placed(line, members):
        if member.name == _LOG:
            return LogPlace(member.offset, member.offset + member.length)
    raise msgspec.DecodeError("the line has no steps that could be found")


def step_places(log: LogPlace, text: bytes) -> Iterator[StepPlace]:
    """Yield the places of all steps of a line, their partners included; `text` is that of the array.

    Raises msgspec.DecodeError for what is no array of objects.
    """
    steps = StepsInOrder()
    steps.take(log, text)
    yield from steps.places()


class StepsInOrder:
    """The places of the steps of several arrays, one after the other; steps count on from one to the next."""

    def __init__(self) -> None:
        self._found: list[tuple[StepPlace, str | bytes | None]] = []
        self._turn = 0
        self._asked = False

    def __repr__(self) -> str:
        return f"<StepsInOrder {len(self._found)}>"

    def take(self, log: LogPlace, text: bytes) -> None:
        """Take in the steps of an array; raises msgspec.DecodeError for what is no array of objects."""
        at = 0
        steps: list[msgspec.Raw] = json_text.decode(_STEPS, text)
        for raw in steps[: STEPS_MAX - len(self._found)]:
            step = bytes(raw)
            at = text.index(step, at)
            facts = _facts(step)
            self.note(facts, facts.call_id, step, log.start + at)
            at += len(step)

    def places(self) -> list[StepPlace]:
        """All places, with their partners."""
        partners = _partners(self._found)
        if not partners:
            return [place for place, _ in self._found]
        return [
            msgspec.structs.replace(place, partner=partners[place.place]) if place.place in partners else place
            for place, _ in self._found
        ]

    def note(self, facts: Placeable, call_id: str | bytes | None, step: bytes | memoryview, offset: int) -> None:
        """Take in the next step, whose JSON text is `step`; calls and results are joined by equal ids."""
        asks = facts.type == "instruction" and facts.source not in NO_TURN
        begins = asks and not self._asked
        self._turn, self._asked = self._turn + begins, asks
        place = StepPlace(
            len(self._found) + 1,
            offset,
            len(step),
            facts.type[:NAME_CHARS_MAX],
            (facts.tool or "")[:NAME_CHARS_MAX],
            self._turn,
            facts.timestamp,
            has_failed=facts.has_failed,
            begins_turn=begins,
            members=_member_places(bytes(step)) if len(step) > LARGE_BYTES else (),
        )
        self._found.append((place, call_id))


def blocks(places: Iterable[StepPlace]) -> Iterator[StepBlock]:
    """Yield the steps as blocks."""
    rest = iter(places)
    while some := list(islice(rest, BLOCK_STEPS)):
        counts = dict(sorted(Counter(each.type for each in some).items()))
        yield StepBlock(
            first=some[0].place,
            steps=len(some),
            turns=sum(each.begins_turn for each in some),
            failed=sum(each.has_failed for each in some),
            counts=msgspec.json.encode(counts),
            places=zlib.compress(msgspec.json.encode(some)),
        )


def _partners(found: Sequence[tuple[StepPlace, str | bytes | None]]) -> dict[int, int]:
    """The call of each result and the result of each call: of several of one id the first that waits."""
    waiting, partners = dict[str | bytes, list[int]](), dict[int, int]()
    for place, call_id in found:
        if not call_id:
            continue
        if place.type not in _RESULTS:
            waiting.setdefault(call_id, []).append(place.place)
        elif calls := waiting.get(call_id):
            call = calls.pop(0)
            partners[call], partners[place.place] = place.place, call
    return partners


def _facts(step: bytes) -> StepFacts:
    """What a step is chosen by; what has another type than the contract's counts as missing."""
    try:
        return json_text.decode(_FACTS, step)
    except msgspec.DecodeError:
        pass
    try:
        members = json_text.decode(_ANY, step)
    except (msgspec.DecodeError, OverflowError):
        return StepFacts()
    named = {name: value for name, value in members.items() if name in StepFacts.__struct_fields__}
    texts = {name: value for name, value in named.items() if name not in _NO_TEXTS and isinstance(value, str)}
    return StepFacts(**texts, is_error=named.get("is_error") is True)  # type: ignore[arg-type] # but these are texts


def _member_places(step: bytes) -> tuple[MemberPlace, ...]:
    """Where the members of a step are; none of one whose members cannot be told apart."""
    try:
        found = tuple(_placed(step, json_text.decode(_MEMBERS, step)))
    except msgspec.DecodeError:
        return ()
    return tuple(msgspec.structs.replace(each, name=each.name[:NAME_CHARS_MAX]) for each in found)


def _placed(text: bytes, members: dict[str, msgspec.Raw]) -> Iterator[MemberPlace]:
    """Yield the places of an object's members in compact JSON; raises msgspec.DecodeError where they are not there."""
    at = 0
    for name, raw in members.items():
        prefix, value = msgspec.json.encode(name) + b":", bytes(raw)
        begin = at + 1 + len(prefix)
        if not text.startswith(prefix, at + 1) or not text.startswith(value, begin):
            raise msgspec.DecodeError("the members of an object cannot be told apart")
        yield MemberPlace(name, begin, len(value))
        at = begin + len(value)
