"""Settings of sessions, of the envelope schema and of scoring; `config.toml` explains what each guards."""

from enum import StrEnum
from typing import Annotated

import msgspec

from persistence.bounds import PositiveInt, PositiveSeconds

Multiplier = Annotated[float, msgspec.Meta(ge=0, le=1_000)]


class SequenceGaps(StrEnum):
    """What happens to an envelope whose sequence is higher than the expected one."""

    REFUSE = "refuse"
    ACCEPT = "accept"


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and times of sessions and of the actors that own them."""

    active_actors_max: PositiveInt = 4_096
    activation_wait_s: PositiveSeconds = 2.0
    mailbox_messages_max: PositiveInt = 128
    inline_bytes_max: PositiveInt = 262_144
    passivate_after_s: PositiveSeconds = 300.0
    abandon_after_h: PositiveSeconds = 24.0
    abandon_sweep_s: PositiveSeconds = 300.0
    abandon_batch_max: PositiveInt = 100
    envelopes_max: PositiveInt = 200
    session_bytes_max: PositiveInt = 268_435_456
    opens_per_machine_per_h: PositiveInt = 20
    sequence_gaps: SequenceGaps = SequenceGaps.REFUSE
    chunk_buffer_bytes_max: PositiveInt = 1_048_576
    chunk_buffers_total_bytes_max: PositiveInt = 134_217_728
    stitches_at_once_max: PositiveInt = 1


class SchemaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of what an envelope may hold (contract, "shared/envelope-schema.js"; decisions, "Schema")."""

    providers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("claude-code", "codex", "gemini")
    steps_max: PositiveInt = 500
    step_content_chars_max: PositiveInt = 100_000
    token_count_max: PositiveInt = 100_000
    step_number_max: PositiveInt = 50_000
    timestamp_age_s_max: PositiveSeconds = 604_800.0
    timestamp_ahead_s_max: PositiveSeconds = 3_600.0
    sequence_max: PositiveInt = 1_000_000
    model_engine_chars_max: PositiveInt = 100
    agent_role_chars_max: PositiveInt = 50
    agent_id_chars_max: PositiveInt = 100
    team_size_max: PositiveInt = 50
    groove_version_chars_max: PositiveInt = 20
    nesting_max: Annotated[int, msgspec.Meta(ge=8, le=200)] = 64
    members_max: Annotated[int, msgspec.Meta(ge=16, le=10_000)] = 64


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
