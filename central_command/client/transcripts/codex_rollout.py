"""Codex's rollout files: what went to and came from the model, and the program's own events beside it.

A line is `{"timestamp", "type", "payload"}`, of older versions a bare response item after a line with the session's id.

| in the file | step |
|---|---|
| `response_item` `message` by the user | instruction, `source: user` |
| `response_item` `message` by the assistant | thought |
| `response_item` `reasoning` | thought for each part of its summary, else of its content, `source: thinking` |
| `function_call`, `custom_tool_call`, `local_shell_call`, other `*_call` | action with `tool`, `arguments`, `call_id` |
| `*_output` of the same `call_id` | observation, or error |
| `web_search_call` | action without a result, which the program does not write down |
| `image_generation_call` | action; its image is a placeholder |
| `event_msg` `turn_aborted` by the user | instruction, `source: user`, `intent: interruption` |
| `event_msg` `error`, `task_complete` with an error | error, `source: api` |
| `event_msg` `task_complete` of `codex exec` | resolution: the last message, which is the program's answer |

The program writes messages and reasoning twice, as response items and as events (`agent_message`, `agent_reasoning`,
`user_message`, `item_completed`), in either order, and which of them depends on its version: the first is the step and
each of the others is matched with it by its text. A turn of an interactive session has no resolution: its last message
may be a question.

A result is an error when the program's own event on the call says so (a non-zero exit code, `success: false`), when
its text begins with a non-zero exit code, or when the call could not be made at all. Where the program has already cut
the output, `truncated` and the count that it names are passed on.

Left out on purpose: messages by `developer` and `system`, text that the program puts among the user's (environment,
AGENTS.md, skills), compaction (`compacted` repeats what stands before it), `world_state` and settings. A file that was
forked from another session holds only its own part; older versions copied the beginning into it, which is then read as
part of this session, because nothing marks where it ends. Its usage counts that beginning in both cases.

Every step is settled at once: each line adds steps and changes none before it. The one exception are steps before the
first time, which take that one; every version begins its files with a line that has a time.
"""

import re
from collections import Counter, defaultdict

from central_command.client.contract.steps import JsonObject, StepList, StepType
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.codex_output import Output, outcome_of, read_output
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
from central_command.client.transcripts.reader import Usage

_LINES = frozenset(
    {"session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state", "token_usage_record"}
)
_BARE_ITEMS = frozenset({"message", "reasoning", "function_call", "function_call_output", "local_shell_call"})
_BY_PROGRAM = (
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<skill>",
    "<turn_aborted>",
    "<user_shell_command>",
    "<subagent_notification>",
    "<model_switch>",
    "<permissions instructions>",
    "<collaboration_mode>",
)
_IMAGE_TAG = re.compile(r"</?image\b[^>]*>")
_STANDARD_MEMBERS = frozenset({"type", "id", "call_id", "status", "metadata", "execution"})
_INTERRUPTED = frozenset({"", "interrupted"})


def is_rollout_line(line: JsonObject, *, bare: bool) -> bool:
    """Whether an object is a line of a rollout; with `bare`, also one of the oldest kind, which has no envelope."""
    kind = text_of(line.get("type"))
    if isinstance(line.get("payload"), dict):
        return kind in _LINES
    is_item = kind in _BARE_ITEMS and "sessionId" not in line and "timestamp" not in line
    is_meta = not kind and {"id", "timestamp", "instructions"} <= line.keys()
    return bare and (is_item or is_meta)


class RolloutSession:
    """The steps of one rollout while its lines are read, in order."""

    def __init__(self) -> None:
        self.list = StepList()
        self.session_key = ""
        self.is_subagent = False
        self.usage = Usage()
        self._calls = Calls(self.list)
        self._is_exec = False
        self._models: Counter[str] = Counter()
        self._told: defaultdict[str, Counter[tuple[StepType, str]]] = defaultdict(Counter)
        self._taken: Counter[tuple[StepType, str]] = Counter()
        self._outcomes: dict[str, bool] = {}
        self._problem = ""

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when more lines follow."""
        return self.list.count if self.list.has_times else 0

    def model(self) -> str:
        """The model of most turns, the first of them when two have as many; empty when none is named."""
        return self._models.most_common(1)[0][0] if self._models else ""

    def take(self, line: JsonObject) -> None:
        """Add the steps of one line."""
        self.list.take_time(seconds_of(line.get("timestamp")))
        payload = object_of(line.get("payload"))
        match line.get("type"):
            case "session_meta":
                self._take_meta(payload)
            case "turn_context":
                if model := name_of(payload.get("model")):
                    self._models[model] += 1
            case "response_item":
                self._take_item(payload)
            case "event_msg":
                self._take_event(payload)
            case kind if not payload and kind in _BARE_ITEMS:
                self._take_item(line)
            case None if "id" in line:
                self._take_meta(line)

    def _take_meta(self, meta: JsonObject) -> None:
        if not self.session_key:
            self.session_key = text_of(meta.get("id")) or text_of(meta.get("session_id"))
            source = meta.get("source")
            self._is_exec = source == "exec"
            self.is_subagent = isinstance(source, dict) and "subagent" in source

    def _take_item(self, item: JsonObject) -> None:
        kind = text_of(item.get("type"))
        if kind == "message":
            self._take_message(item)
        elif kind == "reasoning":
            parts = objects_of(item.get("summary")) or objects_of(item.get("content"))
            for part in parts:
                self._tell("item", "thought", text_of(part.get("text")), source="thinking")
        elif kind.endswith("_call"):
            self._take_call(kind, item)
        elif kind.endswith("_output") and isinstance(item.get("call_id"), str):
            output = read_output(item.get("output") if "output" in item else item.get("tools"))
            self._take_output(name_of(item.get("call_id")), output)

    def _take_message(self, item: JsonObject) -> None:
        content = item.get("content")
        if item.get("role") == "assistant":
            self._tell("item", "thought", content_text(content))
        elif item.get("role") == "user":
            blocks = objects_of([{"type": "input_text", "text": content}] if isinstance(content, str) else content)
            texts = [text_of(block.get("text")) for block in blocks if not _is_image(block)]
            kept = [text for text in texts if not text.startswith(_BY_PROGRAM) and not _IMAGE_TAG.fullmatch(text)]
            images = [content_text([block]) for block in blocks if _is_image(block)]
            self._tell("item", "instruction", "\n".join(kept), *images, source="user")

    def _take_call(self, kind: str, item: JsonObject) -> None:
        call_id = name_of(item.get("call_id")) or name_of(item.get("id"))
        match kind:
            case "function_call":
                namespace, name = text_of(item.get("namespace")), text_of(item.get("name"))
                tool = f"{namespace}{'' if not namespace or namespace.endswith('__') else '__'}{name}"
                self._calls.act(self.list.at, name_of(tool), parsed_arguments(item.get("arguments")), call_id)
            case "custom_tool_call":
                self._calls.act(self.list.at, name_of(item.get("name")), parsed_arguments(item.get("input")), call_id)
            case "local_shell_call" | "web_search_call":
                self._calls.act(self.list.at, kind.removesuffix("_call"), object_of(item.get("action")), call_id)
            case "image_generation_call":
                arguments = {"revised_prompt": item.get("revised_prompt")}
                self._calls.act(self.list.at, "image_generation", arguments, call_id)
                if item.get("result"):
                    self._calls.answer(self.list.at, call_id, "[image: unknown type]", failed=False)
            case _:
                arguments = {
                    name: value
                    for name, value in item.items()
                    if name not in _STANDARD_MEMBERS and not name.startswith("internal_")
                }
                self._calls.act(
                    self.list.at, kind.removesuffix("_call"), arguments.get("arguments", arguments), call_id
                )

    def _take_output(self, call_id: str, output: Output) -> None:
        failed = self._outcomes.get(call_id, output.failed)
        self._calls.answer(self.list.at, call_id, output.text, failed=failed, original_tokens=output.original_tokens)

    def _take_event(self, event: JsonObject) -> None:
        match event.get("type"):
            case "agent_message":
                self._tell("event", "thought", text_of(event.get("message")))
            case "agent_reasoning":
                self._tell("event", "thought", text_of(event.get("text")), source="thinking")
            case "user_message" if event.get("kind", "plain") == "plain":
                self._tell_user("event", text_of(event.get("message")))
            case "item_completed":
                self._take_completed(object_of(event.get("item")))
            case "token_count":
                total = object_of(object_of(event.get("info")).get("total_token_usage"))
                self.usage = Usage(
                    max(self.usage.input_tokens, count_of(total.get("input_tokens"))),
                    max(self.usage.output_tokens, count_of(total.get("output_tokens"))),
                )
            case _:
                self._take_ending(event)

    def _take_ending(self, event: JsonObject) -> None:
        match event.get("type"):
            case "turn_aborted" if text_of(event.get("reason")) in _INTERRUPTED:
                self.list.add("instruction", self.list.at, "[Turn interrupted]", source="user", intent="interruption")
            case "task_started" | "turn_started":
                self._problem = ""
            case "error":
                self._take_problem(event.get("message"))
            case "task_complete" | "turn_complete":
                self._take_problem(object_of(event.get("error")).get("message"))
                if self._is_exec and (answer := visible_text(event.get("last_agent_message"))):
                    self.list.add("resolution", self.list.at, answer)
            case _ if (ended := outcome_of(event)) is not None:
                self._outcomes[ended.call_id] = ended.failed

    def _take_completed(self, item: JsonObject) -> None:
        match item.get("type"):
            case "AgentMessage":
                self._tell("completed", "thought", content_text(item.get("content")))
            case "Reasoning":
                summary = item.get("summary_text")
                for part in summary if isinstance(summary, list) else ():
                    self._tell("completed", "thought", text_of(part), source="thinking")
            case "UserMessage":
                parts = [text_of(part.get("text")) for part in objects_of(item.get("content"))]
                self._tell_user("completed", "\n".join(text for text in parts if text))
            case _ if (ended := outcome_of(item)) is not None:
                self._outcomes[ended.call_id] = ended.failed

    def _tell_user(self, teller: str, text: str) -> None:
        if not text.startswith(_BY_PROGRAM):
            self._tell(teller, "instruction", text, source="user")

    def _tell(self, teller: str, kind: StepType, text: str, *images: str, source: str | None = None) -> None:
        """Add a step unless another of the file's ways to tell the same has told it; images are not matched by."""
        key = (kind, "".join(text.split()))
        self._told[teller][key] += 1
        whole = "\n".join(part for part in (text, *images) if visible_text(part))
        if whole and self._told[teller][key] > self._taken[key]:
            self._taken[key] += 1
            self.list.add(kind, self.list.at, whole, source=source)

    def _take_problem(self, message: object) -> None:
        """An error that a turn ends with is told as an event and again with the turn's end."""
        text = visible_text(message)
        if text and text != self._problem:
            self.list.add("error", self.list.at, text, source="api")
        self._problem = text or self._problem


def _is_image(block: JsonObject) -> bool:
    return "image" in text_of(block.get("type"))
