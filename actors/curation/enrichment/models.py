"""Whether a session's model can be what its client says: provider, model and what the steps themselves name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from actors.curation.enrichment.tools import OF_ONE_AGENT, plain_name
from actors.curation.enrichment.verdicts import ModelVerdict, Reason
from actors.curation.stitched import StitchedTrajectory, text_member, text_of
from actors.trajectories.models import base_name

FOREIGN_TOOLS_MIN: Final = 2
"""Calls of tools that only another agent has, from which on the provider is doubted."""

_FAMILIES: Final[Mapping[str, re.Pattern[str]]] = {
    "claude-code": re.compile(r"\Aclaude(?![a-z])"),
    "codex": re.compile(r"\A(?:gpt|chatgpt|o[1-9]|codex)(?![a-z])"),
    "gemini": re.compile(r"\A(?:gemini|gemma)(?![a-z])"),
    "qwen-code": re.compile(r"\Aqwen"),
    "kimi": re.compile(r"\A(?:kimi|moonshot)(?![a-z])"),
}
"""Agents that come with models of one family. All others run whatever they are told to."""
_NO_MODEL: Final = frozenset({"", "auto", "default", "unknown", "none", "n-a", "<synthetic>", "custom"})


def model_verdict(trajectory: StitchedTrajectory) -> ModelVerdict:
    """Whether everything that names a model or an agent agrees; what speaks against it comes first."""
    model = base_name(trajectory.model)
    named = _named_by_steps(trajectory)
    same = sum(count for name, count in named.items() if name == model)
    others = named.total() - same
    against: list[Reason] = []
    known: list[Reason] = []
    if model in _NO_MODEL:
        return ModelVerdict(verdict="unknown", reasons=(Reason("no_model_named"),))
    if named:
        (known if same >= others else against).append(Reason("steps_name_model", same))
        if others:
            (known if same >= others else against).append(Reason("steps_name_other_models", others))
    family = _FAMILIES.get(trajectory.provider)
    if family is not None and family.match(model):
        known.append(Reason("family_of_provider", 1))
    elif family is not None and not same:
        against.append(Reason("other_family_than_provider", 1))
    closing = base_name(text_member(trajectory.close_metadata, "model_engine"))
    if closing not in _NO_MODEL and closing != model:
        against.append(Reason("close_names_other_model", 1))
    foreign = _foreign_tools(trajectory)
    if foreign >= FOREIGN_TOOLS_MIN:
        against.append(Reason("tools_of_other_agent", foreign))
    if against:
        return ModelVerdict(verdict="inconsistent", reasons=(*against, *known))
    if known:
        return ModelVerdict(verdict="consistent", reasons=tuple(known))
    return ModelVerdict(verdict="unknown", reasons=(Reason("nothing_names_model"),))


def _named_by_steps(trajectory: StitchedTrajectory) -> Counter[str]:
    """The models that steps name in a member of their own, without what only says by which way they are reached."""
    named = Counter(text_of(step.model) for step in trajectory.trajectory_log if len(bytes(step.model)) > 2)
    plain: Counter[str] = Counter()
    for name, count in named.items():
        if (model := base_name(name)) not in _NO_MODEL:
            plain[model] += count
    return plain


def _foreign_tools(trajectory: StitchedTrajectory) -> int:
    """Calls of tools that another provider alone has, where there is none of the provider's own."""
    own = OF_ONE_AGENT.get(trajectory.provider)
    if own is None:
        return 0
    used = Counter(plain_name(step.tool_name) for step in trajectory.trajectory_log if step.type == "action")
    if own & used.keys():
        return 0
    theirs: Sequence[frozenset[str]] = [tools for name, tools in OF_ONE_AGENT.items() if name != trajectory.provider]
    return max(sum(used[tool] for tool in tools) for tools in theirs)
