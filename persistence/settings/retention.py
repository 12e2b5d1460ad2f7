"""How long what is stored is kept, by tier: `[retention]` of config.toml, which explains what each guards."""

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days for which each tier is kept, 0 for ever; and how much of what is past them is erased together."""

    envelopes_days: NonNegativeInt = 0
    refused_days: NonNegativeInt = 0
    trajectories_days: NonNegativeInt = 0
    intake_days: NonNegativeInt = 0
    corpus_days: NonNegativeInt = 0
    operations_days: NonNegativeInt = 30
    lines_at_once_max: PositiveInt = 100_000
    records_at_once_max: PositiveInt = 100_000

    @property
    def takes_lines(self) -> bool:
        """Whether any tier loses single lines, or what they held, after its days."""
        return any((self.envelopes_days, self.trajectories_days, self.intake_days, self.corpus_days))
