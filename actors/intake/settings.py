"""Settings of the intake; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request may bring, and how many requests one token may send."""

    records_max: PositiveInt = 64
    record_bytes_max: Annotated[int, msgspec.Meta(ge=1_024)] = 1_048_576
    requests_per_minute: PositiveInt = 600
    requests_per_hour: PositiveInt = 20_000
