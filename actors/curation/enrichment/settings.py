"""Settings of enrichment; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds

Count = Annotated[int, msgspec.Meta(ge=0)]
Points = Annotated[int, msgspec.Meta(ge=0, le=100)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class EnrichmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a trajectory is of a tier, fit for training, or a near copy of another; and the optional judge."""

    tier_a_points_min: Points = 70
    tier_b_points_min: Points = 50
    training_steps_min: Count = 5
    training_tokens_min: Count = 500
    training_duration_s_min: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    training_sequence_gaps_max: Count = 0
    training_cut_arguments_max: Count = 0
    duplicate_similarity_min: Share = 0.5
    field_confidence_min: Share = 0.05
    judge_url: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    judge_model: str = ""
    judge_batch_sessions_max: PositiveInt = 8
    judge_session_chars_max: PositiveInt = 12_000
    judge_tokens_per_day_max: Count = 1_000_000
    judge_timeout_s: PositiveSeconds = 60.0
    judge_answer_bytes_max: PositiveInt = 65_536
    judge_record_bytes_max: PositiveInt = 16_777_216
    judge_attempts_max: PositiveInt = 3
    judge_interval_s: PositiveSeconds = 30.0
    judge_retry_s: PositiveSeconds = 60.0
    judge_retry_max_s: PositiveSeconds = 3_600.0
