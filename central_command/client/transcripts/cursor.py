"""What Cursor's command line prints with `--output-format stream-json`: one event a line.

| in the file | step |
|---|---|
| `user` | instruction, `source: user` |
| `thinking`, up to `completed` | one thought, `source: thinking` |
| `assistant` | thought; with `--stream-partial-output` its pieces are one, and what repeats them is none |
| `tool_call` | action with `tool`, `arguments` and `call_id`, when it is `started` |
| `tool_call` `completed` | observation, or error when its result is not `success`; same `call_id` |
| `result` | resolution: the last text of the turn where it repeats all of them; error when the run failed |

A tool is named by the member that holds its call (`readToolCall` is `read`); one of an MCP server by its own name. A
piece of a message is an event with `timestamp_ms` and without `model_call_id`; the whole message comes once more before
the next call and at the end. `system` names session and model. Only some events have a time (`timestamp_ms`); where
none has, no step is settled before the end, and otherwise all are but a thought whose last pieces may be missing.

Source: cursor.com/docs/cli/reference/output-format.
"""

import hashlib

from central_command.client.contract.steps import JsonObject, json_text
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    parsed_arguments,
    seconds_of,
    text_of,
)
from central_command.client.transcripts.recorded import RecordedSession, RecordReader
from central_command.client.transcripts.reported import UsageNames

_SUFFIX = "ToolCall"
_USAGE = UsageNames(
    taken=("inputTokens",), given=("outputTokens",), cache_read="cacheReadTokens", cache_write="cacheWriteTokens"
)


def is_cursor(event: JsonObject) -> bool:
    """Whether an object is an event of this stream that no other agent's has."""
    match event.get("type"):
        case "tool_call":
            return isinstance(event.get("tool_call"), dict)
        case "system" if event.get("subtype") == "init":
            return "apiKeySource" in event and not {"tools", "uuid", "claude_code_version"} & event.keys()
        case "thinking":
            return text_of(event.get("subtype")) in {"delta", "completed"} and "session_id" in event
        case "result":
            return "request_id" in event and "num_turns" not in event
        case _:
            return False


class CursorSession(RecordedSession):
    """The steps of one stream while its events are read, in order."""

    tells_usage_behind = True

    def __init__(self) -> None:
        super().__init__()
        self._thinking: list[str] = []
        self._pieces: list[str] = []
        self._has_pieces = False
        self._turn = hashlib.blake2b()
        """What the model has said since the user's message, without white space."""

    def take(self, record: JsonObject) -> None:
        """Add the steps of one event."""
        kind, subtype = text_of(record.get("type")), text_of(record.get("subtype"))
        self.name_session(record.get("session_id"))
        self.list.take_time(seconds_of(record.get("timestamp_ms")))
        if kind != "assistant":
            self._end_message()
        if kind != "thinking":
            self._end_thinking()
        match kind:
            case "user":
                self._turn = hashlib.blake2b()
                self.instruct(content_text(object_of(record.get("message")).get("content")))
            case "assistant":
                self._take_text(record)
            case "thinking":
                self._thinking.append(text_of(record.get("text")))
                if subtype == "completed":
                    self._end_thinking()
            case "tool_call":
                self._take_call(record, is_completed=subtype == "completed")
            case "result":
                self._take_end(record)
            case _:
                self.left_out.count(f"{kind}: {subtype}" if subtype else kind)
                self.count_model(record.get("model"))

    def finish(self) -> None:
        """End what may still go on."""
        self.unsettled_from = self.list.count
        self._end_message()
        self._end_thinking()

    def _end_thinking(self) -> None:
        self.think("".join(self._thinking), "thinking")
        self._thinking = []

    def _end_message(self) -> None:
        if self._pieces:
            self._say("".join(self._pieces))
        self._pieces = []

    def _say(self, text: str) -> None:
        self.think(text)
        self._turn.update("".join(text.split()).encode("utf-8", "surrogatepass"))

    def _take_text(self, event: JsonObject) -> None:
        text = content_text(object_of(event.get("message")).get("content"))
        if "timestamp_ms" in event and "model_call_id" not in event:
            self._has_pieces = True
            self._pieces.append(text)
            return
        self._end_message()
        if self._has_pieces and self._is_repeated(text):
            self.left_out.count("messages printed again")
        else:
            self._say(text)

    def _is_repeated(self, text: str) -> bool:
        bare = "".join(text.split())
        is_all = hashlib.blake2b(bare.encode("utf-8", "surrogatepass")).digest() == self._turn.digest()
        return is_all or bare == "".join(self.answer.split())

    def _take_call(self, event: JsonObject, *, is_completed: bool) -> None:
        call_id, calls = name_of(event.get("call_id")), object_of(event.get("tool_call"))
        name = next((name for name, value in calls.items() if isinstance(value, dict)), "")
        call = object_of(calls.get(name))
        arguments = call.get("args") if name != "function" else parsed_arguments(call.get("arguments"))
        inner = object_of(arguments)
        own = text_of(call.get("name")) if name == "function" else text_of(inner.get("toolName"))
        self.calls.act(self.list.at, name_of(own or name.removesuffix(_SUFFIX)), arguments or {}, call_id)
        if is_completed:
            text, failed = _result_of(call.get("result"))
            self.calls.answer(self.list.at, call_id, text, failed=failed)

    def _take_end(self, event: JsonObject) -> None:
        self.list.usage.add_behind(_USAGE.read(event.get("usage")))
        if event.get("is_error") is True:
            self.fail(event.get("result") or event.get("subtype"))
        else:
            result = text_of(event.get("result"))
            self.resolve(self.answer if self._is_repeated(result) else result)


def _result_of(result: object) -> tuple[str, bool]:
    """The text of a call's result and whether it failed: one member says how it ended and holds what it gave."""
    outcome = object_of(result)
    if len(outcome) != 1:
        return content_text(result), False
    [(ending, given)] = outcome.items()
    holder = object_of(given)
    for member in ("content", "contents", "stdout", "output", "message", "errorMessage", "error", "reason"):
        if holder.get(member) and isinstance(holder[member], str | list):
            others = text_of(holder.get("stderr"))
            return content_text(holder[member]) + (f"\n{others}" if others else ""), ending != "success"
    failed = ending != "success"
    text = given if isinstance(given, str) else json_text(given) if given else ending if failed else ""
    return text, failed


READER = RecordReader("cursor", CursorSession, is_cursor)
