"""Qwen Code's recorded chats and what `qwen --output-format stream-json` prints: one record a line.

| chat (`~/.qwen/projects/*/chats/*.jsonl`) | step |
|---|---|
| `user` | instruction, `source: user`; of a schedule (`cron`) `program`; the task of a sub-agent `agent` |
| `user`: files that it names with `@` (`gemini_prompts`) | observation, `source: attachment` |
| `assistant`: parts that are marked `thought` | thought, `source: thinking` |
| `assistant`: text | thought |
| `assistant`: `functionCall` parts | action with `tool`, `arguments` and `call_id` |
| `tool_result`: `functionResponse` parts | observation, or error when it failed or was cancelled |

What is printed is a `message_stream`. Left out of a chat, and counted: `system` records by their subtype,
notifications, text that the program puts among the user's, and records that a branch copied (`forkedFrom`). A
sub-agent's chat is a file of its own, whose records are all `isSidechain`. Usage is that of each answer; what was read
from a cache is in it.

Source: `packages/core/src/services/chatRecordingService.ts` and `packages/cli/src/nonInteractive/types.ts` of
QwenLM/qwen-code.
"""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import is_by_program
from central_command.client.transcripts.gemini_prompts import read_prompt
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
)
from central_command.client.transcripts.message_stream import MessageStream
from central_command.client.transcripts.parts import result_of
from central_command.client.transcripts.recorded import RecordReader
from central_command.client.transcripts.reported import UsageNames

_SOURCES = {"cron": "program", "agent_launch_prompt": "agent"}
_ENDED_BADLY = frozenset({"error", "cancelled"})
_USAGE = UsageNames(taken=("promptTokenCount",), given=("candidatesTokenCount",), cache_read="cachedContentTokenCount")


def is_qwen(record: JsonObject) -> bool:
    """Whether an object is a record of a chat, or the beginning of a stream, that only Qwen Code writes."""
    if record.get("type") == "system" and record.get("subtype") == "init":
        return "qwen_code_version" in record or ("permission_mode" in record and "permissionMode" not in record)
    is_of_chat = {"uuid", "sessionId"} <= record.keys()
    has_parts = isinstance(object_of(record.get("message")).get("parts"), list)
    return is_of_chat and (has_parts or "systemPayload" in record or record.get("type") == "tool_result")


class QwenSession(MessageStream):
    """The steps of one chat or stream while its records are read, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._is_begun = False

    def take(self, record: JsonObject) -> None:
        """Add the steps of one record."""
        if "session_id" in record:
            self.take_event(record)
        else:
            self._take_recorded(record)

    def _take_recorded(self, record: JsonObject) -> None:
        self.name_session(record.get("sessionId"))
        self.list.take_time(seconds_of(record.get("timestamp")))
        if not self._is_begun:
            self._is_begun, self.is_subagent = True, record.get("isSidechain") is True
        kind, subtype = text_of(record.get("type")), text_of(record.get("subtype"))
        parts = objects_of(object_of(record.get("message")).get("parts"))
        if "forkedFrom" in record:
            self._pass_over(parts)
        elif kind == "user" and subtype == "notification":
            self.left_out.count("notifications")
        elif kind == "user":
            self._take_told(parts, _SOURCES.get(subtype, "user"))
        elif kind == "assistant":
            self._take_answer(record, parts)
        elif kind == "tool_result":
            self._take_results(record, parts)
        else:
            self.left_out.count(subtype or kind)

    def _pass_over(self, parts: list[JsonObject]) -> None:
        """Note the calls of another session, whose results may be this one's."""
        self.left_out.count("copied records")
        for part in parts:
            call, response = object_of(part.get("functionCall")), object_of(part.get("functionResponse"))
            self.calls.know(name_of(call.get("id")), name_of(call.get("name")))
            self.calls.know_answered(name_of(response.get("id")))

    def _take_told(self, parts: list[JsonObject], source: str) -> None:
        told: list[object] = []
        for part in parts:
            if "functionResponse" in part:
                self._answer(part, failed=False)
            elif tag := is_by_program(text_of(part.get("text"))):
                self.left_out.count(f"{tag} texts")
            else:
                told.append(part)
        prompt = read_prompt(content_text(told))
        if prompt.left_out is not None:
            self.left_out.count(prompt.left_out)
        self.instruct(prompt.words, source)
        if prompt.given:
            self.list.add("observation", self.list.at, prompt.given, source="attachment")

    def _take_answer(self, record: JsonObject, parts: list[JsonObject]) -> None:
        self.count_model(record.get("model"))
        self.list.usage.add_ahead(_USAGE.read(record.get("usageMetadata")))
        for part in parts:
            if call := object_of(part.get("functionCall")):
                self.calls.act(self.list.at, name_of(call.get("name")), call.get("args") or {}, name_of(call.get("id")))
            else:
                self.think(content_text([part]), "thinking" if part.get("thought") else None)

    def _take_results(self, record: JsonObject, parts: list[JsonObject]) -> None:
        failed = text_of(object_of(record.get("toolCallResult")).get("status")) in _ENDED_BADLY
        for part in parts:
            if "functionResponse" in part:
                self._answer(part, failed=failed)

    def _answer(self, part: JsonObject, *, failed: bool) -> None:
        text, has_error = result_of([part])
        call_id = name_of(object_of(part.get("functionResponse")).get("id"))
        self.calls.answer(self.list.at, call_id, text, failed=failed or has_error)


READER = RecordReader("qwen-code", QwenSession, is_qwen)
