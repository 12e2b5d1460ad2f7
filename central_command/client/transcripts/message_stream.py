"""Streams of whole messages of content blocks, as several agents print them for programs: one event a line.

| in the file | step |
|---|---|
| `user`, `assistant` | as in `blocks` |
| `result` | resolution; error when the run failed |

Left out and counted: what sub-agents did (`parent_tool_use_id`), pieces of messages
that follow whole (`stream_event`), and every other event. Usage is that of each message, once for all of its events;
that of `result` where no message has any. Such a stream has no times: its steps stand at 0, and none is settled before
its end.
"""

from typing import ClassVar

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import BlockSession
from central_command.client.transcripts.json_values import object_of, text_of
from central_command.client.transcripts.recorded import SUBAGENT_EVENTS
from central_command.client.transcripts.reported import UsageNames


class MessageStream(BlockSession):
    """The steps of one stream while its events are read, in order."""

    usage_names: ClassVar[UsageNames] = UsageNames(
        taken=("input_tokens",), given=("output_tokens",), cache_read="cache_read_input_tokens"
    )
    """Under which names a message's usage is told."""

    def __init__(self) -> None:
        super().__init__()
        self._counted: str | None = None
        """The message whose usage was counted last in this run."""

    def take_event(self, event: JsonObject) -> None:
        """Add the steps of one event."""
        message, kind = object_of(event.get("message")), text_of(event.get("type"))
        self.name_session(event.get("session_id"))
        if isinstance(event.get("parent_tool_use_id"), str):
            self.left_out.count(SUBAGENT_EVENTS)
        elif kind == "user":
            self.take_message("user", message.get("content"))
        elif kind == "assistant":
            self.count_model(message.get("model"))
            self._count_usage(text_of(message.get("id")) or text_of(event.get("uuid")), message.get("usage"))
            self.take_message("assistant", message.get("content"))
        elif kind == "result":
            self._take_end(event)
        else:
            self.left_out.count(f"{kind}: {subtype}" if (subtype := text_of(event.get("subtype"))) else kind)

    def _take_end(self, event: JsonObject) -> None:
        if self._counted is None:
            self._count_usage("the run", event.get("usage"))
        self._counted = None
        if event.get("is_error") is True:
            self.fail(object_of(event.get("error")).get("message") or event.get("result") or event.get("subtype"))
        else:
            self.resolve(event.get("result"))

    def _count_usage(self, message_id: str, usage: object) -> None:
        if message_id != self._counted and object_of(usage):
            self._counted = message_id
            self.list.usage.add_ahead(self.usage_names.read(usage))
