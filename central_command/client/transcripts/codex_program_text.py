"""Text that Codex itself puts among the user's messages: context, instructions and notes that no user has typed.

Newer versions say of each part of a message what it is (`content_item_kinds`). Where they do not, the program's own
markers tell, as they do for Codex: a whole text between a marker and its end is the program's, and so is such a block
of context in front of a user's words. A text that only begins with a marker, or quotes one, is the user's.
"""

import re

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import content_text, object_of, objects_of, text_of

_CONTEXT = ("environment_context", "user_instructions", "recommended_plugins", "in-app-browser-context")
"""Blocks that older versions and editors write in front of a user's words, in the same text."""
_TAGS = (
    *_CONTEXT,
    *("environments_instructions", "skill", "skills_instructions", "turn_aborted", "user_shell_command", "user_action"),
    *("subagent_notification", "agent_message_board_notification", "model_switch", "permissions", "collaboration_mode"),
    *("multi_agent_mode", "realtime_conversation", "realtime_delegation", "plugins_instructions", "apps_instructions"),
    *("personality_spec", "codex_internal_context", "goal_context", "hook_prompt", "extension_context"),
    *("context_window", "context_window_guidance", "rollout_budget", "token_budget"),
    r"external_[\w-]{1,80}",
)
# Sought where a block may begin: nothing, or the end of another block, stands before.
_OPENED = re.compile(rf"(?<!\s)\s*+<({'|'.join(_TAGS)})(?:\s[^<>]*)?>", re.IGNORECASE)
_PROJECT = re.compile(r"(?<!\s)\s*+# AGENTS\.md instructions\b", re.IGNORECASE)
_PROJECT_END = "</instructions>"
_PROJECT_KIND = "AGENTS.md instructions"
_NOTICES = (
    "Warning: The maximum number of unified exec processes you can keep open is",
    "Warning: Your account was flagged for potentially high-risk cyber activity",
    "Here is a list of plugins that are available but not installed.",
    *("Approved command prefix saved:", "Network rule saved:", "Generated images are saved to "),
)
_SUMMARIES = (
    "Another language model started to solve this problem and produced a summary of its thinking process",
    "You were originally given instructions from a user over one or more turns. Here were the user messages:",
    "You are performing a CONTEXT CHECKPOINT COMPACTION.",
)
"""What a compaction tells the model in the user's name, and asks of it."""
SUMMARIES = "compaction summaries"
_PATCH_NOTICE = ("Warning: apply_patch was requested via ", "Use the apply_patch tool instead of exec_command.")
_NOTICE_KIND = "notices of the program"
_EDITORS = re.compile(
    r"\A\s*+(?=##? (?:Context from my IDE setup|Files (?:mentioned|pasted) by the user|Browser comments|In app browser"
    r"|Referenced chats with Codex|My request(?: for Codex)?)[^\n]{0,200}:)"
)
"""What an editor, or the desktop application, writes above a user's words, and the heading that stands over those."""
_REQUEST = re.compile(r"^## My request(?: for Codex)?:[ \t]*+\n?", re.MULTILINE)
_IMAGE_TAG = re.compile(r"</?image\b[^>]*>")


class UserMessage(msgspec.Struct, frozen=True):
    """What a response item of the user's holds: their words, images, and the program's texts with their kinds."""

    words: str
    images: tuple[str, ...]
    of_program: tuple[tuple[str, tuple[str, ...]], ...]


def read_user_message(item: JsonObject) -> UserMessage:
    """Whose the parts of a response item by the user are; images are placeholders, and the tags around them nothing."""
    content = item.get("content")
    parts = objects_of([{"type": "input_text", "text": content}] if isinstance(content, str) else content)
    kinds = _declared_kinds(item, len(parts))
    words: list[str] = []
    images: list[str] = []
    of_program: list[tuple[str, tuple[str, ...]]] = []
    for part, kind in zip(parts, kinds, strict=True):
        text = text_of(part.get("text"))
        if kind not in {"", "unknown"} and not kind.startswith("user."):
            of_program.append((text, (f"{kind} texts",)))
        elif "image" in text_of(part.get("type")):
            images.append(content_text([part]))
        elif kind.startswith("user.") and not _IMAGE_TAG.fullmatch(text):
            words.append(text)
        elif not _IMAGE_TAG.fullmatch(text):
            kept, found = split_program_text(text)
            words.append(kept)
            of_program += [(text, tuple(found))] if found else []
    return UserMessage("\n".join(words), tuple(images), tuple(of_program))


def split_program_text(text: str) -> tuple[str, list[str]]:
    """What of a user's message the user wrote, and the kind of each text of the program in it."""
    stripped = text.strip()
    is_patch_notice = stripped.startswith(_PATCH_NOTICE[0]) and stripped.endswith(_PATCH_NOTICE[1])
    if is_patch_notice or stripped.startswith(_NOTICES):
        return "", [_NOTICE_KIND]
    if stripped.startswith(_SUMMARIES):
        return "", [SUMMARIES]
    kinds: list[str] = []
    at = context_end = contexts = 0
    end = len(text.rstrip())
    while at < end and (block := _block(text, at, end)):
        kind, at = block
        if contexts == len(kinds) and (kind == _PROJECT_KIND or kind.split()[0] in _CONTEXT):
            contexts, context_end = contexts + 1, at
        kinds.append(kind)
    return ("", kinds) if at >= end else (text[context_end:].lstrip() if contexts else text, kinds[:contexts])


def split_editor_context(text: str) -> tuple[str, str]:
    """What an editor wrote above a user's words, and the words; nothing and the whole text where it did not.

    It is what the user had open, selected, attached or pointed at.
    """
    request = _REQUEST.search(text) if _EDITORS.match(text) else None
    return ("", text) if request is None else (text[: request.start()].strip(), text[request.end() :].strip())


def _declared_kinds(item: JsonObject, parts: int) -> list[str]:
    """What the program says that each of the `parts` of a message is; nothing where it does not say, or of others."""
    kinds = object_of(item.get("internal_chat_message_metadata_passthrough")).get("content_item_kinds")
    is_said = isinstance(kinds, list) and len(kinds) == parts
    return [text_of(kind) for kind in kinds] if isinstance(kinds, list) and is_said else [""] * parts


def _block(text: str, start: int, end: int) -> tuple[str, int] | None:
    """The kind of the program's block that stands at `start`, and where it ends; None when there is none.

    A block ends with the text, which ends at `end`, when that ends as the block does, else behind the next such end.
    """
    if _PROJECT.match(text, start):
        kind, closing = _PROJECT_KIND, _PROJECT_END
    elif opened := _OPENED.match(text, start):
        tag = opened[1].lower()
        kind, closing = f"{tag} texts", f"</{'permissions instructions' if tag == 'permissions' else tag}>"
    else:
        return None
    if text[end - len(closing) : end].lower() == closing:
        return kind, end
    found = re.compile(re.escape(closing), re.IGNORECASE).search(text, start)
    if found is not None:
        return kind, found.end()
    return (kind, end) if kind == _PROJECT_KIND else None
