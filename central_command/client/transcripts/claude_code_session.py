"""The steps of one Claude Code session while its events are read, in order; `claude_code` says which they are."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping

from central_command.client.contract.steps import JsonObject, Step, StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.claude_code_attachments import given_by
from central_command.client.transcripts.claude_code_events import (
    attachment_of,
    block_text,
    blocks_of,
    first_text,
    is_call,
    is_error_object,
    is_result,
    kind_of,
)
from central_command.client.transcripts.claude_code_horizon import Horizon
from central_command.client.transcripts.claude_code_lineage import COPIED, Lineage
from central_command.client.transcripts.claude_code_queue import TAKEN_BACK, Queue
from central_command.client.transcripts.claude_code_texts import (
    LOCAL_COMMANDS,
    LOCAL_OUTPUT,
    SUMMARIES,
    Words,
    author_of,
    feedback_in,
    is_by_program,
    is_command,
    words_in,
)
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.reader import most_named
from central_command.client.transcripts.reported import OF_ANTHROPIC

_NO_MODEL = "<synthetic>"


class Session:
    """The steps of one session while its events are read, in order, each with those of a window around it in view."""

    def __init__(
        self, events: Iterable[JsonObject], *, window: int, own_session: str = "", is_undecided: bool = False
    ) -> None:
        self.list = StepList()
        self._calls = Calls(self.list)
        self._window = window
        self._events = Lineage(events, window=window, own_session=own_session)
        self._is_undecided = is_undecided
        self._ahead: deque[JsonObject] = deque()
        self._place = -1
        self._horizon = Horizon(window)
        self._settled: int | None = None
        self._call_places: dict[str, int] = {}
        self._local_output_places: dict[str, int] = {}
        self._early_results: dict[str, JsonObject] = {}
        self._queue = Queue(window)
        self._left_out = self._events.left_out
        self._model_of: dict[str, str] = {}

    @property
    def session_key(self) -> str:
        """The agent's own id of the session, empty when there is none."""
        return self._events.session_key

    @property
    def parent_key(self) -> str:
        """The agent's own id of the session that its parent is in."""
        return self._events.parent_key

    @property
    def is_subagent(self) -> bool:
        """Whether it is a sub-agent's."""
        return self._events.is_subagent

    @property
    def skipped_sidechain_events(self) -> int:
        """How many events are sub-agents'."""
        return self._events.skipped

    def left_out(self) -> Mapping[str, int]:
        """What is no step, by kind."""
        return self._left_out.counts()

    def read(self) -> Iterator[Step]:
        """Take all events."""
        for place, event in enumerate(self._events):
            self._survey(place, event)
            self._ahead.append(event)
            if len(self._ahead) > self._window:
                self._take(self._ahead.popleft())
                yield from self.list.drain()
        while self._ahead:
            self._take(self._ahead.popleft())
        self._count_inner(self._place + 1)
        self._left_out.count(TAKEN_BACK, self._queue.taken_back + self._queue.still_waiting())
        yield from self.list.finish()

    def _survey(self, place: int, event: JsonObject) -> None:
        """Note where calls, the output of local commands and the delivery of queued text stand."""
        if event.get("type") == COPIED:
            self._horizon.note(place, {})
            return
        self._horizon.note(place, event)
        is_given = event.get("type") in {"user", "attachment"}
        for count, block in enumerate(blocks_of(event)):
            if is_call(block):
                self._call_places.setdefault(name_of(block.get("id")), place)
            elif is_given and (text := text_of(block.get("text"))):
                self._queue.note_event(place, text)
                if count == 0 and text.startswith(LOCAL_OUTPUT):
                    self._local_output_places.setdefault(text_of(event.get("parentUuid")), place)

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when more events follow."""
        if self._is_undecided or not (self.list.has_times and self._events.is_decided):
            return 0
        return self.list.count if self._settled is None else self._settled

    def _mark_if_open(self) -> None:
        """Settle no further steps if events that are not written yet may tell what the present one means."""
        if self._settled is None and self._horizon.is_beyond(self._place):
            self._settled = self.list.count

    def _take(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        self._place += 1
        self._count_inner(self._place)
        self.list.take_time(seconds_of(event.get("timestamp")))
        match event.get("type"):
            case "assistant":
                self._take_assistant(event)
            case "user":
                self._take_user(event)
            case "attachment":
                self._take_attachment(event)
            case "copied":
                self._know(event)
            case "queue-operation":
                text, is_open = self._queue.absorb(event, self._place, self._horizon.of(self._place))
                if is_open:
                    self._mark_if_open()
                self._take_words(words_in(text, source="queue"))
            case "result":
                failed = event.get("is_error") is True or event.get("subtype") != "success"
                why = content_text(event.get("errors")) or text_of(event.get("subtype")) or "no result text"
                content = text_of(event.get("result")) or why
                self.list.add("error" if failed else "resolution", self.list.at, content)

    def model(self) -> str:
        """The model of most messages, the first of them when two have as many; empty when none is named."""
        return most_named(Counter(self._model_of.values()))

    def _take_assistant(self, event: JsonObject) -> None:
        message = event.get("message")
        if not isinstance(message, dict):
            return
        is_api_error = event.get("isApiErrorMessage") is True
        model = text_of(message.get("model"))
        if model == _NO_MODEL or is_api_error:
            for block in blocks_of(event) if is_api_error else ():
                self.list.add("error", self.list.at, block_text(block) or "API error", source="api")
            self._left_out.count("messages made up by the program", not is_api_error)
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
            else:
                self._left_out.count("thinking without its text")
        elif text := visible_text(block_text(block)):
            self.list.add("thought", self.list.at, text)
        elif block.get("type") != "text":
            self._left_out.count(f"block: {text_of(block.get('type'))}")

    def _take_call(self, block: JsonObject) -> None:
        call_id = name_of(block.get("id"))
        is_new = self._calls.act(self.list.at, name_of(block.get("name")), block.get("input") or {}, call_id)
        if is_new and (early := self._early_results.pop(call_id, None)):
            self._take_result(early)

    def _know(self, copied: JsonObject) -> None:
        for block in blocks_of(copied):
            if is_call(block):
                self._calls.know(name_of(block.get("id")), name_of(block.get("name")))
            else:
                self._calls.know_answered(name_of(block.get("tool_use_id")))

    def _take_result(self, block: JsonObject) -> None:
        call_id = name_of(block.get("tool_use_id"))
        if call_id and not self._calls.knows(call_id) and not self._calls.is_answered(call_id):
            if self._place < self._call_places.get(call_id, -1) <= self._horizon.of(self._place):
                self._early_results.setdefault(call_id, block)
                return
            self._mark_if_open()
        failed = block.get("is_error") is True or is_error_object(block.get("content"))
        self._calls.answer(self.list.at, call_id, content_text(block.get("content")), failed=failed)

    def _take_user(self, event: JsonObject) -> None:
        is_summary = event.get("isCompactSummary") is True
        author = author_of(event)
        source = "agent" if self.is_subagent and author == "user" else author
        # A command whose output is the program's own was carried out by the program: the agent never saw it.
        is_local = is_command(first_text(event)) and self._is_local(text_of(event.get("uuid")))
        for block in blocks_of(event):
            text = block_text(block)
            if is_result(block):
                self._take_result(block)
            elif not visible_text(text):
                continue
            elif is_summary or is_local:
                self._left_out.count(SUMMARIES if is_summary else LOCAL_COMMANDS)
            elif is_by_program(event):
                self._take_words((feedback_in(text),))
            else:
                self._take_text(text, source)

    def _take_attachment(self, event: JsonObject) -> None:
        attachment = attachment_of(event)
        if attachment.get("type") == "queued_command":
            author = author_of(attachment)
            for block in blocks_of(event):
                self._take_text(block_text(block), "queue" if author == "user" else author)
            return
        given = given_by(attachment)
        for each in given:
            self.list.add(each.kind, self.list.at, each.text, source=each.source)
        if not given:
            self._left_out.count(kind_of(event))

    def _take_text(self, text: str, source: str) -> None:
        """Add the steps of text that is `source`'s."""
        if source == "notification" and visible_text(text):
            self.list.add("observation", self.list.at, text, source=source)
        else:
            self._take_words(words_in(text, source=source))

    def _take_words(self, pieces: Iterable[Words]) -> None:
        for words in pieces:
            if words.left_out is not None:
                self._left_out.count(words.left_out)
            elif visible_text(words.text):
                self.list.add(words.kind, self.list.at, words.text, source=words.source, intent=words.intent)

    def _is_local(self, uuid: str) -> bool:
        """Whether the output of a local command follows the command of this uuid."""
        if self._place < self._local_output_places.get(uuid, -1) <= self._horizon.of(self._place):
            return True
        self._mark_if_open()
        return False

    def _count_inner(self, place: int) -> None:
        """Count the usage of sub-agents that have no file of their own, up to an event: it is this session's."""
        while self._events.inner and self._events.inner[0][0] <= place:
            _, message = self._events.inner.popleft()
            key = f"inner {text_of(message.get('id')) or self._events.skipped}"
            self.list.usage.report_of_other(key, OF_ANTHROPIC.read(message.get("usage")))

    def _count_usage(self, key: str, usage: object) -> None:
        self.list.usage.begin(key)
        if isinstance(usage, dict):
            self.list.usage.report(key, OF_ANTHROPIC.read(usage))
        else:
            self.list.usage.settle(key)
