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

*While the file grows*, what a line means can depend on one of the next `WINDOW_EVENTS`: a result whose call may yet
follow, a slash command that turns out to be the program's own, queued text whose delivery may follow. Only where one of
these is open at the end of the file are the steps from there on not settled; nothing is looked for beyond that window,
so what is settled stays so. Nothing is settled before the first message and the first time, nor, in a file that begins
with sidechain events which name no `agentId`, before `WINDOW_EVENTS` messages have shown that it holds nothing else.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import BinaryIO, ClassVar

from central_command.client.contract.steps import JsonObject, Step, StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.claude_code_events import (
    block_text,
    blocks_of,
    first_text,
    is_call,
    is_error_object,
    is_of_claude_code,
    is_queued_command,
    is_result,
    is_sidechain,
)
from central_command.client.transcripts.json_values import (
    content_text,
    count_of,
    name_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.reader import Head, JsonLines, Steps, Usage, transcript_of

WINDOW_EVENTS = 64
"""How many events before and after one are looked at to tell what it means; its settled steps wait for no more."""
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

    def recognises(self, head: Head) -> bool:
        """Whether the first lines hold an event of this program."""
        return is_of_claude_code(head)

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session; lines that are no JSON object are counted, everything else unknown is left out."""
        lines = JsonLines(file)
        events = _Events(lines)
        session = _Session(events)
        yield from session.read()
        return transcript_of(
            session,
            self.provider,
            session.usage(),
            unreadable_lines=lines.unreadable,
            is_incomplete=lines.is_incomplete,
            sidechain_events=events.skipped,
        )


READER = ClaudeCodeReader()


class _Events:
    """The events of the session's own agent, each once, in order.

    A sub-agent's file holds nothing but sidechain events; its first messages tell, and those alone, so that a session
    is never taken for another one after some of its steps have been sent. `is_decided` says that they have told.
    """

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines
        self.session_key = ""
        self.is_subagent = self.is_decided = False
        self.skipped = 0

    def __iter__(self) -> Iterator[JsonObject]:
        first: list[JsonObject] = []
        messages: list[JsonObject] = []
        for event in self._each_once():
            if self.is_decided:
                yield from self._own([event])
                continue
            first.append(event)
            if text_of(event.get("type")) in {"user", "assistant"}:
                messages.append(event)
                if len(messages) == WINDOW_EVENTS or not is_sidechain(event) or text_of(messages[0].get("agentId")):
                    self.is_subagent, self.is_decided = is_sidechain(event), True
                    yield from self._own(first)
                    first.clear()
        if not self.is_decided:
            self.is_subagent = bool(messages)
            yield from self._own(first)

    def _own(self, events: Iterable[JsonObject]) -> Iterator[JsonObject]:
        for event in events:
            if self.is_subagent or not is_sidechain(event):
                yield event
            else:
                self.skipped += 1

    def _each_once(self) -> Iterator[JsonObject]:
        seen: set[str] = set()
        for event in self._lines:
            self.session_key = self.session_key or text_of(event.get("sessionId")) or text_of(event.get("session_id"))
            uuid = text_of(event.get("uuid"))
            if text_of(event.get("type")) in _KINDS_READ and (not uuid or uuid not in seen):
                seen.add(uuid)
                event.pop("toolUseResult", None)  # what `message` says, once more and larger
                yield event


class _Session:
    """The steps of one session while its events are read, in order, each with those of a window around it in view."""

    def __init__(self, events: _Events) -> None:
        self.list = StepList()
        self._events = events
        self._ahead: deque[JsonObject] = deque()
        self._place = self._last_place = -1
        self._settled: int | None = None
        self._call_places: dict[str, int] = {}
        self._local_output_places: dict[str, int] = {}
        self._deliveries: deque[tuple[int, str]] = deque()
        self._calls = Calls(self.list)
        self._early_results: dict[str, JsonObject] = {}
        self._queue: deque[str] = deque()
        self._model_of: dict[str, str] = {}
        self._usage_of: dict[str, Usage] = {}

    @property
    def session_key(self) -> str:
        """The agent's own id of the session, empty when there is none."""
        return self._events.session_key

    @property
    def is_subagent(self) -> bool:
        """Whether it is a sub-agent's."""
        return self._events.is_subagent

    def read(self) -> Iterator[Step]:
        """Take all events."""
        for event in self._events:
            self._last_place += 1
            self._survey(self._last_place, event)
            self._ahead.append(event)
            if len(self._ahead) > WINDOW_EVENTS:
                self._take(self._ahead.popleft())
                yield from self.list.drain()
        while self._ahead:
            self._take(self._ahead.popleft())
        yield from self.list.finish()

    def _survey(self, place: int, event: JsonObject) -> None:
        """Note where calls, the output of local commands and the delivery of queued text stand."""
        for block in blocks_of(event):
            if is_call(block):
                self._call_places.setdefault(name_of(block.get("id")), place)
        text = first_text(event)
        if text.startswith(_LOCAL_OUTPUT):
            self._local_output_places.setdefault(text_of(event.get("parentUuid")), place)
        if text and text_of(event.get("type")) in {"user", "attachment"}:
            self._deliveries.append((place, text))

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when more events follow."""
        if not (self.list.has_times and self._events.is_decided):
            return 0
        return self.list.count if self._settled is None else self._settled

    def _mark_if_open(self) -> None:
        """Settle no further steps if events that are not written yet may tell what the present one means."""
        if self._settled is None and self._place + WINDOW_EVENTS > self._last_place:
            self._settled = self.list.count

    def _is_delivered(self, text: str) -> bool:
        """Whether queued text has an event of its own near by."""
        while self._deliveries and self._deliveries[0][0] < self._place - WINDOW_EVENTS:
            self._deliveries.popleft()
        if any(delivered == text for _, delivered in self._deliveries):
            return True
        self._mark_if_open()
        return False

    def _take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        self._place += 1
        self.list.take_time(seconds_of(event.get("timestamp")))
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
                self.list.add("error" if failed else "resolution", self.list.at, content)

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
                self.list.add("error", self.list.at, block_text(block) or "API error", source="api")
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
                self.list.add("thought", self.list.at, thinking, source="thinking")
        elif text := visible_text(block_text(block)):
            self.list.add("thought", self.list.at, text)

    def _take_call(self, block: JsonObject) -> None:
        call_id = name_of(block.get("id"))
        is_new = self._calls.act(self.list.at, name_of(block.get("name")), block.get("input") or {}, call_id)
        if is_new and (early := self._early_results.pop(call_id, None)):
            self._take_result(early)

    def _take_result(self, block: JsonObject) -> None:
        call_id = name_of(block.get("tool_use_id"))
        if call_id and not self._calls.knows(call_id) and not self._calls.is_answered(call_id):
            if self._place < self._call_places.get(call_id, -1) <= self._place + WINDOW_EVENTS:
                self._early_results.setdefault(call_id, block)
                return
            self._mark_if_open()
        failed = block.get("is_error") is True or is_error_object(block.get("content"))
        self._calls.answer(self.list.at, call_id, content_text(block.get("content")), failed=failed)

    def _take_user(self, event: JsonObject) -> None:
        by_program = event.get("isMeta") is True or event.get("isCompactSummary") is True
        # A command whose output is the program's own was carried out by the program: the agent never saw it.
        is_local = first_text(event).startswith(_COMMAND) and self._is_local(text_of(event.get("uuid")))
        for block in blocks_of(event):
            if is_result(block):
                self._take_result(block)
            elif not by_program and not is_local:
                self._take_user_text(block_text(block), source="user")

    def _is_local(self, uuid: str) -> bool:
        """Whether the output of a local command follows the command of this uuid."""
        if self._place < self._local_output_places.get(uuid, -1) <= self._place + WINDOW_EVENTS:
            return True
        self._mark_if_open()
        return False

    def _take_user_text(self, text: str, *, source: str) -> None:
        if not visible_text(text) or text.startswith(_LOCAL):
            return
        if text.startswith(_INTERRUPTED):
            self.list.add("instruction", self.list.at, text, source="user", intent="interruption")
        elif text.startswith(_NOTIFICATION):
            self.list.add("observation", self.list.at, text, source="notification")
        elif text.startswith(_COMMAND) and (name := _COMMAND_NAME.search(text)):
            arguments = _COMMAND_ARGUMENTS.search(text)
            whole = f"{name[1].strip()} {arguments[1].strip() if arguments else ''}".strip()
            self.list.add("instruction", self.list.at, whole, source="command")
        else:
            self.list.add("instruction", self.list.at, text, source=source)

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
                if not self._is_delivered(text):
                    self._take_user_text(text, source="queue")
            case "dequeue" if self._queue and self._is_delivered(self._queue[0]):
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
