"""Claude Code's session files: real ones against an independent count, and every special case by a line of its own."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.steps import ARGUMENTS_CHARS_MAX, CONTENT_CHARS_MAX, TOKEN_COUNT_MAX
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.reader import LINE_BYTES_MAX, Usage
from tests.central_command.client.transcripts.whole import Whole, whole

REAL = ("short", "tool_heavy", "subagent", "long")


def read(*events: dict[str, Any] | bytes) -> Whole:
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return whole(ClaudeCodeReader(), io.BytesIO(b"\n".join(lines)))


def user(content: Any, **members: Any) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": content}, **members}


def assistant(*blocks: Any, **members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "id": "msg_1", "model": "claude-opus-4-6", "content": list(blocks)}
    return {"type": "assistant", "message": message, **members}


def call(call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "Bash", "input": arguments}


def result(call_id: str, content: Any = "done", **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **members}


def shapes(transcript: Whole) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in transcript.steps]


@pytest.mark.parametrize("name", REAL)
def test_real_sessions_have_the_steps_that_a_count_over_the_raw_events_gives(name: str, transcripts: Path) -> None:
    """Calls, results, errors, thinking and text are each as many as in the raw file."""
    events = [json.loads(line) for line in (transcripts / f"{name}.jsonl").read_bytes().splitlines()]
    blocks = [
        block
        for event in events
        if event["type"] in {"user", "assistant"} and isinstance(event["message"]["content"], list)
        for block in event["message"]["content"]
    ]
    raw = Counter(block["type"] for block in blocks)
    errors = sum(1 for block in blocks if block.get("is_error"))
    texts = sum(
        1
        for event in events
        if event["type"] == "assistant"
        for block in event["message"]["content"]
        if block["type"] == "text" and block["text"].strip()
    )
    with (transcripts / f"{name}.jsonl").open("rb") as file:
        transcript = whole(ClaudeCodeReader(), file)
    found = Counter(step.type for step in transcript.steps)
    notifications = sum(1 for step in transcript.steps if step.source == "notification")
    assert found["action"] == raw["tool_use"]
    assert found["error"] == errors
    assert found["observation"] - notifications == raw["tool_result"] - errors
    assert found["thought"] == raw["thinking"] + texts
    assert found["resolution"] == 0
    assert transcript.unreadable_lines == transcript.skipped_sidechain_events == 0
    assert transcript.model == "claude-opus-4-6"
    assert transcript.session_key == next(event["sessionId"] for event in events if "sessionId" in event)


@pytest.mark.parametrize("name", REAL)
def test_every_tool_use_is_an_action_followed_by_its_own_result(name: str, transcripts: Path) -> None:
    """Name, arguments and result of each call are those of the raw file, and the result comes after its call."""
    raw_calls: list[tuple[str, str, Any]] = []
    raw_results: dict[str, Any] = {}
    for line in (transcripts / f"{name}.jsonl").read_bytes().splitlines():
        event = json.loads(line)
        content = event.get("message", {}).get("content")
        for block in content if isinstance(content, list) else ():
            if block["type"] == "tool_use":
                raw_calls.append((block["id"], block["name"], block["input"]))
            elif block["type"] == "tool_result":
                inner = block["content"]
                text = inner if isinstance(inner, str) else "\n".join(part["text"] for part in inner)
                raw_results[block["tool_use_id"]] = (text, bool(block.get("is_error")))
    with (transcripts / f"{name}.jsonl").open("rb") as file:
        steps = whole(ClaudeCodeReader(), file).steps
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert [(step.call_id, step.tool, step.arguments) for step in steps if step.type == "action"] == raw_calls
    answered = {step.call_id: step for step in steps if step.type in {"observation", "error"} and step.call_id}
    acted = {step.call_id: step for step in steps if step.type == "action"}
    assert set(answered) == set(acted)
    for call_id, step in answered.items():
        assert step.step > acted[call_id].step
        assert step.tool == acted[call_id].tool
        assert (step.content, step.type == "error") == raw_results[str(call_id)]


def test_the_instructions_of_a_real_session_are_the_users_own_words(transcripts: Path) -> None:
    """Queued text that only the queue's events hold is there; summaries and notifications are no instructions."""
    with (transcripts / "long.jsonl").open("rb") as file:
        steps = whole(ClaudeCodeReader(), file).steps
    assert [(step.source, step.intent, step.content) for step in steps if step.type == "instruction"] == [
        ("user", None, "Implement spotter-gqc"),
        ("user", "interruption", "[Request interrupted by user for tool use]"),
        ("queue", None, "check again"),
        ("queue", None, "new beads for the epic were added. tackle them"),
        ("user", None, "did you push?"),
    ]


def test_usage_is_counted_once_a_message(transcripts: Path) -> None:
    """The sum over distinct message ids, not over events, of which a message has several."""
    largest: dict[str, int] = {}
    for line in (transcripts / "long.jsonl").read_bytes().splitlines():
        event = json.loads(line)
        if event["type"] == "assistant":
            message = event["message"]
            largest[message["id"]] = max(largest.get(message["id"], 0), message["usage"]["output_tokens"])
    with (transcripts / "long.jsonl").open("rb") as file:
        assert whole(ClaudeCodeReader(), file).usage.output_tokens == sum(largest.values())


def test_usage_of_a_split_message_is_that_of_one() -> None:
    """Two events with one message id report the same usage twice."""
    usage = {"input_tokens": 3, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 4, "output_tokens": 7}
    event = assistant({"type": "text", "text": "a"})
    event["message"]["usage"] = usage
    assert read(event, event).usage == Usage(input_tokens=17, output_tokens=7)


def test_thinking_is_a_marked_thought_and_blank_text_is_none() -> None:
    """Thinking carries its source; blank text and redacted thinking are left out."""
    transcript = read(
        assistant({"type": "text", "text": "\n\n"}),
        assistant({"type": "thinking", "thinking": "hm", "signature": "x"}),
        assistant({"type": "redacted_thinking", "data": "x"}),
        assistant({"type": "thinking", "thinking": ""}),
        assistant({"type": "text", "text": "Done."}),
    )
    assert shapes(transcript) == [("thought", "thinking", "hm"), ("thought", None, "Done.")]


def test_result_events_are_the_only_resolutions() -> None:
    """A run that succeeded resolves; one that failed is an error."""
    good = {"type": "result", "subtype": "success", "is_error": False, "result": "All green."}
    bad = {"type": "result", "subtype": "error_max_turns", "is_error": True}
    assert shapes(read(assistant({"type": "text", "text": "All green."}), good)) == [
        ("thought", None, "All green."),
        ("resolution", None, "All green."),
    ]
    assert shapes(read(bad)) == [("error", None, "error_max_turns")]


def test_a_result_that_was_written_before_its_call_comes_after_it() -> None:
    """Order in the file is not always order of events."""
    transcript = read(user([result("a", "early")]), assistant(call("a"), call("b")), user([result("b")]))
    assert [(step.type, step.call_id) for step in transcript.steps] == [
        ("action", "a"),
        ("observation", "a"),
        ("action", "b"),
        ("observation", "b"),
    ]


def test_a_call_or_result_that_occurs_twice_is_one_step() -> None:
    """Resumed sessions copy events, with their uuid or without."""
    spoken = assistant({"type": "text", "text": "hello"}, uuid="u1")
    twice = (assistant(call("a")), user([result("a")]))
    assert [step.type for step in read(spoken, spoken, *twice, *twice).steps] == ["thought", "action", "observation"]


def test_results_of_every_shape_become_text() -> None:
    """Lists of blocks are joined, images and documents are short placeholders, unknown blocks are JSON."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 10_000}}
    content = [
        {"type": "text", "text": "one"},
        image,
        {"type": "document"},
        {"type": "tool_reference", "tool_name": "X"},
    ]
    steps = read(assistant(call("a"), call("b"), call("c")), user([result("a", content), result("b", None)])).steps
    assert (
        steps[3].content
        == 'one\n[image: image/png]\n[document: unknown type]\n{"type":"tool_reference","tool_name":"X"}'
    )
    assert steps[4].content == ""


def test_meta_events_summaries_and_local_commands_are_left_out() -> None:
    """What the program put in or carried out itself is nothing that the agent was asked."""
    transcript = read(
        user("real"),
        user("the body of a command", isMeta=True),
        user("This session is being continued", isCompactSummary=True),
        user("<local-command-caveat>Caveat</local-command-caveat>", parentUuid="i"),
        user("<command-name>/mcp</command-name>\n<command-args></command-args>", uuid="m", parentUuid="c"),
        user("<local-command-stdout>Reconnected.</local-command-stdout>", parentUuid="m"),
        user("<bash-input>ls</bash-input>"),
        user("<bash-stdout>file</bash-stdout><bash-stderr></bash-stderr>"),
        {"type": "system", "subtype": "local_command", "content": "<local-command-stdout>x</local-command-stdout>"},
        {"type": "file-history-snapshot", "snapshot": {}},
        {"type": "summary", "summary": "about"},
        {"type": "progress", "data": {"type": "hook_progress"}},
    )
    assert shapes(transcript) == [("instruction", "user", "real")]


def test_an_interruption_before_a_local_command_stays() -> None:
    """The caveat's parent is whatever came before it, and not part of the local command."""
    transcript = read(
        user([{"type": "text", "text": "[Request interrupted by user]"}], uuid="i"),
        user("<local-command-caveat>Caveat</local-command-caveat>", parentUuid="i", isMeta=True),
    )
    assert [(step.type, step.intent) for step in transcript.steps] == [("instruction", "interruption")]


def test_a_slash_command_for_the_agent_is_an_instruction() -> None:
    """Name and arguments, without the markup around them."""
    markup = (
        "<command-message>r</command-message>\n<command-name>/review</command-name>\n<command-args>all</command-args>"
    )
    assert shapes(read(user(markup))) == [("instruction", "command", "/review all")]


def test_queued_text_is_read_once_however_it_was_delivered() -> None:
    """By the queue alone, by an attachment, or by a user event; what went back to the editor is none."""

    def queue(operation: str, text: str = "") -> dict[str, Any]:
        return {"type": "queue-operation", "operation": operation, "content": text}

    attachment = {"type": "attachment", "attachment": {"type": "queued_command", "prompt": "second"}}
    transcript = read(
        queue("enqueue", "first"),
        queue("remove"),
        queue("enqueue", "second"),
        queue("remove"),
        attachment,
        queue("enqueue", "third"),
        queue("dequeue"),
        user("third"),
        queue("enqueue", "/mcp"),
        queue("remove"),
        queue("enqueue", "never sent"),
        queue("popAll"),
        queue("remove"),
    )
    assert shapes(transcript) == [
        ("instruction", "queue", "first"),
        ("instruction", "queue", "second"),
        ("instruction", "user", "third"),
    ]


def test_sidechains_are_left_out_and_counted() -> None:
    """A sub-agent's steps are not those of the session that called it."""
    inner = {"isSidechain": True}
    transcript = read(user("go"), assistant(call("a")), user("sub", **inner), assistant(call("x"), **inner))
    assert [step.type for step in transcript.steps] == ["instruction", "action"]
    assert transcript.skipped_sidechain_events == 2
    assert not transcript.is_subagent


def test_a_file_of_sidechain_events_only_is_the_sub_agents_own_session() -> None:
    """Such files are written for each sub-agent."""
    transcript = read(user("sub", isSidechain=True), assistant(call("x"), isSidechain=True))
    assert [step.type for step in transcript.steps] == ["instruction", "action"]
    assert transcript.is_subagent


def test_api_errors_are_errors_and_name_no_model() -> None:
    """The program writes them as an assistant's message by a model called <synthetic>."""
    event = assistant({"type": "text", "text": "API Error: 529 overloaded"}, isApiErrorMessage=True)
    event["message"]["model"] = "<synthetic>"
    made_up = assistant({"type": "text", "text": "No response requested."})
    made_up["message"]["model"] = "<synthetic>"
    transcript = read(event, made_up)
    assert shapes(transcript) == [("error", "api", "API Error: 529 overloaded")]
    assert transcript.model == ""


def test_the_model_of_most_messages_is_the_sessions(transcripts: Path) -> None:
    """Messages are counted, not events: one message in three events does not outvote two messages."""

    def by(model: str, message_id: str) -> dict[str, Any]:
        event = assistant({"type": "text", "text": "x"})
        return event | {"message": event["message"] | {"model": model, "id": message_id}}

    assert read(*[by("small", "1")] * 3, by("large", "2"), by("large", "3")).model == "large"


def test_unreadable_lines_are_counted_and_the_rest_is_read() -> None:
    """Text, numbers, a cut line, deep nesting and a line that is too long; a byte that is no UTF-8 costs none."""
    long_line = b'{"type":"user","x":"' + b"y" * LINE_BYTES_MAX + b'"}'
    transcript = read(
        b"no json",
        b"42",
        b"[]",
        b'{"type":"user","mess',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        long_line,
        b"",
        b"  ",
        user("still"),
    )
    assert transcript.unreadable_lines == 6
    assert shapes(transcript) == [("instruction", "user", "still")]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "message",
                        "content",
                        "id",
                        "usage",
                        "text",
                        "attachment",
                        "prompt",
                        "input",
                        "tool_use_id",
                        "uuid",
                        "timestamp",
                        "operation",
                        "source",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from(["user", "assistant", "result", "attachment", "queue-operation", "progress"]),
)
def test_events_of_any_shape_are_read_without_an_error(value: Any, kind: str) -> None:
    """Whatever stands where a member is expected, steps keep their numbers and bounds."""
    blocks = [
        {
            "type": name,
            "id": value,
            "input": value,
            "content": value,
            "text": value,
            "thinking": value,
            "name": value,
            "source": value,
            "tool_use_id": value,
        }
        for name in ("tool_use", "tool_result", "text", "thinking", "image")
    ]
    events = [
        {"type": kind, "message": value, "attachment": value, "timestamp": value, "content": value, "uuid": value},
        {"type": kind, "message": {"content": blocks, "usage": value, "model": value, "id": value}, "timestamp": value},
        {"type": kind, "message": {"content": value, "usage": {"output_tokens": value}}, "result": value},
    ]
    steps = read(*events).steps
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert all(step.token_count <= TOKEN_COUNT_MAX for step in steps)


def test_long_content_keeps_head_and_tail_and_says_so() -> None:
    """The bound is the server's; what the whole would have counted is noted."""
    text = "a" * 300_000 + "z" * 300_000
    step = read(user(text)).steps[0]
    assert len(step.content) <= CONTENT_CHARS_MAX
    assert step.content.startswith("aaa")
    assert step.content.endswith("zzz")
    assert (step.truncated, step.original_token_count) == (True, TOKEN_COUNT_MAX)
    assert step.token_count == -(-len(step.content) // 4)
    exact = read(user("b" * CONTENT_CHARS_MAX)).steps[0]
    assert (len(exact.content), exact.truncated, exact.original_token_count) == (CONTENT_CHARS_MAX, None, None)


def test_arguments_that_are_too_long_or_too_deep_become_text() -> None:
    """Such an action is kept, with the beginning and end of its arguments, and says so."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    steps = read(assistant(call("a", content="x" * ARGUMENTS_CHARS_MAX), call("b", deep=deep), call("c", ok=1.0))).steps
    for step in steps[:2]:
        assert step.truncated is True
        assert list(step.arguments or {}) == ["json"]
        assert step.original_token_count is not None
    assert (steps[2].arguments, steps[2].truncated) == ({"ok": 1}, None)


def test_numbers_that_json_does_not_have_become_null() -> None:
    """Python would read and write NaN and Infinity, which no server takes."""
    block = b'{"type":"tool_use","id":"a","name":"B","input":{"x":NaN,"y":1e999}}'
    line = b'{"type":"assistant","message":{"content":[' + block + b"]}}"
    assert read(line).steps[0].arguments == {"x": None, "y": None}


def test_times_are_seconds_and_a_missing_one_is_its_neighbours() -> None:
    """A step without a time of its own stands at the one before it, the first at the first that is known."""
    transcript = read(
        user("a"),
        user("b", timestamp="2026-02-10T21:11:52.438Z"),
        user("c", timestamp="no time"),
        user("d", timestamp=1770757913500),
    )
    assert [step.timestamp for step in transcript.steps] == [1770757912.438] * 3 + [1770757913.5]
    assert (transcript.started_s, transcript.ended_s) == (1770757912.438, 1770757913.5)
    assert read(user("a")).started_s is None
