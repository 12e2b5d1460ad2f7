"""Gemini's chats: prompts that look like commands, and a history that the program writes again."""

import io
import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given

from central_command.client.transcripts.gemini import GeminiReader
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.rollouts import JSON_VALUES
from tests.central_command.client.transcripts.whole import Whole, whole

Record = dict[str, Any]
HEADER = {"sessionId": "s", "projectHash": "p", "startTime": "2026-11-27T09:00:00Z", "kind": "main"}
AGAIN = "messages of a history written again"
MASKED = "<tool_output_masked>\n...\n</tool_output_masked>"


def read(*records: Any) -> Whole:
    return whole(GeminiReader(), io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in records)))


class Chat:
    """A chat as the program records it, with a time and a new id for each message."""

    def __init__(self) -> None:
        self.records: list[Record] = [HEADER]
        self.said: list[Record] = []
        self._number = count()

    def message(self, kind: str, content: Any, **members: Any) -> Record:
        number = next(self._number)
        at = f"2026-11-27T09:{number // 60:02}:{number % 60:02}.000Z"
        return {"id": f"m{number}", "timestamp": at, "type": kind, "content": content, **members}

    def record(self, *records: Record) -> None:
        for each in records:
            self.records += [each, {"$set": {"lastUpdated": each["timestamp"]}}]

    def ask(self, text: str) -> None:
        self.record(self.message("user", [{"text": text}]))

    def answer(self, text: str, *calls: str) -> None:
        real = self.message("gemini", text, thoughts=[], tokens={"input": 9, "output": 2}, model="gemini-2.5-pro")
        self.record(real)
        if calls:
            made = [{"id": each, "name": "read_file", "args": {"f": each}, "status": "success"} for each in calls]
            results = [
                {"functionResponse": {"id": each, "name": "read_file", "response": {"output": each}}} for each in calls
            ]
            for one, result in zip(made, results, strict=True):
                one["result"] = [result]
            self.record(real | {"toolCalls": made}, self.message("user", results))

    def exchange(self, number: int) -> None:
        self.ask(f"Request {number}")
        self.answer(f"I read {number}.", f"call-{number}")
        self.answer(f"Part {number} is fine.")

    def again(self, number: int) -> list[Record]:
        """An exchange as the program writes it again: in parts, without model and tokens, its result masked."""
        call = {"functionCall": {"id": f"call-{number}", "name": "read_file", "args": {"f": f"call-{number}"}}}
        masked = {"functionResponse": {"id": f"call-{number}", "name": "read_file", "response": {"output": MASKED}}}
        return [
            self.message("user", [{"text": f"Request {number}"}]),
            self.message("gemini", [{"text": f"I read {number}."}, call], thoughts=[], tokens=None),
            self.message("user", [masked]),
            self.message("gemini", [{"text": f"Part {number} is fine."}], thoughts=[], tokens=None),
        ]

    def set_history(self, *messages: Record) -> None:
        self.records.append({"$set": {"messages": list(messages), "lastUpdated": "2026-11-27T10:00:00Z"}})

    def read(self) -> Whole:
        return read(*self.records)


def contents(transcript: Whole, kind: str = "instruction") -> list[str]:
    return [step.content for step in transcript.steps if step.type == kind]


def exchanges(*numbers: int) -> list[str]:
    return [text for number in numbers for text in (f"I read {number}.", f"Part {number} is fine.")]


@pytest.mark.parametrize(
    "text",
    [
        "/etc/nginx/nginx.conf does not load",
        "/home/me/a.py",
        "// TODO: retry\nDo it.",
        "/* eslint-disable */ remove it",
        "?? in config.ts: what is it",
        "? what does this do",
        "?",
        "/fix the build",
        "/deploy",
        "/git:commit everything",
        "/README.md is wrong",
        "/explain\nwhat this does",
    ],
)
@pytest.mark.parametrize("form", ["lines", "text", "checkpoint"])
def test_a_prompt_that_was_answered_is_one_however_it_begins(text: str, form: str) -> None:
    """Of a recorded chat, of an old one in one text, and of a checkpoint."""
    chat = Chat()
    chat.ask(text)
    chat.answer("Yes.")
    if form == "lines":
        transcript = chat.read()
    else:
        messages = [each for each in chat.records if "id" in each]
        parts = [{"role": "user", "parts": [{"text": text}]}, {"role": "model", "parts": [{"text": "Yes."}]}]
        value: Any = {**HEADER, "messages": messages} if form == "text" else parts
        transcript = whole(GeminiReader(), io.BytesIO(json.dumps(value, indent=2).encode()))
    assert [(step.type, step.content) for step in transcript.steps] == [("instruction", text), ("thought", "Yes.")]
    assert transcript.left_out == {}


@pytest.mark.parametrize(("kind", "text"), [("error", "[API Error: quota]"), ("info", "Request cancelled.")])
def test_a_prompt_that_failed_or_was_cancelled_is_one(kind: str, text: str) -> None:
    """It did go to the model."""
    chat = Chat()
    chat.ask("/fix it")
    chat.record(chat.message("info", "Loaded."), chat.message(kind, text))
    assert [step.content for step in chat.read().steps] == ["/fix it", text]


def test_a_command_to_the_program_is_none() -> None:
    """Nothing answered it: another prompt follows, or nothing; what cannot be a command is a prompt nevertheless."""
    chat = Chat()
    for text in ("/stats", "/chat save a", "?", "/etc/hosts: read it", "// or this", "And this", "/help"):
        chat.ask(text)
    transcript = chat.read()
    assert contents(transcript) == ["/etc/hosts: read it", "// or this", "And this"]
    assert transcript.left_out == {"commands to the program": 4}


def test_a_line_that_waits_for_its_answer_changes_nothing_before_it() -> None:
    """It is no step before, and stands in front of its answer with its own time."""
    chat = Chat()
    chat.ask("Go")
    chat.ask("/fix it")
    before = chat.read()
    chat.answer("Yes.")
    after = chat.read()
    assert (contents(before), before.settled_steps) == (["Go"], 1)
    assert after.steps[:1] == before.steps
    assert [step.timestamp % 60 for step in after.steps] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("kept", [(0, 1, 2), (1, 2), (2,)])
def test_a_history_that_is_written_again_under_new_ids_is_no_step(kept: tuple[int, ...]) -> None:
    """When old results are masked, all of it or its end; what follows is new, also when it says the same."""
    chat = Chat()
    for number in range(3):
        chat.exchange(number)
    again = [each for number in kept for each in chat.again(number)]
    chat.record(*again)
    chat.set_history(*again)
    chat.ask("Request 0")
    chat.answer("Part 0 is fine.")
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 1", "Request 2", "Request 0"]
    assert contents(transcript, "thought") == [*exchanges(0, 1, 2), "Part 0 is fine."]
    assert (len(contents(transcript, "action")), len(contents(transcript, "observation"))) == (3, 3)
    assert transcript.left_out == {AGAIN: len(again)}
    assert transcript.usage == Usage(7 * 9, 7 * 2)
    assert transcript.settled_steps == len(transcript.steps)


def test_a_summary_and_what_is_written_behind_it_are_no_steps() -> None:
    """When the history is compressed, the program speaks for both sides."""
    chat = Chat()
    chat.exchange(0)
    chat.exchange(1)
    summary = chat.message("user", [{"text": "<state_snapshot>\nSo far …\n</state_snapshot>"}])
    thanks = chat.message("gemini", [{"text": "Got it. Thanks for the additional context!"}], tokens=None)
    tail = chat.again(1)
    chat.record(summary, thanks, *tail)
    chat.set_history(summary, thanks, *tail)
    chat.exchange(2)
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 1", "Request 2"]
    assert contents(transcript, "thought") == exchanges(0, 1, 2)
    assert transcript.left_out == {AGAIN: 6}


def test_a_summary_in_front_of_messages_that_keep_their_ids_is_no_step() -> None:
    """What was recorded last and stands first in the history was written for it; prompts in their place are real."""
    chat = Chat()
    for number in range(2):
        chat.exchange(number)
    kept = [
        {"id": each["id"], "type": each["type"], "content": []} for each in chat.records if each.get("id", "") > "m3"
    ]
    summary = chat.message("user", [{"text": "This is where we are."}])
    thanks = chat.message("gemini", [{"text": "Got it."}], tokens=None)
    chat.record(summary, thanks)
    chat.set_history(summary, thanks, *kept)
    chat.ask("Request 0")
    chat.set_history(summary, thanks, *kept, {"id": chat.records[-2]["id"], "type": "user", "content": []})
    chat.answer("Again fine.")
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 1", "Request 0"]
    assert contents(transcript, "thought") == [*exchanges(0, 1), "Again fine."]
    assert transcript.left_out == {AGAIN: 2}


def test_an_answer_that_only_calls_is_the_models_though_it_names_none() -> None:
    """Newer versions record it in parts, and its calls beside it as they end; what the program says for it is none."""
    chat = Chat()
    chat.exchange(0)
    chat.ask("Request 0")
    called = {"functionCall": {"id": "call-7", "name": "read_file", "args": {}}}
    only = chat.message("gemini", [{"text": "Reading.", "thought": True}, called], thoughts=[], tokens=None)
    done = {"id": "call-7", "name": "read_file", "args": {}, "status": "success"}
    response = {"functionResponse": {"id": "call-7", "name": "read_file", "response": {"output": "x"}}}
    chat.record(only, only | {"toolCalls": [done]}, chat.message("user", [response]))
    note = {"text": "Binary content received. Proceeding with analysis.", "thought": True}
    chat.record(chat.message("gemini", [note]), chat.message("info", [{"inlineData": {"mimeType": "image/png"}}]))
    real = [each for each in chat.records if "id" in each]
    chat.set_history(*{each["id"]: each for each in real}.values())
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 0"]
    assert contents(transcript, "thought") == [*exchanges(0), "Reading."]
    assert [step.call_id for step in transcript.steps if step.type == "action"] == ["call-0", "call-7"]
    assert transcript.left_out == {"notes of the program": 1, "info messages": 1}


def test_a_history_may_be_written_again_more_than_once() -> None:
    """Each time under other ids, with what has been said since."""
    chat = Chat()
    for number in range(3):
        chat.exchange(number)
        again = [each for old in range(number + 1) for each in chat.again(old)]
        chat.record(*again)
        chat.set_history(*again)
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 1", "Request 2"]
    assert contents(transcript, "thought") == exchanges(0, 1, 2)
    assert transcript.left_out == {AGAIN: 4 + 8 + 12}


def test_a_history_that_keeps_its_ids_takes_nothing_away() -> None:
    """Newer versions set what they have, shortened, with summaries among it that were never recorded."""
    chat = Chat()
    chat.exchange(0)
    chat.ask("continue")
    chat.answer("Done.")
    chat.ask("continue")
    real = [each for each in chat.records if each.get("type") in {"user", "gemini"} and "toolCalls" not in each]
    summary = chat.message("user", [{"text": "<state_snapshot>\nSo far"}])
    chat.set_history(summary, *({**each, "content": [{"text": "short"}]} for each in real))
    chat.answer("Done.")
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "continue", "continue"]
    assert contents(transcript, "thought") == [*exchanges(0), "Done.", "Done."]
    assert transcript.left_out == {"state_snapshot texts": 1}


def test_going_back_and_setting_the_history_again_adds_nothing() -> None:
    """What was undone was done; the rest is written again, and the session goes on."""
    chat = Chat()
    chat.exchange(0)
    chat.exchange(1)
    chat.records.append({"$rewindTo": "m4"})
    again = chat.again(0)
    chat.record(*again)
    chat.set_history(*again)
    chat.exchange(2)
    transcript = chat.read()
    assert contents(transcript) == ["Request 0", "Request 1", "Request 2"]
    assert contents(transcript, "thought") == exchanges(0, 1, 2)
    assert transcript.left_out == {AGAIN: 4, "rewinds": 1}


def test_what_a_set_message_calls_later_is_a_step_and_its_text_is_none() -> None:
    """The program records its last message again, under the id that it had in the history alone."""
    chat = Chat()
    chat.exchange(0)
    old = chat.message("gemini", [{"text": "I read 0."}])
    chat.set_history(old)
    made = {"id": "call-9", "name": "read_file", "args": {}, "status": "success"}
    chat.record(old | {"toolCalls": [made]})
    transcript = chat.read()
    assert contents(transcript, "thought") == exchanges(0)
    assert [step.call_id for step in transcript.steps if step.type == "action"] == ["call-0", "call-9"]


def test_a_prompt_that_is_recorded_after_the_history_that_has_it_is_a_step() -> None:
    """Of what was only set, the program records its own last answer again, and no prompt."""
    chat = Chat()
    chat.exchange(0)
    prompt = chat.message("user", [{"text": "Go on"}])
    chat.set_history(prompt)
    chat.record(prompt)
    chat.answer("Yes.")
    assert contents(chat.read()) == ["Request 0", "Go on"]


def test_without_a_set_history_the_text_alone_tells() -> None:
    """The program was ended while it wrote; a prompt at the end, which may be new, is kept."""
    chat = Chat()
    chat.exchange(0)
    chat.exchange(1)
    chat.record(*chat.again(0), *chat.again(1)[:1])
    cut = chat.read()
    assert contents(cut) == ["Request 0", "Request 1", "Request 1"]
    assert contents(cut, "thought") == exchanges(0, 1)
    assert cut.settled_steps == len(cut.steps) - 1


def test_answers_without_a_model_are_answers_unless_they_were_there_before() -> None:
    """Nothing but a copy is taken away for what it lacks."""
    chat = Chat()
    chat.ask("Hi")
    chat.record(chat.message("gemini", [{"text": "Hello."}]))
    chat.ask("Hi")
    chat.record(chat.message("gemini", [{"text": "Hello again."}]))
    transcript = chat.read()
    assert contents(transcript) == ["Hi", "Hi"]
    assert contents(transcript, "thought") == ["Hello.", "Hello again."]


def test_a_growing_chat_never_changes_what_is_settled() -> None:
    """Neither while the history is written again nor when it is set."""
    chat = Chat()
    chat.exchange(0)
    chat.exchange(1)
    again = [*chat.again(0), *chat.again(1)]
    chat.record(*again)
    chat.set_history(*again)
    chat.exchange(2)
    steps = chat.read().steps
    for end in range(len(chat.records) + 1):
        part = read(*chat.records[:end])
        assert part.steps[: part.settled_steps] == steps[: part.settled_steps]
    assert chat.read().settled_steps == len(steps) == 15


def test_what_is_left_out_is_counted_by_kind() -> None:
    """The program's texts and notes, and records under their own name; of the stream, too."""
    chat = Chat()
    chat.ask("<session_context>\nToday")
    chat.ask("<hook_context>x</hook_context>")
    chat.record(chat.message("info", "Loaded."), chat.message("warning", "careful"))
    chat.records += [{"type": "new_record"}, {"other": 1}]
    assert chat.read().left_out == {
        **dict.fromkeys(("session_context texts", "hook_context texts", "info messages", "warning messages"), 1),
        "new_record": 1,
        "records without a type": 1,
    }
    at = {"timestamp": "2026-01-01T00:00:00Z"}
    stream = read(
        {"type": "init", "session_id": "s", "model": "m", **at},
        {"type": "error", "severity": "warning", "message": "loop", **at},
        {"type": "new_event", **at},
    )
    assert stream.left_out == {"warnings of the program": 1, "new_event": 1}


@given(JSON_VALUES)
def test_a_history_of_any_shape_is_read_without_an_error(value: Any) -> None:
    """Whatever stands where a message, an id or a part is expected, steps keep their numbers."""
    chat = Chat()
    chat.exchange(0)
    parts = [value, {"text": value}, {"functionCall": value}]
    chat.records += [chat.message("gemini", parts, toolCalls=value), chat.message("user", parts) | {"id": value}]
    chat.records += [{"$set": {"messages": [value, {"id": value, "content": value}]}}, {"$rewindTo": value}]
    steps = chat.read().steps
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
