"""Codex's rollout files: what went to and came from the model, and the program's own events beside it.

A line is `{"timestamp", "type", "payload"}`, of older versions a bare response item after a line with the session's id.

| in the file | step |
|---|---|
| `response_item` `message` by the user | instruction, `source: user` |
| what an editor writes above that ("# Context from my IDE setup:") | observation, `source: attachment` |
| `response_item` `message` by the assistant | thought |
| a message from another agent (`codex_agents`) | instruction when it is a task, else coordination; `source: agent` |
| `response_item` `reasoning` | thought for each part of its summary, else of its content, `source: thinking` |
| `function_call`, `custom_tool_call`, `local_shell_call`, other `*_call` | action with `tool`, `arguments`, `call_id` |
| `*_output` of the same `call_id` | observation, or error |
| `web_search_call` | action without a result, which the program does not write down |
| `image_generation_call` | action; its image is a placeholder |
| `event_msg` `turn_aborted` by the user | instruction, `source: user`, `intent: interruption` |
| `event_msg` `error`, `task_complete` with an error | error, `source: api` |
| `event_msg` `task_complete` of `codex exec` | resolution: the last message, which is the program's answer |

Messages are told two or three times and matched (`codex_messages`). A turn of an interactive session has no resolution:
its last message may be a question.

A result is an error when the program's own event on the call says so (a non-zero exit code, `success: false`), when
its text begins with a non-zero exit code, or when the call could not be made at all. Where the program has already cut
the output, `truncated` and the count that it names are passed on.

Left out on purpose, and counted: lines copied from another session (`codex_lineage`), messages by `developer` and
`system`, text that the program puts among the user's (`codex_program_text`), compaction (`compacted` repeats what
stands before it), and what is encrypted. Settings and all other records and events are counted under their own name.
Usage is that of this session: where its first figure goes on from that of the copied lines, theirs is taken off.

Every step is settled at once: each line adds steps and changes none before it. There are three exceptions. Steps before
the first time take that one; every version begins its files with a line that has a time. In plan mode the last message
waits for its plan. And nothing is settled while it is not known where a session's own lines begin.
"""

from collections import Counter
from collections.abc import Iterable

from central_command.client.contract.steps import JsonObject, StepList, StepType
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.codex_agents import AgentMessage, message_between_agents, of_message
from central_command.client.transcripts.codex_calls import read_call
from central_command.client.transcripts.codex_lineage import Copied, agent_path_of, is_subagent, parent_of
from central_command.client.transcripts.codex_messages import ITEM, Messages
from central_command.client.transcripts.codex_output import Output, outcome_of, read_output
from central_command.client.transcripts.codex_program_text import (
    SUMMARIES,
    read_user_message,
    split_editor_context,
    split_program_text,
)
from central_command.client.transcripts.codex_usage import CountedUsage, total_of
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
from central_command.client.transcripts.reader import most_named

_LINES = frozenset(
    {"session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state", "token_usage_record"}
)
_BARE_ITEMS = frozenset(
    {
        *(
            "message",
            "reasoning",
            "function_call",
            "function_call_output",
            "local_shell_call",
            "local_shell_call_output",
        ),
        *("custom_tool_call", "custom_tool_call_output", "web_search_call"),
    }
)
_COMPACTIONS = frozenset({"compaction", "context_compaction", "compaction_summary"})
_TOLD_BY_ITEMS = frozenset({"WebSearch", "ImageGeneration", "HookPrompt", "ContextCompaction"})
"""Completed items of which the same is a response item."""
_WAITED_THROUGH = frozenset({"agent_message", "item_completed", "token_count"})
"""Events that stand between a message and its response item."""
_MAIN_AGENT = "/root"
_INTERRUPTED = frozenset({"", "interrupted"})


def is_rollout_line(line: JsonObject, *, bare: bool) -> bool:
    """Whether an object is a line of a rollout; with `bare`, also one of the oldest kind, which has no envelope."""
    kind = text_of(line.get("type"))
    if isinstance(line.get("payload"), dict):
        return kind in _LINES
    is_item = kind in _BARE_ITEMS and "sessionId" not in line and "timestamp" not in line
    return bare and (is_item or is_bare_meta(line))


def is_bare_meta(line: JsonObject) -> bool:
    """Whether an object is the first line of the oldest kind of rollout."""
    return "type" not in line and {"id", "timestamp", "instructions"} <= line.keys()


def is_whole_rollout(value: JsonObject) -> bool:
    """Whether an object is a whole session, as the program wrote it in spring 2025."""
    return isinstance(value.get("session"), dict) and isinstance(value.get("items"), list)


class RolloutSession:
    """The steps of one rollout while its lines are read, in order, from the `first_line`th of the file."""

    def __init__(self, copied: Copied | None = None, *, first_line: int = 0) -> None:
        self.list = StepList()
        self.session_key = ""
        self.is_subagent = False
        self.parent_key = ""
        self.left_out = LeftOut()
        self.settled_steps = 0
        self._copied = copied or Copied()
        self._line = first_line - 1
        self._calls = Calls(self.list)
        self._messages = Messages(self.list)
        self._path = ""
        self._is_exec = self._is_planning = False
        self._models: Counter[str] = Counter()
        self._copied_model = ""
        self._usage = CountedUsage(self.list.usage)
        self._outcomes: dict[str, bool] = {}
        self._problem = ""

    def model(self) -> str:
        """The model of most turns, the first of them when two have as many; empty when none is named."""
        return most_named(self._models) or self._copied_model

    def take(self, line: JsonObject) -> None:
        """Add the steps of one line."""
        self._line += 1
        if self._copied.holds(self._line):
            self._pass_over(line)
            return
        payload = object_of(line.get("payload"))
        if not _is_waited_through(line, payload):
            self._messages.release()
        self.list.take_time(seconds_of(line.get("timestamp")))
        if (message := message_between_agents(line)) is not None:
            self._take_agent_message(text_of(line.get("type")), message)
        elif "payload" in line:
            self._take_payload(line, payload)
        else:
            self._take_bare(line)

    def _take_payload(self, line: JsonObject, payload: JsonObject) -> None:
        match line.get("type"):
            case "session_meta":
                self._take_meta(payload)
            case "turn_context":
                self._take_context(payload)
            case "response_item":
                self._take_item(payload)
            case "event_msg":
                self._take_event(payload)
            case "compacted":
                self.left_out.count(SUMMARIES)
            case kind:
                self.left_out.count(text_of(kind))

    def _take_bare(self, line: JsonObject) -> None:
        """Take a line without an envelope."""
        kind = text_of(line.get("type"))
        if is_whole_rollout(line):
            self.take_whole(line)
        elif is_bare_meta(line):
            self._take_meta(line)
        elif kind in _BARE_ITEMS:
            self._take_item(line)
        elif line.get("record_type") != "state":
            self.left_out.count(kind)

    def take_whole(self, whole: JsonObject) -> None:
        """Add the steps of a session that is one JSON text: its head, and its response items."""
        head = object_of(whole.get("session"))
        self.list.take_time(seconds_of(head.get("timestamp")))
        self._take_meta(head)
        self._take_context(head)
        for item in objects_of(whole.get("items")):
            self._messages.release()
            self.list.take_time(seconds_of(item.get("timestamp")))
            self._take_item(item)

    def finish(self) -> None:
        """The file is at its end: what waited for more lines has all of them."""
        waiting = 0 if self._is_planning else self._messages.waiting
        settled = self.list.count + waiting if self.list.has_times else 0
        self._messages.release()
        self.settled_steps = 0 if self._copied.is_open else settled

    def _pass_over(self, line: JsonObject) -> None:
        """Take of a copied line what the session goes on with: its time, its model and its usage so far."""
        self.left_out.count("lines copied from an earlier session")
        payload = object_of(line.get("payload"))
        if line.get("type") == "turn_context":
            self._copied_model = name_of(payload.get("model")) or self._copied_model
        elif payload.get("type") == "token_count":
            self._usage.take_copied(total_of(payload))

    def _take_meta(self, meta: JsonObject) -> None:
        if not self.session_key:
            self.session_key = text_of(meta.get("id")) or text_of(meta.get("session_id"))
            self._is_exec = meta.get("source") == "exec"
            self.is_subagent = is_subagent(meta)
            self.parent_key = parent_of(meta)
            self._path = agent_path_of(meta) or ("" if self.is_subagent else _MAIN_AGENT)

    def _take_context(self, context: JsonObject) -> None:
        if model := name_of(context.get("model")):
            self._models[model] += 1
        if "collaboration_mode" in context:
            self._is_planning = object_of(context.get("collaboration_mode")).get("mode") == "plan"

    def _take_item(self, item: JsonObject) -> None:
        kind = text_of(item.get("type"))
        if kind == "message":
            self._take_message(item)
        elif kind == "reasoning":
            self._take_reasoning(item)
        elif kind.endswith("_call"):
            self._take_call(kind, item)
        elif kind.endswith("_output") and isinstance(item.get("call_id"), str):
            output = read_output(item.get("output") if "output" in item else item.get("tools"))
            self._take_output(name_of(item.get("call_id")), output)
        else:
            self.left_out.count("encrypted compactions" if kind in _COMPACTIONS else kind)

    def _take_message(self, item: JsonObject) -> None:
        content, role = item.get("content"), text_of(item.get("role"))
        if role == "assistant":
            self._messages.tell_answer(ITEM, content_text(content))
        elif role == "user":
            self._take_user(item)
        else:
            self.left_out.count(f"messages by {role}" if role in {"developer", "system"} else "messages by others")

    def _take_user(self, item: JsonObject) -> None:
        message = read_user_message(item)
        for text, kinds in message.of_program:
            self._leave_out(ITEM, text, kinds)
        self._tell_request(ITEM, message.words, *message.images)

    def _words(self, teller: str, text: str) -> str:
        """What of a text the user wrote; the rest is left out."""
        words, kinds = split_program_text(text)
        if kinds:
            self._leave_out(teller, text, kinds)
        return words

    def _leave_out(self, teller: str, text: str, kinds: Iterable[str]) -> None:
        if self._messages.is_first(teller, "program", text):
            for kind in kinds:
                self.left_out.count(kind)

    def _take_reasoning(self, item: JsonObject) -> None:
        parts = objects_of(item.get("summary")) or objects_of(item.get("content"))
        for part in parts:
            self._messages.tell(ITEM, "thought", text_of(part.get("text")), source="thinking")
        if not parts and item.get("encrypted_content"):
            self.left_out.count("encrypted reasoning")

    def _take_call(self, kind: str, item: JsonObject) -> None:
        call_id = name_of(item.get("call_id")) or name_of(item.get("id"))
        tool, arguments = read_call(kind, item)
        self._calls.act(self.list.at, tool, arguments, call_id)
        if kind == "image_generation_call" and item.get("result"):
            self._calls.answer(self.list.at, call_id, "[image: unknown type]", failed=False)

    def _take_output(self, call_id: str, output: Output) -> None:
        failed = self._outcomes.get(call_id, output.failed)
        self._calls.answer(self.list.at, call_id, output.text, failed=failed, original_tokens=output.original_tokens)

    def _take_agent_message(self, teller: str, message: AgentMessage) -> None:
        if not message.text:
            self.left_out.count(f"{'encrypted' if message.is_encrypted else 'empty'} messages between agents")
            return
        is_sent = bool(message.author) and message.author == self._path
        kind: StepType = "instruction" if message.is_task and not is_sent else "coordination"
        name = name_of(message.recipient if is_sent else message.author)
        partner: JsonObject = {"to" if is_sent else "from": name} if name else {}
        self._messages.tell_between_agents(teller, kind, message.text, partner)

    def _take_event(self, event: JsonObject) -> None:
        match event.get("type"):
            case "agent_message":
                self._tell_answer("event", text_of(event.get("message")))
            case "agent_reasoning":
                self._messages.tell("event", "thought", text_of(event.get("text")), source="thinking")
            case "user_message" if event.get("kind", "plain") == "plain":
                self._tell_user("event", text_of(event.get("message")))
            case "item_completed":
                self._take_completed(object_of(event.get("item")))
            case "token_count":
                self._usage.take(total_of(event))
            case "user_message" | "context_compacted":
                pass
            case _:
                self._take_ending(event)

    def _take_ending(self, event: JsonObject) -> None:
        match event.get("type"):
            case "turn_aborted" if text_of(event.get("reason")) in _INTERRUPTED:
                self.list.add("instruction", self.list.at, "[Turn interrupted]", source="user", intent="interruption")
            case "task_started" | "turn_started":
                self._problem = ""
                self._is_planning = event.get("collaboration_mode_kind") == "plan"
            case "error":
                self._take_problem(event.get("message"))
            case "task_complete" | "turn_complete":
                self._take_problem(object_of(event.get("error")).get("message"))
                if self._is_exec and (answer := visible_text(event.get("last_agent_message"))):
                    self.list.add("resolution", self.list.at, answer)
            case _ if (ended := outcome_of(event)) is not None:
                self._outcomes[ended.call_id] = ended.failed
            case kind:
                self.left_out.count(text_of(kind))

    def _take_completed(self, item: JsonObject) -> None:
        match item.get("type"):
            case "AgentMessage":
                self._tell_answer("completed", content_text(item.get("content")))
            case "Plan":
                self._messages.tell_answer("completed", text_of(item.get("text")))
            case "Reasoning":
                summary = item.get("summary_text")
                for part in summary if isinstance(summary, list) else ():
                    self._messages.tell("completed", "thought", text_of(part), source="thinking")
            case "UserMessage":
                parts = [text_of(part.get("text")) for part in objects_of(item.get("content"))]
                self._tell_user("completed", "\n".join(text for text in parts if text))
            case _ if (ended := outcome_of(item)) is not None:
                self._outcomes[ended.call_id] = ended.failed
            case kind if text_of(kind) not in _TOLD_BY_ITEMS:
                self.left_out.count(text_of(kind))

    def _tell_answer(self, teller: str, text: str) -> None:
        if (message := of_message({"role": "assistant", "content": text})) is not None:
            self._take_agent_message(teller, message)
        else:
            self._messages.tell_answer(teller, text)

    def _tell_user(self, teller: str, text: str) -> None:
        if (message := of_message({"role": "user", "content": text})) is not None:
            self._take_agent_message(teller, message)
        else:
            self._tell_request(teller, self._words(teller, text))

    def _tell_request(self, teller: str, text: str, *images: str) -> None:
        """Tell what the user wrote, behind what their editor wrote above it."""
        context, words = split_editor_context(text)
        self._messages.tell(teller, "observation", context, source="attachment")
        self._messages.tell(teller, "instruction", words, *images, source="user")

    def _take_problem(self, message: object) -> None:
        """An error that a turn ends with is told as an event and again with the turn's end."""
        text = visible_text(message)
        if text and text != self._problem:
            self.list.add("error", self.list.at, text, source="api")
        self._problem = text or self._problem


def _is_waited_through(line: JsonObject, payload: JsonObject) -> bool:
    """Whether a line may stand between what an event tells of a message and its response item, or is that item."""
    if line.get("type") == "event_msg":
        item = text_of(object_of(payload.get("item")).get("type"))
        return text_of(payload.get("type")) in _WAITED_THROUGH and item not in {"Reasoning", "UserMessage"}
    is_answer = payload.get("type") == "message" and payload.get("role") == "assistant"
    return line.get("type") == "token_usage_record" or (line.get("type") == "response_item" and is_answer)
