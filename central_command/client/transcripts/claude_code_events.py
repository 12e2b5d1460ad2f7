"""What stands in a Claude Code event: every member may be missing or of another type, and nothing here raises."""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.arrays import first_objects
from central_command.client.transcripts.json_values import media_text, object_of, text_of
from central_command.client.transcripts.other_agents import EVENTS_MAX, refused_file
from central_command.client.transcripts.reader import Head

_KINDS = frozenset(
    {"user", "assistant", "system", "progress", "attachment", "queue-operation", "file-history-snapshot", "result"}
)
_WITHIN = {"progress": "data", "attachment": "attachment"}
_OF_STREAMS = frozenset({"parent_tool_use_id", "num_turns", "total_cost_usd"})


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


def attachment_of(event: JsonObject) -> JsonObject:
    """What an `attachment` event holds."""
    return object_of(event.get("attachment"))


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


def is_copied(event: JsonObject) -> bool:
    """Whether an event says itself that it was copied from another session: a branch's, or a fork's."""
    return bool(event.get("forkedFrom"))


def session_of(event: JsonObject) -> str:
    """The id of the session that an event belongs to."""
    return text_of(event.get("sessionId")) or text_of(event.get("session_id"))


def kind_of(event: JsonObject) -> str:
    """What an event is, in the program's own words: its type, with that of what it holds."""
    kind = text_of(event.get("type"))
    finer = event.get("subtype") if kind == "system" else object_of(event.get(_WITHIN.get(kind, ""))).get("type")
    return f"{kind}: {finer}" if finer and isinstance(finer, str) else kind


def is_of_claude_code(head: Head) -> bool:
    """Whether a file begins with events of Claude Code, on lines or in one array, and of none that is refused."""
    events = head.events or first_objects(head.text, EVENTS_MAX)
    return any(_is_event(event) for event in events) and refused_file(head) is None


def _is_event(event: JsonObject) -> bool:
    kind = text_of(event.get("type"))
    if kind == "summary":
        return "leafUuid" in event
    if kind == "file-history-snapshot":
        return "messageId" in event
    message = object_of(event.get("message"))
    if isinstance(event.get("session_id"), str) and not isinstance(event.get("uuid"), str):
        # A stream, as several agents print it: these older versions printed before they had uuids.
        return kind in _KINDS and (
            not _OF_STREAMS.isdisjoint(event)
            or isinstance(message.get("id"), str)
            or (kind == "system" and isinstance(event.get("tools"), list))
        )
    return kind in _KINDS and any(isinstance(event.get(name), str) for name in ("sessionId", "uuid"))
