"""`swe-agent`: a `.traj` file for each session, as SWE-agent writes it and SWE-smith reads it.

`trajectory` has an item for each call: `action` is the command of a shell, else the tool and its arguments as JSON
text; `observation` is the result, empty where there was none. The first call of an inference has its reasoning as
`thought` and its words as `response`. `history` is the whole conversation; SWE-smith reads it as the last item's
`query`, so there it stands, too, and only there. What nobody measured is missing, not 0.
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors.curation.enrichment.tools import Activity, activity_of
from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import JOINT, Message, messages_of
from central_command.exporting.columns import flat
from central_command.exporting.conversation import Call, Conversation, Inference, read_conversation, said_by
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import family_of
from central_command.exporting.usage import usage_of_session
from central_command.exporting.written import json_text

_WHOLE: Final = Shape()
_COMMANDS: Final = ("command", "cmd", "script")
_KINDS: Final = {"system": "system_prompt", "user": "observation", "tool": "observation", "assistant": "action"}
_EXIT: Final = {"SUCCESS": "submitted", "CRASH": "exit_error", "KILLED": "exit_killed", "SHUTDOWN": "exit_shutdown"}
MAIN: Final = "main"
"""The agent's name in a history, as SWE-agent has it."""


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:  # noqa: ARG001 (a trajectory is written whole)
    """One row; sub-agents stand within it as `subagents`. Raises LeftOut for a session without calls."""
    files = [_file(each) for each in family_of(trajectory)]
    if not files[0]["trajectory"]:
        raise LeftOut(LeftOutReason.NO_CALLS)
    if len(files) > 1:
        files[0]["subagents"] = files[1:]
    return files[:1]


def _file(trajectory: Trajectory) -> Row:
    conversation = read_conversation(trajectory)
    history = [_entry(message) for message in messages_of(conversation, _WHOLE)]
    items = list(_items(conversation))
    if items:
        items[-1]["query"] = history
    status = None if trajectory.outcome is None else trajectory.outcome.status
    return {
        "environment": trajectory.provider,
        "trajectory": items,
        "history": history,
        "info": {
            "model_stats": _stats(conversation),
            "exit_status": None if status is None else _EXIT[status],
            "submission": None,
            "model_name": trajectory.model,
            **flat(trajectory),
        },
    }


def _items(conversation: Conversation) -> Iterator[Row]:
    for turn in conversation.turns:
        if not isinstance(turn, Inference):
            continue
        for number, call in enumerate(turn.calls):
            said = JOINT.join(said_by(each.step) for each in turn.prose) if number == 0 else ""
            thought = JOINT.join(said_by(each.step) for each in turn.reasoning) if number == 0 else ""
            yield _item(conversation.trajectory, call, thought=thought or said, response=said)


def _item(trajectory: Trajectory, call: Call, *, thought: str, response: str) -> Row:
    return {
        "action": action_of(call.name, call.arguments),
        "observation": "" if call.result is None else call.result.step.text,
        "response": response,
        "thought": thought,
        "execution_time": _seconds(trajectory, call),
        "state": {},
        "query": [],
        "extra_info": {
            "step": call.step.step,
            "tool": call.name,
            "call_id": call.call_id,
            "is_answered": call.result is not None,
            "is_error": call.result is not None and call.result.step.has_failed,
        },
    }


def action_of(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as one text: the command of a shell, else the tool's name and the arguments."""
    for each in _COMMANDS if activity_of(name) is Activity.SHELL else ():
        value = arguments.get(each)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            return shlex.join(value)
    return f"{name} {json_text(arguments)}"


def _seconds(trajectory: Trajectory, call: Call) -> float | None:
    """How long a call took, in seconds; None where a time is missing."""
    if call.result is None:
        return None
    began, ended = trajectory.seconds_of(call.step), trajectory.seconds_of(call.result.step)
    return None if began is None or ended is None else round(max(0.0, ended - began), 6)


def _stats(conversation: Conversation) -> Row:
    stats: Row = {"api_calls": sum(isinstance(turn, Inference) for turn in conversation.turns)}
    usage = usage_of_session(conversation.trajectory)
    if usage is not None:
        stats["tokens_sent"] = usage.input_tokens
        stats["tokens_received"] = usage.output_tokens
    return {name: value for name, value in stats.items() if value is not None}


def _entry(message: Message) -> Row:
    row: Row = {
        "role": message.role,
        "content": message.content,
        "message_type": _KINDS[message.role],
        "agent": MAIN,
    }
    if message.reasoning:
        row["thought"] = message.reasoning
    if message.calls:
        row["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": json_text(call.arguments)},
            }
            for call in message.calls
        ]
    if message.call is not None:
        row["tool_call_ids"] = [message.call.call_id]
    return row


SWE_AGENT: Final = Format(name="swe-agent", rows=rows, ending="traj", file_each=True)
