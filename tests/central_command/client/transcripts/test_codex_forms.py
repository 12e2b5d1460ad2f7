"""Codex's older files: one JSON text, lines without envelopes, and streams of its own events."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from central_command.client.transcripts.bounds import TEXT_BYTES_MAX
from central_command.client.transcripts.codex import CodexReader
from central_command.client.transcripts.detection import detect
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.rollouts import JSON_VALUES, read, shapes
from tests.central_command.client.transcripts.whole import Whole, whole

HEAD = {"timestamp": "2025-05-01T10:00:00.000Z", "id": "f014b", "instructions": ""}
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "**Listing**"}]},
    {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
    {"type": "function_call_output", "call_id": "call_1", "output": '{"output":"a","metadata":{"exit_code":1}}'},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
]
STEPS = [
    ("instruction", "user", "hi"),
    ("thought", "thinking", "**Listing**"),
    ("action", None, "Using shell"),
    ("error", None, "a"),
    ("thought", None, "hello"),
]
RUN = [
    {"model": "gpt-5", "workdir": "/w", "provider": "openai", "approval": "never", "sandbox": "read-only"},
    {"prompt": "Add hello.txt"},
    *(
        {"id": "0", "msg": each}
        for each in (
            {"type": "session_configured", "session_id": "s1", "model": "gpt-5"},
            {"type": "task_started", "model_context_window": 400000},
            {"type": "agent_reasoning", "text": "**Writing**"},
            {"type": "agent_message_delta", "delta": "I wr"},
            {"type": "agent_message", "message": "I write it."},
            {"type": "exec_command_begin", "call_id": "c1", "command": ["bash", "-lc", "ls"], "cwd": "/w"},
            {"type": "exec_command_end", "call_id": "c1", "stdout": "", "stderr": "no", "exit_code": 2},
            {"type": "patch_apply_begin", "call_id": "c2", "changes": {"/w/hello.txt": {"add": {"content": "hi"}}}},
            {"type": "patch_apply_end", "call_id": "c2", "stdout": "Success.", "stderr": "", "success": True},
            {
                "type": "mcp_tool_call_begin",
                "call_id": "c3",
                "invocation": {"server": "d", "tool": "t", "arguments": {}},
            },
            {"type": "mcp_tool_call_end", "call_id": "c3", "result": {"Err": "gone"}},
            {"type": "web_search_end", "call_id": "c4", "query": "trio"},
            {"type": "plan_update", "plan": [{"step": "a", "status": "completed"}]},
            {"type": "token_count", "info": {"total_token_usage": {"input_tokens": 70, "output_tokens": 5}}},
            {"type": "agent_message", "message": "Done."},
            {"type": "task_complete", "last_agent_message": "Done."},
        )
    ),
]


def read_text(text: str) -> Whole:
    return whole(CodexReader(), io.BytesIO(text.encode()))


def saved(tmp_path: Path, text: str, name: str = "saved.txt") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def provider_of(path: Path) -> str | None:
    reader = detect(path)
    return None if reader is None else reader.provider


@pytest.mark.parametrize("indent", [2, None, "\t"])
def test_a_session_of_spring_2025_is_read(indent: int | str | None, tmp_path: Path) -> None:
    """One JSON text over many lines, or on one; its model may be named, and its head has the only time."""
    text = json.dumps({"session": HEAD | {"model": "o4-mini"}, "items": ITEMS}, indent=indent)
    transcript = read_text(text)
    assert shapes(transcript) == STEPS
    assert (transcript.session_key, transcript.model, transcript.settled_steps) == ("f014b", "o4-mini", 5)
    assert transcript.started_s == transcript.ended_s == 1746093600.0
    if indent:
        assert provider_of(saved(tmp_path, text)) == "codex"


def test_an_old_session_that_is_half_written_or_too_large_is_incomplete() -> None:
    """It is neither damage nor a session yet, and takes no memory beyond the bound of one text."""
    text = json.dumps({"session": HEAD, "items": ITEMS}, indent=2)
    half = read_text(text[: len(text) // 2])
    assert (half.steps, half.unreadable_lines, half.is_incomplete) == ((), 0, True)
    large = read_text(text[:-2] + " " * TEXT_BYTES_MAX + "}")
    assert (large.steps, large.is_incomplete) == ((), True)


def test_what_merely_resembles_an_old_session_is_nobodys(tmp_path: Path) -> None:
    """Its head must have what only Codex writes there, and items must follow."""
    for value in ({"session": {"user": "x"}, "items": []}, {"session": HEAD}, {"items": ITEMS}):
        assert provider_of(saved(tmp_path, json.dumps(value, indent=2), "rollout-x.json")) is None


@pytest.mark.parametrize("state", [[], [{"record_type": "state"}]])
def test_lines_without_envelopes_are_read_whatever_the_file_is_called(
    state: list[dict[str, Any]], tmp_path: Path
) -> None:
    """By their first line; without it the name must tell."""
    head = {**HEAD, "git": {"branch": "main"}}
    lines = [head, *state, *ITEMS, {"type": "ghost_snapshot"}]
    transcript = read(*lines)
    assert shapes(transcript) == STEPS
    assert (transcript.session_key, transcript.left_out) == ("f014b", {"ghost_snapshot": 1})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert provider_of(saved(tmp_path, text)) == "codex"
    rest = text.split("\n", 1)[1]
    assert provider_of(saved(tmp_path, rest)) is None
    assert provider_of(saved(tmp_path, rest, "rollout-2025-07-01.jsonl")) == "codex"


def test_a_stream_of_summer_2025_is_read(tmp_path: Path) -> None:
    """Its settings name the model, its prompt is the user's, and calls have begins and ends."""
    transcript = read(*RUN)
    assert [(step.type, step.source or step.tool, step.content) for step in transcript.steps] == [
        ("instruction", "user", "Add hello.txt"),
        ("thought", "thinking", "**Writing**"),
        ("thought", None, "I write it."),
        ("action", "command_execution", "Using command_execution"),
        ("error", "command_execution", "no"),
        ("action", "file_change", "Using file_change"),
        ("observation", "file_change", "Success."),
        ("action", "mcp__d__t", "Using mcp__d__t"),
        ("error", "mcp__d__t", "gone"),
        ("action", "web_search", "Using web_search"),
        ("action", "todo_list", "Using todo_list"),
        ("thought", None, "Done."),
        ("resolution", None, "Done."),
    ]
    assert (transcript.session_key, transcript.model, transcript.usage) == ("s1", "gpt-5", Usage(70, 5))
    assert transcript.left_out == {"agent_message_delta": 1}
    for start in (0, 2, 5):
        text = "".join(json.dumps(line) + "\n" for line in RUN[start:])
        assert provider_of(saved(tmp_path, text)) == "codex"
        assert len(read_text(text).steps) >= 10


def test_a_stream_that_failed_or_was_stopped_says_so() -> None:
    """An error of the program, and the user's interruption."""
    events = [{"id": "1", "msg": each} for each in ({"type": "error", "message": "quota"}, {"type": "turn_aborted"})]
    assert shapes(read(*events)) == [("error", "api", "quota"), ("instruction", "user", "[Turn interrupted]")]


def test_a_stream_of_autumn_2025_is_read(tmp_path: Path) -> None:
    """The kind of an item had another name, and so had a message."""
    command = {"id": "item_0", "item_type": "command_execution", "command": "ls", "aggregated_output": ""}
    lines = [
        {"type": "session.created", "session_id": "s2"},
        {"type": "item.started", "item": command | {"status": "in_progress"}},
        {"type": "item.completed", "item": command | {"status": "completed", "exit_code": 0, "aggregated_output": "a"}},
        {"type": "item.completed", "item": {"id": "item_1", "item_type": "assistant_message", "text": "Done."}},
        {"type": "item.completed", "item": {"id": "item_2", "item_type": "new_kind"}},
        {"type": "new.event"},
    ]
    transcript = read(*lines)
    assert [(step.type, step.content) for step in transcript.steps] == [
        ("action", "Using command_execution"),
        ("observation", "a"),
        ("thought", "Done."),
    ]
    assert (transcript.steps[0].arguments, transcript.session_key) == ({"command": "ls"}, "s2")
    assert transcript.left_out == {"new_kind": 1, "new.event": 1}
    assert provider_of(saved(tmp_path, json.dumps(lines[0]) + "\n")) == "codex"


@given(JSON_VALUES)
def test_older_files_of_any_shape_are_read_without_an_error(value: Any) -> None:
    """Whatever stands where a member is expected, steps keep their numbers."""
    names = ["call_id", "command", "changes", "invocation", "result", "stdout", "exit_code", "success", "plan", "info"]
    names += ["message", "text", "last_agent_message", "session_id", "model", "query"]
    stream = [RUN[0], {"prompt": value}, {"msg": value}]
    stream += [{"id": "0", "msg": {**dict.fromkeys(names, value), "type": each["msg"]["type"]}} for each in RUN[2:]]
    whole_text = {"session": value, "items": value}
    for lines in (stream, [whole_text], [{"session": HEAD, "items": [value, {"type": "message", "content": value}]}]):
        steps = read(*lines).steps
        assert [step.step for step in steps] == list(range(1, len(steps) + 1))
