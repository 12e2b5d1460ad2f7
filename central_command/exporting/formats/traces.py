"""`traces`: session traces as the viewer of the Hugging Face Hub shows them (its Session Trace Simple Format).

A file for each session, of JSON lines: the first is the session's, each other one a message. Arguments are JSON text,
times milliseconds. Everything is there, also a call that nobody answered. An embedded sub-agent follows behind its
parent, with a first line of its own.
"""

from collections.abc import Iterator
from typing import Final

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import Message, messages_of
from central_command.exporting.columns import flat
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.written import json_text

_WHOLE: Final = Shape()


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:  # noqa: ARG001 (the viewer shows all there is)
    """The lines of a session's file. Raises LeftOut where nothing was said in it."""
    return rows_of_all(trajectory, _lines)


def _lines(trajectory: Trajectory) -> Iterator[Row]:
    messages = messages_of(read_conversation(trajectory), _WHOLE)
    if not messages:
        raise LeftOut(LeftOutReason.NO_STEPS)
    known = {name: value for name, value in flat(trajectory).items() if value is not None}
    yield {"type": "session", "harness": trajectory.provider, "id": trajectory.session_id, **known}
    for message in messages:
        yield {"type": "message", "message": _message(trajectory, message)}


def _message(trajectory: Trajectory, message: Message) -> Row:
    step = trajectory.steps[message.place]
    row: Row = {"role": message.role, "content": message.content}
    if message.reasoning:
        row["reasoningContent"] = message.reasoning
    if message.calls:
        row["toolCalls"] = [
            {"id": call.call_id, "function": {"name": call.name, "arguments": json_text(call.arguments)}}
            for call in message.calls
        ]
    if message.call is not None:
        row["toolCallId"] = message.call.call_id
    seconds = trajectory.seconds_of(step)
    if seconds is not None:
        row["timestamp"] = round(seconds * 1000)
    if message.role == "assistant":
        row["model"] = step.model or trajectory.model
    return row


TRACES: Final = Format(name="traces", rows=rows, file_each=True)
