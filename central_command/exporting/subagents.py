"""Embedded sub-agents where a format has one row for each conversation: each is a row of its own, behind its parent's.

A sub-agent's row says who it is as every row does (`agent_role`, `session_id`). One that the format cannot say is left
out, as its parent would be, and takes nothing else with it.
"""

from collections.abc import Callable, Iterable, Iterator

from central_command.corpus.trajectory import Embedded, Trajectory
from central_command.exporting.conversation import read_conversation
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Row


def rows_of_all(trajectory: Trajectory, rows_of: Callable[[Trajectory], Iterable[Row]]) -> list[Row]:
    """The rows of a trajectory and of its sub-agents, however deep. Raises the first LeftOut where there are none."""
    rows: list[Row] = []
    reasons: list[LeftOut] = []
    for each in family_of(trajectory):
        try:
            rows.extend(rows_of(each))
        except LeftOut as left_out:
            reasons.append(left_out)
    if not rows and reasons:
        raise reasons[0]
    return rows


def family_of(trajectory: Trajectory) -> Iterator[Trajectory]:
    """A trajectory, and behind it its sub-agents, each with its own behind it."""
    waiting = [trajectory]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(embedded.trajectory for embedded in reversed(children_of(each)))


def identity_of(trajectory: Trajectory) -> str:
    """The id of what is written of a trajectory: its own, or that of one of its parts."""
    return trajectory.trajectory_id if trajectory.parts == 1 else f"{trajectory.trajectory_id}-{trajectory.part}"


def children_of(trajectory: Trajectory) -> tuple[Embedded, ...]:
    """The sub-agents of a trajectory that have anything to say, each once."""
    found: dict[str, Embedded] = {}
    for each in trajectory.subagents:
        if read_conversation(each.trajectory).turns:
            found.setdefault(each.trajectory.trajectory_id, each)
    return tuple(found.values())
