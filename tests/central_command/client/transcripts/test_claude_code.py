"""Claude Code's special cases in one session: sub-agents, images, errors, an interruption, a compaction."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.whole import Whole, whole


def read(path: Path) -> tuple[Whole, list[dict[str, Any]]]:
    with path.open("rb") as file:
        return whole(ClaudeCodeReader(), file), [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("name", ["session", "agent-a1b2c3d", "print_stream"])
def test_steps_are_as_many_as_the_raw_blocks(name: str, transcripts: Path) -> None:
    """Of the agent's own events: calls, results, failures, thinking and text."""
    transcript, events = read(transcripts / "claude_code" / f"{name}.jsonl")
    own = [each for each in events if "message" in each and (name != "session" or not each["isSidechain"])]
    own = [each for each in own if not each.get("isApiErrorMessage") and not each.get("isCompactSummary")]
    spoken = [each["message"] for each in own]
    blocks = [
        (message["role"], block)
        for message in spoken
        for block in ([] if isinstance(message["content"], str) else message["content"])
    ]
    raw = Counter(block["type"] for _, block in blocks)
    texts = sum(role == "assistant" and block["type"] == "text" for role, block in blocks)
    failed = sum(bool(block.get("is_error")) or "_error" in str(block.get("content")) for _, block in blocks)
    found = Counter(step.type for step in transcript.steps)
    assert found["action"] == raw["tool_use"] + raw["server_tool_use"]
    results = raw["tool_result"] + raw["web_search_tool_result"]
    assert found["observation"] == results - failed
    assert found["error"] == failed + sum(bool(each.get("isApiErrorMessage")) for each in events)
    assert found["thought"] == raw["thinking"] + texts
    assert found["resolution"] == sum(each["type"] == "result" for each in events)


def test_an_inline_sub_agent_leaves_its_call_and_its_answer(transcripts: Path) -> None:
    """What it did is counted; the call that started it is followed by what it answered."""
    transcript, events = read(transcripts / "claude_code" / "session.jsonl")
    assert transcript.skipped_sidechain_events == sum(bool(each.get("isSidechain")) for each in events) == 4
    assert not transcript.is_subagent
    task = [step for step in transcript.steps if step.call_id == "t1"]
    assert [(step.type, step.tool) for step in task] == [("action", "Task"), ("observation", "Task")]
    assert task[1].content == "It is in style.css\nagentId: a1b2c3d"


def test_a_sub_agents_own_file_is_its_session(transcripts: Path) -> None:
    """Read whole and settled at once: its events name the sub-agent."""
    transcript, _ = read(transcripts / "claude_code" / "agent-a1b2c3d.jsonl")
    assert transcript.is_subagent
    assert transcript.session_key == f"{transcript.parent_key}/a1b2c3d"
    assert transcript.parent_key == read(transcripts / "claude_code" / "session.jsonl")[0].session_key
    assert [step.type for step in transcript.steps] == ["instruction", "action", "observation", "thought"]
    assert transcript.settled_steps == 4


def test_images_errors_interruption_and_compaction_of_a_session(transcripts: Path) -> None:
    """Placeholders for images, API errors marked, the summary and the local command left out."""
    transcript, _ = read(transcripts / "claude_code" / "session.jsonl")
    assert [(step.type, step.source, step.intent, step.content) for step in transcript.steps if step.source] == [
        ("instruction", "user", None, "Why does this look wrong?"),
        ("instruction", "user", None, "[image: image/png]"),
        ("thought", "thinking", None, "A screenshot. I ask a sub-agent."),
        ("error", "api", None, "API Error: 529 overloaded_error"),
        ("instruction", "user", "interruption", "[Request interrupted by user for tool use]"),
        ("instruction", "user", None, "Go on, please"),
    ]
    results = {step.call_id: (step.type, step.content) for step in transcript.steps if step.type != "action"}
    assert results["t2"] == ("observation", "[image: image/png]")
    assert results["t3"] == ("error", "Exit code 1")
    assert results["srv1"][0] == "error"
    assert not any("Summary" in step.content or "compact" in step.content for step in transcript.steps)
    assert transcript.usage == Usage(6 * 1005, 6 * 20)


def test_a_printed_stream_without_times_is_never_settled(transcripts: Path) -> None:
    """Its steps have no place in time until the upload gives them one."""
    transcript, _ = read(transcripts / "claude_code" / "print_stream.jsonl")
    assert (transcript.started_s, transcript.settled_steps) == (None, 0)
    assert transcript.steps[-1].type == "resolution"
