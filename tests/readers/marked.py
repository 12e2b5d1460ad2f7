"""Sessions whose every text and argument is one of a kind, so that a reader's output can be searched for it."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from central_command.corpus.trajectory import Step, Trajectory
from tests.central_command.exporting.sessions import (
    STEP_TYPES,
    asked,
    call,
    done,
    failed,
    of_every_type,
    real_sessions,
    result,
    said,
    thinking,
    trajectory,
    whole_session,
)


def marked(session: Trajectory) -> Trajectory:
    """The same steps with marks for texts: `[3.observation]`, and for texts in arguments `[3.path]`."""
    steps = tuple(_marked(step) for step in session.steps)
    return msgspec.structs.replace(session, steps=steps)


def _marked(step: Step) -> Step:
    is_label = step.type == "action" and step.tool
    content = f"Using {step.tool}" if is_label else f"[{step.step}.{step.type}]" if step.content else step.content
    arguments = (
        None if step.arguments is None else {name: _mark(step, name, value) for name, value in step.arguments.items()}
    )
    return msgspec.structs.replace(step, content=content, arguments=arguments)


def _mark(step: Step, name: str, value: Any) -> Any:
    return f"[{step.step}.{name}]" if isinstance(value, str) else value


def with_a_system_message() -> Trajectory:
    """A session in whose middle the program says something, and one at the end."""
    return trajectory(
        asked("q"),
        said("s"),
        asked("p", source="program"),
        asked("r"),
        thinking("t"),
        call("a", command="ls"),
        result("a"),
        done("d"),
        asked("p2", source="program"),
        asked("u"),
        done("e"),
    )


def without_an_end() -> Trajectory:
    """A session with a call that nobody answered in the middle, and one at the end."""
    return trajectory(
        asked("q"), call("a", command="ls"), asked("r"), said("s"), call("b", command="rm"), call("c"), failed("c")
    )


def sessions() -> dict[str, Trajectory]:
    """All of them, by name."""
    found = {
        "whole": whole_session(),
        "every type": of_every_type(),
        "system": with_a_system_message(),
        "no end": without_an_end(),
        **real_sessions(),
    }
    return {name: marked(session) for name, session in found.items()}


def generated(count: int) -> Iterator[Trajectory]:
    """Sessions of any steps in any order, the same ones each time; two thirds begin with a request, as real ones do."""
    chosen = random.Random(14)
    for number in range(count):
        begins = [asked()] if chosen.random() < 0.67 else []
        steps = begins + [_any_step(chosen) for _ in range(chosen.randint(1, 12))]
        feedback = chosen.choice([[], [{"signal": "accepted"}], [{"signal": "rejected", "target_step": 4}]])
        made = trajectory(*steps, trajectory_id=f"traj_{number}", feedback=feedback)
        yield marked(made)


def _any_step(chosen: random.Random) -> dict[str, Any]:
    kind = chosen.choice([*STEP_TYPES, "thought", "action", "action", "observation", "observation", "instruction"])
    step: dict[str, Any] = {"type": kind, "content": chosen.choice(["text", "text", "text", "", None])}
    if kind in {"action", "observation", "error", "delegate", "edit"}:
        step["call_id"] = chosen.choice([None, "a", "b", "c"])
    if kind in {"action", "delegate"} and chosen.random() < 0.8:
        step["tool"] = chosen.choice(["Bash", "Read", "mcp.web:fetch"])
        step["arguments"] = chosen.choice([{}, {"command": "x", "n": 1}, {"path": "x", "deep": {"a": [None, 0.5]}}])
    if kind in {"thought", "instruction", "correction", "observation"} and chosen.random() < 0.3:
        step["source"] = chosen.choice(["thinking", "agent", "program", "hook", "compaction"])
    return step
