"""Settings of enrichment; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Points = Annotated[int, msgspec.Meta(ge=0, le=100)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class EnrichmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a trajectory is of a tier, fit for training, or a near copy of another one."""

    tier_a_points_min: Points = 70
    tier_b_points_min: Points = 50
    training_steps_min: Count = 5
    training_tokens_min: Count = 500
    training_duration_s_min: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    training_sequence_gaps_max: Count = 0
    training_cut_arguments_max: Count = 0
    duplicate_similarity_min: Share = 0.5
    field_confidence_min: Share = 0.05
