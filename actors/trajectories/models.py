"""Models under all their names: what providers, routers and agents add to a name is taken off before its tier is
looked up. Pure, and linear in a name's length, of which no more than `NAME_CHARS_MAX` is looked at.

Names of Claude Opus 4.6, for example:

    claude-opus-4-6  claude-opus-4.6  claude-opus-4-6-20260101  claude-opus-4-6-latest  claude-opus-4-6[1m]
    us.anthropic.claude-opus-4-6-v1:0  arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1:0
    claude-opus-4-6@20260101  claude-opus-4-6@default  publishers/anthropic/models/claude-opus-4-6
    anthropic/claude-opus-4.6  openrouter/anthropic/claude-opus-4.6:free

Only what stands in the tables here is taken off. What is left must be a name that has a tier: a smaller, a larger, a
newer or a fine-tuned model (`o4-mini-deep-research`, `gpt-5.5-mini`, `claude-opus-4-60`, `ft:gpt-4.5:…`) has none.
"""

import re
from collections.abc import Mapping
from typing import Final

NAME_CHARS_MAX: Final = 400
"""No provider has longer names of models, addresses such as ARNs included."""

ADDITION_CHARS_MAX: Final = 24
"""No addition is longer, so only so much of a name's end is searched."""

ROUNDS_MAX: Final = 8
"""Additions that are taken off one after the other, on either side."""

ROUTES: Final = (
    *("anthropic", "openai", "google", "gemini", "codex", "claude-code"),
    *("openrouter", "litellm", "vertex_ai", "vertex", "bedrock", "bedrock_converse", "azure", "azure_ai", "copilot"),
    *("github_copilot", "github-copilot", "converse", "invoke", "models", "publishers"),
)
"""Parts of a path before a model's name that only say by which way it is reached."""

_ADDRESSES = (
    # Bedrock: foundation models and inference profiles, by their ARN or by region and vendor.
    re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?:foundation-model|inference-profile)/"),
    re.compile(r"(?:(?:us|us-gov|eu|apac|ap|au|ca|jp|sa|global)\.)?(?:anthropic|openai)\.(?=[a-z])"),
    # Vertex AI: the project and the place before `publishers/…`.
    re.compile(r"projects/[^/]+/locations/[^/]+/(?=publishers/)"),
    re.compile("(?:" + "|".join(map(re.escape, ROUTES)) + ")/(?=.)"),
)
_DATE = r"20[2-9][0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_DASHED_DATE = r"20[2-9][0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MONTH_AND_DAY = r"(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])"
_ADDITIONS = tuple(
    re.compile(rf"(?:{pattern})\Z")
    for pattern in (
        r"\[[1-9][0-9]{0,2}[km]\]",  # Claude Code: the length of the context
        r"-v[1-9][0-9]?(?::[0-9]{1,2})?(?::[0-9]{1,4}k)?",  # Bedrock: the version, and a length of the context
        rf"[@-](?:{_DATE}|{_DASHED_DATE})",  # snapshots
        r"[@:-](?:default|latest)",
        rf"-(?:preview|exp|experimental)(?:-{_MONTH_AND_DAY}|-(?:0[1-9]|1[0-2])-20[2-9][0-9])?",
        rf"-{_MONTH_AND_DAY}",
        r"-00[1-9]",  # Gemini: stable versions
        r":(?:free|beta|extended|thinking|nitro|floor|online|exacto)",  # OpenRouter: variants of a way
        r"-(?:thinking|none|minimal|low|medium|high|xhigh|fast)",  # how hard it thinks
        r"-codex",
    )
)
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])\.(?=[0-9])")
_NUMBER_FIRST = re.compile(r"claude-([1-9][0-9]?(?:-[0-9]{1,2})?)-(opus|sonnet|haiku)(?![a-z])")


def tier_of(model: str, tiers: Mapping[str, float]) -> float | None:
    """The factor of a model under any of its names; None when it has none. A name that stands in `tiers` is meant."""
    if model in tiers:
        return tiers[model]
    if len(model) > NAME_CHARS_MAX:
        return None
    known = {_spelled(name): factor for name, factor in tiers.items()}
    name = _spelled(_without_address(model.strip().lower()))
    for _ in range(ROUNDS_MAX):
        for spelled in (name, _NUMBER_FIRST.sub(r"claude-\2-\1", name, count=1)):
            if spelled in known:
                return known[spelled]
        shorter = _without_addition(name)
        if shorter == name:
            return None  # Nothing was added to it.
        name = shorter
    return None


def base_name(model: str) -> str:
    """A model's name in one spelling, without address and additions: what two names of one model have in common.

    Also snapshots, contexts and how hard it thinks are taken off, so this tells apart less than tiers do.
    """
    name = _spelled(_without_address(model[:NAME_CHARS_MAX].strip().lower()))
    for _ in range(ROUNDS_MAX):
        shorter = _without_addition(name)
        if shorter in {"", name}:
            break
        name = shorter
    return _NUMBER_FIRST.sub(r"claude-\2-\1", name, count=1)


def _without_address(name: str) -> str:
    """Take off what stands before a name."""
    for _ in range(ROUNDS_MAX):
        match = next((found for pattern in _ADDRESSES if (found := pattern.match(name))), None)
        if match is None:
            break
        name = name[match.end() :]
    return name


def _without_addition(name: str) -> str:
    """Take off the last thing that was added to a name."""
    start = max(0, len(name) - ADDITION_CHARS_MAX)
    match = next((found for pattern in _ADDITIONS if (found := pattern.search(name, start))), None)
    return name if match is None else name[: match.start()]


def _spelled(name: str) -> str:
    """One spelling of `4.6`, `4-6` and `4_6`."""
    return _BETWEEN_DIGITS.sub("-", name.lower().replace("_", "-").replace(" ", "-"))
