"""Files of agents that no reader is for, known by what only they write: so that they are refused by name.

Several agents write what resembles Claude Code's or Codex's events. A file that merely resembles them would be credited
to the wrong agent, and lose whatever its own has besides. Nothing here matches what one of the readers' agents writes.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.arrays import first_objects
from central_command.client.transcripts.json_values import object_of, objects_of, text_of
from central_command.client.transcripts.reader import Head

BESIDE_SESSIONS = frozenset(
    {
        *("sessions-index.json", "session_index.jsonl", "history.jsonl", "logs.json", "projects.json"),
        *("settings.json", "settings.local.json", "auth.json", "oauth_creds.json", "google_accounts.json"),
        *("state.json", "version.json", "internal_storage.json", "models_cache.json", "bridge-pointer.json"),
    }
)
"""Names of files that Claude Code, Codex and Gemini CLI keep among their sessions, which are none."""
_BESIDE_SUFFIX = ".meta.json"
_BESIDE_FOLDERS = frozenset({"tool-results", "todos", "tasks", "file-history", "shell-snapshots", "statsig"})


def is_beside_sessions(parts: Sequence[str]) -> bool:
    """Whether a path (its parts) is that of a file that agents keep beside their sessions, by its name alone."""
    *folders, name = parts
    is_among_such = bool(folders) and folders[-1] in _BESIDE_FOLDERS
    return name in BESIDE_SESSIONS or name.endswith(_BESIDE_SUFFIX) or is_among_such


EVENTS_MAX = 20
"""As many events of a file that is one array are looked at."""
_SESSION_OF_IFLOW = re.compile(r"session-[0-9a-f]{8}-")
_THREAD_OF_AMP = re.compile(r"T-[0-9a-f]{8}-")
_CREDITS = frozenset({"credits", "original_credits", "total_credits"})


EVENTS_MAX = 20
"""As many events of a file that is one array are looked at."""
_SESSION_OF_IFLOW = re.compile(r"session-[0-9a-f]{8}-")
_THREAD_OF_AMP = re.compile(r"T-[0-9a-f]{8}-")
_CREDITS = frozenset({"credits", "original_credits", "total_credits"})


def other_agent(head: Head) -> str | None:
    """The name of the other agent whose file begins like this; None when it is none that is known."""
    events = head.events or first_objects(head.text, EVENTS_MAX)
    for name, is_its in _BY_EVENT:
        if any(is_its(event) for event in events):
            return name
    return next((name for name, is_its in _BY_TEXT if is_its(head)), None)


def _is_cursor(event: JsonObject) -> bool:
    match event.get("type"):
        case "tool_call":
            return isinstance(event.get("tool_call"), dict)
        case "system" if event.get("subtype") == "init":
            return "apiKeySource" in event and not {"tools", "uuid", "claude_code_version"} & event.keys()
        case "thinking":
            return text_of(event.get("subtype")) in {"delta", "completed"} and "session_id" in event
        case "result":
            return "request_id" in event and "num_turns" not in event
        case None:
            is_bare = event.get("role") in {"user", "assistant"} and event.keys() <= {"role", "message"}
            return is_bare and isinstance(event.get("message"), dict)
        case _:
            return False


def _is_qwen(event: JsonObject) -> bool:
    if event.get("type") == "system" and event.get("subtype") == "init":
        return "qwen_code_version" in event or ("permission_mode" in event and "permissionMode" not in event)
    is_record = {"uuid", "sessionId"} <= event.keys()
    has_parts = isinstance(object_of(event.get("message")).get("parts"), list)
    return is_record and (has_parts or "systemPayload" in event or event.get("type") == "tool_result")


def _is_iflow(event: JsonObject) -> bool:
    results = objects_of(object_of(event.get("message")).get("content"))
    is_its_result = any("responseParts" in object_of(result.get("content")) for result in results)
    return is_its_result or ("uuid" in event and bool(_SESSION_OF_IFLOW.match(text_of(event.get("sessionId")))))


def _is_trae(event: JsonObject) -> bool:
    provider = text_of(object_of(event.get("payload")).get("model_provider"))
    is_streamed = event.get("type") == "stream_event" and isinstance(event.get("delta"), dict)
    is_changed = event.get("type") == "history_mutation" and "payload" in event
    return provider.startswith("trae") or is_changed or is_streamed


def _is_opencode(event: JsonObject) -> bool:
    return isinstance(event.get("sessionID"), str) and (isinstance(event.get("part"), dict) or "messageID" in event)


def _is_copilot(event: JsonObject) -> bool:
    kind = text_of(event.get("type"))
    return isinstance(event.get("data"), dict) and kind.startswith(
        ("session.", "user.message", "assistant.", "tool.execution")
    )


def _is_amp(event: JsonObject) -> bool:
    return bool(_THREAD_OF_AMP.match(text_of(event.get("session_id"))))


def _is_qoder(event: JsonObject) -> bool:
    usage = object_of(object_of(event.get("message")).get("usage"))
    is_config = event.get("type") == "runtime-config" and bool({"reasoningEffort", "contextWindow"} & event.keys())
    return is_config or "credits" in usage or bool(_CREDITS & event.keys())


def _is_codebuddy(event: JsonObject) -> bool:
    return isinstance(event.get("providerData"), dict) and isinstance(event.get("sessionId"), str)


def _is_droid(event: JsonObject) -> bool:
    match event.get("type"):
        case "session_start":
            return isinstance(event.get("id"), str) and "payload" not in event
        case "tool_call":
            return "toolName" in event
        case "message":
            return isinstance(event.get("text"), str) and "role" in event and "session_id" in event
        case "completion":
            return "finalText" in event
        case _:
            return False


def _is_pi(event: JsonObject) -> bool:
    match event.get("type"):
        case "session":
            return {"id", "cwd"} <= event.keys()
        case "message":
            return "parentId" in event and isinstance(event.get("message"), dict)
        case _:
            return False


def _is_kimi(event: JsonObject) -> bool:
    return text_of(event.get("role")) in {"_system_prompt", "_checkpoint", "_usage"} or (
        event.get("type") == "metadata" and "protocol_version" in event
    )


def _is_goose(event: JsonObject) -> bool:
    return {"working_dir", "message_count"} <= event.keys()


_BY_EVENT: tuple[tuple[str, Callable[[JsonObject], bool]], ...] = (
    ("Qwen Code", _is_qwen),
    ("iFlow", _is_iflow),
    ("Cursor", _is_cursor),
    ("TRAE", _is_trae),
    ("OpenCode", _is_opencode),
    ("GitHub Copilot", _is_copilot),
    ("Amp", _is_amp),
    ("Qoder", _is_qoder),
    ("CodeBuddy", _is_codebuddy),
    ("Factory Droid", _is_droid),
    ("pi", _is_pi),
    ("Kimi", _is_kimi),
    ("goose", _is_goose),
)


def _all_in(text: str, marks: Iterable[str]) -> bool:
    return all(mark in text for mark in marks)


_BY_TEXT: tuple[tuple[str, Callable[[Head], bool]], ...] = (
    ("Cline or Roo Code", lambda head: head.name in {"api_conversation_history.json", "ui_messages.json"}),
    ("Continue", lambda head: _all_in(head.text[:4096], ('"workspaceDirectory"', '"history"'))),
    ("Amp", lambda head: head.text.lstrip()[:1] == "{" and '"id":"T-' in head.text[:512].replace(" ", "")),
    ("OpenCode", lambda head: _all_in(head.text[:4096], ('"info"', '"id"', '"ses_'))),
)
