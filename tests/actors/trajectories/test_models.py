"""A model is known under every name that providers, routers and agents give it, and under no other model's."""

import pytest

from actors.trajectories.models import NAME_CHARS_MAX, tier_of
from actors.trajectories.scoring import score
from actors.trajectories.settings import ScoringSettings

TIERS = ScoringSettings().model_tiers
CLAUDE = [name for name in TIERS if name.startswith("claude-")]
GEMINI = [name for name in TIERS if name.startswith("gemini-")]
OPENAI = [name for name in TIERS if name not in CLAUDE and name not in GEMINI]

EVERYWHERE = ("{}", " {} ", "{}-latest", "openrouter/{}", "litellm/{}:free", "models/{}", "{}-2026-01-31", "{}:latest")
SPELLINGS = {
    "claude": (
        *EVERYWHERE,
        "{}-20260101",
        "{}[1m]",
        "{}-20260101[1m]",
        "{}-thinking",
        "us.anthropic.{}-v1:0",
        "eu.anthropic.{}-20260101-v1:0",
        "global.anthropic.{}-20260101-v1:0[1m]",
        "anthropic.{}-v1",
        "anthropic.{}-v1:0:200k",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.{}-v1:0",
        "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.{}-v1:0",
        "bedrock/us.anthropic.{}-v1:0",
        "bedrock/converse/anthropic.{}-v1:0",
        "{}@20260101",
        "{}@default",
        "vertex_ai/{}@20260101",
        "publishers/anthropic/models/{}",
        "projects/my-project/locations/us-east5/publishers/anthropic/models/{}@20260101",
        "anthropic/{}",
        "anthropic/{}:beta",
        "openrouter/anthropic/{}:thinking",
        "github_copilot/{}",
    ),
    "gemini": (
        *EVERYWHERE,
        "google/{}",
        "openrouter/google/{}:free",
        "gemini/{}",
        "vertex_ai/{}",
        "{}-001",
        "{}-preview",
        "{}-preview-05-06",
        "{}-preview-0506",
        "{}-preview-09-2025",
        "{}-exp-03-25",
        "publishers/google/models/{}",
        "models/{}-preview-05-06",
    ),
    "openai": (
        *EVERYWHERE,
        "openai/{}",
        "azure/{}",
        "openrouter/openai/{}",
        "{}-2026-01-31",
        "{}-high",
        "{}-xhigh",
        "{}-preview",
        "{}-codex",
        "{}-codex-high",
        "codex/{}",
        "openai.{}-v1:0",
    ),
}
NAMES = [
    (spelling.format(name), name)
    for vendor, names in (("claude", CLAUDE), ("gemini", GEMINI), ("openai", OPENAI))
    for spelling in SPELLINGS[vendor]
    for name in names
]


@pytest.mark.parametrize(("spelled", "name"), NAMES, ids=[spelled for spelled, _ in NAMES])
def test_every_spelling_has_the_tier_of_its_model(spelled: str, name: str) -> None:
    """In either case, and with dots or dashes in its number."""
    for each in (spelled, spelled.upper(), spelled.replace("4-6", "4.6").replace("4-7", "4.7")):
        assert tier_of(each, TIERS) == TIERS[name], each


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("anthropic/claude-4.6-opus-20260101", "claude-opus-4-6"),
        ("claude-4-6-sonnet", "claude-sonnet-4-6"),
        ("Claude Opus 4.6", "claude-opus-4-6"),
        ("gpt-5-5", "gpt-5.5"),
        ("gpt-4.5-preview-2025-02-27", "gpt-4.5"),
        ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash"),
        ("o4-mini-high", "o4-mini"),
    ],
)
def test_what_products_call_a_model_has_its_tier(spelled: str, name: str) -> None:
    assert tier_of(spelled, TIERS) == TIERS[name]


@pytest.mark.parametrize(
    "other",
    [
        *("", " ", "claude", "claude-opus", "claude-opus-4", "opus-4-6", "opus-4-60", "claude-opus-4-60"),
        *("claude-opus-4-6-1", "claude-opus-4-16", "claude-opus-14-6", "claude-opus-4-20250514", "claude-opus-46"),
        *("claude-opus-4-5-20251101", "claude-haiku-4-6", "claude-opus-4-6-distill", "claude-opus-4-6-v1:0-mine"),
        *("ft:gpt-4.5:acme::8x1", "ft:gpt-4.5-2026-01-31:acme:name:id", "openai/ft:gpt-4.5:acme", "gpt-4.5:ft-acme"),
        *("acme/claude-opus-4-6", "acme.claude-opus-4-6", "my-claude-opus-4-6", "xclaude-opus-4-6", "acme/o3"),
        *("gpt-4", "gpt-4o", "gpt-5", "gpt-5.5-mini", "gpt-5.5-nano", "gpt-5.5-pro", "gpt-5.5-codex-mini"),
        *("gpt-5.5-codex-max", "gpt-5.5-chat-latest", "gpt-4.5-turbo", "gpt-45", "gpt-5.50", "o3-mini", "o3-pro"),
        *("o3-deep-research", "o4", "o4-mini-deep-research", "o30", "gemini-2.5-flash-lite", "gemini-2.5"),
        *("gemini-2.5-flash-lite-preview-06-17", "gemini-2.5-flash-image-preview", "gemini-2.5-pro-preview-tts"),
        *("gemini-2.5-pro-exp-99-99", "claude-opus-4-6-20261399", "claude-opus-4-6@", "claude-opus-4-6[m]"),
        *("arn:aws:bedrock:us-east-1:1:application-inference-profile/claude-opus-4-6", "accounts/x/models/o3"),
        *("models/", "anthropic/", "-latest", "[1m]", ":free", "us.anthropic."),
    ],
)
def test_other_models_are_not_taken_for_a_known_one(other: str) -> None:
    assert tier_of(other, TIERS) is None


def test_a_name_that_is_too_long_is_no_model_s() -> None:
    assert tier_of("o3".rjust(NAME_CHARS_MAX), TIERS) == TIERS["o3"]
    assert tier_of("o3".rjust(NAME_CHARS_MAX + 1), TIERS) is None


def test_a_name_that_stands_in_the_table_is_meant_as_it_is() -> None:
    tiers = {"o3": 5.0, "o3-latest": 2.0, "ft:mine": 7.0, "Local.Model": 3.0, "o3-codex": 0.0}
    named = ("o3-latest", "ft:mine", "Local.Model", "local.model", "o3-codex-high", "o3")
    assert [tier_of(name, tiers) for name in named] == [2.0, 7.0, 3.0, 3.0, 0.0, 5.0]


def test_a_name_of_any_length_is_looked_at_in_bounded_time() -> None:
    for text in ("o3" + "-latest" * 50_000, "models/" * 50_000 + "o3", "-" * 300_000, "x" * (NAME_CHARS_MAX + 1)):
        assert tier_of(text, TIERS) is None
    assert tier_of("o3" + "-latest" * 20, TIERS) is None


def test_a_score_goes_by_the_model_and_not_by_its_spelling() -> None:
    settings = ScoringSettings()
    for name, factor in (("us.anthropic.claude-opus-4-6-v1:0", 5), ("claude-opus-4-60", 1)):
        assert score({"thought": 7}, name, None, settings).model_multiplier == factor
