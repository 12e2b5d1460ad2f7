"""goose's session files (`~/.local/share/goose/sessions/*.jsonl`) and `goose session export --format json`.

The first line of a file is about the session, each further one a message; an export is one JSON text that holds them as
`conversation`.

| content of a message | step |
|---|---|
| `text` of the user | instruction, `source: user`; all of a message are one |
| `text` of the model | thought |
| `thinking` | thought, `source: thinking` |
| `toolRequest`, `frontendToolRequest` | action with `tool`, `arguments` and `call_id` |
| `toolResponse` | observation, or error when it failed; same `call_id` |

Of a result, what is meant for the model counts, where it says for whom it is. Left out and counted: messages that the
user does not see (`metadata.userVisible`: summaries of a compaction) and every other content by its type. Usage is the
sum that the file says of its session. A file names no model, an export does. goose writes its files anew when it
shortens a conversation, so nothing is settled before the end. The database of newer versions is no file of sessions.

Source: `crates/goose/src/conversation/message.rs` of block/goose.
"""

import re

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import is_by_program
from central_command.client.transcripts.json_values import (
    content_text,
    name_of,
    object_of,
    objects_of,
    seconds_of,
    text_of,
)
from central_command.client.transcripts.recorded import RecordedSession, RecordReader
from central_command.client.transcripts.reported import UsageNames

_USAGE = UsageNames(taken=("accumulated_input_tokens",), given=("accumulated_output_tokens",))
_EXPORT = re.compile(r'\{\s*"id"\s*:\s*"[^"]*"\s*,[^{}\[\]]*?"working_dir"\s*:')


def is_goose(record: JsonObject) -> bool:
    """Whether an object is the first line of a file, or a whole export."""
    return {"working_dir", "message_count"} <= record.keys()


class GooseSession(RecordedSession):
    """The steps of one session while its messages are read, in order."""

    is_rewritten = True

    def take(self, record: JsonObject) -> None:
        """Add the steps of one line, or of a whole export."""
        if "working_dir" in record:
            self._take_header(record)
            for message in objects_of(record.get("conversation")):
                self._take_message(message)
        else:
            self._take_message(record)

    def _take_header(self, header: JsonObject) -> None:
        self.name_session(header.get("id"))
        self.count_model(object_of(header.get("model_config")).get("model_name"))
        self.list.usage.add_ahead(_USAGE.read(header))

    def _take_message(self, message: JsonObject) -> None:
        self.list.take_time(seconds_of(message.get("created")))
        if object_of(message.get("metadata")).get("userVisible") is False:
            self.left_out.count("messages that the user does not see")
            return
        is_users = message.get("role") == "user"
        contents = objects_of(message.get("content"))
        told = [each for each in contents if not self._take_content(each, is_users=is_users)]
        self.instruct(content_text(list(told)))

    def _take_content(self, content: JsonObject, *, is_users: bool) -> bool:
        """Take one content; False for what is part of an instruction."""
        kind = text_of(content.get("type"))
        match kind:
            case "text" if is_users and (tag := is_by_program(text_of(content.get("text")))):
                self.left_out.count(f"{tag} texts")
            case "text" | "image" if is_users:
                return False
            case "text":
                self.think(content.get("text"))
            case "thinking":
                self.think(content.get("thinking"), "thinking")
            case "toolRequest" | "frontendToolRequest":
                call = object_of(object_of(content.get("toolCall")).get("value"))
                name, arguments = name_of(call.get("name")), call.get("arguments") or {}
                self.calls.act(self.list.at, name, arguments, name_of(content.get("id")))
            case "toolResponse":
                text, failed = _result_of(object_of(content.get("toolResult")))
                self.calls.answer(self.list.at, name_of(content.get("id")), text, failed=failed)
            case _:
                self.left_out.count(f"{kind or 'unnamed'} contents")
        return True


def _result_of(result: JsonObject) -> tuple[str, bool]:
    """The text of a result and whether it failed."""
    if result.get("status") == "error":
        return content_text(result.get("error")), True
    value = result.get("value")
    given = value if isinstance(value, list) else object_of(value).get("content")
    contents: list[object] = list(objects_of(given))
    meant = [each for each in objects_of(given) if _is_for_model(each)]
    return content_text(meant or contents), object_of(value).get("isError") is True


def _is_for_model(content: JsonObject) -> bool:
    audience = object_of(content.get("annotations")).get("audience")
    return not isinstance(audience, list) or "assistant" in audience


READER = RecordReader("goose", GooseSession, is_goose, one_text=_EXPORT)
