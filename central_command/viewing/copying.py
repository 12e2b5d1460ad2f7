"""Steps as plain text, for whoever hands a session to a model or a colleague: bounded, and it says where it was cut."""

from collections.abc import Iterator
from typing import Final

from central_command.corpus.trajectory import Trajectory
from central_command.viewing.finding import Searched
from central_command.viewing.steps import ViewedStep
from persistence.format.searched_steps import leaves
from persistence.format.step_places import LARGE_BYTES, StepPlace

STEP_CHARS_MAX: Final = 20_000
"""Characters of one step that are copied."""


def heading(trajectory: Trajectory) -> str:
    """What stands above the steps."""
    lines = [f"# Session {trajectory.session_id}", f"agent: {trajectory.provider}", f"model: {trajectory.model}"]
    if trajectory.started_at:
        lines.append(f"started: {trajectory.started_at}")
    if trajectory.outcome:
        lines.append(f"outcome: {trajectory.outcome.status}")
    return "\n".join(lines) + "\n"


def copied(steps: Searched, first: int, last: int, chars_max: int) -> str:
    """The steps from one place to another as text, at most so many characters."""
    parts, used = list[str](), 0
    for place in _places(steps, first, last):
        part = _written(place, steps.step(place, LARGE_BYTES))
        if used + len(part) > chars_max:
            parts.append(f"\n[cut here: step {place.place} and what follows are not part of this copy]\n")
            break
        parts.append(part)
        used += len(part)
    return "".join(parts)


def _places(steps: Searched, first: int, last: int) -> Iterator[StepPlace]:
    for block in steps.summaries():
        if block.first + block.steps > first and block.first <= last:
            yield from (place for place in steps.places(block.first) if first <= place.place <= last)


def _written(place: StepPlace, step: ViewedStep) -> str:
    failed = " (failed)" if place.has_failed else ""
    title = " ".join(filter(None, (f"## {place.place}. {place.type}", step.tool)))
    arguments = step.arguments if isinstance(step.arguments, str) else "\n".join(leaves(step.arguments))
    said = "\n\n".join(part for part in (step.text, arguments) if part)
    if len(said) > STEP_CHARS_MAX or step.cut:
        said = f"{said[:STEP_CHARS_MAX]}\n[cut: the step has {step.stored_bytes:,} bytes]"
    return f"\n{title}{failed}\n\n{said}\n"
