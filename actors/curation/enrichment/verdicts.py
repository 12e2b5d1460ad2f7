"""What enrichment finds, as it is written into the corpus. docs/enrichment.md says by which rule each verdict falls.

A reason is a stable code with its figures, never a text of somebody: so reasons can be shown, counted and compared.
"""

from typing import Final, Literal

import msgspec

RULES_VERSION: Final = 1
"""Raised whenever the same trajectory would get another verdict than before: what older rules made is made anew."""

CognitiveTarget = Literal[
    "planning",
    "exploration",
    "implementation",
    "debugging",
    "refactoring",
    "testing",
    "review",
    "documentation",
    "operations",
    "research",
]
Outcome = Literal["succeeded", "failed", "interrupted"]
Feedback = Literal["accepted", "rejected", "iterated"]
Consistency = Literal["consistent", "inconsistent", "unknown"]
Tier = Literal["A", "B", "C"]
ExclusionReason = Literal[
    "too_few_steps",
    "no_actions",
    "no_observations",
    "insufficient_tokens",
    "too_short",
    "sequence_gaps",
    "cut_arguments",
    "repeated_members",
    "wholly_copied",
]
"""The first five are those that the contract excludes from training, in its order."""


class Reason(msgspec.Struct, frozen=True):
    """Why: a stable code, how often it was seen, and what it counted for (points, or 0 where it only explains)."""

    code: str
    count: int = 0
    points: float = 0.0


class TargetVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the session was for; None when nothing in it tells. `second` is the next best, None without one.

    `confidence` is 0 to 1: the share of the best among the points of the best two.
    """

    target: CognitiveTarget | None
    confidence: float
    second: CognitiveTarget | None
    reasons: tuple[Reason, ...]


class ModelVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the provider, the model and what the steps themselves name fit together."""

    verdict: Consistency
    reasons: tuple[Reason, ...]


class QualityVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """How good the session is as training data: 0 to 100, made of `parts` whose points add up to it.

    `training_exclusion_reasons` is empty exactly when it is `training_eligible`.
    """

    score: int
    tier: Tier
    parts: tuple[Reason, ...]
    training_eligible: bool
    training_exclusion_reasons: tuple[ExclusionReason, ...]


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What the transcript lets one guess and nobody said: never to be shown or trained on as given feedback.

    None means that nothing tells. `feedback` has the names of the contract's feedback signals.
    """

    outcome: Outcome | None
    feedback: Feedback | None
    reasons: tuple[Reason, ...]


class CuratedEnrichment(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found out about one trajectory, and the version of the rules that found it."""

    rules_version: int
    cognitive_target: TargetVerdict
    model_verified: ModelVerdict
    quality_assessment: QualityVerdict
    derived: Derived
