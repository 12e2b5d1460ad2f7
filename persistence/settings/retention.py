"""How long what is stored is kept, by tier: `[retention]` of config.toml, which explains what each guards."""

import msgspec

from persistence.settings.bounds import NonNegativeInt


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days for which each tier is kept; 0 is for ever."""

    envelopes_days: NonNegativeInt = 0
    refused_days: NonNegativeInt = 0
    trajectories_days: NonNegativeInt = 0
    corpus_days: NonNegativeInt = 0
