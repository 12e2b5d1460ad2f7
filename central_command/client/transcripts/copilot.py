"""The event log of a session of GitHub Copilot CLI (`~/.copilot/session-state/*/events.jsonl`): one event a line.

| in the file | step |
|---|---|
| `user.message` | instruction, `source: user` |
| its `attachments` | observation, `source: attachment`: the text that was selected, else what it is called |
| `assistant.reasoning`, and `reasoningText` of a message | thought, `source: thinking` |
| `assistant.message`: `content` | thought |
| `assistant.message`: `toolRequests`, `tool.execution_start` | action with `tool`, `arguments` and `call_id`, once |
| `tool.execution_complete` | observation, or error when it failed; same `call_id` |
| `session.error` | error, `source: api` |
| `session.task_complete` | resolution |
| `abort` | instruction, `source: user`, `intent: interruption` |

Left out and counted: messages whose `source` is not the user (skills, notices), events of sub-agents (those with an
`agentId` or a `parentToolCallId`), and every other event under its own name. A message of a model counts for the model
that it or its calls name, else for the one chosen last. Usage is what the messages say of their output,
and the rest of what `session.shutdown` reports of each run.

Source: `session-events.schema.json` of github/copilot-sdk.
"""

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.contract.usage import ReportedUsage
from central_command.client.transcripts.json_values import (
    content_text,
    count_of,
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

_USAGE = UsageNames(
    taken=("inputTokens",), given=("outputTokens",), cache_read="cacheReadTokens", cache_write="cacheWriteTokens"
)
_NAMES = ("displayName", "path", "filePath", "title", "url")
_KINDS = ("session.", "user.message", "assistant.", "tool.execution")
_MODEL_CHANGES = {
    "session.start": "selectedModel",
    "session.resume": "selectedModel",
    "session.model_change": "newModel",
}


def is_copilot(event: JsonObject) -> bool:
    """Whether an object is an event of such a log."""
    return isinstance(event.get("data"), dict) and text_of(event.get("type")).startswith(_KINDS)


class CopilotSession(RecordedSession):
    """The steps of one log while its events are read, in order."""

    tells_usage_behind = True

    def __init__(self) -> None:
        super().__init__()
        self._chosen = ""
        self._reasoning = ""
        self._output_of_messages = 0

    def model(self) -> str:
        """The model of most messages, else the one that was chosen."""
        return super().model() or self._chosen

    def take(self, record: JsonObject) -> None:
        """Add the steps of one event."""
        kind, data = text_of(record.get("type")), object_of(record.get("data"))
        self.list.take_time(seconds_of(record.get("timestamp")))
        if isinstance(data.get("parentToolCallId"), str) or isinstance(record.get("agentId"), str):
            self.left_out.count(SUBAGENT_EVENTS)
            return
        match kind:
            case "user.message":
                self._take_told(data)
            case "assistant.reasoning":
                self._reasoning = visible_text(data.get("content"))
                self.think(self._reasoning, "thinking")
            case "assistant.message":
                self._take_answer(data)
            case "tool.execution_start":
                self._act(data, data.get("toolName"))
            case "tool.execution_complete":
                self._take_result(data)
            case "session.error":
                self.fail(data.get("message"))
            case "session.task_complete":
                self.resolve(data.get("summary"))
            case "abort":
                reason = visible_text(data.get("reason")) or "abort"
                self.list.add("instruction", self.list.at, reason, source="user", intent="interruption")
            case _:
                self._take_other(kind, data)

    def _take_other(self, kind: str, data: JsonObject) -> None:
        self.left_out.count(kind)
        if kind == "session.start":
            self.name_session(data.get("sessionId"))
        if kind in _MODEL_CHANGES:
            self._chosen = name_of(data.get(_MODEL_CHANGES[kind])) or self._chosen
        if kind == "session.shutdown":
            for metrics in object_of(data.get("modelMetrics")).values():
                self._take_usage(_USAGE.read(object_of(metrics).get("usage")))
            self._output_of_messages = 0

    def _take_usage(self, whole: ReportedUsage) -> None:
        """Take what a model took and gave in a run, without what its messages said that they gave."""
        given = whole.output_tokens or 0
        rest = max(0, given - self._output_of_messages)
        self._output_of_messages -= given - rest
        self.list.usage.add_behind(msgspec.structs.replace(whole, output_tokens=rest))

    def _take_told(self, data: JsonObject) -> None:
        source = text_of(data.get("source"))
        if source and source != "user" and not source.startswith("command"):
            self.left_out.count(f"messages of the program: {source}")
        else:
            self.instruct(data.get("content"))
            for attached in objects_of(data.get("attachments")):
                self.list.add("observation", self.list.at, _attached(attached), source="attachment")

    def _take_answer(self, data: JsonObject) -> None:
        self.count_model(data.get("model") or self._chosen)
        given = count_of(data.get("outputTokens"))
        self._output_of_messages += given
        self.list.usage.add_ahead(ReportedUsage(output_tokens=given))
        reasoning = visible_text(data.get("reasoningText"))
        if reasoning != self._reasoning:
            self.think(reasoning, "thinking")
        self._reasoning = ""
        self.think(data.get("content"))
        for request in objects_of(data.get("toolRequests")):
            self._act(request, request.get("name"))

    def _act(self, call: JsonObject, tool: object) -> None:
        self.calls.act(
            self.list.at, name_of(tool), parsed_arguments(call.get("arguments")), name_of(call.get("toolCallId"))
        )

    def _take_result(self, data: JsonObject) -> None:
        self._chosen = name_of(data.get("model")) or self._chosen
        result, problem = data.get("result"), object_of(data.get("error")).get("message")
        content = object_of(result).get("content") if isinstance(result, dict) else result
        failed = data.get("success") is False
        text = content_text(content) or visible_text(problem)
        self.calls.answer(self.list.at, name_of(data.get("toolCallId")), text, failed=failed)


def _attached(attachment: JsonObject) -> str:
    """What the user attached to a message: the text that they selected, else what it is and is called."""
    kind = name_of(attachment.get("type")) or "file"
    name = next((text for each in _NAMES if (text := visible_text(attachment.get(each)))), "unnamed")
    text = visible_text(attachment.get("text"))
    return f"{name}:\n{text}" if text else f"[{kind}: {name}]"


READER = RecordReader("copilot", CopilotSession, is_copilot)
