"""Files of agents that resemble those that are read are refused, by the name of the agent that wrote them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.detection import describe_unknown, detect, read_head
from central_command.client.transcripts.other_agents import refused_file
from tests.central_command.client.transcripts.claude_code_events import called, lines, said, user
from tests.central_command.client.transcripts.whole import whole

ID = "f0080000-0000-4000-8000-000000000001"
TEXT = {"role": "assistant", "content": [{"type": "text", "text": "I read it."}]}
RECORD = {"uuid": "u1", "parentUuid": None, "timestamp": "2026-11-27T09:00:00.000Z", "isSidechain": False}

OTHERS: list[tuple[str, str, list[dict[str, Any]]]] = [
    (
        "TRAE",
        "session",
        [
            {
                "timestamp": "t",
                "type": "session_meta",
                "payload": {"id": ID, "originator": "codex-tui", "cli_version": "0.200.19", "model_provider": "trae"},
            }
        ],
    ),
    (
        "TRAE",
        "stream",
        [
            {"type": "system", "subtype": "init", "session_id": ID},
            {"type": "stream_event", "session_id": ID, "delta": {"role": "assistant", "content": "2"}},
            {"type": "assistant", "session_id": ID, "message": TEXT},
        ],
    ),
    (
        "Qoder",
        "session",
        [
            {"type": "runtime-config", "sessionId": ID, "reasoningEffort": "high", "contextWindow": 200000},
            {**RECORD, "sessionId": ID, "type": "user", "message": {"role": "user", "content": "hi"}},
        ],
    ),
    (
        "Qoder",
        "usage",
        [{**RECORD, "sessionId": ID, "type": "assistant", "message": {**TEXT, "usage": {"credits": 0.4}}}],
    ),
    (
        "CodeBuddy",
        "session",
        [
            {
                "type": "message",
                "role": "user",
                "id": "i",
                "sessionId": ID,
                "providerData": {"agent": "cli"},
                "content": [],
            }
        ],
    ),
]

RESEMBLING: list[tuple[str, str, list[dict[str, Any]]]] = [
    (
        "cursor",
        "init",
        [
            {
                "type": "system",
                "subtype": "init",
                "apiKeySource": "login",
                "cwd": "/w",
                "session_id": ID,
                "model": "Claude 4 Sonnet",
                "permissionMode": "default",
            },
            {"type": "assistant", "message": TEXT, "session_id": ID},
        ],
    ),
    (
        "cursor",
        "tool",
        [
            {"type": "assistant", "message": TEXT, "session_id": ID},
            {
                "type": "tool_call",
                "subtype": "started",
                "call_id": "t",
                "tool_call": {"readToolCall": {"args": {"path": "a"}}},
                "session_id": ID,
            },
        ],
    ),
    (
        "cursor",
        "result",
        [
            {"type": "user", "message": TEXT, "session_id": ID},
            {
                "type": "result",
                "subtype": "success",
                "duration_ms": 5,
                "is_error": False,
                "result": "ok",
                "session_id": ID,
                "request_id": "r",
            },
        ],
    ),
    (
        "cursor",
        "thinking",
        [
            {"type": "thinking", "subtype": "delta", "text": "hm", "session_id": ID},
            {"type": "assistant", "message": TEXT, "session_id": ID},
        ],
    ),
    (
        "qwen-code",
        "stream",
        [
            {
                "type": "system",
                "subtype": "init",
                "uuid": "s0",
                "session_id": ID,
                "cwd": "/w",
                "tools": ["read_file"],
                "model": "coder-model",
                "permission_mode": "yolo",
            },
            {
                "type": "assistant",
                "uuid": "s1",
                "session_id": ID,
                "parent_tool_use_id": None,
                "message": {**TEXT, "id": "m1", "usage": {}},
            },
        ],
    ),
    (
        "qwen-code",
        "chat",
        [
            {
                **RECORD,
                "sessionId": ID,
                "type": "user",
                "cwd": "/w",
                "version": "0.15.6",
                "message": {"role": "user", "parts": [{"text": "hi"}]},
            }
        ],
    ),
    (
        "qwen-code",
        "telemetry",
        [{**RECORD, "sessionId": ID, "type": "system", "subtype": "ui_telemetry", "systemPayload": {"uiEvent": {}}}],
    ),
    (
        "iflow",
        "session",
        [
            {
                **RECORD,
                "sessionId": f"session-{ID}",
                "type": "user",
                "userType": "external",
                "version": "1.0.0",
                "message": {"role": "user", "content": "hi"},
            }
        ],
    ),
    (
        "iflow",
        "result",
        [
            {
                **RECORD,
                "sessionId": ID,
                "type": "user",
                "message": {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": {"callId": "t", "responseParts": {}}}
                    ],
                },
            }
        ],
    ),
    (
        "amp",
        "stream",
        [
            {
                "type": "system",
                "subtype": "init",
                "cwd": "/w",
                "session_id": f"T-{ID}",
                "tools": ["Bash"],
                "mcp_servers": [],
            },
            {"type": "assistant", "message": TEXT, "parent_tool_use_id": None, "session_id": f"T-{ID}"},
        ],
    ),
    (
        "droid",
        "stream",
        [
            {
                "type": "system",
                "subtype": "init",
                "cwd": "/w",
                "session_id": ID,
                "tools": ["Read"],
                "model": "claude-opus-4-6",
            },
            {"type": "message", "role": "assistant", "id": "m", "text": "hi", "session_id": ID},
        ],
    ),
]


@pytest.mark.parametrize(("name", "kind", "events"), OTHERS, ids=[f"{name}-{kind}" for name, kind, _ in OTHERS])
@pytest.mark.parametrize("as_array", [False, True])
def test_another_agents_file_is_refused_by_name(
    name: str, kind: str, events: list[dict[str, Any]], tmp_path: Path, *, as_array: bool
) -> None:
    """On lines, and as one array."""
    path = tmp_path / f"{kind}.jsonl"
    path.write_bytes(json.dumps(events).encode() if as_array else lines(*events))
    assert detect(path) is None
    assert not ClaudeCodeReader().recognises(read_head(path))
    assert describe_unknown(path).startswith(f"The file is another agent's: {name}")


@pytest.mark.parametrize(
    ("provider", "kind", "events"), RESEMBLING, ids=[f"{provider}-{kind}" for provider, kind, _ in RESEMBLING]
)
def test_a_file_that_resembles_claude_codes_is_read_as_its_own_agents(
    provider: str, kind: str, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    """By whatever sign of it is there."""
    path = tmp_path / f"{kind}.jsonl"
    path.write_bytes(lines(*events))
    reader = detect(path)
    assert reader is not None
    assert reader.provider == provider


def test_messages_without_any_id_are_nobodys(tmp_path: Path) -> None:
    """Claude Code writes none: whose they are cannot be told, and --provider says it."""
    path = tmp_path / "s.jsonl"
    message = {"role": "assistant", "model": "gpt-4o", "content": [{"type": "text", "text": "hello"}]}
    path.write_bytes(lines({"type": "user", "message": {"role": "user", "content": "hi"}}, {"type": "assistant"}))
    assert detect(path) is None
    path.write_bytes(lines({"type": "assistant", "message": message, "timestamp": "2026-11-27T09:00:00Z"}))
    assert detect(path) is None


def test_no_session_of_an_agent_that_is_read_bears_a_sign_of_another(transcripts: Path) -> None:
    """Every fixture, and what a session says of those agents."""
    files = [path for path in transcripts.rglob("*.json*") if path.is_file()]
    assert len(files) > 12
    assert [path.name for path in files if refused_file(read_head(path)) is not None] == []


def test_a_session_that_speaks_of_other_agents_is_claude_codes(tmp_path: Path) -> None:
    """What stands in its texts and arguments is no sign."""
    path = tmp_path / "s.jsonl"
    path.write_bytes(lines(user('{"qwen_code_version":"1"}'), called("T-1"), said('{"type":"tool_call"}')))
    reader = detect(path)
    assert reader is not None
    assert reader.provider == "claude-code"


STREAM: list[dict[str, Any]] = [
    {"type": "system", "subtype": "init", "session_id": "f014", "model": "claude-opus-4-6", "tools": [], "uuid": "u0"},
    {"type": "user", "session_id": "f014", "uuid": "u1", "message": {"role": "user", "content": "hi"}},
    {
        "type": "assistant",
        "session_id": "f014",
        "uuid": "u2",
        "message": {**TEXT, "id": "m", "model": "claude-opus-4-6"},
    },
    {"type": "result", "subtype": "success", "is_error": False, "result": "hello", "session_id": "f014", "uuid": "u3"},
]


@pytest.mark.parametrize("indent", [None, 2])
def test_what_claude_prints_as_one_array_is_the_stream(indent: int | None, tmp_path: Path) -> None:
    """`--output-format json --verbose`, as it comes and as `jq` writes it."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps(STREAM, indent=indent))
    reader = detect(path)
    assert reader is not None
    with path.open("rb") as file:
        transcript = whole(reader, file)
    assert [(step.type, step.content) for step in transcript.steps] == [
        ("instruction", "hi"),
        ("thought", "I read it."),
        ("resolution", "hello"),
    ]
    assert (transcript.session_key, transcript.model) == ("f014", "claude-opus-4-6")
    assert transcript.left_out == {"system: init": 1}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_result_alone_is_read(indent: int | None, tmp_path: Path) -> None:
    """`--output-format json` prints nothing else."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps(STREAM[-1], indent=indent))
    reader = detect(path)
    assert reader is not None
    with path.open("rb") as file:
        assert [step.type for step in whole(reader, file).steps] == ["resolution"]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_that_is_cut_off_is_incomplete(indent: int | None) -> None:
    """It has no steps yet."""
    text = json.dumps(STREAM, indent=indent)[:-20]
    transcript = whole(ClaudeCodeReader(), io.BytesIO(text.encode()))
    assert (transcript.step_count, transcript.unreadable_lines, transcript.is_incomplete) == (0, 0, True)
