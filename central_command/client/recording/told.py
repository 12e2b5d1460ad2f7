"""What a program tells of its agent beside steps: that the model or the agent is another one, and what a message took.

Each is a step of its own, a thought that says nothing (`source` `program`), with the members `model`, `agent` or
`usage`; so published schema and servers take it as it is, and formats that hold what was said pass it by. The agent's
own steps behind a switch have `model` and `agent` as well, so that each says of whom it is.
"""

from collections.abc import Mapping

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.steps import JsonObject, Step
from central_command.client.contract.usage import COUNT_MAX, ReportedUsage
from central_command.client.recording.recorded_steps import BadStepError

_LIMITS = SchemaSettings()
_OF_AGENT = frozenset({"thought", "action", "resolution", "edit", "coordination", "delegate", "yield"})


def switch_of(*, model: str | None = None, agent: str | None = None) -> dict[str, str]:
    """The members that say who works from now on; raises BadStepError for what is no name."""
    said = {
        "model": (model, _LIMITS.model_engine_chars_max),
        "agent": (agent, _LIMITS.agent_id_chars_max),
    }
    for name, (text, chars_max) in said.items():
        is_name = isinstance(text, str) and 1 <= len(text) <= chars_max and text.isprintable()
        if text is not None and not is_name:
            raise BadStepError(f"the {name} is not 1 to {chars_max} printable characters")
    told = {name: text for name, (text, _) in said.items() if text is not None}
    if not told:
        raise BadStepError("nobody is named who works from now on")
    return told


def usage_of(counts: Mapping[str, object]) -> ReportedUsage:
    """What one message took and gave; raises BadStepError for what is no count, and when nothing is said."""
    for name, count in counts.items():
        if count is not None and not (type(count) is int and 0 <= count <= COUNT_MAX):
            raise BadStepError(f"{name} is no count of tokens")
    usage = msgspec.convert({name: count for name, count in counts.items() if count is not None}, ReportedUsage)
    if usage == ReportedUsage():
        raise BadStepError("no count of tokens is given")
    return usage


def told_step(members: Mapping[str, object]) -> JsonObject:
    """The step that says it."""
    return {"type": "thought", "content": "", "source": "program", **members}


def with_told(step: Step | Mapping[str, object], told: Mapping[str, str]) -> Step | Mapping[str, object]:
    """The step with who took it, where that is not said and it is the agent's own."""
    if not told:
        return step
    members = step if isinstance(step, Mapping) else msgspec.to_builtins(step)
    return {**told, **members} if members.get("type") in _OF_AGENT else step
