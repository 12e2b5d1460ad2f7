"""Factory's Droid: its session files (`~/.factory/sessions/*/*.jsonl`) and `droid exec --output-format stream-json`.

| in the file | step |
|---|---|
| `message` with a `message` | as in `blocks` |
| `message` with a `text` | instruction, `source: user`, or thought, by its `role` |
| `tool_call` | action with `tool`, `arguments` and `call_id` |
| `tool_result` | observation, or error when it failed; same `call_id` |
| `completion` | resolution |
| `error` | error, `source: api` |

`session_start` or `system` names the session, `system` the model; a session file names none, because Droid keeps it in
a file beside it (`*.settings.json`), with what the session used. Every other record is left out and counted.

Source: docs.factory.ai (Droid exec), and the files themselves as several viewers read them.
"""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.blocks import BlockSession
from central_command.client.transcripts.json_values import content_text, name_of, object_of, seconds_of, text_of
from central_command.client.transcripts.recorded import RecordReader


def is_droid(record: JsonObject) -> bool:
    """Whether an object is a record that only Droid writes."""
    match record.get("type"):
        case "session_start":
            return isinstance(record.get("id"), str) and "payload" not in record
        case "tool_call":
            return "toolName" in record
        case "message":
            return isinstance(record.get("text"), str) and "role" in record and "session_id" in record
        case "completion":
            return "finalText" in record
        case _:
            return False


class DroidSession(BlockSession):
    """The steps of one session while its records are read, in order."""

    def take(self, record: JsonObject) -> None:
        """Add the steps of one record."""
        kind = text_of(record.get("type"))
        self.list.take_time(seconds_of(record.get("timestamp")))
        self.name_session(record.get("session_id"))
        match kind:
            case "message" if isinstance(record.get("message"), dict):
                message = object_of(record.get("message"))
                self.take_message(message.get("role"), message.get("content"))
            case "message":
                self.take_message(record.get("role"), record.get("text"))
            case "tool_call":
                name = name_of(record.get("toolName")) or name_of(record.get("toolId"))
                self.calls.act(self.list.at, name, record.get("parameters") or {}, name_of(record.get("id")))
            case "tool_result":
                given = record.get("value", record.get("error"))
                failed = record.get("isError") is True
                self.calls.answer(self.list.at, name_of(record.get("id")), content_text(given), failed=failed)
            case "completion":
                self.resolve(record.get("finalText"))
            case "error":
                self.fail(record.get("message"))
            case _:
                self._take_other(kind, record)

    def _take_other(self, kind: str, record: JsonObject) -> None:
        self.left_out.count(kind)
        if kind == "session_start":
            self.name_session(record.get("id"))
        elif kind == "system":
            self.count_model(record.get("model"))


READER = RecordReader("droid", DroidSession, is_droid)
