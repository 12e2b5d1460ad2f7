"""When days of journals are compressed, and where they are archived: `[tiers]` of config.toml, which explains both."""

import msgspec

from persistence.settings.bounds import NonNegativeInt


class TierSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days after which a day's file is made cold, 0 for never, and the folder that it is then moved to, if any."""

    compress_after_days: NonNegativeInt = 0
    archive_dir: str | None = None
