"""A trajectory as a conversation: the one reading of its steps that all formats share, so that they agree. Pure.

    steps:  instruction  thought  action a  action b  observation a  observation b  thought   instruction
    turns:  heard        inference (text, calls a and b, their results)            inference  heard

*An inference* is what the agent said, thought and called until the next thing it was given: its own steps in a row. A
result belongs to its call, so it stands in the inference of the call, wherever its step lies; one that answers an
earlier call ends no inference that has begun meanwhile.

*Heard* is what came from outside: from people, from other agents, from the program, and results that answer no call.

| step | becomes |
|---|---|
| thought of source `thinking` | reasoning of an inference |
| thought, resolution, edit, coordination, delegate, yield | prose of an inference; a call where a tool is named |
| action | a call; its content only where it says more than tool and arguments do |
| observation, error | the result of its call; without one, heard |
| instruction, clarification, approval | heard |
| correction | by its source: the agent's own is prose, anybody else's heard |
| coordination and the like, received from another agent | heard |

*Which call a result answers*: the one of the same `call_id`, and of several of the same id the first that has no
result; clients of the published contract name no ids, so there the first call without an id that still waits, unless
the result names another tool. What says where it came from otherwise (`source`) is no such result. A second result of a
call, and one of a call that was never made, is heard: nothing is lost, and no call has two.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final, Literal

import msgspec

from central_command.corpus.trajectory import Step, Trajectory

UNNAMED: Final = "unnamed"
"""The tool of a call that names none."""

Role = Literal["user", "system"]

_RESULTS: Final = frozenset({"observation", "error"})
_OF_AGENT: Final = frozenset({"thought", "action", "resolution", "edit", "coordination", "delegate", "yield"})
_AGENTS_OWN: Final = frozenset({"agent", "thinking", "model", "assistant"})
_SYSTEMS: Final = frozenset({"program", "system", "compaction"})
COMPACTION: Final = "compaction"


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A step, and its place in the trajectory's steps, from 0; `said` of an agent's own is what it says in words."""

    place: int
    step: Step
    said: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call of a tool. `call_id` is the conversation's only one of that name, made up where the step has none."""

    place: int
    step: Step
    call_id: str
    name: str
    arguments: Mapping[str, Any]
    result: Placed | None = None


class Heard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that the agent was given. `is_result`: a tool said it, and nobody, and it has no call."""

    place: int
    step: Step
    role: Role = "user"
    is_result: bool = False

    @property
    def is_compaction(self) -> bool:
        """Whether the context was replaced by a shorter one here."""
        return COMPACTION in {self.step.source, self.step.intent}

    @property
    def is_request(self) -> bool:
        """Whether somebody asks for something: a person, or the agent whose sub-agent this is."""
        return self.role == "user" and not self.is_result and bool(self.step.text)


class Inference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the agent said in one go, in order of kinds: reasoning, prose, calls (with their results).

    `own_steps` are all of these in the order of the trajectory, each once, and at least one; no results. Steps that say
    nothing and tell usage are among them.
    """

    own_steps: tuple[Placed, ...]
    reasoning: tuple[Placed, ...] = ()
    prose: tuple[Placed, ...] = ()
    calls: tuple[Call, ...] = ()

    @property
    def is_answered(self) -> bool:
        """Whether each call has its result."""
        return all(call.result is not None for call in self.calls)


Turn = Heard | Inference


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """All turns of a trajectory, in order; each step is in exactly one, but for an agent's step that says nothing."""

    trajectory: Trajectory
    turns: tuple[Turn, ...]

    @property
    def copied(self) -> frozenset[int]:
        """The places of steps that an earlier trajectory holds already."""
        return self.trajectory.copied_places

    @property
    def calls(self) -> Iterator[Call]:
        """All calls, in order."""
        for turn in self.turns:
            if isinstance(turn, Inference):
                yield from turn.calls


def read_conversation(trajectory: Trajectory) -> Conversation:
    """The turns of a trajectory."""
    return Conversation(trajectory, tuple(_Reading(trajectory).turns()))


def is_call(step: Step) -> bool:
    """Whether a step of the agent calls a tool."""
    if step.type == "action":
        return bool(step.tool) or step.arguments is not None
    return step.type in _OF_AGENT and step.type != "thought" and bool(step.tool)


def said_by(step: Step) -> str:
    """What an agent's step says in words; empty for a call's label that only repeats its tool or its arguments."""
    text = step.content
    if not text:
        return ""
    if step.type != "action" or not is_call(step):
        return text
    if text in (step.tool, f"Using {step.tool}"):
        return ""
    values = [value for value in (step.arguments or {}).values() if isinstance(value, str) and value]
    label, _, rest = text.partition(": ")
    return "" if text in values or (rest in values and " " not in label) else text


class _Reading:
    """One trajectory while it is read."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._steps = trajectory.steps
        received = {link.step for link in trajectory.links if link.direction == "received"}
        self._is_agents = [
            step.source in _AGENTS_OWN
            if step.type == "correction"
            else step.type in _OF_AGENT and step.step not in received
            for step in self._steps
        ]
        self._is_call = [own and is_call(step) for own, step in zip(self._is_agents, self._steps, strict=True)]
        self._results, self._answered = self._matched()
        self._ids = _unique_ids(self._steps, self._is_call)

    def turns(self) -> Iterator[Turn]:
        waiting: list[Placed] = []
        answered = self._answered
        for place, (step, is_agents) in enumerate(zip(self._steps, self._is_agents, strict=True)):
            call = answered.get(place)
            if call is not None:
                if waiting and call >= waiting[0].place:
                    yield from self._inference(waiting)
            elif is_agents:
                waiting.append(Placed(place, step, said_by(step)))
            else:
                if waiting:
                    yield from self._inference(waiting)
                yield Heard(place=place, step=step, role=_role(step), is_result=step.type in _RESULTS)
        yield from self._inference(waiting)

    def _inference(self, waiting: list[Placed]) -> Iterator[Inference]:
        """The inference that these steps are, and none of them waits any more."""
        own, reasoning, prose, calls = [], [], [], []
        for each in waiting:
            if each.place in self._ids:
                calls.append(self._call(each))
            elif not each.said and each.step.usage is None:
                continue
            own.append(each)
            if not each.said:
                continue
            if each.step.type == "thought" and each.step.source == "thinking":
                reasoning.append(each)
            else:
                prose.append(each)
        waiting.clear()
        if reasoning or prose or calls:
            yield Inference(own_steps=tuple(own), reasoning=tuple(reasoning), prose=tuple(prose), calls=tuple(calls))

    def _call(self, each: Placed) -> Call:
        result = self._results.get(each.place)
        return Call(
            place=each.place,
            step=each.step,
            call_id=self._ids[each.place],
            name=each.step.tool or UNNAMED,
            arguments=each.step.arguments or {},
            result=None if result is None else Placed(result, self._steps[result]),
        )

    def _matched(self) -> tuple[dict[int, int], dict[int, int]]:
        """The place of each call's result by the call's, and the other way round."""
        by_id: defaultdict[str, deque[int]] = defaultdict(deque)
        unnamed: deque[int] = deque()
        nothing: deque[int] = deque()
        results: dict[int, int] = {}
        for place, step in enumerate(self._steps):
            if self._is_call[place]:
                (by_id[step.call_id] if step.call_id else unnamed).append(place)
            elif step.type in _RESULTS:
                waiting = by_id.get(step.call_id, nothing) if step.call_id else unnamed
                if waiting and (step.call_id or self._answers(step, self._steps[waiting[0]])):
                    results[waiting.popleft()] = place
        return results, {result: call for call, result in results.items()}

    @staticmethod
    def _answers(result: Step, call: Step) -> bool:
        """Whether a result without an id may be that of a call without one."""
        return result.source is None and result.tool in {None, "", call.tool}


def _role(step: Step) -> Role:
    is_system = step.source in _SYSTEMS or step.intent == COMPACTION
    return "system" if is_system and step.type not in _RESULTS else "user"


def _unique_ids(steps: Sequence[Step], is_call: Sequence[bool]) -> dict[int, str]:
    """An id for each call, by its place: its own, if no other call has it; else one that nobody has."""
    taken = {step.call_id for step in steps if step.call_id}
    given: set[str] = set()
    ids: dict[int, str] = {}
    for place in compress(range(len(steps)), is_call):
        chosen = steps[place].call_id
        if not chosen or chosen in given:
            chosen = _free(f"{chosen}-" if chosen else "call_", place + 1, taken)
        taken.add(chosen)
        given.add(chosen)
        ids[place] = chosen
    return ids


def _free(beginning: str, number: int, taken: set[str]) -> str:
    """The first id that nobody has, counted up from a number."""
    while f"{beginning}{number}" in taken:
        number += 1
    return f"{beginning}{number}"
