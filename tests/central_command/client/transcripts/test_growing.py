"""Files that are still written: what is settled stays as it is, however the file goes on."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from central_command.client.transcripts import claude_code
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.codex import CodexReader
from central_command.client.transcripts.detection import detect
from central_command.client.transcripts.gemini import GeminiReader
from central_command.client.transcripts.reader import TranscriptReader
from tests.central_command.client.transcripts.whole import Whole, whole

SMALL_WINDOW = 4
FIXTURES = Path(__file__).parents[3] / "transcripts"
GROWING = [
    path
    for folder in (*(each.name for each in sorted(FIXTURES.iterdir()) if each.is_dir()), ".")
    for path in sorted((FIXTURES / folder).glob("*.jsonl"))
    if path.name != "long.jsonl"
]
ALWAYS_SETTLED = [path for path in GROWING if path.parent.name == "codex" or path.name.startswith("session-2026")]


def read(reader: TranscriptReader, text: bytes) -> Whole:
    return whole(reader, io.BytesIO(text))


def reader_of(path: Path) -> TranscriptReader:
    reader = detect(path)
    assert reader is not None
    return reader


def cuts(text: bytes) -> Iterator[bytes]:
    """The file at every end of a line."""
    lines = text.splitlines(keepends=True)
    return (b"".join(lines[:count]) for count in range(len(lines) + 1))


def assert_kept(before: Whole, after: Whole) -> None:
    settled = before.settled_steps
    assert settled <= len(before.steps)
    assert after.settled_steps >= settled
    assert after.steps[:settled] == before.steps[:settled]


@pytest.mark.parametrize("path", GROWING, ids=lambda path: path.stem)
def test_settled_steps_stay_at_every_end_of_a_line(path: Path) -> None:
    """Each reading of the growing file begins with the settled steps of the one before it."""
    reader = reader_of(path)
    before = read(reader, b"")
    for text in cuts(path.read_bytes()):
        after = read(reader, text)
        assert_kept(before, after)
        before = after


@pytest.mark.parametrize("path", ALWAYS_SETTLED, ids=lambda path: path.stem)
def test_every_step_of_codex_and_of_gemini_chats_is_settled_at_once(path: Path) -> None:
    """Their steps at every end of a line are a prefix of the whole file's."""
    reader = reader_of(path)
    whole = read(reader, path.read_bytes()).steps
    for text in cuts(path.read_bytes()):
        part = read(reader, text)
        assert part.settled_steps == len(part.steps)
        assert whole[: len(part.steps)] == part.steps


def test_a_long_real_session_is_settled_nearly_everywhere() -> None:
    """At every hundredth line; what is open there is open for a moment only."""
    path = FIXTURES / "long.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    reader = ClaudeCodeReader()
    before = read(reader, b"")
    sent = 0
    for count in [*range(50, len(lines), 100), len(lines)]:
        after = read(reader, b"".join(lines[:count]))
        assert_kept(before, after)
        assert len(after.steps) - after.settled_steps <= claude_code.WINDOW_EVENTS
        sent, before = after.settled_steps, after
    assert sent == len(before.steps) == 483


@pytest.mark.parametrize("path", GROWING, ids=lambda path: path.stem)
@given(data=st.data())
def test_a_half_written_last_line_changes_nothing_and_is_no_damage(path: Path, data: st.DataObject) -> None:
    """It is told, not counted, and read when it is whole."""
    text = path.read_bytes()
    end = data.draw(st.integers(0, len(text)))
    reader = reader_of(path)
    start = text.rfind(b"\n", 0, end) + 1
    half, without = read(reader, text[:end]), read(reader, text[:start])
    assert half.unreadable_lines == 0
    rest = text[end : text.find(b"\n", end)] if end < len(text) else b""
    if start < end and rest:
        assert half.is_incomplete
        assert half.steps == without.steps
    else:
        assert not half.is_incomplete


@pytest.mark.parametrize("path", GROWING, ids=lambda path: path.stem)
def test_reading_twice_gives_the_same(path: Path) -> None:
    """Whoever follows a file may read it again from its start."""
    reader = reader_of(path)
    assert read(reader, path.read_bytes()) == read(reader, path.read_bytes())


def event(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": "2026-01-01T00:00:00Z", **members}


def user(content: Any, **members: Any) -> dict[str, Any]:
    return event("user", message={"content": content}, **members)


def assistant(block: dict[str, Any], *, message_id: str | None = None, **members: Any) -> dict[str, Any]:
    named = {} if message_id is None else {"id": message_id}
    return event("assistant", message={"content": [block], **named}, **members)


def said(message_id: str) -> dict[str, Any]:
    return assistant({"type": "text", "text": "said"}, message_id=message_id)


def queue(operation: str, text: str = "") -> dict[str, Any]:
    return event("queue-operation", operation=operation, content=text)


CALL = assistant({"type": "tool_use", "id": "a", "name": "B", "input": {}})
RESULT = user([{"type": "tool_result", "tool_use_id": "a", "content": "a"}])
COMMAND = user("<command-name>/a</command-name><command-args></command-args>", uuid="a")
OUTPUT = user("<local-command-stdout>x</local-command-stdout>", parentUuid="a")


def claude_events() -> st.SearchStrategy[dict[str, Any]]:
    """Events whose meaning depends on one another: early results, local commands, queued text, sidechains."""
    ids, texts = st.sampled_from("abc"), st.sampled_from(["go", "stop"])

    command = "<command-name>/{}</command-name><command-args></command-args>"
    return st.one_of(
        st.tuples(ids, st.sampled_from(["m1", "m2", "m3", None])).map(
            lambda each: assistant({"type": "tool_use", "id": each[0], "name": "B", "input": {}}, message_id=each[1])
        ),
        st.sampled_from(["m1", "m2", "m3"]).map(said),
        ids.map(lambda i: user([{"type": "tool_result", "tool_use_id": i, "content": i}])),
        ids.map(lambda i: user(command.format(i), uuid=i)),
        ids.map(lambda i: user("<local-command-stdout>x</local-command-stdout>", parentUuid=i)),
        texts.map(lambda text: queue("enqueue", text)),
        st.sampled_from(["remove", "dequeue", "popAll"]).map(queue),
        texts.map(lambda text: queue("remove", text)),
        texts.map(lambda text: queue("popAll", text)),
        ids.map(lambda i: user([{"type": "tool_result", "tool_use_id": i, "content": i}], forkedFrom={"sessionId": i})),
        texts.map(lambda text: event("attachment", attachment={"type": "file", "content": text})),
        texts.map(user),
        texts.map(lambda text: event("attachment", attachment={"type": "queued_command", "prompt": text})),
        texts.map(lambda text: assistant({"type": "text", "text": text}, isSidechain=True)),
        texts.map(lambda text: user(text, isSidechain=True, agentId="z")),
        texts.map(lambda text: {"type": "user", "message": {"content": text}}),
    )


@example([user("go"), RESULT, CALL])
@example([user("go"), RESULT, *[user("go")] * SMALL_WINDOW, CALL])
@example([user("go"), COMMAND, OUTPUT])
@example([user("go"), COMMAND, *[user("go")] * SMALL_WINDOW, OUTPUT])
@example([user("go"), COMMAND, said("m1"), said("m2"), OUTPUT])
@example([user("go"), RESULT, said("m1"), CALL, said("m2")])
@example([user("go"), RESULT, said("m1"), said("m2"), CALL])
@example([user("go"), queue("enqueue", "stop"), queue("remove"), said("m1"), said("m2"), user("stop")])
@example([user("go"), queue("enqueue", "stop"), queue("dequeue"), said("m1"), said("m2"), user("stop")])
@example([user("go"), queue("enqueue", "stop"), queue("remove"), user("stop")])
@example([user("go"), queue("enqueue", "stop"), queue("remove"), *[user("go")] * SMALL_WINDOW, user("stop")])
@example([user("go"), *map(queue, ["enqueue"] * 2, ["stop", "on"]), queue("dequeue"), queue("remove"), user("stop")])
@settings(max_examples=400)
@given(st.lists(claude_events(), max_size=25))
def test_settled_steps_stay_in_any_order_of_events(events: list[dict[str, Any]]) -> None:
    """With a window of few events, so that all that it decides is decided on both sides of it."""
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claude_code, "WINDOW_EVENTS", SMALL_WINDOW)
        before = read(ClaudeCodeReader(), b"")
        for count in range(len(lines) + 1):
            after = read(ClaudeCodeReader(), b"".join(lines[:count]))
            assert_kept(before, after)
            before = after


OPEN = {
    "a slash command": [COMMAND],
    "the result of a call before the file": [RESULT],
    "text that was queued and taken out": [queue("enqueue", "stop"), queue("remove")],
    "text that begins a turn, without an event": [queue("enqueue", "stop"), queue("dequeue")],
}


@pytest.mark.parametrize("opening", OPEN.values(), ids=OPEN)
def test_what_an_event_means_is_settled_by_the_second_message_of_the_model_behind_it(
    opening: list[dict[str, Any]],
) -> None:
    """And not by the first, whose own calls and results may stand on both sides of another's."""
    behind = [said("m1"), said("m1"), said("m2")]
    lines = [json.dumps(each).encode() + b"\n" for each in (user("go"), *opening, *behind)]
    first, second = (read(ClaudeCodeReader(), b"".join(lines[:count])) for count in (len(lines) - 1, len(lines)))
    assert first.settled_steps == 1
    assert second.settled_steps == len(second.steps) >= 4


WAITS_FOR_ITS_END = {
    "amp/stream.jsonl": "no times",
    "claude_code/print_stream.jsonl": "no times",
    "goose/session.jsonl": "written anew as a whole",
    "qwen_code/stream.jsonl": "no times",
}


def by_folder(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize(
    "path", [path for path in GROWING if by_folder(path) not in WAITS_FOR_ITS_END], ids=lambda path: path.stem
)
def test_no_agents_session_is_held_back_for_longer_than_a_message_or_two(path: Path) -> None:
    """From its first steps on what is open is some steps at the end, at every line, with the usage told of them."""
    reader = reader_of(path)
    for text in cuts(path.read_bytes()):
        part = read(reader, text)
        assert len(part.steps) - part.complete_steps <= (14 if len(part.steps) < 16 else 8)


@pytest.mark.parametrize("name", WAITS_FOR_ITS_END)
def test_a_file_without_times_or_that_is_written_anew_waits_for_its_end(name: str) -> None:
    """Nothing tells what of it will stay."""
    path = FIXTURES / name
    assert read(reader_of(path), path.read_bytes()).complete_steps == 0


SUBAGENT, MIDDLE = FIXTURES / "subagent.jsonl", FIXTURES / "long.jsonl"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(SUBAGENT.read_bytes().splitlines(keepends=True), id="begins with a slash command"),
        pytest.param(MIDDLE.read_bytes().splitlines(keepends=True)[600:700], id="begins in the middle of a session"),
    ],
)
def test_a_real_session_is_settled_while_it_grows_whatever_it_begins_with(lines: list[bytes]) -> None:
    """From its first messages on, all but the last one's steps."""
    reader = ClaudeCodeReader()
    before = read(reader, b"")
    for count in range(1, len(lines) + 1):
        after = read(reader, b"".join(lines[:count]))
        assert_kept(before, after)
        if count >= 30:
            assert len(after.steps) - after.complete_steps <= 8
        before = after
    assert before.complete_steps >= len(before.steps) - 2 >= 20


def test_a_call_that_waits_for_its_result_does_not_hold_up_the_steps_before_it() -> None:
    """The action is settled at once; its result comes behind whatever was read in between."""
    at = {"timestamp": "2026-01-01T00:00:00Z"}
    call = {"type": "tool_use", "id": "a", "name": "B", "input": {}}
    events = [
        {"type": "assistant", "message": {"content": [call]}, **at},
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "waiting"}]}, **at},
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "a"}]}, **at},
    ]
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    settled = [read(ClaudeCodeReader(), b"".join(lines[:count])).settled_steps for count in range(4)]
    assert settled == [0, 1, 2, 3]


@pytest.mark.parametrize("path", ALWAYS_SETTLED, ids=lambda path: path.stem)
@given(data=st.data())
def test_lines_of_codex_and_gemini_in_any_order_settle_at_once(path: Path, data: st.DataObject) -> None:
    """No line changes a step before it, wherever it stands behind the first, which names session and time."""
    first, *rest = path.read_bytes().splitlines(keepends=True)
    lines = [first, *data.draw(st.permutations(rest))]
    cut = data.draw(st.integers(1, len(lines)))
    reader: TranscriptReader = CodexReader() if path.parent.name == "codex" else GeminiReader()
    part, whole = read(reader, b"".join(lines[:cut])), read(reader, b"".join(lines))
    assert_kept(part, whole)


def test_the_last_pieces_of_a_streamed_thought_are_not_settled() -> None:
    """Gemini's stream prints a thought in pieces: until another event follows, it may go on."""
    at = {"timestamp": "2026-01-01T00:00:00Z"}
    piece = {"type": "message", "role": "assistant", "content": "half ", "delta": True, **at}
    init = {"type": "init", "session_id": "s", "model": "m", **at}
    text = b"".join(json.dumps(event).encode() + b"\n" for event in (init, piece, piece))
    transcript = read(GeminiReader(), text)
    assert [step.content for step in transcript.steps] == ["half half "]
    assert transcript.settled_steps == 0
