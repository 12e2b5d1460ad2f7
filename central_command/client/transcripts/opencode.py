"""What OpenCode gives out of its sessions: `opencode export`, one JSON text, and `opencode run --format json`, lines.

| part | step |
|---|---|
| `text` of the user | instruction, `source: user` |
| `text` of the model | thought |
| `reasoning` | thought, `source: thinking` |
| `tool` | action with `tool`, `arguments` and `call_id` |
| `tool` that has ended | observation, or error when it failed; same `call_id` |
| `file` of the user | observation, `source: attachment`, that says its name and type |

An `error` of a message or of the stream is an error, `source: api`. Left out and counted: texts that the program made
(`synthetic`, `ignored`), summaries of a compaction, and every other part by its type. Usage is that of each
`step-finish`; where a message has none, that of the message; what was read from and written to a cache is added. The
stream names no model and not the user's prompt. Of it, every step is settled at once; an export is never settled.

The files in which OpenCode itself keeps a session (one for each message and part, since 2026 a database) are none:
a session is not one of them.

Source: `packages/opencode/src/session/message-v2.ts` and `src/cli/cmd/{export,run}.ts` of sst/opencode.
"""

import re

from central_command.client.contract.steps import JsonObject
from central_command.client.contract.usage import ReportedUsage
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.recorded import RecordedSession, RecordReader
from central_command.client.transcripts.reported import UsageNames

_EXPORT = re.compile(r'\{\s*"info"\s*:\s*\{[^{}]*?"id"\s*:\s*"ses_')
_USAGE = UsageNames(taken=("input", "read", "write"), given=("output",), cache_read="read", cache_write="write")
_STREAMED = frozenset({"text", "tool_use", "step_start", "step_finish", "reasoning"})
_ENDED = frozenset({"completed", "error"})


def is_opencode(record: JsonObject) -> bool:
    """Whether an object is a line of the stream, or a whole export."""
    is_line = text_of(record.get("type")) in _STREAMED and isinstance(record.get("part"), dict)
    is_error = record.get("type") == "error" and isinstance(record.get("error"), dict)
    return _is_export(record) or (isinstance(record.get("sessionID"), str) and (is_line or is_error))


def _is_export(record: JsonObject) -> bool:
    is_session = text_of(object_of(record.get("info")).get("id")).startswith("ses_")
    return is_session and isinstance(record.get("messages"), list)


class OpenCodeSession(RecordedSession):
    """The steps of an export, or of a stream while its lines are read, in order."""

    tells_usage_behind = True

    def __init__(self) -> None:
        super().__init__()
        self._is_export = False

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when the file grows."""
        return 0 if self._is_export else super().settled_steps

    def take(self, record: JsonObject) -> None:
        """Add the steps of one line."""
        if _is_export(record):
            self._take_export(record)
            return
        self.name_session(record.get("sessionID"))
        self.list.take_time(seconds_of(record.get("timestamp")))
        if record.get("type") == "error":
            self._take_problem(record.get("error"))
        else:
            self._take_part(object_of(record.get("part")), is_users=False)

    def _take_export(self, export: JsonObject) -> None:
        self._is_export = True
        info = object_of(export.get("info"))
        self.name_session(info.get("id"))
        self.parent_key = text_of(info.get("parentID"))
        self.is_subagent = isinstance(info.get("parentID"), str)
        for message in objects_of(export.get("messages")):
            self._take_message(object_of(message.get("info")), objects_of(message.get("parts")))

    def _take_message(self, info: JsonObject, parts: list[JsonObject]) -> None:
        self.list.take_time(seconds_of(object_of(info.get("time")).get("created")))
        is_users = info.get("role") == "user"
        if info.get("summary") is True:
            self.left_out.count("compaction summaries")
            return
        if not is_users:
            self.count_model(info.get("modelID"))
            if not any(part.get("type") == "step-finish" for part in parts):
                self.list.usage.add_ahead(_usage_in(info.get("tokens")))
        for part in parts:
            self._take_part(part, is_users=is_users)
        if isinstance(info.get("error"), dict):
            self._take_problem(info.get("error"))

    def _take_part(self, part: JsonObject, *, is_users: bool) -> None:
        kind = text_of(part.get("type"))
        self.list.take_time(seconds_of(object_of(part.get("time")).get("start")))
        match kind:
            case "text" if part.get("synthetic") is True or part.get("ignored") is True:
                self.left_out.count("texts of the program")
            case "text" if is_users:
                self.instruct(part.get("text"))
            case "text":
                self.think(part.get("text"))
            case "reasoning":
                self.think(part.get("text"), "thinking")
            case "tool":
                self._take_tool(part)
            case "file" if is_users:
                said = " ".join(text for name in ("filename", "mime") if (text := text_of(part.get(name))))
                self.list.add("observation", self.list.at, f"[file: {said}]", source="attachment")
            case "step-finish":
                self.list.usage.add_behind(_usage_in(part.get("tokens")))
            case _:
                self.left_out.count(f"{kind or 'unnamed'} parts")

    def _take_tool(self, part: JsonObject) -> None:
        call_id, state = name_of(part.get("callID")) or name_of(part.get("id")), object_of(part.get("state"))
        times = object_of(state.get("time"))
        self.list.take_time(seconds_of(times.get("start")))
        self.calls.act(self.list.at, name_of(part.get("tool")), state.get("input") or {}, call_id)
        if text_of(state.get("status")) in _ENDED:
            failed = state.get("status") == "error"
            self.list.take_time(seconds_of(times.get("end")))
            self.calls.answer(
                self.list.at, call_id, content_text(state.get("error" if failed else "output")), failed=failed
            )

    def _take_problem(self, error: object) -> None:
        problem = object_of(error)
        self.fail(visible_text(object_of(problem.get("data")).get("message")) or problem.get("name"))


def _usage_in(tokens: object) -> ReportedUsage:
    counts = object_of(tokens)
    return _USAGE.read({**counts, **object_of(counts.get("cache"))})


READER = RecordReader("opencode", OpenCodeSession, is_opencode, one_text=_EXPORT)
