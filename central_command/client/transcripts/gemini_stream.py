"""What `gemini --output-format stream-json` prints: one event a line.

| in the file | step |
|---|---|
| `message` by the user | instruction, `source: user` |
| `message`s by the assistant with `delta`, up to the next other event | one thought |
| `tool_use` | action with `tool`, `arguments` and `call_id` |
| `tool_result` | observation, or error when its status is one; same `call_id` |
| `error` of severity `error` | error, `source: api`; a warning is none, and counted |
| `result` | resolution: the last text since the user's message; error when the run failed |

`init` names session and model; the model's reasoning is not in the stream. Usage is that of each run's `result`. While
the file grows, only a thought whose last pieces may be missing is not settled.
"""

from collections import Counter

from central_command.client.contract.steps import JsonObject, StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.json_values import (
    name_of,
    object_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.left_out import LeftOut
from central_command.client.transcripts.reader import most_named
from central_command.client.transcripts.reported import UsageNames

_USAGE = UsageNames(taken=("input_tokens",), given=("output_tokens",), cache_read="cached")


def is_stream_event(event: JsonObject) -> bool:
    """Whether an object is an event of this stream that no other agent's files have."""
    match event.get("type"):
        case "init":
            return "session_id" in event and "model" in event
        case "message":
            return text_of(event.get("role")) in {"user", "assistant"} and isinstance(event.get("timestamp"), str)
        case "tool_use":
            return "tool_id" in event
        case "tool_result":
            return "tool_id" in event
        case _:
            return False


class StreamSession:
    """The steps of one stream while its events are read, in order."""

    is_subagent = False

    def __init__(self) -> None:
        self.list = StepList()
        self.session_key = ""
        self.settled_steps = 0
        self.left_out = LeftOut()
        self._calls = Calls(self.list)
        self._pieces: list[str] = []
        self._pieces_at = 0.0
        self._answer = ""
        self._models: Counter[str] = Counter()
        self.list.usage.is_told_behind = True

    def model(self) -> str:
        """The model of most runs, the first of them when two have as many; empty when none is named."""
        return most_named(self._models)

    def take_whole(self, _value: object) -> None:
        """Nothing: the stream is never one JSON text."""

    def take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        is_piece = event.get("type") == "message" and event.get("role") == "assistant" and event.get("delta") is True
        if not is_piece:
            self._end_thought()
        self.list.take_time(seconds_of(event.get("timestamp")))
        if is_piece:
            self._pieces_at = self._pieces_at if self._pieces else self.list.at
            self._pieces.append(text_of(event.get("content")))
        else:
            self._take_whole_event(event)

    def finish(self) -> None:
        """End the last thought, which may still grow."""
        self.settled_steps = self.list.count if self.list.has_times else 0
        self._end_thought()

    def _end_thought(self) -> None:
        if text := visible_text("".join(self._pieces)):
            self.list.add("thought", self._pieces_at, text)
            self._answer = text
        self._pieces = []

    def _take_whole_event(self, event: JsonObject) -> None:
        match event.get("type"):
            case "init":
                self.session_key = self.session_key or text_of(event.get("session_id"))
                if model := name_of(event.get("model")):
                    self._models[model] += 1
            case "message":
                self._take_message(event)
            case "tool_use":
                arguments = event.get("parameters") or {}
                self._calls.act(self.list.at, name_of(event.get("tool_name")), arguments, name_of(event.get("tool_id")))
            case "tool_result":
                problem = text_of(object_of(event.get("error")).get("message"))
                failed = bool(problem) or event.get("status") == "error"
                content = text_of(event.get("output")) or problem
                self._calls.answer(self.list.at, name_of(event.get("tool_id")), content, failed=failed)
            case "error" if event.get("severity") == "warning":
                self.left_out.count("warnings of the program")
            case "error":
                self.list.add("error", self.list.at, visible_text(event.get("message")) or "error", source="api")
            case "result":
                self._take_result(event)
            case kind:
                self.left_out.count(text_of(kind))

    def _take_message(self, event: JsonObject) -> None:
        text = visible_text(event.get("content"))
        if event.get("role") == "user":
            self._answer = ""
            if text:
                self.list.add("instruction", self.list.at, text, source="user")
        elif text:
            self._answer = text
            self.list.add("thought", self.list.at, text)

    def _take_result(self, event: JsonObject) -> None:
        self.list.usage.add_behind(_USAGE.read(event.get("stats")))
        if event.get("status") == "error" or event.get("error"):
            message = visible_text(object_of(event.get("error")).get("message")) or "the run failed"
            self.list.add("error", self.list.at, message, source="api")
        elif self._answer:
            self.list.add("resolution", self.list.at, self._answer)
        self._answer = ""
