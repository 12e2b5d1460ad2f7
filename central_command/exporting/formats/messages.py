"""`messages`: chat rows as TRL, Axolotl and verl take them, and as chat templates render them.

`origins` says of every text which step of the corpus it is: `message` (its place, from 0), `member` (`content`, the
reasoning's key, `tool_calls`), the step's number and type, how many characters, and `copied` where an earlier session
holds all of the message; texts of one member are joined by an empty line. So the steps can be found again, and a
trainer can mask by what a step was.
"""

from typing import Final

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import chat_of, origins_of, rendered
from central_command.exporting.columns import FEATURES, flat
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.tools import inferred_tools


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """One row, and one for each embedded sub-agent. Raises LeftOut where a chat cannot be made."""
    return rows_of_all(trajectory, lambda each: [_row(each, shape)])


def _row(trajectory: Trajectory, shape: Shape) -> Row:
    chat = chat_of(read_conversation(trajectory), shape)
    tools = inferred_tools(chat.calls)
    return {
        "messages": [rendered(message, shape) for message in chat.messages],
        "tools": tools,
        "tools_inferred": bool(tools),
        "incomplete": chat.incomplete,
        "dropped_steps": chat.dropped_steps,
        "origins": origins_of(chat.messages, shape),
        **flat(trajectory),
    }


MESSAGES: Final = Format(
    name="messages",
    rows=rows,
    features=(
        ("messages", "list: json"),
        ("tools", "list: json"),
        ("tools_inferred", "bool"),
        ("incomplete", "bool"),
        ("dropped_steps", "int64"),
        ("origins", "list: json"),
        *FEATURES,
    ),
)
