"""`sharegpt`: conversations as LLaMA-Factory takes them: turns of two sides that strictly alternate, an even count.

Its reader skips every row that does not, so what cannot be made to is left out and counted instead:

- What the agent is given in a row is one turn: `human`, or `observation` as soon as a result is in it. Results are
  joined as its own converter joins them (by the marks of tool responses), all else by an empty line.
- `function_call` holds a JSON list of `{"name", "arguments"}`. Reasoning stands before it in `<think>`; where the agent
  also said something, that comes first and the list stands in `<tool_call>`, as 0.9.5 reads it.
- A first message of the system is the column `system`; later ones are part of the next turn.
- What no turn of the agent follows is not in the row.
- `kto_tag` is the label, where there is one; `tools` is JSON text, empty without tools.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import JOINT, Message, chat_of
from central_command.exporting.columns import FEATURES, flat
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats.format import Format
from central_command.exporting.labels import label_of
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import rows_of_all
from central_command.exporting.tools import inferred_functions
from central_command.exporting.written import json_text

BETWEEN_RESULTS: Final = "\n</tool_response>\n<tool_response>\n"
_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_THINK, _THINK_END = "<think>\n", "\n</think>\n\n"


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """One row, and one for each embedded sub-agent. Raises LeftOut where the turns do not alternate."""
    return rows_of_all(trajectory, lambda each: [_row(each, shape)])


def _row(trajectory: Trajectory, shape: Shape) -> Row:
    inline = shape if shape.reasoning in {"drop", "last-only"} else msgspec.structs.replace(shape, reasoning="inline")
    chat = chat_of(read_conversation(trajectory), inline)
    first = chat.messages[0]
    system, messages = (first.content, chat.messages[1:]) if first.role == "system" else ("", chat.messages)
    turns = _turns(messages)
    label = label_of(trajectory)
    functions = inferred_functions(chat.calls)
    return {
        "conversations": turns,
        "system": system,
        "tools": json_text(functions) if functions else "",
        "tools_inferred": bool(functions),
        "kto_tag": None if label is None else label.is_good,
        "kto_tag_source": None if label is None else label.source,
        "incomplete": chat.incomplete,
        **flat(trajectory),
    }


def _turns(messages: Sequence[Message]) -> list[Row]:
    turns: list[Row] = []
    given: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            given.append(message)
            continue
        if not given:
            raise LeftOut(LeftOutReason.NOT_ALTERNATING if turns else LeftOutReason.NO_USER_TURN)
        turns += [_given(given), _said(message)]
        given = []
    return turns


def _given(messages: Sequence[Message]) -> Row:
    """What the agent was given, as one turn."""
    parts = [messages[0].content]
    for before, message in pairwise(messages):
        parts += [BETWEEN_RESULTS if before.role == message.role == "tool" else JOINT, message.content]
    side = "observation" if any(message.role == "tool" for message in messages) else "human"
    return {"from": side, "value": "".join(parts)}


def _said(message: Message) -> Row:
    """A turn of the agent. Raises LeftOut where its words hold the marks by which the reader finds calls."""
    thought = f"{_THINK}{message.reasoning}{_THINK_END}" if message.reasoning else ""
    if not message.calls:
        return {"from": "gpt", "value": thought + message.content}
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
    # The reader looks for the marks in all of the turn, so in texts of arguments they are written as escapes.
    text = json_text(calls).replace("<", "\\u003c")
    if _CALL in thought + message.content or _THINK_END.strip() in message.reasoning:
        raise LeftOut(LeftOutReason.MARKS)
    if message.content:
        text = f"{message.content}{JOINT}{_CALL}{text}{_CALL_END}"
    return {"from": "function_call", "value": thought + text}


SHAREGPT: Final = Format(
    name="sharegpt",
    rows=rows,
    features=(
        ("conversations", "list: json"),
        ("system", "string"),
        ("tools", "string"),
        ("tools_inferred", "bool"),
        ("kto_tag", "bool"),
        ("kto_tag_source", "string"),
        ("incomplete", "bool"),
        *FEATURES,
    ),
)
