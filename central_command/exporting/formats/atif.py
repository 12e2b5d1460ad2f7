"""`atif`: trajectories of the Agent Trajectory Interchange Format, 1.7: one document for each, whole.

An inference is a step of the agent, with the results of its calls as its observation. What was heard is a step of the
user or the system; a result that answers no call goes to the observation of the step before it. No member is there
without a value. What ATIF has no member for is `extra`:

- of the root: the flat columns, `outcome`, all `feedback`, the points (`credit`), whether a call has no result;
- of a step: `steps`, whence each text is (the step's number, its type, the member, how many characters);
- of a result: whether the call failed, and its step's number.

The agent's reported tokens are `metrics`; estimates are nowhere. A step whose steps an earlier trajectory holds already
says `is_copied_context`.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from central_command.corpus.trajectory import Step, Trajectory, Usage
from central_command.exporting.chat import JOINT
from central_command.exporting.columns import flat
from central_command.exporting.conversation import (
    Call,
    Conversation,
    Heard,
    Inference,
    Placed,
    is_call,
    read_conversation,
    said_by,
)
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import children_of, identity_of
from central_command.exporting.tools import inferred_tools
from central_command.exporting.usage import usage_of, usage_of_session

VERSION: Final = "ATIF-v1.7"
UNKNOWN: Final = "unknown"
"""The agent's version, where the client named none: ATIF requires one."""


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:  # noqa: ARG001 (a document is written whole)
    """The one document of a trajectory, its sub-agents within it. Raises LeftOut for one without steps."""
    return [_document(trajectory)]


def _document(trajectory: Trajectory) -> Row:
    conversation = read_conversation(trajectory)
    if not conversation.turns:
        raise LeftOut(LeftOutReason.NO_STEPS)
    steps = _Steps(conversation).written()
    tools = inferred_tools(conversation.calls)
    children = [_document(each.trajectory) for each in children_of(trajectory)]
    return _present(
        {
            "schema_version": VERSION,
            "session_id": trajectory.session_id,
            "trajectory_id": identity_of(trajectory),
            "agent": _present(
                {
                    "name": trajectory.provider,
                    "version": trajectory.client_version or UNKNOWN,
                    "model_name": trajectory.model,
                    "tool_definitions": tools or None,
                    "extra": {"tools_inferred": True} if tools else None,
                }
            ),
            "steps": steps,
            "final_metrics": _final_metrics(trajectory, len(steps)),
            "extra": _extra(conversation),
            "subagent_trajectories": children or None,
        }
    )


class _Steps:
    """The steps of one document in the making."""

    def __init__(self, conversation: Conversation) -> None:
        self._trajectory = conversation.trajectory
        self._turns = conversation.turns
        self._copied = conversation.copied
        self._children: dict[int, list[Row]] = {}
        for each in children_of(self._trajectory):
            if each.at is not None:
                reference: Row = {
                    "trajectory_id": identity_of(each.trajectory),
                    "session_id": each.trajectory.session_id,
                }
                self._children.setdefault(each.at, []).append(reference)

    def written(self) -> list[Row]:
        """The steps, numbered from 1 without a gap."""
        found: list[Row] = []
        for turn in self._turns:
            if isinstance(turn, Inference):
                found.append(self._of_agent(turn))
            elif turn.is_result:
                self._add_result(found, turn)
            else:
                found.append(self._heard(turn))
        return [{"step_id": number, **step} for number, step in enumerate(found, 1)]

    def _of_agent(self, turn: Inference) -> Row:
        own = turn.own_steps
        taken = [each.step for each in own if each.place not in self._copied]
        usage = usage_of(taken)
        calls = sum(step.usage is not None for step in taken)
        model = next((each.step.model for each in own if each.step.model), None)
        results = [*self._results(turn.calls), *self._references(turn)]
        return _present(
            {
                "timestamp": self._trajectory.time_of(own[0].step),
                "source": "agent",
                "model_name": model if model != self._trajectory.model else None,
                "message": JOINT.join(said_by(each.step) for each in turn.prose),
                "reasoning_content": JOINT.join(said_by(each.step) for each in turn.reasoning) or None,
                "tool_calls": [_call(call) for call in turn.calls] or None,
                "observation": {"results": results} if results else None,
                "metrics": None if usage is None else _metrics(usage),
                "llm_call_count": max(1, calls),
                "is_copied_context": True if self._is_copied(own) else None,
                "extra": {"steps": list(_origins(turn))},
            }
        )

    def _heard(self, turn: Heard) -> Row:
        extra: Row = {"steps": [_origin("message", turn.step, len(turn.step.text))], **_about(turn.step)}
        if turn.is_compaction:
            extra["context_management"] = {"type": "compaction", "boundary": "replace"}
        return _present(
            {
                "timestamp": self._trajectory.time_of(turn.step),
                "source": turn.role,
                "message": turn.step.text,
                "is_copied_context": True if turn.place in self._copied else None,
                "extra": extra,
            }
        )

    def _add_result(self, found: list[Row], turn: Heard) -> None:
        """Put a result that answers no call to the step before it, or to one of the system's where a user's is."""
        result = {"content": turn.step.text, "extra": self._about_result(turn.step)}
        if not found or found[-1]["source"] == "user":
            time = self._trajectory.time_of(turn.step)
            found.append(_present({"timestamp": time, "source": "system", "message": ""}))
        observation = found[-1].setdefault("observation", {"results": []})
        assert isinstance(observation, dict)
        observation["results"].append(result)

    def _results(self, calls: Iterable[Call]) -> Iterator[Row]:
        for call in calls:
            children = self._children.get(call.place)
            if call.result is None and children is None:
                continue
            step = None if call.result is None else call.result.step
            yield _present(
                {
                    "source_call_id": call.call_id,
                    "content": None if step is None else step.text,
                    "subagent_trajectory_ref": children,
                    "extra": None if step is None else self._about_result(step),
                }
            )

    def _references(self, turn: Inference) -> Iterator[Row]:
        """Sub-agents that a step began which is no call."""
        called = {call.place for call in turn.calls}
        for each in turn.prose:
            if each.place in self._children and each.place not in called:
                yield {"subagent_trajectory_ref": self._children[each.place]}

    def _about_result(self, step: Step) -> Row:
        return _present(
            {
                "step": step.step,
                "type": step.type,
                "timestamp": self._trajectory.time_of(step),
                "is_error": True if step.has_failed else None,
                "tool": step.tool,
                **_about(step),
            }
        )

    def _is_copied(self, steps: Iterable[Placed]) -> bool:
        return all(each.place in self._copied for each in steps)


def _call(call: Call) -> Row:
    return {"tool_call_id": call.call_id, "function_name": call.name, "arguments": dict(call.arguments)}


def _origins(turn: Inference) -> Iterator[Row]:
    """Whence the texts and calls of an inference are, in the order of the members."""
    for each in turn.reasoning:
        yield _origin("reasoning_content", each.step, len(said_by(each.step)))
    for each in turn.prose:
        yield _origin("message", each.step, len(said_by(each.step)))
    for call in turn.calls:
        yield {"member": "tool_calls", "step": call.step.step, "type": call.step.type}


def _origin(member: str, step: Step, chars: int) -> Row:
    said = _present({"arguments": None if is_call(step) else step.arguments, **_about(step)})
    return {"member": member, "step": step.step, "type": step.type, "chars": chars, **said}


def _about(step: Step) -> Row:
    """What else is known of a step."""
    return _present({"source": step.source, "intent": step.intent, "truncated": step.truncated})


def _metrics(usage: Usage) -> Row:
    written = usage.cache_write_tokens
    return _present(
        {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "cached_tokens": usage.cache_read_tokens,
            "extra": None if written is None else {"cache_write_tokens": written},
        }
    )


def _final_metrics(trajectory: Trajectory, steps: int) -> Row:
    usage = usage_of_session(trajectory) or Usage()
    return _present(
        {
            "total_prompt_tokens": usage.input_tokens,
            "total_completion_tokens": usage.output_tokens,
            "total_cached_tokens": usage.cache_read_tokens,
            "total_steps": steps,
        }
    )


def _extra(conversation: Conversation) -> Row:
    trajectory = conversation.trajectory
    return _present(
        {
            **flat(trajectory),
            "outcome": None if trajectory.outcome is None else _present(msgspec.to_builtins(trajectory.outcome)),
            "feedback": [_present(msgspec.to_builtins(each)) for each in trajectory.feedback] or None,
            "credit": msgspec.to_builtins(trajectory.credit),
            "continues_session": trajectory.continues_session,
            "incomplete": any(call.result is None for call in conversation.calls),
        }
    )


def _present(members: Row) -> Row:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


ATIF: Final = Format(name="atif", rows=rows, version=VERSION)
