"""Amp's threads (`~/.local/share/amp/threads/T-*.json`, one JSON text) and what `amp --execute --stream-json` prints.

A thread's messages are of `blocks`, but a result names its call in `toolUseID`, and `run` says how it ended and what it
gave. A message of the user has its time in `meta.sentAt`, an answer in `usage.timestamp`; what stands between has the
time of the one before. Usage and model are those of each answer. What is printed is a `message_stream`. A thread is
written anew as a whole, so nothing of it is settled before the end.

Source: ampcode.com/manual (streaming JSON), and the files themselves as several viewers read them.
"""

import re

from central_command.client.contract.steps import JsonObject, json_text
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.message_stream import MessageStream
from central_command.client.transcripts.recorded import RecordReader
from central_command.client.transcripts.reported import OF_ANTHROPIC, UsageNames

_THREAD = re.compile(r'\{[^{}\[\]]{0,500}?"id"\s*:\s*"T-[0-9a-f]{8}-')
_ID = re.compile(r"T-[0-9a-f]{8}-")
_USAGE = UsageNames(
    taken=("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"),
    given=("outputTokens",),
    cache_read="cacheReadInputTokens",
    cache_write="cacheCreationInputTokens",
)
_ENDED_BADLY = frozenset({"error", "cancelled", "rejected-by-user"})
_ENDED = _ENDED_BADLY | {"done"}
_SHOWN = ("output", "content", "diff")


def is_amp(record: JsonObject) -> bool:
    """Whether an object is an event of the stream, or a whole thread."""
    return _is_thread(record) or bool(_ID.match(text_of(record.get("session_id"))))


def _is_thread(record: JsonObject) -> bool:
    return bool(_ID.match(text_of(record.get("id")))) and isinstance(record.get("messages"), list)


class AmpSession(MessageStream):
    """The steps of a thread, or of a stream while its events are read, in order."""

    is_rewritten = True
    usage_names = OF_ANTHROPIC

    def take(self, record: JsonObject) -> None:
        """Add the steps of one event, or of a whole thread."""
        if not _is_thread(record):
            self.take_event(record)
            return
        self.name_session(record.get("id"))
        self.list.take_time(seconds_of(record.get("created")))
        for message in objects_of(record.get("messages")):
            usage = object_of(message.get("usage"))
            sent = seconds_of(object_of(message.get("meta")).get("sentAt"))
            self.list.take_time(seconds_of(usage.get("timestamp")) if sent is None else sent)
            if usage:
                self.count_model(usage.get("model"))
                self.list.usage.add_ahead(_USAGE.read(usage))
            self.take_message(message.get("role"), message.get("content"))

    def take_result(self, block: JsonObject) -> None:
        """Add the result that a block holds, once its call has ended."""
        run = object_of(block.get("run"))
        if "toolUseID" not in block:
            super().take_result(block)
        elif text_of(run.get("status")) in _ENDED or run.get("result") is not None:
            failed = text_of(run.get("status")) in _ENDED_BADLY or object_of(run.get("result")).get("success") is False
            self.calls.answer(self.list.at, name_of(block.get("toolUseID")), _given_by(run), failed=failed)


def _given_by(run: JsonObject) -> str:
    """What a run that has ended gave; of one that failed, at least how it ended."""
    result = run.get("result")
    if isinstance(result, dict):
        shown = next((result[name] for name in _SHOWN if result.get(name)), None)
        text = content_text(shown) if isinstance(shown, str | list) else json_text(result)
    else:
        text = content_text(result)
    problem = visible_text(object_of(run.get("error")).get("message")) or visible_text(run.get("reason"))
    return text or problem or (text_of(run.get("status")) if text_of(run.get("status")) in _ENDED_BADLY else "")


READER = RecordReader("amp", AmpSession, is_amp, one_text=_THREAD)
