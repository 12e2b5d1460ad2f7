"""What Claude Code gives the agent beside the messages, as `attachment` events hold it.

| `attachment.type` | step |
|---|---|
| `file`, `directory`, `mcp_resource`: what the user named with @ | observation, `source: attachment` |
| `edited_text_file`: a file that somebody else changed meanwhile | observation, `source: attachment` |
| `selected_lines_in_ide`, `diagnostics` | observation, `source: attachment` |
| `nested_memory`, `relevant_memories`, `instructions`: CLAUDE.md and the like | observation, `source: attachment` |
| `hook_additional_context`, `hook_blocking_error`, `hook_stopped_continuation`, `async_hook_response` | observation, `source: hook` |
| `hook_success` at the start of a session or a prompt, when it says something | observation, `source: hook` |
| `task_status` that says what a background task did | observation, `source: notification` |
| `teammate_mailbox`: what other agents wrote | instruction, `source: agent` |

Each says first what it is. All others are no steps and counted: reminders, listings of tools and skills, modes, hooks
that sent nothing back, and what repeats a step that is there already.
"""  # noqa: E501 -- a table

from collections.abc import Iterator
from typing import Literal

import msgspec

from central_command.client.contract.steps import JsonObject, json_text
from central_command.client.transcripts.json_values import content_text, media_text, object_of, objects_of, text_of

_HOOKS_THAT_SPEAK = frozenset({"SessionStart", "UserPromptSubmit", "UserPromptExpansion", "SubagentStart", "Setup"})


class Given(msgspec.Struct, frozen=True):
    """One text that the agent was given, as a step."""

    kind: Literal["observation", "instruction"]
    source: Literal["attachment", "hook", "notification", "agent"]
    text: str


def given_by(attachment: JsonObject) -> tuple[Given, ...]:
    """What an attachment gave the agent; nothing for one that is no step."""
    kind = text_of(attachment.get("type"))
    if kind == "teammate_mailbox":
        return tuple(Given("instruction", "agent", text) for text in _letters(attachment))
    if kind == "task_status":
        text = text_of(attachment.get("deltaSummary"))
        return _one("notification", f"Task {text_of(attachment.get('description'))}", text)
    if "hook" in kind:
        name = text_of(attachment.get("hookName")) or text_of(attachment.get("hookEvent")) or "hook"
        return _one("hook", name, _of_hook(kind, attachment))
    if kind in {"relevant_memories", "instructions"}:
        every = objects_of(attachment.get("memories" if kind == "relevant_memories" else "files"))
        return tuple(given for each in every for given in _one("attachment", _name_of(each), _inner_text(each)))
    return _one("attachment", *_of_file(kind, attachment))


def _one(source: Literal["attachment", "hook", "notification"], name: str, text: str) -> tuple[Given, ...]:
    if not text.strip():
        return ()
    return (Given("observation", source, f"{name}:\n{text}" if name else text),)


def _of_hook(kind: str, attachment: JsonObject) -> str:
    match kind:
        case "hook_additional_context":
            return content_text(attachment.get("content"))
        case "hook_blocking_error":
            error = attachment.get("blockingError")
            return text_of(error) or text_of(object_of(error).get("blockingError"))
        case "hook_stopped_continuation":
            return text_of(attachment.get("message"))
        case "async_hook_response":
            response = object_of(attachment.get("response"))
            context = object_of(response.get("hookSpecificOutput")).get("additionalContext")
            return "\n".join(filter(None, (text_of(response.get("systemMessage")), content_text(context))))
        case "hook_success" if attachment.get("hookEvent") in _HOOKS_THAT_SPEAK:
            return content_text(attachment.get("content"))
        case _:
            return ""


def _of_file(kind: str, attachment: JsonObject) -> tuple[str, str]:
    """What is said of a file, and its text."""
    name = _name_of(attachment)
    match kind:
        case "file" | "directory" | "nested_memory":
            return name, _inner_text(attachment)
        case "edited_text_file":
            return f"{name} was changed", text_of(attachment.get("snippet"))
        case "selected_lines_in_ide":
            lines = f"lines {attachment.get('lineStart')} to {attachment.get('lineEnd')}"
            return f"{name}, {lines}, selected by the user", text_of(attachment.get("content"))
        case "mcp_resource":
            parts = objects_of(object_of(attachment.get("content")).get("contents"))
            uri = f"{text_of(attachment.get('server'))} {text_of(attachment.get('uri'))}".strip()
            return uri, "\n".join(text for part in parts if (text := text_of(part.get("text"))))
        case "diagnostics":
            return "Diagnostics", "\n".join(_diagnostics(attachment))
        case _:
            return "", ""


def _name_of(attachment: JsonObject) -> str:
    inner = object_of(attachment.get("content"))
    names = (attachment.get("filename"), attachment.get("path"), inner.get("path"), attachment.get("displayPath"))
    return next((text for name in names if (text := text_of(name))), "")


def _inner_text(attachment: JsonObject) -> str:
    """The text of a file, wherever in its attachment it stands; a placeholder for what is none."""
    content = attachment.get("content")
    inner = object_of(content)
    if not inner:
        return content_text(content)
    file = object_of(inner.get("file"))
    match inner.get("type"):
        case "image":
            return media_text({"type": "image", "source": {"media_type": file.get("type")}})
        case "pdf":
            return media_text({"type": "document", "source": {"media_type": "application/pdf"}})
        case "notebook":
            return json_text(file.get("cells") or [])
        case _:
            return content_text(file.get("content") if file else inner.get("content"))


def _diagnostics(attachment: JsonObject) -> Iterator[str]:
    for file in objects_of(attachment.get("files")):
        for each in objects_of(file.get("diagnostics")):
            yield f"{text_of(file.get('uri'))}: {text_of(each.get('severity'))} {text_of(each.get('message'))}"


def _letters(attachment: JsonObject) -> Iterator[str]:
    for letter in objects_of(attachment.get("messages")):
        if text := content_text(letter.get("text") or letter.get("content")):
            sender = text_of(letter.get("from"))
            yield f"{sender}:\n{text}" if sender else text
