"""Scoring: what a trajectory is worth to its contributor (contract, "TrajectoryScorer"). Pure.

Copies of steps that were credited before are left out by whoever counts (`actors.trajectories.copies`).

All of it is derived from the steps themselves, nothing from what the client reports about them, but for the model and
the task's complexity, which only the client knows. Shares are rounded down. An error counts as recovered when a
resolution stands against it, whatever their order.
"""

import math
from collections.abc import Mapping

import msgspec

from actors.trajectories.models import tier_of
from actors.trajectories.settings import ScoringSettings

HEAVY = "heavy"


class Score(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A score with its parts, in points; a multiplier of 1.5 can make halves of them. In JSON the names are camelCase.

    `total_points` is `base_points` times `model_multiplier`, and all bonuses.
    """

    base_points: int
    model_multiplier: float
    correction_bonus: float
    coordination_bonus: float
    error_recovery_bonus: float
    complexity_bonus: float
    quality_bonus: int
    total_points: float

    def multiplier_breakdown(self) -> str:
        """The score's parts as JSON text, the same as in the trajectory's line."""
        return msgspec.json.encode(self).decode()


def score(
    step_type_counts: Mapping[str, int], model: str, task_complexity: str | None, settings: ScoringSettings
) -> Score:
    """Score a trajectory by how many new steps of each type it has; a model without a tier multiplies by 1."""
    steps = sum(step_type_counts.values())
    corrections = min(step_type_counts.get("correction", 0), math.floor(steps * settings.correction_share_max))
    coordinations = min(step_type_counts.get("coordination", 0), math.floor(steps * settings.coordination_share_max))
    resolutions = step_type_counts.get("resolution", 0)
    errors_recovered = min(resolutions, step_type_counts.get("error", 0))

    base_points = min(steps, settings.steps_max)
    tier = tier_of(model, settings.model_tiers)
    model_multiplier = 1 if tier is None else tier
    correction_bonus = corrections * settings.correction_multiplier
    coordination_bonus = coordinations * settings.coordination_multiplier
    error_recovery_bonus = errors_recovered * settings.error_recovery_multiplier
    # The multiplier says how often a heavy task's base points count; once, they are in the subtotal anyway.
    complexity_bonus = base_points * (settings.heavy_task_multiplier - 1) if task_complexity == HEAVY else 0
    subtotal = base_points * model_multiplier + (
        correction_bonus + coordination_bonus + error_recovery_bonus + complexity_bonus
    )
    has_quality = resolutions > 0 and settings.quality_steps_min <= steps <= settings.steps_max
    quality_bonus = math.floor(subtotal * settings.quality_share) if has_quality else 0
    return Score(
        base_points=base_points,
        model_multiplier=_plain(model_multiplier),
        correction_bonus=_plain(correction_bonus),
        coordination_bonus=_plain(coordination_bonus),
        error_recovery_bonus=_plain(error_recovery_bonus),
        complexity_bonus=_plain(complexity_bonus),
        quality_bonus=quality_bonus,
        total_points=_plain(subtotal + quality_bonus),
    )


def _plain(points: float) -> float:
    """Whole points as an integer: JSON then shows `5`, as the contract does, also for a tier configured as `5.0`."""
    return int(points) if points == int(points) else points
