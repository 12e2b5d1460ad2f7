"""What `codex exec --json` prints: one event a line, most of them about an item that is started, updated, completed.

| in the file | step |
|---|---|
| item `agent_message` | thought |
| item `reasoning` | thought, `source: thinking` |
| item `command_execution` | action with `command`; its output an observation, an error when it failed or was declined |
| item `file_change` | action with `changes`; its status an observation, or error |
| item `mcp_tool_call` | action `mcp__<server>__<tool>` with its arguments; its content or error message |
| item `web_search` | action with query and action, once it is completed; the program prints no result |
| item `todo_list` | action with `items`, once for each new state of the list; there is no result |
| any other item that has a `status`, such as `collab_tool_call` | action with all its members, and its status |
| item `error` | none: a warning of the program, such as one of settings, with which the turn goes on; counted |
| `turn.completed` | resolution: the last message of the turn, which is the program's answer |
| `turn.failed`, `error` | error, `source: api`; once when both say the same |

In autumn 2025 the stream began with `session.created`, and an item's kind stood in `item_type`, a message's being
`assistant_message`; before that it was another (`codex_exec_events`). The stream names no model and no times: all steps
stand at 0 and the transcript has none. The user's prompt is not in it either. Item ids count from `item_0` in each run:
where the output of several runs was written to one file, those after the first get a number of their own in `call_id`.
A call without its end stays an action without a result. Usage is that of the thread so far (`codex_usage`).
Every step is settled at once: nothing here is changed by a later line.
"""

from central_command.client.contract.steps import JsonObject, json_text
from central_command.client.transcripts.codex_printed import NO_TIME, PrintedSession
from central_command.client.transcripts.json_values import (
    content_text,
    count_of,
    name_of,
    object_of,
    text_of,
    visible_text,
)

_EVENTS = frozenset({"thread.started", "turn.started", "turn.completed", "turn.failed"})
_ITEM_EVENTS = frozenset({"item.started", "item.updated", "item.completed"})
_ENDED_BADLY = frozenset({"failed", "declined", "errored", "interrupted"})
_FIRST_OF_2025 = "session.created"
_NO_ARGUMENTS = frozenset({"id", "type", "item_type", "status", "result", "error", "aggregated_output", "exit_code"})


def is_exec_event(event: JsonObject) -> bool:
    """Whether an object is an event of this stream."""
    kind = text_of(event.get("type"))
    is_item = kind in _ITEM_EVENTS and isinstance(event.get("item"), dict)
    return kind in _EVENTS or is_item or (kind == _FIRST_OF_2025 and isinstance(event.get("session_id"), str))


class ExecSession(PrintedSession):
    """The steps of one stream while its events are read, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._run = 0
        self._answer = ""
        self._problem = ""
        self._todos: dict[str, str] = {}

    def model(self) -> str:
        """Empty: the stream names none."""
        return ""

    def take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        match event.get("type"):
            case "thread.started" | "session.created":
                self.session_key = self.session_key or text_of(event.get("thread_id") or event.get("session_id"))
                self._run += 1
            case "turn.started":
                self._answer = self._problem = ""
            case "turn.completed":
                self.counted.take(event.get("usage"))
                if self._answer:
                    self.list.add("resolution", NO_TIME, self._answer)
                self._answer = ""
            case "turn.failed":
                self._take_problem(object_of(event.get("error")).get("message"))
            case "error":
                self._take_problem(event.get("message"))
            case "item.started" | "item.updated" | "item.completed" as kind:
                self._take_item(object_of(event.get("item")), is_completed=kind == "item.completed")
            case kind:
                self.left_out.count(text_of(kind))

    def _take_item(self, item: JsonObject, *, is_completed: bool) -> None:
        match kind := _kind_of(item):
            case "agent_message" | "reasoning" | "web_search" | "error":
                if is_completed:
                    self._take_completed(kind, item)
            case "todo_list":
                self._take_todos(item)
            case "command_execution" | "file_change" | "mcp_tool_call":
                self._take_call(item, is_completed=is_completed)
            case _ if isinstance(item.get("status"), str):
                self._take_call(item, is_completed=is_completed)
            case _ if is_completed:
                self.left_out.count(kind)

    def _take_completed(self, kind: str, item: JsonObject) -> None:
        """Take an item that says nothing before its end."""
        text = visible_text(item.get("text"))
        match kind:
            case "web_search":
                arguments = {name: item[name] for name in ("query", "action") if name in item}
                self.calls.act(NO_TIME, "web_search", arguments, self._call_id(item))
            case "error":
                self.left_out.count("warnings of the program")
            case "agent_message" if text:
                self._answer = text
                self.list.add("thought", NO_TIME, text)
            case "reasoning" if text:
                self.list.add("thought", NO_TIME, text, source="thinking")

    def _take_call(self, item: JsonObject, *, is_completed: bool) -> None:
        kind, call_id = _kind_of(item), self._call_id(item)
        tool, arguments = _call_of(kind, item)
        self.calls.act(NO_TIME, tool, arguments, call_id)
        if is_completed:
            failed = text_of(item.get("status")) in _ENDED_BADLY or count_of(item.get("exit_code")) > 0
            failed = failed or bool(item.get("error"))
            self.calls.answer(NO_TIME, call_id, _result_of(item), failed=failed)

    def _take_todos(self, item: JsonObject) -> None:
        """The list is told again when the turn ends: only a new state of it is something that the agent did."""
        state = json_text(item.get("items"))
        call_id = self._call_id(item)
        if self._todos.get(call_id) != state:
            self._todos[call_id] = state
            self.list.add_action(NO_TIME, "todo_list", {"items": item.get("items")}, None)

    def _take_problem(self, message: object) -> None:
        text = visible_text(message) or "the turn failed"
        if text != self._problem:
            self.list.add("error", NO_TIME, text, source="api")
        self._problem = text

    def _call_id(self, item: JsonObject) -> str:
        call_id = name_of(item.get("id"))
        return f"{call_id}#{self._run}" if call_id and self._run > 1 else call_id


def _kind_of(item: JsonObject) -> str:
    kind = text_of(item.get("type")) or text_of(item.get("item_type"))
    return "agent_message" if kind == "assistant_message" else kind


def _call_of(kind: str, item: JsonObject) -> tuple[str, JsonObject]:
    """The tool of a call and its arguments."""
    match kind:
        case "command_execution":
            return kind, {"command": item.get("command")}
        case "file_change":
            return kind, {"changes": item.get("changes")}
        case "mcp_tool_call":
            arguments = item.get("arguments")
            named: JsonObject = arguments if isinstance(arguments, dict) else {"value": arguments}
            return name_of(f"mcp__{text_of(item.get('server'))}__{text_of(item.get('tool'))}"), named
        case _:
            tool = name_of(item.get("tool")) or name_of(kind)
            return tool, {name: value for name, value in item.items() if name not in _NO_ARGUMENTS and name != "tool"}


def _result_of(item: JsonObject) -> str:
    """What a call gave: its output, its content, the message of its error, or at least how it ended."""
    error = item.get("error")
    if text := visible_text(object_of(error).get("message")) or visible_text(error):
        return text
    if isinstance(output := item.get("aggregated_output"), str):
        code = count_of(item.get("exit_code"))
        status = text_of(item.get("status"))
        return output or (f"exit code {code}" if code else status if status in _ENDED_BADLY else "")
    if isinstance(result := item.get("result"), dict):
        return content_text(result.get("content") or result.get("structured_content"))
    return text_of(item.get("status"))
