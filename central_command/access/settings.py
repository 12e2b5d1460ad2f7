"""Settings of access; `config.toml` explains what each guards."""

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many tokens there may be, and how often an address may be wrong about one."""

    tokens_max: PositiveInt = 1_000
    wrong_per_minute: PositiveInt = 10
    wrong_per_hour: PositiveInt = 100
    last_use_interval_s: PositiveSeconds = 60.0
