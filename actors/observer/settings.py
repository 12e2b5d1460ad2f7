"""Settings of the observer; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt, PositiveSeconds


class ObserverSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of operations is kept, how often they are looked at, and where they are taken in."""

    enabled: bool = True
    listen: bool = False
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 3_800
    cycle_s: PositiveSeconds = 30.0
    ring_operations_max: PositiveInt = 2_000
    quota_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = 67_108_864
    body_bytes_max: Annotated[int, msgspec.Meta(ge=1_024)] = 65_536
    text_chars_max: PositiveInt = 2_000
    more_bytes_max: PositiveInt = 8_192
    corrections_path: str | None = None
    correction_bytes_max: PositiveInt = 65_536
    corrections_per_cycle_max: PositiveInt = 10_000
    own_sample_every: PositiveInt = 100
    own_waiting_max: PositiveInt = 1_000
    groups_max: PositiveInt = 500
    wordings_max: PositiveInt = 10_000
    near_cosine_min: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.85
    embeddings_per_cycle_max: PositiveInt = 64
    before_window_s: PositiveSeconds = 900.0
    playbooks_max: PositiveInt = 500
    judge_tokens_per_day_max: NonNegativeInt = 100_000
    requests_per_minute: PositiveInt = 6_000
    requests_per_hour: PositiveInt = 200_000
