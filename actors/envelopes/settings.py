"""Settings of the envelope schema; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


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
    nesting_hard_max: Annotated[int, msgspec.Meta(ge=8, le=200)] = 200
    members_max: Annotated[int, msgspec.Meta(ge=16, le=10_000)] = 64
