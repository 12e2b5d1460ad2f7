"""Settings of access; `config.toml` explains what each guards."""

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many tokens and browser sessions there may be, for how long, and how often an address may be wrong."""

    tokens_max: PositiveInt = 1_000
    wrong_per_minute: PositiveInt = 10
    wrong_per_hour: PositiveInt = 100
    last_use_interval_s: PositiveSeconds = 60.0
    requests_per_minute: PositiveInt = 600
    requests_per_hour: PositiveInt = 20_000
    browser_sessions_max: PositiveInt = 1_000
    browser_session_s: PositiveSeconds = 43_200.0
    links_max: PositiveInt = 100
    link_s: PositiveSeconds = 600.0
    bans_max: PositiveInt = 10_000
    bans_refresh_s: PositiveSeconds = 5.0
