"""iFlow's session files (`~/.iflow/projects/*/session-*.jsonl`): one record a line.

The messages are of `blocks`. While an answer streams in, iFlow writes it several times, each with the calls that it has
then: a call is one action, however often it is written. A result is an object whose `responseParts` hold what the tool
gave. Left out and counted: records marked `isMeta` or `isCompactSummary`, and every other record by its type.

Source: the files themselves as several viewers read them.
"""

import re

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import BlockSession
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
    visible_text,
)
from central_command.client.transcripts.parts import result_of
from central_command.client.transcripts.recorded import RecordReader
from central_command.client.transcripts.reported import UsageNames

_USAGE = UsageNames(taken=("input_tokens",), given=("output_tokens",))
_SESSION = re.compile(r"session-[0-9a-f]{8}-")


def is_iflow(record: JsonObject) -> bool:
    """Whether an object is a record of such a file."""
    results = objects_of(object_of(record.get("message")).get("content"))
    is_its_result = any("responseParts" in object_of(result.get("content")) for result in results)
    return is_its_result or ("uuid" in record and bool(_SESSION.match(text_of(record.get("sessionId")))))


class IflowSession(BlockSession):
    """The steps of one session while its records are read, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._counted = ""
        """The answer whose usage was counted last."""

    def take(self, record: JsonObject) -> None:
        """Add the steps of one record."""
        self.name_session(record.get("sessionId"))
        self.list.take_time(seconds_of(record.get("timestamp")))
        kind, message = text_of(record.get("type")), object_of(record.get("message"))
        if record.get("isMeta") is True:
            self.left_out.count("texts of the program")
        elif record.get("isCompactSummary") is True:
            self.left_out.count("compaction summaries")
        elif kind in {"user", "assistant"}:
            if kind == "assistant":
                self.count_model(message.get("model"))
                self._count_usage(message)
            self.take_message(kind, message.get("content"))
        else:
            self.left_out.count(kind)

    def _count_usage(self, message: JsonObject) -> None:
        message_id = text_of(message.get("id"))
        if not message_id or message_id != self._counted:
            self.list.usage.add_ahead(_USAGE.read(message.get("usage")))
        self._counted = message_id

    def take_result(self, block: JsonObject) -> None:
        """Add the result that a block holds."""
        given = object_of(block.get("content"))
        if "responseParts" not in given:
            super().take_result(block)
            return
        parts = given.get("responseParts")
        text, failed = result_of(parts if isinstance(parts, list) else [parts])
        failed = failed or block.get("is_error") is True or bool(given.get("error"))
        shown = visible_text(given.get("resultDisplay")) or content_text(given.get("error"))
        self.calls.answer(self.list.at, name_of(block.get("tool_use_id")), text or shown, failed=failed)


READER = RecordReader("iflow", IflowSession, is_iflow)
