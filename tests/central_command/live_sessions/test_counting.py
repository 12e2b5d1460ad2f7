"""What is counted of a session's lines: the same however it is cut into chunks, whatever a client has sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.live_sessions.counting import Counts

USAGE = {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4, "cache_write_tokens": 1}


def step(kind: str, at: float = 1_000.0, **members: Any) -> dict[str, Any]:
    return {"step": 1, "type": kind, "timestamp": at, **members}


def chunk(*steps: dict[str, Any], **members: Any) -> bytes:
    metadata = {"provider": "codex", "model_engine": "a", "agent_id": "agent-1", **members.pop("metadata", {})}
    return json.dumps({"metadata": metadata, "trajectory_log": steps, **members}).encode()


def counted(*lines: bytes) -> Counts:
    counts = Counts()
    for line in lines:
        counts.take(line)
    return counts


def facts(counts: Counts) -> dict[str, Any]:
    return {name: value for name, value in vars(counts).items() if not name.startswith("_")}


SESSION = [
    step("instruction", 1_000, source="user"),
    step("thought", 1_001, usage=USAGE),
    step("action", 1_002, model="b"),
    step("observation", 1_003),
    step("thought", 1_004, usage={"output_tokens": 3}, agent="reviewer"),
    step("instruction", 1_005, source="queue"),
    step("instruction", 1_006, source="user", intent="interruption"),
    step("thought", 1_010_500_000_000, model="a"),
]


def test_prompts_messages_switches_and_tokens() -> None:
    counts = counted(chunk(*SESSION))
    assert counts.tokens == {**USAGE, "output_tokens": 5}
    assert (counts.prompts, counts.messages, counts.model_switches) == (2, 5, 2)
    assert (counts.model, counts.agent, counts.channels) == ("a", "reviewer", {"user", "queue"})
    assert counts.duration_s == 1_010_500_000 - 1_000


@given(st.lists(st.booleans(), min_size=len(SESSION), max_size=len(SESSION)))
def test_cuts_between_chunks_change_nothing(is_cut_before: list[bool]) -> None:
    """An open session is counted chunk by chunk, a closed one at once."""
    chunks: list[list[dict[str, Any]]] = [[]]
    for each, is_cut in zip(SESSION, is_cut_before, strict=True):
        if is_cut:
            chunks.append([])
        chunks[-1].append(each)
    assert facts(counted(*(chunk(*each) for each in chunks))) == facts(counted(chunk(*SESSION)))


def test_the_usage_of_copied_steps_is_not_counted_again() -> None:
    """It is with the trajectory that they were first seen in."""
    copied = [{"from_step": 1, "to_step": 2, "session_id": "s"}, {"from_step": 4, "to_step": 99, "session_id": "s"}]
    assert counted(chunk(*[step("thought", usage=USAGE)] * 5, copied_from=copied)).tokens["input_tokens"] == 10


def test_real_times_count() -> None:
    counts = counted(chunk(step("thought", 5_000), step("thought", 5_002.5), metadata={"time_shift_s": 4_000}))
    assert (counts.first_s, counts.duration_s) == (1_000, 2.5)
    assert Counts().duration_s == 0


@pytest.mark.parametrize("value", [None, 7, -1, 2**70, 1.5, True, "x", [], {"input_tokens": "3"}, {"input_tokens": -3}])
def test_what_is_no_count_and_no_name_is_nothing(value: object) -> None:
    """Members that the schema does not name are whatever clients send."""
    odd = step("instruction", usage=value, model=value if value != "x" else 1, agent=value if value != "x" else 1)
    counts = counted(chunk(odd | {"source": value if value != "x" else "a b"}, metadata={"agent_id": 3}))
    assert sum(counts.tokens.values()) == 0
    assert (counts.model, counts.agent, counts.prompts) == ("a", "", 1)


def test_feedback_is_kept_without_its_words() -> None:
    counts = Counts()
    told = {"signal": "accepted", "timestamp": 5.0, "context": "secret", "target_step": 3, "delta_summary": "secret"}
    counts.take_feedback(json.dumps({"feedback": told}).encode())
    assert [(each.signal, each.target_step) for each in counts.feedback] == [("accepted", 3)]
    assert "secret" not in repr(counts.feedback)
