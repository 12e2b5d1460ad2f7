"""What Codex's agents say to each other: tasks, messages and answers between a session and its sub-agents.

Depending on the version, one such message is a response item `agent_message`, a line `inter_agent_communication`, a
message with its JSON text, or one of the user's with a header in plain text. Its text may be encrypted between two
calls of the model; what stands in its place then cannot be read.
"""

import re

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import object_of, objects_of, text_of
from central_command.client.transcripts.reader import decode_json

_HEADER = re.compile(
    r"\A\s*+Message Type: (?P<type>[A-Z_]{1,40})\n"
    r"(?:Task name: (?P<to>[^\n]*)\n)?(?:Sender: (?P<from>[^\n]*)\n)?Payload:(?:\n|\Z)"
)
_TASK = "NEW_TASK"
_CIPHERTEXT = "gAAAAA"
"""What begins like this is a Fernet token; some providers write plain text in its place."""


class AgentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message: from whom, to whom, what, and whether it gives the other something to do.

    `text` is empty where nothing can be read; `is_encrypted` says that this is why.
    """

    author: str
    recipient: str
    text: str
    is_task: bool
    is_encrypted: bool


def message_between_agents(line: JsonObject) -> AgentMessage | None:
    """The message that a line of a rollout tells; None for any other line."""
    payload = object_of(line.get("payload"))
    match line.get("type"), payload.get("type"):
        case "inter_agent_communication", _:
            return _of_communication(payload)
        case "response_item", "agent_message":
            return _of_item(payload)
        case "response_item", "message":
            return of_message(payload)
    return None


def of_message(item: JsonObject) -> AgentMessage | None:
    """The message that an item of the user or the assistant holds in its text; None for any other."""
    texts = [text_of(part.get("text")) for part in objects_of(item.get("content"))]
    text = text_of(item.get("content")) or (texts[0] if len(texts) == 1 else "")
    if item.get("role") == "assistant" and text.startswith('{"author"'):
        communication = object_of(decode_json(text.encode("utf-8", "replace")))
        is_one = {"author", "recipient", "trigger_turn"} <= communication.keys()
        return _of_communication(communication) if is_one else None
    if item.get("role") == "user" and _HEADER.match(text):
        return _read(text, "", "", is_task=True, is_encrypted=False)
    return None


def _of_communication(communication: JsonObject) -> AgentMessage:
    text, encrypted = text_of(communication.get("content")), text_of(communication.get("encrypted_content"))
    return _read(
        text,
        text_of(communication.get("author")),
        text_of(communication.get("recipient")),
        is_task=communication.get("trigger_turn") is True,
        is_encrypted=bool(encrypted),
    )


def _of_item(item: JsonObject) -> AgentMessage:
    texts: list[str] = []
    is_encrypted = False
    for part in objects_of(item.get("content")):
        hidden = text_of(part.get("encrypted_content"))
        is_encrypted = is_encrypted or hidden.startswith(_CIPHERTEXT)
        texts.append(text_of(part.get("text")) or ("" if hidden.startswith(_CIPHERTEXT) else hidden))
    text = text_of(item.get("content")) or "".join(texts)
    author, recipient = text_of(item.get("author")), text_of(item.get("recipient"))
    return _read(text, author, recipient, is_task=False, is_encrypted=is_encrypted)


def _read(text: str, author: str, recipient: str, *, is_task: bool, is_encrypted: bool) -> AgentMessage:
    """A message of which `text` may begin with a header, which has the last word on all but the names."""
    header = _HEADER.match(text)
    if header is not None:
        text, is_task = text[header.end() :], header["type"] == _TASK
        author, recipient = author or (header["from"] or ""), recipient or (header["to"] or "")
    text = text if text.strip() else ""
    return AgentMessage(
        author=author, recipient=recipient, text=text, is_task=is_task, is_encrypted=is_encrypted and not text
    )
