"""`openai`: the chat JSONL of OpenAI's fine-tuning, which others read, too: arguments are text.

Names of functions have the letters that its API takes, and 64 at most. A turn that is not to be learned from weighs 0:
one whose call has no result (the call is not there, because the API wants each answered), and one that stands in an
earlier session. A row ends with a message of the assistant. There is no member for reasoning: it is within the content
(`--reasoning inline`), or not there.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import Message, chat_of, content_of
from central_command.exporting.conversation import Call, read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.tools import inferred_tools
from central_command.exporting.written import json_text

NAME_CHARS_MAX: Final = 64
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """One row, and one for each embedded sub-agent. Raises LeftOut where a chat cannot be made."""
    return rows_of_all(trajectory, lambda each: [_row(each, shape)])


def _row(trajectory: Trajectory, shape: Shape) -> Row:
    bare = shape if shape.reasoning == "inline" else msgspec.structs.replace(shape, reasoning="drop")
    messages = [_answered(message) for message in chat_of(read_conversation(trajectory), bare).messages]
    kept = [
        message for message in messages if message.role != "assistant" or content_of(message, bare) or message.calls
    ]
    end = max((at for at, message in enumerate(kept, 1) if message.role == "assistant"), default=0)
    if not end:
        raise LeftOut(LeftOutReason.NO_AGENT_TURN)
    calls = [call for message in kept[:end] for call in message.calls]
    names = _names(calls)
    row: Row = {"messages": [_message(message, bare, names) for message in kept[:end]]}
    if calls:
        row["tools"] = inferred_tools(msgspec.structs.replace(call, name=names[call.name]) for call in calls)
        row["parallel_tool_calls"] = any(len(message.calls) > 1 for message in kept[:end])
    return row


def _answered(message: Message) -> Message:
    """The message without calls that have no result; it is not to be learned from then."""
    calls = tuple(call for call in message.calls if call.result is not None)
    if len(calls) == len(message.calls):
        return message
    return msgspec.structs.replace(message, calls=calls, is_copied=True)


def _message(message: Message, shape: Shape, names: dict[str, str]) -> Row:
    row: Row = {"role": message.role, "content": content_of(message, shape)}
    if message.calls:
        row["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": names[call.name], "arguments": json_text(call.arguments)},
            }
            for call in message.calls
        ]
    if message.call is not None:
        row["tool_call_id"] = message.call.call_id
    if message.role == "assistant":
        row["weight"] = 0 if message.is_copied else 1
    return row


def _names(calls: Sequence[Call]) -> dict[str, str]:
    """A name that the API takes for each tool, no two the same."""
    names: dict[str, str] = {}
    for name in sorted({call.name for call in calls}):
        plain = _NOT_IN_NAMES.sub("_", name)
        chosen, number = plain[:NAME_CHARS_MAX], 2
        while chosen in names.values():
            ending = f"_{number}"
            chosen, number = plain[: NAME_CHARS_MAX - len(ending)] + ending, number + 1
        names[name] = chosen
    return names


OPENAI: Final = Format(
    name="openai",
    rows=rows,
    features=(("messages", "list: json"), ("tools", "list: json"), ("parallel_tool_calls", "bool")),
)
