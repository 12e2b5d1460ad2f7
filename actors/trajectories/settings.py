"""Settings of scoring; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt

Multiplier = Annotated[float, msgspec.Meta(ge=0, le=1_000)]


def _model_tiers() -> dict[str, float]:
    return {
        "claude-opus-4-6": 5,
        "claude-opus-4-7": 5,
        "claude-sonnet-4-6": 3,
        "gpt-4.5": 5,
        "gpt-5.5": 5,
        "o3": 5,
        "o4-mini": 2,
        "gemini-2.5-pro": 3,
        "gemini-2.5-flash": 1.5,
    }


class ScoringSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trajectory is worth (contract, "TrajectoryScorer" and "shared/constants.js")."""

    model_tiers: dict[str, Multiplier] = msgspec.field(default_factory=_model_tiers)
    steps_max: PositiveInt = 5_000
    correction_multiplier: Multiplier = 10
    correction_share_max: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    coordination_multiplier: Multiplier = 5
    coordination_share_max: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    error_recovery_multiplier: Multiplier = 3
    heavy_task_multiplier: Multiplier = 2
    quality_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    quality_steps_min: PositiveInt = 5
    copied_chars_min: PositiveInt = 64
    copied_start_chars_min: PositiveInt = 32
