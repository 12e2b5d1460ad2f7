"""Settings of sessions' figures, `[live]` of config.toml, which explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counting may take, what is remembered of it, and how often somebody may ask."""

    counted_sessions_max: PositiveInt = 1_000
    waiting_max: NonNegativeInt = 32
    histories_max: PositiveInt = 4
    history_bytes_max: Annotated[int, msgspec.Meta(ge=65_536, le=1_073_741_824)] = 67_108_864
    requests_per_minute: PositiveInt = 300
    requests_per_hour: PositiveInt = 6_000
