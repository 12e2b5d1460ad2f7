"""Which messages of a Gemini chat the program wrote again, and no one said again.

When Gemini CLI shortens old results, sums up or goes back, it sets the history that it goes on with (`$set` with all
its messages). Some versions record messages of that history first, under new ids. What is written so has the model's
own format (parts), and neither a model nor tokens nor calls beside it, one of which every answer of the model has.

So of the messages since the last real answer, those that the set history names were written for it where they stand in
front of older ones. Where it names no older ones, an answer must be among them: then all were, if they are all of it,
else the answers, and the prompts that were there before. Where no set history follows, because the program was ended,
an answer counts as written again only when it was there before, and a prompt when it was, too, and such an answer
follows.

A file without such an answer has nothing that was written again, and is only looked through for one.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import object_of, objects_of, text_of
from central_command.client.transcripts.reader import LINE_BYTES_MAX, JsonLines

_ANSWER = re.compile(rb'"type"\s*:\s*"gemini"')
_MODEL = re.compile(rb'"model"\s*:\s*"')
_CHANGE = re.compile(rb'\A\s*+\{\s*+"\$set"')


class _Record(msgspec.Struct, frozen=True):
    """One message since the last real answer; `text` is a hash of what it says, 0 when it says nothing."""

    message_id: str
    is_answer: bool
    text: int
    calls: frozenset[str]


def is_real_answer(message: JsonObject) -> bool:
    """Whether a message of type `gemini` is the model's own, as it was when it came."""
    return bool(text_of(message.get("model")) or object_of(message.get("tokens")) or message.get("toolCalls"))


def parts_of(content: object) -> list[JsonObject]:
    """The parts of a message, whichever way its content is written."""
    if isinstance(content, str):
        return [{"text": content}]
    return [content] if isinstance(content, dict) else objects_of(content)


def find_rewritten(file: BinaryIO) -> frozenset[str]:
    """The ids of the messages that a chat's file has again; the file is at its start again."""
    found: frozenset[str] = frozenset()
    if _may_have_any(file):
        file.seek(0)
        search = _Search()
        for record in JsonLines(file):
            search.take(record)
        search.give_up()
        found = frozenset(search.found)
    file.seek(0)
    return found


def _may_have_any(file: BinaryIO) -> bool:
    while line := file.readline(LINE_BYTES_MAX):
        if _ANSWER.search(line) and not _MODEL.search(line) and not _CHANGE.match(line):
            return True
    return False


class _Search:
    """Goes through the records of a chat in their order."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._known: set[str] = set()
        self._prompts: set[int] = set()
        self._answers: set[int] = set()
        self._calls: set[str] = set()
        self._recent: list[_Record] = []

    def take(self, record: JsonObject) -> None:
        """Look at one record."""
        history = object_of(record.get("$set")).get("messages")
        if isinstance(history, list):
            self._confirm([text_of(message.get("id")) for message in objects_of(history)])
            return
        message_id, kind = text_of(record.get("id")), record.get("type")
        if not message_id or kind not in {"user", "gemini"}:
            return
        if kind == "gemini" and is_real_answer(record):
            self.give_up()
            self._remember([_record_of(record)])
        elif message_id not in self._known:
            self._recent.append(_record_of(record))
        self._known.add(message_id)

    def give_up(self) -> None:
        """No set history names the messages since the last real answer: their text alone tells."""
        is_copy = False
        for each in reversed(self._recent):
            if each.is_answer:
                is_copy = each.text in self._answers if each.text else bool(each.calls) and each.calls <= self._calls
            else:
                is_copy = is_copy and self._was_there(each)
            if is_copy:
                self.found.add(each.message_id)
        self._remember(each for each in self._recent if each.message_id not in self.found)
        self._recent = []

    def _confirm(self, history: list[str]) -> None:
        """Take a set history: what stands in it at the end of the recent messages may have been written for it."""
        place_of = {message_id: place for place, message_id in enumerate(history)}
        start = len(self._recent)
        while start and self._recent[start - 1].message_id in place_of:
            start -= 1
        written = self._recent[start:]
        self._recent = self._recent[:start]
        self.give_up()
        named = {each.message_id for each in written}
        older = [place for message_id, place in place_of.items() if message_id in self._known - named]
        if older:
            copies = [each for each in written if place_of[each.message_id] < max(older)]
        elif any(each.is_answer for each in written) and self._known > named:
            is_whole = len(written) == len(history)
            copies = [each for each in written if is_whole or each.is_answer or self._was_there(each)]
        else:
            copies = []
        self.found.update(each.message_id for each in copies)
        self._remember(each for each in written if each.message_id not in self.found)

    def _was_there(self, prompt: _Record) -> bool:
        return not prompt.text or prompt.text in self._prompts

    def _remember(self, records: Iterator[_Record] | list[_Record]) -> None:
        for each in records:
            (self._answers if each.is_answer else self._prompts).add(each.text)
            self._calls |= each.calls


def _record_of(message: JsonObject) -> _Record:
    parts = parts_of(message.get("content"))
    text = "".join("".join(text_of(part.get("text")) for part in parts if not part.get("thought")).split())
    calls = [object_of(part.get("functionCall")) for part in parts] + objects_of(message.get("toolCalls"))
    ids = frozenset(call_id for call in calls if (call_id := text_of(call.get("id"))))
    return _Record(text_of(message.get("id")), message.get("type") == "gemini", hash(text) if text else 0, ids)
