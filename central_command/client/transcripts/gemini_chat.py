"""Gemini CLI's recorded chats and saved checkpoints.

A chat (`chats/session-*.jsonl`) begins with a line on the session; after it, each message is written again whenever it
has changed, under the same `id`: first with its text and thoughts, then with its tokens, then with its tool calls and
what they gave. So each part of a message is a step when it is first read, and never again. Chats of older versions
(`session-*.json`) hold the last state of the same messages as one JSON text, and checkpoints (`/chat save`) the history
of the model's own format, without ids, times or a model.

| in the file | step |
|---|---|
| message `user` | instruction, `source: user` |
| files that it names with `@` (`gemini_prompts`) | observation, `source: attachment` |
| message `gemini`: `thoughts`, or parts that are marked `thought` | thought, `source: thinking` |
| message `gemini`: text | thought |
| message `gemini`: `toolCalls`, or `functionCall` parts | action with `tool`, `arguments` and `call_id` |
| `toolCalls` with a `result` or an ended status, or `functionResponse` parts | observation, or error when it failed |
| message `error` | error, `source: api` |
| message `info` that a request was cancelled | instruction, `source: user`, `intent: interruption` |

What a person types is an instruction, also when it begins with `/` or `?`. Only the program's own commands are none:
one line that begins with `/` and a name, or a lone `?`, to which nothing was answered. Such a line waits for the next.

Left out on purpose, and counted: those commands; text that the program puts among the user's (`gemini_prompts`); other
`info` and `warning`; messages that first appear in a `$set` or were written again before one (`gemini_rewriting`),
because these are the program's own rewriting of the history (summaries after compression, shortened results);
`$rewindTo`, because what the agent did before the user went back is still what it did. Other records are counted under
their own name. A sub-agent's chat is a file of its own, of `kind` `subagent`.

While a `.jsonl` grows, every step is settled at once: later lines add to it. Only what may turn out to have been
written again is not, up to the model's next answer. A `.json` is rewritten as a whole: there the steps from the first
open tool call of the last message on are not settled, and what the program itself takes back from the file (rewinding,
shortening old results) cannot be told from what was never there. Steps before the first time stand at it; a file
without times, as a checkpoint is, is never settled.
"""

import re
from collections import Counter, defaultdict, deque
from itertools import islice

from central_command.client.contract.steps import NAME_CHARS_MAX, JsonObject, StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.gemini_prompts import NOTES, is_said_for_model, read_prompt
from central_command.client.transcripts.gemini_rewriting import is_real_answer, parts_of
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.left_out import LeftOut
from central_command.client.transcripts.parts import result_of
from central_command.client.transcripts.reader import most_named
from central_command.client.transcripts.reported import UsageNames

_USAGE = UsageNames(taken=("input",), given=("output", "thoughts"), cache_read="cached")
_KINDS = frozenset({"user", "gemini", "info", "error", "warning"})
_COMMAND = re.compile(r"\A\s*+(?:/[A-Za-z][\w:-]*(?:[ \t][^\r\n]*)?|\?)\s*")
_REWRITTEN = "messages of a history written again"
_ENDED = frozenset({"success", "error", "cancelled"})
_CANCELLED = "cancelled"


def is_chat_record(record: JsonObject) -> bool:
    """Whether an object is a line of a recorded chat, or a whole one."""
    is_message = text_of(record.get("type")) in _KINDS and isinstance(record.get("id"), str) and "content" in record
    return is_message or (isinstance(record.get("sessionId"), str) and isinstance(record.get("projectHash"), str))


class ChatSession:
    """The steps of one chat while its records are read, in order."""

    def __init__(self, rewritten: frozenset[str] = frozenset()) -> None:
        self.list = StepList()
        self.session_key = ""
        self.is_subagent = False
        self.left_out = LeftOut()
        self._rewritten = set(rewritten)
        self._only_set: set[str] = set()
        """Messages that have stood in a set history, and nowhere else yet."""
        self._calls = Calls(self.list)
        self._thoughts_taken: Counter[str] = Counter()
        self._texts_taken: set[str] = set()
        self._known: set[str] = set()
        self._waiting: defaultdict[str, deque[str]] = defaultdict(deque)
        self._is_checkpoint = False
        self._contents = 0
        self._model_of: dict[str, str] = {}
        self._unsettled_from: int | None = None
        self._command: tuple[float, str] | None = None
        """What may be a command to the program, and its time, until it is known whether it was answered."""
        self._prompts: set[int] = set()

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when the file grows."""
        whole = self.list.count if self._unsettled_from is None else self._unsettled_from
        return whole if self.list.has_times else 0

    def model(self) -> str:
        """The model of most messages, the first of them when two have as many; empty when none is named."""
        return most_named(Counter(self._model_of.values()))

    def finish(self) -> None:
        """The file is at its end: what was not answered was a command."""
        self._end_command(is_answered=False)

    def take_whole(self, value: JsonObject | list[object]) -> None:
        """Add the steps of a chat or a checkpoint that is one JSON text."""
        if isinstance(value, dict) and "history" not in value:
            self._take_header(value)
            messages = objects_of(value.get("messages"))
            for message in messages:
                before = self.list.count
                self._take_message(message)
                if message is messages[-1]:
                    self._unsettled_from = None
                    self._unsettle(before)
            return
        self._is_checkpoint = True
        for content in objects_of(value if isinstance(value, list) else value.get("history")):
            self._contents += 1
            if content.get("role") == "user":
                self._take_user(content.get("parts"))
            elif is_said_for_model(content_text(content.get("parts"))):
                self.left_out.count(NOTES)
            else:
                self._end_command(is_answered=True)
                self._take_parts(f"content {self._contents}", content.get("parts"), with_thoughts=True)

    def take(self, record: JsonObject) -> None:
        """Add the steps of one line."""
        if isinstance(changes := record.get("$set"), dict):
            self._take_history(objects_of(changes.get("messages")))
        elif text_of(record.get("type")) in _KINDS:
            self._take_message(record)
        elif isinstance(record.get("sessionId"), str):
            self._take_header(record)
            for message in objects_of(record.get("messages")):
                self._take_message(message)
        elif "$rewindTo" in record:
            self.left_out.count("rewinds")
        else:
            self.left_out.count(text_of(record.get("type")))

    def _take_history(self, messages: list[JsonObject]) -> None:
        """Take what is new of messages that are known; the others are the program's, also when they change later."""
        for message in messages:
            message_id = text_of(message.get("id"))
            if message_id in self._known:
                self._take_message(message)
            elif message_id not in self._only_set:
                by_program = read_prompt(content_text(message.get("content"))).left_out
                self.left_out.count(by_program or _REWRITTEN)
                self._only_set.add(message_id)
                if message.get("type") == "gemini":
                    self._rewritten.add(message_id)
                    self._pass_over(message)
        self._unsettled_from = None if messages else self._unsettled_from

    def _pass_over(self, answer: JsonObject) -> None:
        """Take nothing of what an answer says, now or later; what it calls later is its own."""
        message_id = text_of(answer.get("id"))
        self._texts_taken.add(message_id)
        self._thoughts_taken[message_id] = max(
            self._thoughts_taken[message_id], len(objects_of(answer.get("thoughts")))
        )

    def _take_header(self, header: JsonObject) -> None:
        self.session_key = self.session_key or text_of(header.get("sessionId"))
        self.is_subagent = self.is_subagent or header.get("kind") == "subagent"

    def _take_message(self, message: JsonObject) -> None:
        message_id, kind = text_of(message.get("id")), text_of(message.get("type"))
        if message_id in self._rewritten and message_id not in self._texts_taken:
            self.left_out.count(_REWRITTEN)
            self._pass_over(message)
        self.list.take_time(seconds_of(message.get("timestamp")))
        self._known.add(message_id)
        if kind == "gemini":
            self._take_gemini(message)
        elif self._is_new_text(message):
            self._take_text(kind, message)

    def _take_text(self, kind: str, message: JsonObject) -> None:
        """Take a message that is not the model's."""
        content = message.get("content")
        text = content_text(content)
        is_cancelled = kind == "info" and _CANCELLED in text.lower()
        if kind != "user":
            self._end_command(is_answered=kind == "error" or is_cancelled, is_over=False)
        if kind == "user":
            self._take_user(content)
        elif kind == "error":
            self.list.add("error", self.list.at, text or "error", source="api")
        elif is_cancelled:
            self.list.add("instruction", self.list.at, text, source="user", intent="interruption")
        else:
            self.left_out.count(f"{kind} messages")

    def _take_gemini(self, message: JsonObject) -> None:
        key = text_of(message.get("id"))
        self._note_answer(key, message)
        self._count_usage(key, message.get("tokens"))
        if is_said_for_model(content_text(parts_of(message.get("content")))) and not is_real_answer(message):
            self.left_out.count(NOTES, key not in self._texts_taken)
            self._texts_taken.add(key)
            return
        thoughts = objects_of(message.get("thoughts"))
        for thought in thoughts[self._thoughts_taken[key] :]:
            at = seconds_of(thought.get("timestamp")) or self.list.at
            subject, description = text_of(thought.get("subject")), text_of(thought.get("description"))
            text = f"**{subject}**\n\n{description}" if subject and description else subject or description
            if visible_text(text):
                self.list.add("thought", at, text, source="thinking")
        self._thoughts_taken[key] = max(self._thoughts_taken[key], len(thoughts))
        is_own = key not in self._rewritten
        if is_own:
            self._take_parts(key, message.get("content"), with_thoughts=not self._thoughts_taken[key])
        for place, call in enumerate(objects_of(message.get("toolCalls"))):
            if call_id := name_of(call.get("id")) or (name_of(f"{key}#{place}") if is_own else ""):
                self._take_tool_call(call, call_id)
        if model := name_of(message.get("model")):
            self._model_of[key] = model

    def _count_usage(self, key: str, tokens: object) -> None:
        """Count a message's tokens once, and what the model thought as written."""
        self.list.usage.begin(key)
        if object_of(tokens):
            self.list.usage.report(key, _USAGE.read(tokens))
            self.list.usage.settle(key)

    def _note_answer(self, key: str, message: JsonObject) -> None:
        """An answer of the model settles what is before it; what has no sign of one may be a copy."""
        if is_real_answer(message):
            self._unsettled_from = None
        elif key not in self._texts_taken:
            self._unsettle_from_here()
        if key not in self._rewritten:
            self._end_command(is_answered=True)

    def _take_tool_call(self, call: JsonObject, call_id: str) -> None:
        self._calls.act(self.list.at, name_of(call.get("name")), call.get("args") or {}, call_id)
        status = text_of(call.get("status"))
        result = call.get("result")
        if result is None and status not in _ENDED:
            return
        text, failed = result_of(result)
        at = seconds_of(call.get("timestamp")) or self.list.at
        text = text or (status if failed or status == _CANCELLED else visible_text(call.get("resultDisplay")))
        self._calls.answer(at, call_id, text, failed=failed or status in {"error", _CANCELLED})

    def _take_parts(self, key: str, content: object, *, with_thoughts: bool) -> None:
        """Add what the model wrote; a message's text counts once, also when it is shortened in the file later."""
        parts = parts_of(content)
        spoken = [part for part in parts if not part.get("thought") and "functionCall" not in part]
        if key not in self._texts_taken:
            for part in parts if with_thoughts else ():
                if part.get("thought") and (text := visible_text(part.get("text"))):
                    self.list.add("thought", self.list.at, text, source="thinking")
            if text := visible_text("".join(content_text([part]) for part in spoken)):
                self.list.add("thought", self.list.at, text)
            if parts and content:
                self._texts_taken.add(key)
        for part in parts:
            if call := object_of(part.get("functionCall")):
                self._take_function_call(call)

    def _take_function_call(self, call: JsonObject) -> None:
        """A call without an id, as checkpoints have them, is answered by the next response to its name.

        In a chat, where a message is written several times, such a call waits for its `toolCalls`, which have ids.
        """
        name, call_id = name_of(call.get("name")), name_of(call.get("id"))
        if not call_id and not self._is_checkpoint:
            return
        if not call_id:
            call_id = f"{self._contents}-{len(self._waiting[name]) + 1}-{name}"[:NAME_CHARS_MAX]
            self._waiting[name].append(call_id)
        self._calls.act(self.list.at, name, call.get("args") or {}, call_id)

    def _take_user(self, content: object) -> None:
        parts = parts_of(content)
        for part in parts:
            if response := object_of(part.get("functionResponse")):
                waiting = self._waiting[name_of(response.get("name"))]
                call_id = name_of(response.get("id")) or (waiting.popleft() if waiting else "")
                text, failed = result_of([part])
                if call_id:
                    self._calls.answer(self.list.at, call_id, text, failed=failed)
        text = "\n".join(content_text([part]) for part in parts if "functionResponse" not in part)
        if not visible_text(text):
            return
        self._end_command(is_answered=False)
        prompt = read_prompt(text)
        if prompt.left_out is not None:
            self.left_out.count(prompt.left_out)
        elif _COMMAND.fullmatch(prompt.words) and not prompt.given:
            self._command = (self.list.at, prompt.words)
        elif visible_text(prompt.words):
            self._add_prompt(self.list.at, prompt.words)
        if prompt.given:
            self.list.add("observation", self.list.at, prompt.given, source="attachment")

    def _add_prompt(self, at: float, text: str) -> None:
        if hash(text) in self._prompts:
            self._unsettle_from_here()
        self._prompts.add(hash(text))
        self.list.add("instruction", at or self.list.at, text, source="user")

    def _end_command(self, *, is_answered: bool, is_over: bool = True) -> None:
        """What may be a command is a prompt when it was answered, and none when it is over and was not."""
        if self._command is None or not (is_answered or is_over):
            return
        at, text = self._command
        self._command = None
        if is_answered:
            self._add_prompt(at, text)
        else:
            self.left_out.count("commands to the program")

    def _is_new_text(self, message: JsonObject) -> bool:
        key = text_of(message.get("id"))
        is_new = not key or key not in self._texts_taken
        self._texts_taken.add(key)
        return is_new

    def _unsettle_from_here(self) -> None:
        if self._unsettled_from is None:
            self._unsettled_from = self.list.count

    def _unsettle(self, start: int) -> None:
        """Settle nothing from the first call on that has no result yet, of the steps from `start`."""
        for place, step in enumerate(islice(self.list.waiting, start, None), start):
            if step.type == "action" and not self._calls.is_answered(step.call_id or ""):
                self._unsettled_from = place
                return
