"""The log of a session of Kimi's command line (`wire.jsonl`): one record a line, in two forms.

| Kimi CLI, `message` | Kimi Code | step |
|---|---|---|
| `TurnBegin`, `SteerInput` | `turn.prompt`, `turn.steer` | instruction, `source: user` |
| `ContentPart` `text` | `content.part` `text` | thought |
| `ContentPart` `think` | `content.part` `think` | thought, `source: thinking` |
| `ToolCall` | `tool.call` | action with `tool`, `arguments` and `call_id` |
| `ToolResult` | `tool.result` | observation, or error when it failed; same `call_id` |

Of Kimi Code these are the events of `context.append_loop_event`. Left out and counted: what sub-agents did
(`SubagentEvent`), and every other record under its own name, also `StepInterrupted`, which an error causes, too. Usage
is that of each step. Kimi CLI's log names neither session nor model. `context.jsonl`, which lies beside it, holds the
same session without times, and is refused.

Source: `src/kimi_cli/wire/` of MoonshotAI/kimi-cli; for Kimi Code the files themselves as several viewers read them.
"""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    parsed_arguments,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.recorded import SUBAGENT_EVENTS, RecordedSession, RecordReader
from central_command.client.transcripts.reported import UsageNames

_MESSAGES = frozenset({"TurnBegin", "TurnEnd", "StepBegin", "ContentPart", "ToolCall", "ToolResult", "StatusUpdate"})
_RECORDS = frozenset({"turn.prompt", "context.append_loop_event"})
_USAGE = UsageNames(
    taken=("input_other", "input_cache_read", "input_cache_creation"),
    given=("output",),
    cache_read="input_cache_read",
    cache_write="input_cache_creation",
)
_NATIVE_USAGE = UsageNames(
    taken=("inputOther", "inputCacheRead", "inputCacheCreation"),
    given=("output",),
    cache_read="inputCacheRead",
    cache_write="inputCacheCreation",
)


def is_kimi(record: JsonObject) -> bool:
    """Whether an object is a record of such a log."""
    message = object_of(record.get("message"))
    is_message = text_of(message.get("type")) in _MESSAGES and isinstance(message.get("payload"), dict)
    is_first = record.get("type") == "metadata" and "protocol_version" in record
    return is_message or is_first or text_of(record.get("type")) in _RECORDS


class KimiSession(RecordedSession):
    """The steps of one log while its records are read, in order."""

    tells_usage_behind = True

    def __init__(self) -> None:
        super().__init__()
        self._is_step_counted = False
        """Whether the last step that ended said its own usage."""
        self._model = ""

    def take(self, record: JsonObject) -> None:
        """Add the steps of one record."""
        times = (record.get(name) for name in ("timestamp", "time", "created_at"))
        self.list.take_time(next((at for each in times if (at := seconds_of(each)) is not None), None))
        message = object_of(record.get("message"))
        if message:
            self._take_message(text_of(message.get("type")), object_of(message.get("payload")))
        elif record.get("type") == "context.append_loop_event":
            self._take_event(object_of(record.get("event")))
        else:
            self._take_record(text_of(record.get("type")), record)

    def _take_message(self, kind: str, payload: JsonObject) -> None:
        match kind:
            case "TurnBegin" | "SteerInput":
                self.instruct(_told(payload.get("user_input")))
            case "ContentPart":
                self._take_part(payload)
            case "ToolCall":
                function = object_of(payload.get("function"))
                self._act(payload.get("id"), function.get("name"), function.get("arguments"))
            case "ToolResult":
                result = object_of(payload.get("return_value"))
                self._answer(payload.get("tool_call_id"), result, failed=result.get("is_error") is True)
            case "SubagentEvent":
                self.left_out.count(SUBAGENT_EVENTS)
            case _:
                if kind == "StatusUpdate":
                    self._count_usage(payload.get("token_usage"), _USAGE)
                self.left_out.count(kind)

    def _take_record(self, kind: str, record: JsonObject) -> None:
        match kind:
            case "turn.prompt" | "turn.steer":
                self.instruct(_told(record.get("input")))
            case "config.update":
                self._model = name_of(record.get("modelAlias")) or self._model
                self.left_out.count(kind)
            case "usage.record":
                self._model = name_of(record.get("model")) or self._model
                if not self._is_step_counted:
                    self._count_native(record.get("usage"))
                self._is_step_counted = False
                self.left_out.count(kind)
            case _:
                self.left_out.count(kind)

    def _take_event(self, event: JsonObject) -> None:
        match kind := text_of(event.get("type")):
            case "content.part":
                self._take_part(object_of(event.get("part")))
            case "tool.call":
                self._act(event.get("toolCallId"), event.get("name"), event.get("args"))
            case "tool.result":
                result = object_of(event.get("result"))
                self._answer(event.get("toolCallId"), result, failed=result.get("isError") is True)
            case "step.end":
                self._is_step_counted = self._count_native(event.get("usage"))
                self.left_out.count(kind)
            case _:
                self.left_out.count(kind)

    def model(self) -> str:
        """The model that was named last."""
        return self._model

    def _take_part(self, part: JsonObject) -> None:
        match kind := text_of(part.get("type")):
            case "text":
                self.think(part.get("text"))
            case "think":
                self.think(part.get("think") or part.get("text"), "thinking")
            case _:
                self.left_out.count(f"{kind or 'unnamed'} parts")

    def _act(self, call_id: object, name: object, arguments: object) -> None:
        self.calls.act(self.list.at, name_of(name), parsed_arguments(arguments), name_of(call_id))

    def _answer(self, call_id: object, result: JsonObject, *, failed: bool) -> None:
        output = result.get("output")
        text = "\n".join(content_text(part) for part in objects_of(output)) if isinstance(output, list) else ""
        text = text or (content_text(output) if isinstance(output, str | dict) else "")
        self.calls.answer(self.list.at, name_of(call_id), text or visible_text(result.get("message")), failed=failed)

    def _count_native(self, usage: object) -> bool:
        return self._count_usage(usage, _NATIVE_USAGE)

    def _count_usage(self, usage: object, names: UsageNames) -> bool:
        self.list.usage.add_behind(names.read(usage))
        return bool(object_of(usage))


def _told(content: object) -> str:
    """What the user told: text, or parts, of which media (`image_url` and the like) are placeholders."""
    if isinstance(content, str):
        return content
    parts: list[object] = [
        each if "text" in each else {"type": "image", "image_url": _url_of(each)} for each in objects_of(content)
    ]
    return content_text(parts)


def _url_of(part: JsonObject) -> str:
    return text_of(object_of(part.get(text_of(part.get("type")))).get("url"))


READER = RecordReader("kimi", KimiSession, is_kimi)
