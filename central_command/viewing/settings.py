"""Settings of the session viewer, `[viewer]` of config.toml, which explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt, PositiveSeconds


class ViewerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one look at a session may take."""

    window_steps: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    window_bytes_max: PositiveInt = 262_144
    step_bytes_max: Annotated[int, msgspec.Meta(ge=1_024, le=1_048_576)] = 65_536
    head_bytes_max: PositiveInt = 8_388_608
    copy_chars_max: PositiveInt = 400_000
    download_bytes_max: PositiveInt = 33_554_432
    hits_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50
    turns_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    sessions_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50
    timeout_s: PositiveSeconds = 2.0
    concurrency_max: PositiveInt = 4
    waiting_max: NonNegativeInt = 64
    live_max: NonNegativeInt = 16
    live_poll_s: PositiveSeconds = 1.0
