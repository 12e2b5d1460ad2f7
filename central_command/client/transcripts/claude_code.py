"""Claude Code's session files: one JSON event a line, read into steps in the order of the file.

| in the file | step |
|---|---|
| assistant `text` | thought |
| assistant `thinking` | thought, `source: thinking` (redacted thinking has no text and is left out) |
| assistant `tool_use`, `server_tool_use` | action with `tool`, `arguments` and `call_id` |
| `tool_result` and the like | observation, or error when `is_error`; same `call_id` as its action |
| user text | instruction, `source: user`; a slash command for the agent is `source: command` |
| "[Request interrupted by user...]" | instruction, `source: user`, `intent: interruption` |
| text that the user queued while the agent worked | instruction, `source: queue`, where the agent received it |
| `<task-notification>`: a background task ended | observation, `source: notification` |
| an API error in place of an answer | error, `source: api` |
| `result` (of `claude -p --output-format stream-json`) | resolution, or error when the run failed |

Only a `result` event is a resolution: the last text of an interactive session may be an answer, a question or half
a plan, and the file does not say which. Blank text, which the program writes around thinking, is no step.

Left out on purpose:
- *Meta events* (`isMeta`): text that the program, not the user, put in (caveats, the bodies of slash commands).
- *Compaction summaries*: they repeat in other words what the steps before them already say.
- *Local commands* (`/model`, `/mcp`, `!ls`) with their output: carried out by the program, not by the agent.
- *Sidechains*: a sub-agent's steps are another agent's trajectory and would stand between an action and its result;
  the call that started it and its answer are here. A file that holds nothing else (`agent-*.jsonl`) is that
  sub-agent's own session and is read whole.
- *progress, system, file-history-snapshot, summary*: the program's own records; what a sub-agent did is repeated there.

One assistant message is written as several events, one a content block, each with the usage of the whole message:
usage is counted once a message id. Events copied when a session is resumed carry their old `uuid` and are read once.
Tool calls made in parallel stand before their results; a result that was written before its call is held back until
the call has been read.
"""

import re
from collections import Counter, deque
from typing import BinaryIO, ClassVar

from central_command.client.transcripts.claude_code_events import (
    block_text,
    blocks_of,
    count_of,
    first_text,
    is_call,
    is_error_object,
    is_queued_command,
    is_result,
    is_sidechain,
    result_text,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.reader import Transcript, Usage, read_json_lines
from central_command.client.transcripts.steps import NAME_CHARS_MAX, JsonObject, StepList

_KINDS_READ = frozenset({"user", "assistant", "result", "attachment", "queue-operation"})
_INTERRUPTED = "[Request interrupted by user"
_LOCAL_OUTPUT = ("<local-command-stdout>", "<local-command-stderr>")
_LOCAL = (*_LOCAL_OUTPUT, "<local-command-caveat>", "<bash-input>", "<bash-stdout>", "<bash-stderr>")
_NOTIFICATION = "<task-notification>"
_COMMAND = ("<command-name>", "<command-message>")
_COMMAND_NAME = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_COMMAND_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_NO_MODEL = "<synthetic>"


class ClaudeCodeReader:
    """Reads the files under `~/.claude/projects/` and the output of `claude -p --output-format stream-json`."""

    provider: ClassVar[str] = "claude-code"

    def read(self, file: BinaryIO) -> Transcript:
        """Read a whole session; lines that are no JSON object are counted, everything else unknown is left out."""
        events: list[JsonObject] = []
        unreadable = 0
        seen: set[str] = set()
        session_key = ""
        for event in read_json_lines(file):
            if event is None:
                unreadable += 1
                continue
            session_key = session_key or text_of(event.get("sessionId")) or text_of(event.get("session_id"))
            uuid = text_of(event.get("uuid"))
            if text_of(event.get("type")) in _KINDS_READ and (not uuid or uuid not in seen):
                seen.add(uuid)
                event.pop("toolUseResult", None)  # what `message` says, once more and larger
                events.append(event)
        mine, is_subagent = _own_events(events)
        session = _Session(mine)
        for event in mine:
            session.take(event)
        steps = session.list.steps
        return Transcript(
            session_key=session_key,
            provider=self.provider,
            model=session.model(),
            is_subagent=is_subagent,
            steps=tuple(steps),
            started_s=min((step.timestamp for step in steps), default=None) if session.has_times else None,
            ended_s=max((step.timestamp for step in steps), default=None) if session.has_times else None,
            usage=session.usage(),
            unreadable_lines=unreadable,
            skipped_sidechain_events=len(events) - len(mine),
        )


def _own_events(events: list[JsonObject]) -> tuple[list[JsonObject], bool]:
    """The events of the session's own agent, and whether that is a sub-agent (nothing else is in the file)."""
    own = [event for event in events if not is_sidechain(event)]
    if any(text_of(event.get("type")) in {"user", "assistant"} for event in own):
        return own, False
    return events, len(own) < len(events)


class _Session:
    """The steps of one session while its events are read, in order."""

    def __init__(self, events: list[JsonObject]) -> None:
        self.list = StepList()
        times = [at for event in events if (at := seconds_of(event.get("timestamp"))) is not None]
        self.has_times = bool(times)
        self._at = times[0] if times else 0.0
        self._calls_to_come = {
            text_of(b.get("id"))[:NAME_CHARS_MAX] for event in events for b in blocks_of(event) if is_call(b)
        }
        self._tools: dict[str, str] = {}
        self._answered: set[str] = set()
        self._early_results: dict[str, JsonObject] = {}
        self._local_commands = {text_of(e.get("parentUuid")) for e in events if first_text(e).startswith(_LOCAL_OUTPUT)}
        self._delivered = {
            first_text(event) for event in events if text_of(event.get("type")) in {"user", "attachment"}
        }
        self._queue: deque[str] = deque()
        self._model_of: dict[str, str] = {}
        self._usage_of: dict[str, Usage] = {}

    def take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        at = seconds_of(event.get("timestamp"))
        self._at = self._at if at is None else at
        match event.get("type"):
            case "assistant":
                self._take_assistant(event)
            case "user":
                self._take_user(event)
            case "attachment" if is_queued_command(event):
                for block in blocks_of(event):
                    self._take_user_text(block_text(block), source="queue")
            case "queue-operation":
                self._take_queue_operation(event)
            case "result":
                failed = event.get("is_error") is True or event.get("subtype") != "success"
                content = text_of(event.get("result")) or text_of(event.get("subtype")) or "no result text"
                self.list.add("error" if failed else "resolution", self._at, content)

    def model(self) -> str:
        """The model of most messages, the first of them when two have as many; empty when none is named."""
        counted = Counter(self._model_of.values())
        return counted.most_common(1)[0][0] if counted else ""

    def usage(self) -> Usage:
        """Tokens of all messages, each counted once."""
        every = self._usage_of.values()
        return Usage(sum(usage.input_tokens for usage in every), sum(usage.output_tokens for usage in every))

    def _take_assistant(self, event: JsonObject) -> None:
        message = event.get("message")
        if not isinstance(message, dict):
            return
        is_api_error = event.get("isApiErrorMessage") is True
        model = text_of(message.get("model"))
        if model == _NO_MODEL or is_api_error:
            for block in blocks_of(event) if is_api_error else ():
                self.list.add("error", self._at, block_text(block) or "API error", source="api")
            return
        key = text_of(message.get("id")) or text_of(event.get("uuid")) or f"message {len(self._model_of)}"
        if model:
            self._model_of[key] = model
        self._count_usage(key, message.get("usage"))
        for block in blocks_of(event):
            self._take_assistant_block(block)

    def _take_assistant_block(self, block: JsonObject) -> None:
        if is_call(block):
            self._take_call(block)
        elif is_result(block):
            self._take_result(block)
        elif block.get("type") == "thinking":
            if thinking := visible_text(block.get("thinking")):
                self.list.add("thought", self._at, thinking, source="thinking")
        elif text := visible_text(block_text(block)):
            self.list.add("thought", self._at, text)

    def _take_call(self, block: JsonObject) -> None:
        call_id = text_of(block.get("id"))[:NAME_CHARS_MAX]
        if call_id and call_id in self._tools:
            return
        tool = text_of(block.get("name"))[:NAME_CHARS_MAX] or "unnamed"
        if call_id:
            self._tools[call_id] = tool
        self.list.add_action(self._at, tool, block.get("input") or {}, call_id or None)
        if early := self._early_results.pop(call_id, None):
            self._take_result(early)

    def _take_result(self, block: JsonObject) -> None:
        call_id = text_of(block.get("tool_use_id"))[:NAME_CHARS_MAX]
        if call_id and call_id in self._calls_to_come and call_id not in self._tools:
            self._early_results.setdefault(call_id, block)
            return
        if call_id and call_id in self._answered:
            return
        self._answered.add(call_id)
        failed = block.get("is_error") is True or is_error_object(block.get("content"))
        self.list.add(
            "error" if failed else "observation",
            self._at,
            result_text(block.get("content")),
            tool=self._tools.get(call_id),
            call_id=call_id or None,
        )

    def _take_user(self, event: JsonObject) -> None:
        by_program = event.get("isMeta") is True or event.get("isCompactSummary") is True
        # A command whose output is the program's own was carried out by the program: the agent never saw it.
        is_local = text_of(event.get("uuid")) in self._local_commands and first_text(event).startswith(_COMMAND)
        for block in blocks_of(event):
            if is_result(block):
                self._take_result(block)
            elif not by_program and not is_local:
                self._take_user_text(block_text(block), source="user")

    def _take_user_text(self, text: str, *, source: str) -> None:
        if not visible_text(text) or text.startswith(_LOCAL):
            return
        if text.startswith(_INTERRUPTED):
            self.list.add("instruction", self._at, text, source="user", intent="interruption")
        elif text.startswith(_NOTIFICATION):
            self.list.add("observation", self._at, text, source="notification")
        elif text.startswith(_COMMAND) and (name := _COMMAND_NAME.search(text)):
            arguments = _COMMAND_ARGUMENTS.search(text)
            whole = f"{name[1].strip()} {arguments[1].strip() if arguments else ''}".strip()
            self.list.add("instruction", self._at, whole, source="command")
        else:
            self.list.add("instruction", self._at, text, source=source)

    def _take_queue_operation(self, event: JsonObject) -> None:
        """Queued text that reaches the agent in mid-turn leaves the queue by `remove` and has no event of its own.

        Text that leaves by `dequeue` starts a turn and has one; by `popAll` it goes back to the user's editor.
        """
        match event.get("operation"):
            case "enqueue":
                text = text_of(event.get("content"))
                if visible_text(text) and not text.startswith(("<", "/")):
                    self._queue.append(text)
            case "remove" if self._queue:
                text = self._queue.popleft()
                if text not in self._delivered:
                    self._take_user_text(text, source="queue")
            case "dequeue" if self._queue and self._queue[0] in self._delivered:
                self._queue.popleft()
            case "popAll":
                self._queue.clear()

    def _count_usage(self, key: str, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        before = self._usage_of.get(key, Usage())
        self._usage_of[key] = Usage(
            max(before.input_tokens, sum(count_of(usage.get(name)) for name in names)),
            max(before.output_tokens, count_of(usage.get("output_tokens"))),
        )
