"""Trajectories for tests of the formats: as short as a test can have them, of real transcripts, and generated ones."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from central_command.client.transcripts.detection import detect
from central_command.client.transcripts.reader import Reading
from central_command.corpus.trajectory import StepType, Trajectory
from central_command.exporting.conversation import is_call, said_by
from persistence.format import times

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
STEP_TYPES: tuple[str, ...] = get_args(StepType)
START_S = 1_795_169_530.25

Steps = dict[str, Any] | list[dict[str, Any]]


def trajectory(*steps: Steps, **members: Any) -> Trajectory:
    """A trajectory whose steps are numbered and a second apart; lists of steps are laid out flat."""
    log = [step for each in steps for step in (each if isinstance(each, list) else [each])]
    made = {
        "record_id": "rec_1",
        "trajectory_id": "traj_1",
        "session_id": "sess_1",
        "provider": "claude-code",
        "model": "claude-opus-4-6",
        "contributor": "someone",
        "steps": [{"step": n, "timestamp": START_S + n, **step} for n, step in enumerate(log, 1)],
        "started_at": times.to_text(START_S + 1),
        "ended_at": times.to_text(START_S + len(log)),
        **members,
    }
    return msgspec.convert(made, Trajectory)


def asked(text: str = "Fix the test", **members: Any) -> dict[str, Any]:
    return {"type": "instruction", "source": "user", "content": text, **members}


def said(text: str = "Looking.", **members: Any) -> dict[str, Any]:
    return {"type": "thought", "content": text, **members}


def thinking(text: str = "It may be the clock.") -> dict[str, Any]:
    return {"type": "thought", "source": "thinking", "content": text}


def call(call_id: str | None = "a", tool: str | None = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "action", "tool": tool, "call_id": call_id, "arguments": arguments, "content": f"Using {tool}"}


def result(call_id: str | None = "a", text: str = "1 passed", **members: Any) -> dict[str, Any]:
    return {"type": "observation", "call_id": call_id, "content": text, **members}


def failed(call_id: str | None = "a", text: str = "1 failed") -> dict[str, Any]:
    return {"type": "error", "call_id": call_id, "content": text, "is_error": True}


def done(text: str = "All tests pass.") -> dict[str, Any]:
    return {"type": "resolution", "content": text}


def corrected(text: str = "No, the other test", source: str | None = "user") -> dict[str, Any]:
    return {"type": "correction", "source": source, "content": text}


def whole_session(**members: Any) -> Trajectory:
    """A session with what most have: a call that fails, two at once, reasoning, an end."""
    return trajectory(
        asked(),
        thinking(),
        said("I run it."),
        call("a", command="pytest", timeout=30),
        failed("a"),
        said("I look at both."),
        call("b", "Read", path="a.py", lines=[1, 20]),
        call("c", "Grep", pattern="x", options={"i": True}),
        result("c", "a.py:1:x"),
        result("b", "x = 1"),
        done(),
        **members,
    )


def of_every_type() -> Trajectory:
    """A session with a step of every type, each with a text of its own."""
    members: dict[str, dict[str, Any]] = {
        "action": {"tool": "Bash", "call_id": "a", "arguments": {"command": "ls"}, "content": "Using Bash"},
        "observation": {"call_id": "a"},
        "error": {"source": "api"},
        "delegate": {"arguments": {"agent": "tester"}},
    }
    order = ("instruction", *(kind for kind in STEP_TYPES if kind != "instruction"))
    return trajectory(*({"type": kind, "content": f"text of {kind}", **members.get(kind, {})} for kind in order))


@cache
def real_sessions() -> dict[str, Trajectory]:
    """Every transcript among the tests' that a reader takes, by its path."""
    return dict(_real_sessions())


def _real_sessions() -> Iterator[tuple[str, Trajectory]]:
    for path in sorted(TRANSCRIPTS.rglob("*.json*")):
        reader = detect(path)
        if reader is None:
            continue
        with path.open("rb") as file:
            reading = Reading(reader.read(file))
            steps = [msgspec.to_builtins(step) for step in reading]
        told = reading.transcript
        name = str(path.relative_to(TRANSCRIPTS))
        if steps:
            made = trajectory(*steps, session_id=name, provider=told.provider, model=told.model or "unknown")
            yield name, made


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)
_IDS = st.sampled_from([None, "a", "b", "c"])
_STEPS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(STEP_TYPES),
        "content": st.none() | _TEXTS,
        "timestamp": st.sampled_from([0.0, START_S, START_S * 1000]),
    },
    optional={
        "tool": st.sampled_from(["Bash", "Read", "mcp.web:fetch", ""]),
        "call_id": _IDS,
        "arguments": st.dictionaries(_TEXTS, _VALUES, max_size=3),
        "source": st.sampled_from(["thinking", "user", "agent", "program", "api", "hook", "compaction"]),
        "is_error": st.booleans(),
        "usage": st.just({"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4}),
    },
)


def generated_sessions() -> st.SearchStrategy[Trajectory]:
    """Trajectories of any steps in any order, with ids that repeat, miss and match nothing."""
    return st.lists(_STEPS, min_size=1, max_size=14).map(lambda steps: trajectory(*steps))


def spoken(session: Trajectory) -> dict[str, list[str]]:
    """What people, agents and tools said, by the type of step: every text but the label of a call."""
    found: dict[str, list[str]] = {}
    for step in session.steps:
        is_label = step.type == "action" and is_call(step) and not said_by(step)
        if step.text and not is_label:
            found.setdefault(step.type, []).append(step.text)
    return {kind: sorted(texts) for kind, texts in found.items()}
