"""What readers of agents' records have in common: the steps of a session while it is read, and the reading itself.

Such a file holds one record a line, each of which adds steps and changes none before it, so while the file grows every
step is settled as soon as it is read. Nothing is settled in a file without times, because a first time would be that of
all steps before it, nor in a file that its agent writes anew as a whole (`is_rewritten`).
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO, ClassVar

from central_command.client.contract.steps import JsonObject, StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.json_values import name_of, visible_text
from central_command.client.transcripts.left_out import LeftOut
from central_command.client.transcripts.one_text import beginning_of, read_one_text
from central_command.client.transcripts.reader import (
    LINE_BYTES_MAX,
    Head,
    JsonLines,
    Steps,
    decode_json,
    ended,
    most_named,
)

SUBAGENT_EVENTS = "events of sub-agents"


class RecordedSession:
    """The steps of one session while its records are read, in order."""

    is_rewritten: ClassVar[bool] = False
    """Whether the agent writes the whole file anew, so that nothing of it is known to stay."""
    tells_usage_behind: ClassVar[bool] = False
    """Whether the agent tells what a message took and gave behind it, or behind several of them."""

    def __init__(self) -> None:
        self.list = StepList()
        self.list.usage.is_told_behind = self.tells_usage_behind
        self.session_key = ""
        self.is_subagent = False
        self.parent_key = ""
        self.left_out = LeftOut()
        self.calls = Calls(self.list)
        self.answer = ""
        """The last text of the model since the last instruction."""
        self.unsettled_from: int | None = None
        """The first step that a later record may still change; None when there is none."""
        self._models: Counter[str] = Counter()

    @property
    def settled_steps(self) -> int:
        """How many steps stay as they are when the file grows."""
        if self.is_rewritten or not self.list.has_times:
            return 0
        return self.list.count if self.unsettled_from is None else self.unsettled_from

    def model(self) -> str:
        """The model that was named most often, the first of them when two were as often; empty when none was."""
        return most_named(self._models)

    def take(self, record: JsonObject) -> None:
        """Add the steps of one record."""
        raise NotImplementedError

    def take_whole(self, value: JsonObject | list[object]) -> None:
        """Add the steps of a file that is one JSON text."""
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                self.take(each)

    def finish(self) -> None:
        """The file is at its end."""

    def name_session(self, key: object) -> None:
        """Take the agent's id of the session, the first that it names."""
        self.session_key = self.session_key or name_of(key)

    def count_model(self, model: object) -> None:
        """Count a message of a model, if it is named."""
        if name := name_of(model):
            self._models[name] += 1

    def instruct(self, text: object, source: str = "user") -> None:
        """Add what somebody told the model, if there is anything to see in it."""
        if visible := visible_text(text):
            self.answer = ""
            self.list.add("instruction", self.list.at, visible, source=source)

    def think(self, text: object, source: str | None = None) -> None:
        """Add what the model said, or with `source` `thinking` thought, if there is anything to see in it."""
        if visible := visible_text(text):
            self.answer = self.answer if source else visible
            self.list.add("thought", self.list.at, visible, source=source)

    def fail(self, message: object) -> None:
        """Add an error that the model or its service reported."""
        self.list.add("error", self.list.at, visible_text(message) or "error", source="api")

    def resolve(self, text: object = None) -> None:
        """Add the final word: `text`, else the model's last one, if there is any."""
        if visible := visible_text(text) or self.answer:
            self.list.add("resolution", self.list.at, visible)
        self.answer = ""


class RecordReader:
    """Reads the files of one agent, which are known by `is_record` of one of their records.

    `one_text` matches the beginning of the agent's files that are one JSON text over many lines, if it has such. One
    that is cut off has no steps yet and is incomplete.
    """

    def __init__(
        self,
        provider: str,
        session: Callable[[], RecordedSession],
        is_record: Callable[[JsonObject], bool],
        *,
        one_text: re.Pattern[str] | None = None,
    ) -> None:
        self.provider = provider
        self._session = session
        self._is_record = is_record
        self._one_text = one_text

    def recognises(self, head: Head) -> bool:
        """Whether the beginning holds a record that only this agent writes."""
        return self._begins_as_one_text(head.text) or any(self._is_record(event) for event in head.events)

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session, line by line, or at once if it is one JSON text over many lines."""
        session = self._session()
        unreadable, is_incomplete = 0, False
        is_one_text = self._begins_as_one_text(beginning_of(file)) and not _begins_with_an_object(file)
        file.seek(0)
        if is_one_text:
            whole = read_one_text(file)
            is_incomplete = whole is None
            if whole is not None:
                session.take_whole(whole)
        else:
            lines = JsonLines(file)
            for record in lines:
                session.take(record)
                yield from session.list.drain()
            unreadable, is_incomplete = lines.unreadable, lines.is_incomplete
        ending = ended(
            session,
            self.provider,
            unreadable_lines=unreadable,
            is_incomplete=is_incomplete,
            parent_key=session.parent_key,
        )
        return (yield from ending)

    def _begins_as_one_text(self, text: str) -> bool:
        return self._one_text is not None and bool(self._one_text.match(text.lstrip()))


def _begins_with_an_object(file: BinaryIO) -> bool:
    """Whether the first line of a file is an object."""
    file.seek(0)
    return isinstance(decode_json(file.readline(LINE_BYTES_MAX)), dict)
