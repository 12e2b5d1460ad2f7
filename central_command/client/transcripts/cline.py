"""The messages of a session of Cline's command line (`~/.cline/data/sessions/*/*.messages.json`), one JSON text.

The messages are of `blocks`; `ts` is a message's time, `modelInfo` and `metrics` name the model and usage of an answer,
where what was read from and written to a cache is in the input. `<user_input>` around what a person wrote is taken off.
The file is written anew as a whole, so nothing of it is settled before the end.

The task files of the extensions (Cline's and Roo Code's `api_conversation_history.json` and `ui_messages.json`) are
refused: most of them hold tool calls as text among what the model said, and results as text among what the user said,
which cannot be told reliably from what they speak about.

Source: the files themselves as several viewers read them.
"""

import re

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import BlockSession
from central_command.client.transcripts.json_values import object_of, objects_of, seconds_of, text_of
from central_command.client.transcripts.recorded import RecordReader
from central_command.client.transcripts.reported import UsageNames

_MESSAGES = re.compile(r'\{\s*"version"\s*:\s*\d+\s*,\s*"updated_at"\s*:')
_TYPED = re.compile(r"\A\s*+<user_input(?:\s[^>]*)?>(.*)</user_input>\s*", re.DOTALL)
_USAGE = UsageNames(
    taken=("inputTokens", "cacheReadTokens", "cacheWriteTokens"),
    given=("outputTokens",),
    cache_read="cacheReadTokens",
    cache_write="cacheWriteTokens",
)


def is_cline(record: JsonObject) -> bool:
    """Whether an object is such a file."""
    return {"version", "updated_at", "messages"} <= record.keys() and isinstance(record.get("messages"), list)


class ClineSession(BlockSession):
    """The steps of one session."""

    is_rewritten = True

    def take(self, record: JsonObject) -> None:
        """Add the steps of the file."""
        self.name_session(record.get("sessionId"))
        for message in objects_of(record.get("messages")):
            self.list.take_time(seconds_of(message.get("ts")))
            if message.get("role") == "assistant":
                self.count_model(object_of(message.get("modelInfo")).get("id"))
                self.list.usage.add_ahead(_USAGE.read(message.get("metrics")))
            self.take_message(message.get("role"), _as_typed(message.get("content")))


def _as_typed(content: object) -> object:
    """A message's content with what a person wrote as it was written."""
    if isinstance(content, str):
        return _unwrapped(content)
    return [
        {**block, "text": _unwrapped(text_of(block.get("text")))} if block.get("type") == "text" else block
        for block in objects_of(content)
    ]


def _unwrapped(text: str) -> str:
    found = _TYPED.fullmatch(text)
    return found[1] if found else text


READER = RecordReader("cline", ClineSession, is_cline, one_text=_MESSAGES)
