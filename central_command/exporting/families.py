"""Whose sub-agent a session is, among the sessions that are exported: what `--subagents embed` needs to know.

*Who may be the parent*: a session of the same contributor whose `lineage.id` is the child's `lineage.parent_id`, as
our own clients say it; else one that has the same agent's name (`agent_id`), which clients give to a session and to all
of its sub-agents. *Who is*: the first in whose calls the child's task stands, word for word, and then that call is
known, too; of several calls with the same task each is one sub-agent's. Without such a call it is the one that the
client says; a name alone is not enough. So sub-agents of sub-agents find theirs, although they name the first of all.

Who is not among those that are exported, comes later, or is another contributor's is nobody's parent, and no circle is
made. Contributors are in one split, and so are families. Links are the plan's: what was exported before stays.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from central_command.corpus.reading import UnreadableLine
from central_command.corpus.stored import StoredCorpus
from central_command.corpus.trajectory import Trajectory
from central_command.exporting.conversation import is_call
from central_command.exporting.plan import Plan, PlannedAgent

PARENTS_MAX: Final = 64
"""Sessions that are looked at for one sub-agent. Guards time: agents with many sub-agents have as many names alike."""
DEPTH_MAX: Final = 16
"""Sub-agents within sub-agents; what is deeper stands alone."""
REMEMBERED_MAX: Final = 64
"""Sessions whose calls are remembered. Guards memory: some 100 bytes for each text of an argument."""
TEXTS_MAX: Final = 20_000
"""Texts in the arguments of one session that are looked at. Guards the same."""
TASK_CHARS_MIN: Final = 3
"""A shorter task is found anywhere."""


def join_families(stored: StoredCorpus, plan: Plan) -> None:
    """Note in the plan whose sub-agents the candidates are, and put them behind their parents. Reads all of them."""
    for candidate in plan.candidates(0):
        try:
            trajectory = stored.read(candidate.position).trajectory
        except UnreadableLine:
            continue
        lineage, name = trajectory.lineage, trajectory.agent_id
        plan.note_agent(
            PlannedAgent(
                record_id=candidate.record_id,
                trajectory_id=candidate.trajectory_id,
                contributor=candidate.contributor,
                name=f"{trajectory.provider}/{name}" if name else "",
                id=lineage.id or "",
                parent_id=lineage.parent_id or "",
                is_subagent=trajectory.is_subagent,
                ordinal=candidate.ordinal,
            )
        )
    families = _Families(stored, plan)
    for child in plan.subagents():
        families.join(child)
    plan.put_families_in_order()
    plan.set_state("is_joined", b"1")
    plan.commit()


class _Families:
    """Finds parents; what it has read of the last ones is remembered."""

    def __init__(self, stored: StoredCorpus, plan: Plan) -> None:
        self._stored = stored
        self._plan = plan
        self._places_of = lru_cache(maxsize=REMEMBERED_MAX)(self._read_places)

    def join(self, child: PlannedAgent) -> None:
        """Join a sub-agent with its parent, where one is found."""
        task = _task_of(self._read(child.record_id))
        said: tuple[str, str] | None = None
        for record_id, trajectory_id, is_said in self._plan.parents(child, PARENTS_MAX):
            places = self._places_of(record_id).get(task, ()) if task else ()
            taken = self._plan.taken_places(record_id) if places else frozenset()
            place = next((each for each in places if each not in taken), None)
            if place is not None and self._join(child, record_id, trajectory_id, place):
                return
            if is_said and said is None:
                said = record_id, trajectory_id
        if said is not None:
            self._join(child, *said, None)

    def _join(self, child: PlannedAgent, parent: str, trajectory_id: str, place: int | None) -> bool:
        return self._plan.join(child.record_id, parent, trajectory_id, place, depth_max=DEPTH_MAX)

    def _read(self, record_id: str) -> Trajectory | None:
        try:
            return self._stored.read(self._plan.position(record_id)).trajectory
        except UnreadableLine:
            return None

    def _read_places(self, record_id: str) -> dict[bytes, list[int]]:
        """The places of a session's calls by each text in their arguments."""
        trajectory = self._read(record_id)
        found: dict[bytes, list[int]] = {}
        count = 0
        for place, step in enumerate(() if trajectory is None else trajectory.steps):
            for text in _texts_in(step.arguments) if is_call(step) else ():
                count += 1
                if count > TEXTS_MAX:
                    return found
                places = found.setdefault(_digest(text), [])
                if place not in places[-1:]:
                    places.append(place)
        return found


def _task_of(trajectory: Trajectory | None) -> bytes:
    """What a sub-agent was asked first, as a digest; empty where that tells nothing."""
    steps = () if trajectory is None else trajectory.steps
    text = next((step.text for step in steps if step.type == "instruction" and step.text), "")
    return _digest(text) if len(text.strip()) >= TASK_CHARS_MIN else b""


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """The texts of a JSON value; those of JSON are never deeper than a parser goes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(each)


def _digest(text: str) -> bytes:
    return blake2b(text.strip().encode("utf-8", "replace"), digest_size=16).digest()
