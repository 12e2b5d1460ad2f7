"""Codex's rollouts and `exec --json` streams: fixtures against a count over the raw lines, special cases by a line."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.chunking import encode_step
from central_command.client.contract.steps import TOKEN_COUNT_MAX
from central_command.client.transcripts import reader
from central_command.client.transcripts.codex import CodexReader
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.rollouts import JSON_VALUES
from tests.central_command.client.transcripts.whole import Whole, whole

EXEC = ("exec", "exec_failed", "exec_items")


def read(*events: Any) -> Whole:
    return whole(CodexReader(), io.BytesIO(b"".join(json.dumps(event).encode() + b"\n" for event in events)))


def read_file(path: Path) -> tuple[Whole, list[dict[str, Any]]]:
    with path.open("rb") as file:
        return whole(CodexReader(), file), [json.loads(line) for line in path.read_bytes().splitlines()]


def rollouts(transcripts: Path) -> list[Path]:
    found = sorted((transcripts / "codex").glob("rollout-*.jsonl"))
    assert len(found) == 4
    return found


def line(kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": "2026-01-01T00:00:00.000Z", "type": kind, "payload": payload}


def shapes(transcript: Whole) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in transcript.steps]


@pytest.mark.parametrize("name", EXEC)
def test_a_streams_steps_are_as_many_as_its_items(name: str, transcripts: Path) -> None:
    """Each call is one action, each ended call that has a result one result, each text one thought."""
    transcript, events = read_file(transcripts / "codex" / f"{name}.jsonl")
    seen: set[tuple[int, str]] = set()
    raw: Counter[str] = Counter()
    run, todos = 0, ""
    for event in events:
        item = event.get("item", {})
        kind = item.get("type")
        if event["type"] == "thread.started":
            run += 1
        elif kind in {"reasoning", "agent_message"}:
            raw["thought"] += event["type"] == "item.completed"
        elif kind == "todo_list":
            raw["action"] += item["items"] != todos
            todos = item["items"]
        elif event["type"] == "turn.completed":
            raw["resolution"] += 1
        elif event["type"] == "turn.failed":
            raw["error"] += 1
        elif kind and kind != "error":
            raw["action"] += (run, item["id"]) not in seen
            seen.add((run, item["id"]))
            if event["type"] == "item.completed" and kind != "web_search":
                raw["error" if item["status"] in {"failed", "declined"} else "observation"] += 1
    assert Counter(step.type for step in transcript.steps) == +raw
    assert transcript.session_key == events[0]["thread_id"]
    assert (transcript.model, transcript.started_s) == ("", None)


def test_a_rollouts_steps_are_as_many_as_its_response_items(transcripts: Path) -> None:
    """Messages, parts of reasoning, calls and outputs are each as many as in the raw file."""
    for path in rollouts(transcripts):
        transcript, lines = read_file(path)
        raw = Counter[str]()
        interrupted = 0
        for each in lines:
            item = each.get("payload", each) if each.get("type") != "event_msg" else {}
            kind = str(item.get("type", ""))
            if kind == "message" and item["role"] == "user":
                raw["instruction"] += not item["content"][0]["text"].startswith(("<", "#"))
            elif kind == "message":
                raw["thought"] += item["role"] == "assistant"
            elif kind == "reasoning":
                raw["thought"] += len(item["summary"])
            elif kind.endswith("_call"):
                raw["action"] += 1
            elif kind.endswith("_output"):
                raw["result"] += 1
            interrupted += each.get("payload", {}).get("type") == "turn_aborted"
        found = Counter(step.type for step in transcript.steps)
        of_calls = [step for step in transcript.steps if step.call_id and step.type != "action"]
        assert found["instruction"] == raw["instruction"] + interrupted
        assert (found["thought"], found["action"], len(of_calls)) == (raw["thought"], raw["action"], raw["result"])
        assert transcript.unreadable_lines == 0


def test_every_call_of_a_rollout_is_followed_by_its_own_output(transcripts: Path) -> None:
    """In the order of the file, under the same id and name."""
    for path in rollouts(transcripts):
        transcript, lines = read_file(path)
        items = [each.get("payload", each) for each in lines]
        asked = [item["call_id"] for item in items if str(item.get("type")) == "function_call"]
        steps = transcript.steps
        ids = [step.call_id for step in steps if step.type == "action"]
        assert [call_id for call_id in ids if call_id in asked] == asked
        actions = {step.call_id: step for step in steps if step.type == "action"}
        for step in steps:
            if step.type != "action" and step.call_id:
                assert actions[step.call_id].step < step.step
                assert actions[step.call_id].tool == step.tool


def test_a_run_is_the_same_in_its_stream_and_in_its_rollout(transcripts: Path) -> None:
    """The program wrote both: the same thoughts and answer; commands and patches have the same outcome."""
    stream, _ = read_file(transcripts / "codex" / "exec.jsonl")
    rollout, _ = read_file(next(path for path in rollouts(transcripts) if "94e1" in path.name))
    assert stream.session_key == rollout.session_key
    told = [shape for shape in shapes(stream) if shape[0] in {"thought", "resolution"}]
    assert [shape for shape in shapes(rollout) if shape[0] in {"thought", "resolution"}][: len(told)] == told
    outcomes = [step.type for step in stream.steps if step.tool in {"command_execution", "file_change"}]
    of_rollout = [step.type for step in rollout.steps if step.tool in {"exec_command", "apply_patch"}]
    assert sorted(outcomes) == sorted(of_rollout)
    assert (rollout.model, rollout.usage) == ("gpt-5.5", Usage(5010, 250))
    assert stream.usage == Usage(4006, 200)


def test_a_rollout_of_2025_is_read_with_all_its_special_cases(transcripts: Path) -> None:
    """Doubled messages, images, failures told beside the output, cut output, an interruption, a compaction."""
    transcript, _ = read_file(next(path for path in rollouts(transcripts) if "2025-10-03" in path.name))
    by_call = {step.call_id: step for step in transcript.steps if step.call_id and step.type != "action"}
    assert {call_id: step.type for call_id, step in by_call.items()} == {
        "call_a": "error",
        "call_b": "error",
        "call_c": "observation",
        "call_d": "error",
        "call_e": "observation",
        "call_f": "observation",
    }
    assert by_call["call_a"].content == "1 failed\n"
    assert by_call["call_e"].content == "one\n[image: image/jpeg]"
    assert (by_call["call_f"].truncated, by_call["call_f"].original_token_count) == (True, 52_000)
    assert [shape for shape in shapes(transcript) if shape[0] == "instruction"] == [
        ("instruction", "user", "Fix the test\n[image: image/png]"),
        ("instruction", "user", "[Turn interrupted]"),
        ("instruction", "user", "Fix the test"),
    ]
    tools = {step.call_id: (step.tool, step.arguments) for step in transcript.steps if step.type == "action"}
    assert tools["call_e"] == ("mcp__docs__lookup", {"q": "trio"})
    assert tools["call_b"] == ("shell_command", {"input": "{not json"})
    assert not any(step.type == "resolution" or "Summary" in step.content for step in transcript.steps)


def test_a_failed_turn_is_one_error_in_each_kind_of_file(transcripts: Path) -> None:
    """The stream says it twice, the rollout with the turn's end."""
    stream, _ = read_file(transcripts / "codex" / "exec_failed.jsonl")
    rollout, _ = read_file(next(path for path in rollouts(transcripts) if "337a" in path.name))
    problem = ("error", "api", '{"error":{"message":"bad model"}}')
    assert shapes(stream) == [problem]
    assert shapes(rollout) == [("instruction", "user", "Second prompt"), problem]


def test_bare_lines_of_the_oldest_rollouts_are_read(transcripts: Path) -> None:
    """Without envelopes; the first line has the session and the only time."""
    transcript, _ = read_file(next(path for path in rollouts(transcripts) if "2025-06-01" in path.name))
    assert [step.type for step in transcript.steps] == ["instruction", "thought", "action", "observation", "thought"]
    assert transcript.session_key == "5973b6c0-94b8-487b-a530-2aeb6098ae0e"
    assert transcript.started_s == transcript.ended_s == 1748772000.0


def test_a_message_told_by_events_alone_is_read_and_one_told_thrice_is_one_step() -> None:
    """Events before or after their response item, in any mixture."""
    item = line("response_item", type="message", role="assistant", content=[{"type": "output_text", "text": "Yes."}])
    event = line("event_msg", type="agent_message", message="Yes.")
    completed = {"type": "AgentMessage", "id": "m", "content": [{"type": "Text", "text": "Yes."}]}
    ended = line("event_msg", type="item_completed", item=completed)
    assert shapes(read(event)) == [("thought", None, "Yes.")]
    for order in ([item, event, ended], [event, item, ended], [ended, item, event]):
        assert shapes(read(*order)) == [("thought", None, "Yes.")]
    assert len(read(item, event, item, event).steps) == 2


def test_a_sub_agents_rollout_says_so() -> None:
    """The session's source names the sub-agent's kind."""
    assert read(line("session_meta", id="s", source={"subagent": "review"})).is_subagent
    assert not read(line("session_meta", id="s", source="cli")).is_subagent


def test_steps_before_the_first_time_stand_at_it_and_are_not_settled_without() -> None:
    """So that a session is never stretched over decades."""
    early = {"type": "response_item", "payload": {"type": "message", "role": "user", "content": "go"}}
    assert (read(early).settled_steps, read(early).started_s) == (0, None)
    later = read(early, line("event_msg", type="task_started"))
    assert ([step.timestamp for step in later.steps], later.settled_steps) == ([1767225600.0], 1)


def test_image_bytes_and_unknown_calls() -> None:
    """A made image is a placeholder; a call of a kind that is not known keeps its members."""
    steps = read(
        line("response_item", type="image_generation_call", id="ig", revised_prompt="a cat", result="A" * 100_000),
        line("response_item", type="new_call", call_id="n", thing=1),
        line("response_item", type="new_call_output", call_id="n", output="fine"),
    ).steps
    assert [(step.type, step.tool, step.content) for step in steps[1::2]] == [
        ("observation", "image_generation", "[image: unknown type]"),
        ("observation", "new", "fine"),
    ]
    assert steps[2].arguments == {"thing": 1}


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("Chunk ID: 1\nProcess exited with code 0\nOutput:\nExit code: 3", "observation"),
        ("Chunk ID: 1\nProcess exited with code 3\nOutput:\n", "error"),
        ("Exit code: -1\nWall time: 1 seconds\nOutput:\n", "error"),
        ('{"output":"x","metadata":{"exit_code":1}}', "error"),
        ('{"output":"x"}', "observation"),
        ({"content": "x", "success": False}, "error"),
        ("patch rejected: writing is blocked by read-only sandbox", "error"),
        (None, "observation"),
    ],
)
def test_whether_a_call_failed_is_read_from_its_output(output: Any, kind: str) -> None:
    """From the program's own lines above the output, never from what a command printed."""
    step = read(line("response_item", type="function_call_output", call_id="a", output=output)).steps[0]
    assert (step.type, step.is_error) == (kind, True if kind == "error" else None)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a":1e400,"b":NaN,"c":1.0}', {"a": None, "b": None, "c": 1}),
        ('{"a":"\ud83d"}', {"a": "\ud83d"}),
        *((text, {"input": text}) for text in ("[1]", "{", f'{{"a":{"9" * 5_000}}}', f'{{"a":[{"1," * 20}1]}}')),
    ],
)
def test_arguments_that_are_a_text_of_their_own_are_read_as_lines_are(
    text: str, arguments: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same numbers and bounds, so that every step can be written."""
    monkeypatch.setattr(reader, "VALUES_MAX", 20)
    step = read(line("response_item", type="function_call", name="shell", call_id="a", arguments=text)).steps[0]
    assert step.arguments == arguments
    assert encode_step(step)


@given(JSON_VALUES, st.sampled_from(["response_item", "event_msg", "session_meta", "turn_context", "x"]))
def test_lines_of_any_shape_are_read_without_an_error(value: Any, kind: str) -> None:
    """Whatever stands where a member is expected, steps keep their numbers and bounds."""
    kinds = ["message", "reasoning", "function_call", "function_call_output", "image_generation_call", "user_message"]
    kinds += ["item_completed", "token_count", "task_complete", "mcp_tool_call_end", "turn_aborted", "error"]
    names = ["role", "content", "summary", "name", "namespace", "arguments", "call_id", "output", "item", "info"]
    names += ["result", "message", "error", "reason", "id", "model", "source"]
    rollout = [{"timestamp": value, "type": kind, "payload": value}]
    rollout += [line(kind, type=each, **dict.fromkeys(names, value)) for each in kinds]
    items = ["agent_message", "command_execution", "mcp_tool_call", "todo_list", "web_search", "new"]
    members = ["id", "text", "command", "status", "exit_code", "error", "result", "items", "arguments", "tool"]
    stream = [{"type": "turn.started"}] + [
        {"type": event, "usage": value, "error": value, "message": value, "item": item}
        for event in ("item.started", "item.completed", "turn.completed", "turn.failed", "error")
        for item in [{"type": each, **dict.fromkeys(members, value)} for each in items] + [value]
    ]
    for events in (rollout, stream):
        steps = read(*events).steps
        assert [step.step for step in steps] == list(range(1, len(steps) + 1))
        assert all(step.token_count <= TOKEN_COUNT_MAX for step in steps)
