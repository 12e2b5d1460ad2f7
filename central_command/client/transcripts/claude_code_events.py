"""What stands in a Claude Code event: every member may be missing or of another type, and nothing here raises."""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import media_text, object_of, text_of
from central_command.client.transcripts.reader import Head

_KINDS = frozenset(
    {"user", "assistant", "system", "progress", "attachment", "queue-operation", "file-history-snapshot", "result"}
)


def blocks_of(event: JsonObject) -> list[JsonObject]:
    """The content blocks of a message or of queued text; plain text is one block."""
    holder = event.get("attachment") if event.get("type") == "attachment" else event.get("message")
    if not isinstance(holder, dict):
        return []
    content = holder.get("prompt") if event.get("type") == "attachment" else holder.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def first_text(event: JsonObject) -> str:
    """The text of the first block."""
    blocks = blocks_of(event)
    return text_of(blocks[0].get("text")) if blocks else ""


def is_queued_command(event: JsonObject) -> bool:
    """Whether an attachment holds text that the user queued."""
    attachment = event.get("attachment")
    return isinstance(attachment, dict) and attachment.get("type") == "queued_command"


def is_call(block: JsonObject) -> bool:
    """Whether a block calls a tool."""
    return text_of(block.get("type")) in {"tool_use", "server_tool_use", "mcp_tool_use"}


def is_result(block: JsonObject) -> bool:
    """Whether a block is a tool's result."""
    return text_of(block.get("type")).endswith("tool_result")


def is_error_object(content: object) -> bool:
    """Whether a server tool's result is an error."""
    return isinstance(content, dict) and text_of(content.get("type")).endswith("_error")


def block_text(block: JsonObject) -> str:
    """A block's text; images and documents as a short placeholder, nothing for what holds none."""
    match block.get("type"):
        case "text":
            return text_of(block.get("text"))
        case "image" | "document":
            return media_text(block)
        case _:
            return ""


def is_sidechain(event: JsonObject) -> bool:
    """Whether an event belongs to a sub-agent."""
    return event.get("isSidechain") is True or isinstance(event.get("parent_tool_use_id"), str)


def is_of_claude_code(head: Head) -> bool:
    """Whether a file begins with events of Claude Code: its kinds, with what only they have beside them."""
    return any(_is_event(event) for event in head.events)


def _is_event(event: JsonObject) -> bool:
    kind = text_of(event.get("type"))
    if kind == "summary":
        return "leafUuid" in event
    if kind == "file-history-snapshot":
        return "messageId" in event
    is_one = kind in _KINDS and any(isinstance(event.get(name), str) for name in ("sessionId", "session_id", "uuid"))
    in_message = object_of(event.get("message"))
    return is_one or (kind in {"user", "assistant"} and "content" in in_message)
