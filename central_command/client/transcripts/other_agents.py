"""Files that no reader is for, known by what only their agents write: so that they are refused by name.

Several agents write what resembles Claude Code's or Codex's events. A file that merely resembles them would be credited
to the wrong agent, and lose whatever its own has besides. Nothing here matches what one of the readers' agents writes.
"""

import re
from collections.abc import Callable, Iterable

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.arrays import first_objects
from central_command.client.transcripts.json_values import object_of, text_of
from central_command.client.transcripts.reader import Head

EVENTS_MAX = 20
"""As many events of a file that is one array are looked at."""
_CREDITS = frozenset({"credits", "original_credits", "total_credits"})
_DATABASE = "SQLite format 3"
_OF_QWEN = re.compile(r'(?<!\\)"type":\s*"qwen"')
_OF_GEMINI = re.compile(r'(?<!\\)"type":\s*"gemini"')


class Refused(msgspec.Struct, frozen=True):
    """Why a file that an agent wrote is not read; without a `reason`, no file of this agent is."""

    agent: str
    reason: str = ""


def refused_file(head: Head) -> Refused | None:
    """The agent that wrote a file which begins like this, and why it is not read; None when none is known to have."""
    events = head.events or first_objects(head.text, EVENTS_MAX)
    for refused, is_its in _BY_EVENT:
        if any(is_its(event) for event in events):
            return refused
    return next((refused for refused, is_its in _BY_TEXT if is_its(head)), None)


def _is_cursor_history(event: JsonObject) -> bool:
    is_bare = text_of(event.get("role")) in {"user", "assistant"} and event.keys() <= {"role", "message"}
    return is_bare and isinstance(event.get("message"), dict)


def _is_trae(event: JsonObject) -> bool:
    provider = text_of(object_of(event.get("payload")).get("model_provider"))
    is_streamed = event.get("type") == "stream_event" and isinstance(event.get("delta"), dict)
    is_changed = event.get("type") == "history_mutation" and "payload" in event
    return provider.startswith("trae") or is_changed or is_streamed


def _is_opencode_part(event: JsonObject) -> bool:
    is_stored = "messageID" in event or text_of(event.get("role")) in {"user", "assistant"}
    return isinstance(event.get("sessionID"), str) and is_stored


def _is_qoder(event: JsonObject) -> bool:
    usage = object_of(object_of(event.get("message")).get("usage"))
    is_config = event.get("type") == "runtime-config" and bool({"reasoningEffort", "contextWindow"} & event.keys())
    return is_config or "credits" in usage or bool(_CREDITS & event.keys())


def _is_codebuddy(event: JsonObject) -> bool:
    return isinstance(event.get("providerData"), dict) and isinstance(event.get("sessionId"), str)


def _is_pi(event: JsonObject) -> bool:
    match event.get("type"):
        case "session":
            return {"id", "cwd"} <= event.keys()
        case "message":
            return "parentId" in event and isinstance(event.get("message"), dict) and not _is_droid_message(event)
        case _:
            return False


def _is_droid_message(event: JsonObject) -> bool:
    """Droid's messages hold blocks as Claude's do, pi's have a time of their own."""
    return "timestamp" not in object_of(event.get("message"))


def _is_kimi_context(event: JsonObject) -> bool:
    return text_of(event.get("role")) in {"_system_prompt", "_checkpoint", "_usage"}


def _is_grok(event: JsonObject) -> bool:
    return event.get("type") == "backend_tool_call" or "synthetic_reason" in event


_BY_EVENT: tuple[tuple[Refused, Callable[[JsonObject], bool]], ...] = (
    (
        Refused("Cursor", "it has neither results nor times; what cursor-agent prints as stream-json is read"),
        _is_cursor_history,
    ),
    (Refused("TRAE"), _is_trae),
    (
        Refused("OpenCode", "it is one message or part of a session; what `opencode export` prints is read"),
        _is_opencode_part,
    ),
    (Refused("Qoder"), _is_qoder),
    (Refused("CodeBuddy"), _is_codebuddy),
    (Refused("pi"), _is_pi),
    (Refused("Kimi", "the same session is in wire.jsonl beside it, with times, and that is read"), _is_kimi_context),
    (Refused("Grok Build"), _is_grok),
)


def _all_in(text: str, marks: Iterable[str]) -> bool:
    return all(mark in text for mark in marks)


def _is_old_qwen_chat(head: Head) -> bool:
    """Of its versions of 2025, which wrote Gemini's chats, with another name for the model's messages."""
    return '"projectHash"' in head.text[:4096] and bool(_OF_QWEN.search(head.text)) and not _OF_GEMINI.search(head.text)


def _is_database(name: str) -> Callable[[Head], bool]:
    return lambda head: head.text.startswith(_DATABASE) and head.name == name


_BY_TEXT: tuple[tuple[Refused, Callable[[Head], bool]], ...] = (
    (
        Refused("Cline or Roo Code", "its tool calls are text among what was said; Cline's *.messages.json is read"),
        lambda head: head.name in {"api_conversation_history.json", "ui_messages.json"},
    ),
    (Refused("Continue"), lambda head: _all_in(head.text[:4096], ('"workspaceDirectory"', '"history"'))),
    (
        Refused("Qwen Code", "it is a chat of a version of 2025; the chats of newer ones (*.jsonl) are read"),
        _is_old_qwen_chat,
    ),
    (Refused("Aider"), lambda head: head.name == ".aider.chat.history.md"),
    (Refused("Grok Build"), lambda head: head.name == "chat_history.jsonl"),
    (
        Refused("goose", "it is a database; what `goose session export --format json` prints is read"),
        _is_database("sessions.db"),
    ),
    (Refused("OpenCode", "it is a database; what `opencode export` prints is read"), _is_database("opencode.db")),
    (Refused("Cursor", "it is a database; what cursor-agent prints as stream-json is read"), _is_database("store.db")),
)
