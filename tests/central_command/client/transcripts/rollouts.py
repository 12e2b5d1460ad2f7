"""Codex rollouts as the program writes them, made line by line for tests."""

import io
import json
from typing import Any

from hypothesis import strategies as st

from central_command.client.transcripts.codex import CodexReader
from tests.central_command.client.transcripts.whole import Whole, whole

Line = dict[str, Any]
DAY = "2026-11-27T"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "id", "call_id", "output", "summary", "status", "role"]), inner
        )
    ),
    max_leaves=15,
)


def read(*lines: Any) -> Whole:
    return whole(CodexReader(), io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))


def line(kind: str, at: str = "09:00:00.000", **payload: Any) -> Line:
    return {"timestamp": f"{DAY}{at}Z", "type": kind, "payload": payload}


def item(kind: str, at: str = "09:00:00.000", **members: Any) -> Line:
    return line("response_item", at, type=kind, **members)


def event(kind: str, at: str = "09:00:00.000", **members: Any) -> Line:
    return line("event_msg", at, type=kind, **members)


def meta(session: str, created: str = "09:00:00.000", at: str = "", **members: Any) -> Line:
    told = {"id": session, "timestamp": f"{DAY}{created}Z", "source": "cli"} | members
    return line("session_meta", at or created, **told)


def user(text: str, at: str = "09:00:00.000", **members: Any) -> Line:
    return item("message", at, role="user", content=[{"type": "input_text", "text": text}], **members)


def said(text: str, at: str = "09:00:00.000") -> Line:
    return item("message", at, role="assistant", content=[{"type": "output_text", "text": text}])


def seconds(text: str) -> float:
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def clock(total: float) -> str:
    return f"{int(total // 3600):02}:{int(total // 60 % 60):02}:{total % 60:06.3f}"


def turn(name: str, at: str, *, turn_id: str = "", usage: int = 0, pace_s: float = 0.5, **started: Any) -> list[Line]:
    """A prompt, a call with its output and an answer, each `pace_s` after the last, told twice where Codex does."""
    times = iter(clock(seconds(at) + pace_s * number) for number in range(20))
    counted = {"total_token_usage": {"input_tokens": usage, "output_tokens": usage // 10}}
    return [
        event("task_started", next(times), turn_id=turn_id or f"turn-{name}", **started),
        line("turn_context", next(times), turn_id=turn_id or f"turn-{name}", model="gpt-5.5"),
        user(f"Ask {name}", next(times)),
        event("user_message", next(times), message=f"Ask {name}", images=[]),
        item("function_call", next(times), name="exec_command", arguments='{"cmd": "ls"}', call_id=f"call_{name}"),
        item("function_call_output", next(times), call_id=f"call_{name}", output=f"output {name}"),
        event("agent_message", next(times), message=f"Answer {name}"),
        said(f"Answer {name}", next(times)),
        event("token_count", next(times), info=counted if usage else None),
        event("task_complete", next(times), turn_id=turn_id or f"turn-{name}", last_agent_message=f"Answer {name}"),
    ]


def copied(lines: list[Line], at: str) -> list[Line]:
    """The lines as a fork has them: all with the time of the copying."""
    return [{**each, "timestamp": f"{DAY}{at}Z"} for each in lines]


def contents(transcript: Whole) -> list[str]:
    return [step.content for step in transcript.steps]


def shapes(transcript: Whole) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in transcript.steps]
