"""What stands in a Claude Code event: every member may be missing or of another type, and nothing here raises."""

from datetime import UTC, datetime

from central_command.client.transcripts.steps import NAME_CHARS_MAX, JsonObject, json_text

_MILLISECONDS_FROM = 10**12


def text_of(value: object) -> str:
    """The value if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def visible_text(value: object) -> str:
    """The value if it is text with anything to see in it, else nothing."""
    text = text_of(value)
    return "" if not text or text.isspace() else text


def count_of(value: object) -> int:
    """The value if it is a positive integer, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def seconds_of(value: object) -> float | None:
    """A time in seconds since the epoch, rounded to milliseconds; None for what is no time."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MILLISECONDS_FROM * 10:
        return round(value / 1000 if value >= _MILLISECONDS_FROM else float(value), 3)
    try:
        at = datetime.fromisoformat(text_of(value))
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(), 3)
    except (ValueError, OverflowError):
        return None


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
        case "image" | "document" as kind:
            source = block.get("source")
            media_type = text_of(source.get("media_type")) if isinstance(source, dict) else ""
            return f"[{kind}: {media_type[:NAME_CHARS_MAX] or 'unknown type'}]"
        case _:
            return ""


def result_text(content: object) -> str:
    """The text of a tool's result: text as it is, blocks joined by newlines, anything else as JSON."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(_result_part(part) for part in content)
    return json_text(content)


def _result_part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and text_of(part.get("type")) in {"text", "image", "document"}:
        return block_text(part)
    return json_text(part)


def is_sidechain(event: JsonObject) -> bool:
    """Whether an event belongs to a sub-agent."""
    return event.get("isSidechain") is True or isinstance(event.get("parent_tool_use_id"), str)
