"""Gemini CLI's chats, checkpoints and streams: fixtures against a count over the raw file, special cases by a line."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.steps import TOKEN_COUNT_MAX
from central_command.client.transcripts.gemini import GeminiReader
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.whole import Whole, whole

CHAT = "session-2026-11-20T11-49-29edd6bf.jsonl"
OLD_CHAT = "session-2025-10-05T08-00-8b2f6c1e.json"
HEADER = {"sessionId": "s", "projectHash": "p", "startTime": "2026-01-01T00:00:00Z"}


def read(*events: Any) -> Whole:
    return whole(GeminiReader(), io.BytesIO(b"".join(json.dumps(event).encode() + b"\n" for event in events)))


def read_file(path: Path) -> Whole:
    with path.open("rb") as file:
        return whole(GeminiReader(), file)


def message(kind: str, content: Any, message_id: str = "m", **members: Any) -> dict[str, Any]:
    at = "2026-01-01T00:00:01Z"
    return {"id": message_id, "timestamp": at, "type": kind, "content": content, **members}


def call(call_id: str, status: str = "executing", result: Any = None) -> dict[str, Any]:
    return {"id": call_id, "name": "glob", "args": {"pattern": "*"}, "status": status, "result": result}


def response(call_id: str, **members: Any) -> list[dict[str, Any]]:
    return [{"functionResponse": {"id": call_id, "name": "glob", "response": members}}]


def shapes(transcript: Whole) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in transcript.steps]


@pytest.mark.parametrize("name", [CHAT, OLD_CHAT])
def test_a_chats_steps_are_as_many_as_its_messages_hold(name: str, transcripts: Path) -> None:
    """Over the last state of each message: thoughts, texts, calls, results and failures."""
    path = transcripts / "gemini" / name
    whole = json.loads(path.read_text()) if path.suffix == ".json" else {}
    records = whole.get("messages") or [json.loads(line) for line in path.read_text().splitlines()]
    last = {record["id"]: record for record in records if "id" in record}.values()
    gemini = [each for each in last if each["type"] == "gemini"]
    calls = [each for one in gemini for each in one.get("toolCalls", ())]
    ended = Counter(each["status"] for each in calls)
    found = Counter(step.type for step in read_file(path).steps)
    assert found["thought"] == sum(len(one["thoughts"]) + bool(one["content"]) for one in gemini)
    assert found["action"] == len(calls)
    assert found["observation"] == ended["success"]
    assert found["error"] == ended["error"] + ended["cancelled"] + sum(each["type"] == "error" for each in last)
    assert sum(ended.values()) - ended["executing"] == found["observation"] + ended["error"] + ended["cancelled"]


def test_every_call_of_a_chat_is_followed_by_its_own_result(transcripts: Path) -> None:
    """Under the same id and name, with what the response to the model holds."""
    steps = read_file(transcripts / "gemini" / CHAT).steps
    actions = [step for step in steps if step.type == "action"]
    results = [step for step in steps if step.call_id and step.type != "action"]
    assert [(step.call_id, step.tool) for step in actions] == [(step.call_id, step.tool) for step in results]
    assert len(actions) == 8
    assert all(one.step < other.step for one, other in zip(actions, results, strict=True))
    assert [step.type for step in results[:4]] == ["observation", "error", "observation", "error"]
    assert "Output: hi" in results[0].content


def test_a_resumed_chat_names_session_model_usage_and_the_users_words(transcripts: Path) -> None:
    """Tokens are those of each message once, though each is written two or three times."""
    transcript = read_file(transcripts / "gemini" / CHAT)
    assert transcript.session_key == "29edd6bf-8d71-4c57-885a-41756355c0f9"
    assert transcript.model == "gemini-2.5-pro"
    assert transcript.usage == Usage(2 * (1000 + 1001 + 1002), 6 * 60)
    assert [step.content for step in transcript.steps if step.type == "instruction"] == ["Write hello.txt", "And again"]


def test_a_stream_has_the_calls_and_results_of_its_raw_events(transcripts: Path) -> None:
    """Pieces of text are one thought; the last of them is the answer."""
    path = transcripts / "gemini" / "stream.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    raw = Counter(event["type"] for event in events)
    failed = sum(event.get("status") == "error" for event in events if event["type"] == "tool_result")
    transcript = read_file(path)
    found = Counter(step.type for step in transcript.steps)
    assert found["action"] == raw["tool_use"]
    assert (found["error"], found["observation"]) == (failed, raw["tool_result"] - failed)
    assert [shape for shape in shapes(transcript) if shape[0] in {"thought", "resolution"}] == [
        ("thought", None, "Let me look at the files."),
        ("thought", None, "Done: hello.txt is written."),
        ("resolution", None, "Done: hello.txt is written."),
    ]
    assert (transcript.model, transcript.usage) == ("gemini-2.5-pro", Usage(3003, 120))


def test_a_stream_and_its_chat_tell_the_same_run(transcripts: Path) -> None:
    """The same calls with the same arguments and outcomes; the program wrote both."""
    of_chat = read_file(transcripts / "gemini" / CHAT).steps
    of_stream = read_file(transcripts / "gemini" / "stream.jsonl").steps
    asked = [(step.tool, step.arguments) for step in of_stream if step.type == "action"]
    assert [(step.tool, step.arguments) for step in of_chat if step.type == "action"][:4] == asked
    outcomes = {step.call_id: step.type for step in of_stream if step.call_id and step.type != "action"}
    assert outcomes.items() <= {step.call_id: step.type for step in of_chat if step.type != "action"}.items()


def test_a_chat_of_2025_is_read_with_all_its_special_cases(transcripts: Path) -> None:
    """Cancelled calls and requests, API errors, images, the program's own commands, a call that still runs."""
    transcript = read_file(transcripts / "gemini" / OLD_CHAT)
    assert [shape for shape in shapes(transcript) if shape[1]] == [
        ("instruction", "user", "Fix the test"),
        ("thought", "thinking", "**Reading**\n\nThe test first."),
        ("thought", "thinking", "Only this."),
        ("instruction", "user", "Request cancelled."),
        ("error", "api", "[API Error: quota]"),
        ("instruction", "user", "And this\n[image: image/png]"),
    ]
    assert [step.intent for step in transcript.steps if step.intent] == ["interruption"]
    assert transcript.usage == Usage(1600, 52)
    assert transcript.settled_steps == len(transcript.steps) - 1


def test_an_old_chat_that_is_still_being_written_is_incomplete(transcripts: Path) -> None:
    """Such a file is one JSON text: half of it is neither damage nor a session."""
    text = (transcripts / "gemini" / OLD_CHAT).read_bytes()
    half = whole(GeminiReader(), io.BytesIO(text[: len(text) // 2]))
    assert (half.steps, half.unreadable_lines, half.is_incomplete) == ((), 0, True)


def test_a_checkpoint_pairs_responses_with_calls_that_have_no_ids(transcripts: Path) -> None:
    """By name and order; there are no times and no model."""
    transcript = read_file(transcripts / "gemini" / "checkpoint-list.json")
    paired = {step.call_id: step.content for step in transcript.steps if step.type in {"observation", "error"}}
    asked = {step.call_id: step.arguments for step in transcript.steps if step.type == "action"}
    assert [(asked[call_id], text) for call_id, text in paired.items()] == [
        ({"path": "."}, "a.py"),
        ({"path": "b"}, "no such folder"),
    ]
    assert (transcript.started_s, transcript.model, transcript.settled_steps) == (None, "", 0)


def test_a_message_that_is_written_again_adds_only_what_is_new() -> None:
    """Its text once, a call when it is first there, its result when that is, and nothing when it is shortened."""
    transcript = read(
        HEADER,
        message("gemini", "I look.", thoughts=[{"subject": "Look", "description": ""}]),
        message("gemini", "I look.", thoughts=[{"subject": "Look", "description": ""}], toolCalls=[call("a")]),
        message("gemini", "", toolCalls=[call("a", "success", response("a", output="x")), call("b")]),
        {"$set": {"messages": [message("gemini", "I", toolCalls=[call("a", "success", response("a", output=""))])]}},
        message("user", response("b", error="gone"), "m2"),
    )
    assert shapes(transcript) == [
        ("thought", "thinking", "Look"),
        ("thought", None, "I look."),
        ("action", None, "Using glob"),
        ("observation", None, "x"),
        ("action", None, "Using glob"),
        ("error", None, "gone"),
    ]


def test_what_the_program_rewrites_itself_is_no_step() -> None:
    """Its context, its commands, summaries in a rewritten history; going back takes nothing away."""
    transcript = read(
        HEADER,
        {"$set": {"messages": [message("user", [{"text": "<state_snapshot>summary"}], "x")]}},
        message("user", "<session_context>\nToday", "a"),
        message("user", "/stats", "b"),
        message("user", "real", "c"),
        {"$rewindTo": "c"},
        message("warning", "careful", "d"),
    )
    assert shapes(transcript) == [("instruction", "user", "real")]


def test_calls_in_the_content_of_a_message_are_the_ones_beside_it() -> None:
    """Newer versions write a call in both places."""
    parts = [{"text": "hm", "thought": True}, {"text": "I look."}, {"functionCall": {"id": "a", "name": "glob"}}]
    parts.append({"functionCall": {"name": "glob"}})
    steps = read(HEADER, message("gemini", parts), message("gemini", parts, toolCalls=[call("a", "cancelled")])).steps
    assert [(step.type, step.call_id) for step in steps] == [
        ("thought", None),
        ("thought", None),
        ("action", "a"),
        ("error", "a"),
    ]


def test_a_sub_agents_chat_and_a_failed_run_say_so() -> None:
    """By the chat's kind, and by an error in place of an answer."""
    assert read(HEADER | {"kind": "subagent"}).is_subagent
    at = {"timestamp": "2026-01-01T00:00:00Z"}
    transcript = read(
        {"type": "init", "session_id": "s", "model": "m", **at},
        {"type": "error", "severity": "warning", "message": "loop", **at},
        {"type": "error", "severity": "error", "message": "turns", **at},
        {"type": "result", "status": "error", "error": {"type": "x", "message": "no quota"}, **at},
    )
    assert shapes(transcript) == [("error", "api", "turns"), ("error", "api", "no quota")]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "text", "functionCall", "functionResponse", "response", "name", "parts"]), inner
            )
        ),
        max_leaves=15,
    )
)
def test_records_of_any_shape_are_read_without_an_error(value: Any) -> None:
    """Whatever stands where a member is expected, steps keep their numbers and bounds."""
    names = ["id", "content", "thoughts", "toolCalls", "tokens", "model", "timestamp"]
    chat: list[Any] = [HEADER, {"$set": value}, {"$set": {"messages": value}}]
    chat += [{"type": kind, **dict.fromkeys(names, value)} for kind in ("user", "gemini", "info", "error")]
    tool_call = dict.fromkeys(["id", "name", "args", "result", "status", "timestamp", "resultDisplay"], value)
    chat += [message("gemini", value, thoughts=[{"subject": value}], toolCalls=[tool_call], tokens={"input": value})]
    members = ["role", "content", "delta", "tool_id", "tool_name", "parameters", "output", "error", "stats", "message"]
    kinds = ["message", "tool_use", "tool_result", "error", "result", "init"]
    stream = [{"type": "init", "session_id": "s", "model": "m"}]
    stream += [{"type": kind, **dict.fromkeys(members, value)} for kind in kinds]
    for events in (chat, stream, [{"history": value}], [{"sessionId": "s", "projectHash": "p", "messages": value}]):
        steps = read(*events).steps
        assert [step.step for step in steps] == list(range(1, len(steps) + 1))
        assert all(step.token_count <= TOKEN_COUNT_MAX for step in steps)
