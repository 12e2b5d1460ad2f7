"""What `codex exec --json` printed until autumn 2025: the program's own events, after its settings and the prompt.

A line is `{"id", "msg": {"type", …}}`; the first is an object of settings (`model`, `workdir`, …), the second
`{"prompt"}`.

| in the file | step |
|---|---|
| `prompt` | instruction, `source: user` |
| `agent_message` | thought |
| `agent_reasoning` | thought, `source: thinking` |
| `exec_command_begin` | action `command_execution`; with `exec_command_end` an observation, or error |
| `patch_apply_begin` | action `file_change`; with `patch_apply_end` an observation, or error |
| `mcp_tool_call_begin` | action `mcp__<server>__<tool>`; with `mcp_tool_call_end` an observation, or error |
| `web_search_end` | action `web_search` without a result |
| `plan_update` | action `todo_list` without a result |
| `turn_aborted` | instruction, `source: user`, `intent: interruption` |
| `error` | error, `source: api` |
| `task_complete` | resolution: the last message, which is the program's answer |

There are no times. Pieces of messages and of output are left out, for the whole follows, and so is what says how the
program fares; both are counted. Every step is settled at once.
"""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.codex_output import outcome_of
from central_command.client.transcripts.codex_printed import NO_TIME, PrintedSession
from central_command.client.transcripts.codex_usage import total_of
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    text_of,
    visible_text,
)

_SETTINGS = frozenset({"model", "workdir", "provider"})


def is_exec_message(event: JsonObject) -> bool:
    """Whether an object is a line of this stream that no other agent writes."""
    message = event.get("msg")
    is_message = isinstance(message, dict) and bool(text_of(message.get("type"))) and isinstance(event.get("id"), str)
    return is_message or ("type" not in event and event.keys() >= _SETTINGS)


class ExecEventsSession(PrintedSession):
    """The steps of one stream while its events are read, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self._answer = ""

    def model(self) -> str:
        """The model that the settings name."""
        return self._model

    def take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        message = object_of(event.get("msg"))
        if message:
            self._take_message(message)
        elif prompt := visible_text(event.get("prompt")):
            self.list.add("instruction", NO_TIME, prompt, source="user")
        elif event.keys() >= _SETTINGS:
            self._model = self._model or name_of(event.get("model"))
        else:
            self.left_out.count(text_of(event.get("type")))

    def _take_message(self, event: JsonObject) -> None:
        match event.get("type"):
            case "session_configured":
                self.session_key = self.session_key or text_of(event.get("session_id"))
                self._model = self._model or name_of(event.get("model"))
            case "agent_message" | "agent_reasoning" as kind:
                if text := visible_text(event.get("message")) or visible_text(event.get("text")):
                    self.list.add("thought", NO_TIME, text, source="thinking" if kind == "agent_reasoning" else None)
                    self._answer = text if kind == "agent_message" else self._answer
            case "plan_update":
                self.list.add_action(NO_TIME, "todo_list", {"items": event.get("plan")}, None)
            case "token_count":
                self.counted.take(total_of(event) or event)
            case "task_started" | "task_complete" | "turn_aborted" | "error" as kind:
                self._take_turn(kind, event)
            case kind:
                self._take_call(text_of(kind), event)

    def _take_turn(self, kind: str, event: JsonObject) -> None:
        match kind:
            case "turn_aborted":
                self.list.add("instruction", NO_TIME, "[Turn interrupted]", source="user", intent="interruption")
            case "error":
                self.list.add("error", NO_TIME, visible_text(event.get("message")) or "the turn failed", source="api")
            case "task_complete":
                if answer := visible_text(event.get("last_agent_message")) or self._answer:
                    self.list.add("resolution", NO_TIME, answer)
        self._answer = ""

    def _take_call(self, kind: str, event: JsonObject) -> None:
        call_id = name_of(event.get("call_id"))
        match kind:
            case "exec_command_begin":
                self._act("command_execution", event, ("command", "cwd"), call_id)
            case "patch_apply_begin":
                self._act("file_change", event, ("changes",), call_id)
            case "mcp_tool_call_begin":
                asked = object_of(event.get("invocation"))
                tool = name_of(f"mcp__{text_of(asked.get('server'))}__{text_of(asked.get('tool'))}")
                self.calls.act(NO_TIME, tool, asked.get("arguments") or {}, call_id)
            case "web_search_end":
                self._act("web_search", event, ("query",), call_id)
            case "exec_command_end" | "patch_apply_end" | "mcp_tool_call_end":
                ended = outcome_of(event)
                failed = ended is not None and ended.failed
                self.calls.answer(NO_TIME, call_id, _result_of(event), failed=failed)
            case _:
                self.left_out.count(kind)

    def _act(self, tool: str, event: JsonObject, names: tuple[str, ...], call_id: str) -> None:
        self.calls.act(NO_TIME, tool, {name: event[name] for name in names if name in event}, call_id)


def _result_of(event: JsonObject) -> str:
    """What a call gave: its output, its content, or the text of its error."""
    if isinstance(result := event.get("result"), dict):
        return content_text(object_of(result.get("Ok")).get("content")) or content_text(result.get("Err"))
    whole = text_of(event.get("aggregated_output"))
    return whole or "\n".join(text for name in ("stdout", "stderr") if (text := text_of(event.get(name))))
