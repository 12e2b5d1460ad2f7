"""`dpo`: pairs as TRL takes them: `prompt`, `chosen`, `rejected`, and `label_source`, what says that one is better.

A pair comes of a correction: what the agent had done for a request is rejected for what it did when it was corrected.
The chosen response was given with the correction before it, and with what the rejected one had changed: `correction`
and `correction_step` say so, for whoever wants no such pair.
"""

from typing import Final

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import prompting_chat_of, rendered
from central_command.exporting.columns import FEATURES, flat
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.labels import preferences
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.tools import inferred_tools


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """A row for each pair, those of embedded sub-agents behind. Raises LeftOut where nothing was preferred."""
    return rows_of_all(trajectory, lambda each: _rows(each, shape))


def _rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    chat = prompting_chat_of(read_conversation(trajectory), shape)
    messages = [rendered(message, shape) for message in chat.messages]
    tools = inferred_tools(chat.calls)
    found: list[Row] = [
        {
            "prompt": messages[: each.rejected.start],
            "chosen": messages[each.chosen.start : each.chosen.end],
            "rejected": messages[each.rejected.start : each.rejected.end],
            "label_source": "correction",
            "correction": each.correction,
            "correction_step": each.step,
            "tools": tools,
            "tools_inferred": bool(tools),
            "incomplete": chat.incomplete,
            **flat(trajectory),
        }
        for each in preferences(trajectory, chat.messages)
    ]
    pairs = [row for row in found if row["chosen"] != row["rejected"]]
    if not pairs:
        raise LeftOut(LeftOutReason.NO_PAIR)
    return pairs


DPO: Final = Format(
    name="dpo",
    rows=rows,
    features=(
        ("prompt", "list: json"),
        ("chosen", "list: json"),
        ("rejected", "list: json"),
        ("label_source", "string"),
        ("correction", "string"),
        ("correction_step", "int64"),
        ("tools", "list: json"),
        ("tools_inferred", "bool"),
        ("incomplete", "bool"),
        *FEATURES,
    ),
)
