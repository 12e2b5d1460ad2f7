"""Events of Claude Code as its versions of 2026 write them, for tests; each with a uuid and a time of its own."""

import io
import json
from itertools import count
from typing import Any

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from tests.central_command.client.transcripts.whole import Whole, whole

SESSION = "f0000000-0000-4000-8000-000000000001"
OLDER = "f0000000-0000-4000-8000-000000000000"
_numbers = count(1)


def event(kind: str, session: str = SESSION, **members: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "parentUuid": None,
        "isSidechain": False,
        "userType": "external",
        "cwd": "/proj/app",
        "sessionId": session,
        "version": "2.1.250",
        "type": kind,
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "timestamp": f"2026-11-27T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z",
        **members,
    }


def user(content: Any, session: str = SESSION, **members: Any) -> dict[str, Any]:
    return event("user", session, message={"role": "user", "content": content}, **members)


def assistant(*blocks: JsonObject, session: str = SESSION, **members: Any) -> dict[str, Any]:
    message = {"id": f"msg_{next(_numbers)}", "type": "message", "role": "assistant", "model": "claude-opus-4-6"}
    return event("assistant", session, message={**message, "content": list(blocks)}, **members)


def said(text: str, session: str = SESSION, **members: Any) -> dict[str, Any]:
    return assistant({"type": "text", "text": text}, session=session, **members)


def called(call_id: str, session: str = SESSION, **members: Any) -> dict[str, Any]:
    block: JsonObject = {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": call_id}}
    return assistant(block, session=session, **members)


def answered(call_id: str, session: str = SESSION, **members: Any) -> dict[str, Any]:
    return user([{"type": "tool_result", "tool_use_id": call_id, "content": "done"}], session, **members)


def attachment(kind: str, **members: Any) -> dict[str, Any]:
    return event("attachment", attachment={"type": kind, **members})


def queue(operation: str, content: str | None = None, **members: Any) -> dict[str, Any]:
    named = {} if content is None else {"content": content}
    kept = ("type", "sessionId", "timestamp")
    base = {name: value for name, value in event("queue-operation").items() if name in kept}
    return {**base, "operation": operation, **named, **members}


def lines(*events: dict[str, Any] | bytes) -> bytes:
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each, separators=(",", ":")).encode()) + b"\n"
        for each in events
    )


class Named(io.BytesIO):
    """A file with a name."""

    def __init__(self, text: bytes, name: str) -> None:
        super().__init__(text)
        self.name = name


def read(*events: dict[str, Any] | bytes, name: str = "") -> Whole:
    text = lines(*events)
    return whole(ClaudeCodeReader(), Named(text, name) if name else io.BytesIO(text))


def shapes(transcript: Whole) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in transcript.steps]
