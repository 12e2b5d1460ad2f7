"""Readers of agents beside the contract's three: what each makes of its sessions, counted independently."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.outcome import Ending
from central_command.client.transcripts.detection import describe_unknown, detect, read_head, reader_for
from central_command.client.transcripts.other_agents import refused_file
from central_command.client.transcripts.providers import READERS
from central_command.client.transcripts.reader import Head, TranscriptReader, Usage
from tests.central_command.client.transcripts.other_agents_counts import COUNTS, counted, events_of
from tests.central_command.client.transcripts.whole import Whole, whole

FIXTURES = Path(__file__).parents[3] / "transcripts"
SID = "5a2e9c1c-4be1-4f0a-9c1e-0d5f6a7b8c9d"
FILES = [
    (provider, path)
    for provider in sorted(COUNTS)
    for path in sorted((FIXTURES / provider.replace("-", "_")).glob("*.json*"))
]
ONE_TEXT = [(provider, path) for provider, path in FILES if path.suffix == ".json"]
IDS = [f"{provider}-{path.stem[:12]}" for provider, path in FILES]
every_file = pytest.mark.parametrize(("provider", "path"), FILES, ids=IDS)
SAID = {
    "amp-T-5a2e9c1c-4": (f"T-{SID}", "claude-opus-4-6", 27_319, 122),
    "amp-stream": (f"T-{SID}", "", 1_109, 5),
    "cline-179577000000": ("1795770000000_ab12c", "anthropic/claude-sonnet-4.5", 9_335, 89),
    "copilot-events": (SID, "claude-sonnet-4.5", 30_100, 119),
    "cursor-partial": (SID, "Composer 2", 0, 0),
    "cursor-stream": (SID, "Composer 2", 4_100, 60),
    "droid-exec": (SID, "claude-opus-4-6", 0, 0),
    "droid-session": (SID, "", 0, 0),
    "goose-export": ("20261127_1", "claude-sonnet-4-5", 4_000, 200),
    "goose-session": ("", "", 4_000, 200),
    "iflow-session-5a2e": (f"session-{SID}", "glm-4.7", 2_000, 50),
    "kimi-code_wire": ("", "kimi-k2.5", 2_050, 35),
    "kimi-wire": ("", "", 10_007, 70),
    "opencode-export": ("ses_4f1a2b3c4dffeABCdefGHIjkl0", "claude-sonnet-4-5", 535, 102),
    "opencode-run": ("ses_4f1a2b3c4dffeABCdefGHIjkl0", "", 215, 16),
    "qwen-code-chat": (SID, "qwen3-coder-plus", 27_950, 214),
    "qwen-code-stream": (SID, "qwen3-coder-plus", 10_100, 48),
}
CHANGED = {
    *("cline-179577000000", "copilot-events", "cursor-stream", "droid-session"),
    *("kimi-code_wire", "opencode-export", "qwen-code-chat"),
}
"""Sessions in which one file was changed; in the others none was."""


def read(provider: str, text: bytes) -> Whole:
    return whole(READERS[provider], io.BytesIO(text))


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def of_type(transcript: Whole, kind: str) -> list[str]:
    return [step.content for step in transcript.steps if step.type == kind]


@every_file
def test_a_session_is_its_agents_under_any_name(provider: str, path: Path, tmp_path: Path) -> None:
    """Also where Claude Code's reader would take what resembles its own."""
    renamed = tmp_path / "saved.txt"
    renamed.write_bytes(path.read_bytes())
    for each in (path, renamed):
        reader = detect(each)
        assert reader is not None
        assert reader.provider == provider
    claiming = {name for name, reader in READERS.items() if reader.recognises(read_head(path))}
    assert claiming - {"claude-code"} == {provider}


@every_file
def test_steps_by_type_are_those_that_were_counted(provider: str, path: Path) -> None:
    """By code that knows nothing of the readers'."""
    transcript = read(provider, path.read_bytes())
    assert Counter(step.type for step in transcript.steps) == counted(path, provider)
    assert (transcript.unreadable_lines, transcript.is_incomplete) == (0, False)


@every_file
def test_every_result_follows_its_call_and_names_its_tool(provider: str, path: Path) -> None:
    """Under the same `call_id`, once."""
    open_calls: dict[str | None, str | None] = {}
    for step in read(provider, path.read_bytes()).steps:
        if step.type == "action":
            assert step.call_id
            assert step.call_id not in open_calls
            open_calls[step.call_id] = step.tool
        elif step.call_id is not None:
            assert step.type in {"observation", "error"}
            assert step.tool == open_calls.pop(step.call_id)
    assert list(open_calls.values()) in ([], ["edit_file"])  # Amp's last one was still running


@pytest.mark.parametrize(("provider", "path"), FILES, ids=IDS)
def test_session_model_and_usage_are_what_the_file_says(
    provider: str, path: Path, request: pytest.FixtureRequest
) -> None:
    """Usage once for each message."""
    transcript = read(provider, path.read_bytes())
    key, model, taken, given = SAID[request.node.callspec.id]
    assert (transcript.session_key, transcript.model) == (key, model)
    assert transcript.usage == Usage(taken, given)
    assert not transcript.is_subagent
    has_times = [step.timestamp for step in transcript.steps] != [0] * len(transcript.steps)
    assert has_times == (request.node.callspec.id not in {"amp-stream", "qwen-code-stream"})


@pytest.mark.parametrize(("provider", "path"), ONE_TEXT, ids=lambda value: getattr(value, "stem", value))
def test_one_text_is_read_on_one_line_too_and_is_incomplete_when_cut_off(provider: str, path: Path) -> None:
    """It has no steps until it is whole."""
    text = path.read_bytes()
    pretty, compact = read(provider, text), read(provider, json.dumps(json.loads(text)).encode())
    assert pretty == compact
    assert pretty.settled_steps == 0
    half = read(provider, text[: len(text) * 2 // 3])
    assert (half.step_count, half.unreadable_lines, half.is_incomplete) == (0, 0, True)


ODD: list[Any] = [None, 7, -1.5, "x", [], {}, [1, "y", None], {"type": "text"}, [[{"id": {}}]], True]


def _changed(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _changed(value[path[0]], path[1:], odd)
    return copy


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, each in members for place in ((*above, name), *_places(each, (*above, name)))]


@every_file
def test_no_value_in_any_place_is_an_error(provider: str, path: Path) -> None:
    """Every member of every record may be of any type: nothing raises, neither while its agent is looked for."""
    records = events_of(path)
    for number, record in enumerate(records):
        for at, place in enumerate(_places(record)):
            odd = _changed(record, place, ODD[at % len(ODD)])
            text = lines(*records[:number], odd, *records[number + 1 :])
            assert reader_for(Head(path.name, (odd, *records), text.decode())) is not None
            read(provider, text)
            for value in ODD:
                READERS[provider].recognises(Head("", (_changed(record, place, value),), ""))
                refused_file(Head("", (_changed(record, place, value),), ""))
                read(provider, lines(_changed(record, place, value)))


@every_file
def test_files_that_a_session_changed_are_known(provider: str, path: Path, request: pytest.FixtureRequest) -> None:
    """By the tools of each agent; a call that failed or goes on changed none."""
    ending = Ending()
    for step in read(provider, path.read_bytes()).steps:
        ending.take(step)
    assert ending.outcome(chunks=1).files_modified == int(request.node.callspec.id in CHANGED)


@pytest.mark.parametrize(
    ("provider", "path"),
    [each for each in FILES if each not in ONE_TEXT],
    ids=lambda value: getattr(value, "stem", value),
)
@given(data=st.data())
def test_lines_in_any_order_change_no_settled_step(provider: str, path: Path, data: st.DataObject) -> None:
    """No line changes a step before it that was settled, wherever it stands."""
    every = data.draw(st.permutations(path.read_bytes().splitlines(keepends=True)))
    part = read(provider, b"".join(every[: data.draw(st.integers(0, len(every)))]))
    after = read(provider, b"".join(every))
    assert part.settled_steps <= part.step_count
    assert after.settled_steps >= part.settled_steps
    assert after.steps[: part.settled_steps] == part.steps[: part.settled_steps]


def test_a_branch_of_a_qwen_chat_has_only_what_is_its_own() -> None:
    """Copied records are marked, and a result of a copied call is linked to it."""
    path = FIXTURES / "qwen_code" / "chat.jsonl"
    first, second, third, *rest = events_of(path)
    copied = [
        {**each, "forkedFrom": {"sessionId": "s", "messageUuid": each["uuid"]}} for each in (first, second, third)
    ]
    whole_chat, branch = read("qwen-code", path.read_bytes()), read("qwen-code", lines(*copied, *rest))
    assert [step.content for step in branch.steps] == [step.content for step in whole_chat.steps[5:]]
    assert branch.steps[0].tool == "grep_search"
    assert branch.left_out["copied records"] == 3


def test_files_that_a_user_of_qwen_code_named_are_given() -> None:
    """As in the program that it was made from."""
    texts = ("@a.py explain", "\n--- Content from referenced files ---", "\nContent from @a.py:\n", "x = 1\n")
    message = {"role": "user", "parts": [{"text": text} for text in (*texts, "\n--- End of content ---")]}
    record = {
        "uuid": "u",
        "sessionId": "s",
        "timestamp": "2026-11-27T09:00:01.250Z",
        "type": "user",
        "message": message,
    }
    transcript = read("qwen-code", lines(record))
    assert [(step.type, step.source) for step in transcript.steps] == [
        ("instruction", "user"),
        ("observation", "attachment"),
    ]
    assert [step.content.split() for step in transcript.steps] == [
        ["@a.py", "explain"],
        ["Content", "from", "@a.py:", "x", "=", "1"],
    ]


def test_what_a_user_of_copilot_attached_is_given() -> None:
    """The text that they selected; of a file its name, because the log holds no more."""
    selection = {"type": "selection", "filePath": "/w/b.py", "displayName": "Selection in b.py", "text": "x = 1"}
    attachments = [{"type": "file", "path": "/w/a.py"}, selection, {"type": "directory"}]
    told = {"type": "user.message", "data": {"content": "explain", "attachments": attachments}}
    assert [(step.type, step.source, step.content) for step in read("copilot", lines(told)).steps] == [
        ("instruction", "user", "explain"),
        ("observation", "attachment", "[file: /w/a.py]"),
        ("observation", "attachment", "Selection in b.py:\nx = 1"),
        ("observation", "attachment", "[directory: unnamed]"),
    ]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"status": "rejected-by-user", "reason": "use git rm"}, "use git rm"),
        ({"status": "rejected-by-user"}, "rejected-by-user"),
        ({"status": "cancelled", "reason": "user:interrupted"}, "user:interrupted"),
        ({"status": "error", "error": {"message": "no file"}, "reason": "x"}, "no file"),
    ],
)
def test_a_call_of_amp_that_was_not_carried_out_has_failed(run: dict[str, Any], said: str) -> None:
    """With what the user, or the program, said of it."""
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"cmd": "rm x"}}
    result = {"type": "tool_result", "toolUseID": "t", "run": run}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    whole_thread = {"id": "T-5a2e9c1c-4be1-4f0a-9c1e-0d5f6a7b8c9d", "created": 1795770000000, "messages": messages}
    (_, ended) = read("amp", lines(whole_thread)).steps
    assert (ended.type, ended.tool, ended.content) == ("error", "Bash", said)


def test_a_qwen_chat_of_a_sub_agent_is_known() -> None:
    """All of its records are of a sidechain; its task is what another agent told it."""
    record = {"uuid": "u", "sessionId": SID, "isSidechain": True, "timestamp": "2026-11-27T09:00:00Z"}
    told = {**record, "type": "user", "subtype": "agent_launch_prompt", "message": {"parts": [{"text": "Look."}]}}
    transcript = read("qwen-code", lines(told))
    assert transcript.is_subagent
    assert [(step.type, step.source) for step in transcript.steps] == [("instruction", "agent")]


def test_the_pieces_of_a_cursor_message_are_one_thought_and_may_still_grow() -> None:
    """What is printed in pieces is not settled before it has ended."""
    records = events_of(FIXTURES / "cursor" / "partial.jsonl")
    for count, thoughts, open_steps in ((3, ["Hel"], 1), (4, ["Hello."], 1), (5, ["Hello."], 0)):
        transcript = read("cursor", lines(*records[:count]))
        assert of_type(transcript, "thought") == thoughts
        assert transcript.step_count - transcript.settled_steps == open_steps


@pytest.mark.parametrize(
    ("result", "resolution"),
    [("I read it.It is short.", "It is short."), ("It is short.", "It is short."), ("Ok", "Ok")],
)
def test_the_final_word_of_cursor_is_its_last_text_or_what_is_new(result: str, resolution: str) -> None:
    """Its `result` repeats all that was said, but need not."""
    texts = ("I read it.", "It is short.")
    said = [{"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}} for text in texts]
    end = {"type": "result", "is_error": False, "result": result, "request_id": "r"}
    assert of_type(read("cursor", lines(*said, end)), "resolution") == [resolution]


def test_a_cursor_tool_of_a_server_has_its_own_name() -> None:
    """And a call in the form of a function has its arguments parsed."""
    calls: list[dict[str, Any]] = [
        {"mcpToolCall": {"args": {"providerIdentifier": "p", "toolName": "look_up", "args": {"q": 1}}}},
        {"function": {"name": "todo", "arguments": '{"a": 1}'}},
    ]
    events = [
        {"type": "tool_call", "subtype": "started", "call_id": str(n), "tool_call": c} for n, c in enumerate(calls)
    ]
    steps = read("cursor", lines(*events)).steps
    assert [step.tool for step in steps] == ["look_up", "todo"]
    assert steps[1].arguments == {"a": 1}


def test_media_of_a_kimi_user_are_a_placeholder() -> None:
    """Never their bytes."""
    transcript = read("kimi", (FIXTURES / "kimi" / "wire.jsonl").read_bytes())
    assert of_type(transcript, "instruction")[1] == "And make test?\n[image: image/png]"


def test_what_the_model_got_is_a_goose_result() -> None:
    """Not what was only shown to the user."""
    transcript = read("goose", (FIXTURES / "goose" / "session.jsonl").read_bytes())
    assert of_type(transcript, "observation") == ["91%"]
    assert of_type(transcript, "error") == ["-32603: no such folder"]


def test_a_failed_run_ends_in_an_error() -> None:
    """Of Qwen Code's and Cursor's streams."""
    end = {"type": "result", "subtype": "error_during_execution", "is_error": True, "session_id": SID}
    assert of_type(read("qwen-code", lines({**end, "error": {"message": "no key"}})), "error") == ["no key"]
    assert of_type(read("cursor", lines({**end, "result": "quota"})), "error") == ["quota"]


REFUSED: list[tuple[str, bytes, str]] = [
    (
        "t.jsonl",
        lines({"role": "user", "message": {"content": []}}),
        "Cursor's, in a form that is not read: it has neit",
    ),
    ("msg_1.json", lines({"id": "msg_1", "sessionID": "ses_1", "role": "user"}), "OpenCode's, in a form that is not"),
    (
        "prt_1.json",
        lines({"id": "prt_1", "sessionID": "ses_1", "messageID": "m", "type": "text"}),
        "OpenCode's, in a f",
    ),
    (
        "context.jsonl",
        lines({"role": "_checkpoint", "id": 0}),
        "Kimi's, in a form that is not read: the same session is",
    ),
    ("api_conversation_history.json", b'[{"role":"user","content":[]}]', "Cline or Roo Code's, in a form that is not"),
    (".aider.chat.history.md", b"# aider chat started at 2026-11-27 09:00:00\n", "another agent's: Aider wrote it"),
    ("chat_history.jsonl", lines({"type": "user", "content": "x"}), "another agent's: Grok Build wrote it"),
    ("saved.jsonl", lines({"type": "backend_tool_call", "kind": {}}), "another agent's: Grok Build wrote it"),
    ("sessions.db", b"SQLite format 3\0\x10", "goose's, in a form that is not read: it is a database; what `goose se"),
    ("opencode.db", b"SQLite format 3\0\x10", "OpenCode's, in a form that is not read: it is a database"),
    ("store.db", b"SQLite format 3\0\x10", "Cursor's, in a form that is not read: it is a database"),
]


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_other_forms_are_refused_by_name_and_with_what_is_read_instead(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    """One sentence."""
    path = tmp_path / name
    path.write_bytes(content)
    assert detect(path) is None
    assert f"The file is {reason}" in describe_unknown(path)
    assert describe_unknown(path).count(". ") == 0


def test_every_reader_is_one_that_the_protocol_asks_for() -> None:
    """Named as the server knows it."""
    for name, reader in READERS.items():
        checked: TranscriptReader = reader
        assert checked.provider == name
