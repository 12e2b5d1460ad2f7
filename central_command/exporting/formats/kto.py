"""`kto`: unpaired preferences as TRL takes them: `prompt`, `completion`, `label`, and `label_source`, what it is from.

The completion is all that the agent did for the last request; the prompt ends with what came before that, a message of
the user or the tool.
"""

from typing import Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import prompting_chat_of, rendered
from central_command.exporting.columns import FEATURES, flat
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.labels import label_of, last_response
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.tools import inferred_tools


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """One row, and one for each embedded sub-agent. Raises LeftOut where nothing is labelled."""
    return rows_of_all(trajectory, lambda each: [_row(each, shape)])


def _row(trajectory: Trajectory, shape: Shape) -> Row:
    label = label_of(trajectory)
    if label is None:
        raise LeftOut(LeftOutReason.NO_LABEL)
    about = msgspec.structs.replace(trajectory, steps=trajectory.steps[: label.steps])
    chat = prompting_chat_of(read_conversation(about), shape)
    response = last_response(chat.messages)
    if response is None:
        raise LeftOut(LeftOutReason.NO_USER_TURN)
    messages = [rendered(message, shape) for message in chat.messages]
    tools = inferred_tools(call for message in chat.messages[: response.end] for call in message.calls)
    return {
        "prompt": messages[: response.start],
        "completion": messages[response.start : response.end],
        "label": label.is_good,
        "label_source": label.source,
        "tools": tools,
        "tools_inferred": bool(tools),
        "incomplete": chat.incomplete,
        **flat(trajectory),
    }


KTO: Final = Format(
    name="kto",
    rows=rows,
    features=(
        ("prompt", "list: json"),
        ("completion", "list: json"),
        ("label", "bool"),
        ("label_source", "string"),
        ("tools", "list: json"),
        ("tools_inferred", "bool"),
        ("incomplete", "bool"),
        *FEATURES,
    ),
)
