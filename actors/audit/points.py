"""Whether a stored score can be what a server gave: against itself, against the steps, against the settings now. Pure.

A line is never scored again, and settings and their defaults change: so a score that differs from what would be given
now is no fault by itself. What no settings explain is one: parts that do not add up, points for what is not there.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from actors.trajectories.scoring import HEAVY, Score

MULTIPLIER_MAX: Final = 1_000
"""No setting makes a multiplier larger (`actors.trajectories.settings`)."""

ROUNDING: Final = 1e-9
"""Points are products and sums of doubles; relative."""

_SCORE: Final = msgspec.json.Decoder(Score)


def read_score(text: bytes) -> Score:
    """Read a line's `score`; raises msgspec.DecodeError."""
    return _SCORE.decode(text)


def faults(score: Score, step_type_counts: Mapping[str, int], task_complexity: str | None) -> Iterator[str]:
    """Yield what no settings explain."""
    steps = sum(step_type_counts.values())
    resolutions = step_type_counts.get("resolution", 0)
    subtotal = (
        score.base_points * score.model_multiplier
        + score.correction_bonus
        + score.coordination_bonus
        + score.error_recovery_bonus
        + score.complexity_bonus
    )
    if not math.isclose(score.total_points, subtotal + score.quality_bonus, rel_tol=ROUNDING, abs_tol=ROUNDING):
        yield f"its totalPoints are {score.total_points}, and its parts add up to {subtotal + score.quality_bonus}"
    heavy = score.base_points if task_complexity == HEAVY else 0
    bounds = (
        ("basePoints", score.base_points, 0, steps),
        ("modelMultiplier", score.model_multiplier, 0, MULTIPLIER_MAX),
        ("correctionBonus", score.correction_bonus, 0, step_type_counts.get("correction", 0) * MULTIPLIER_MAX),
        ("coordinationBonus", score.coordination_bonus, 0, step_type_counts.get("coordination", 0) * MULTIPLIER_MAX),
        (
            "errorRecoveryBonus",
            score.error_recovery_bonus,
            0,
            min(resolutions, step_type_counts.get("error", 0)) * MULTIPLIER_MAX,
        ),
        ("complexityBonus", score.complexity_bonus, -heavy, heavy * (MULTIPLIER_MAX - 1)),
        ("qualityBonus", score.quality_bonus, 0, max(subtotal, 0) if resolutions else 0),
    )
    for name, points, least, most in bounds:
        if not least <= points <= most:
            yield f"its {name} is {points}, where its steps allow for {least} to {most}"


def differences(stored: Score, now: Score) -> list[str]:
    """Return the names of the parts that would be others now, without the total, which follows from them."""
    names = (
        ("basePoints", stored.base_points == now.base_points),
        ("modelMultiplier", stored.model_multiplier == now.model_multiplier),
        ("correctionBonus", stored.correction_bonus == now.correction_bonus),
        ("coordinationBonus", stored.coordination_bonus == now.coordination_bonus),
        ("errorRecoveryBonus", stored.error_recovery_bonus == now.error_recovery_bonus),
        ("complexityBonus", stored.complexity_bonus == now.complexity_bonus),
        ("qualityBonus", stored.quality_bonus == now.quality_bonus),
    )
    return [name for name, is_equal in names if not is_equal]
