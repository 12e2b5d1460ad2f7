"""The statistics that the service answers with (contract, "Stats Endpoints"), encoded as they are served."""

import msgspec


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Totals since the beginning. Sizes are in units of 2^20 bytes, two decimals; `storage_size_mb` is all journals.

    `unused_sessions` are those of the active ones that nothing came from yet. Of refused envelopes: what they take,
    what they may, how many were kept without their body since the beginning, and how many days of them were dropped.
    """

    total_envelopes: int
    total_steps: int
    total_sessions: int
    active_sessions: int
    unique_contributors: int
    storage_size_mb: float
    total_points_awarded: float
    unused_sessions: int
    refused_size_mb: float
    refused_quota_mb: float
    refused_without_body: int
    refused_days_dropped: int


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One UTC day: envelopes and steps received, sessions and points credited."""

    date: str
    envelopes: int
    steps: int
    sessions: int
    points: float


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One model: `percentage` is its share of all steps, one decimal."""

    sessions: int
    steps: int
    points: float
    percentage: float


class ProviderReport(msgspec.Struct, frozen=True, kw_only=True):
    """One provider."""

    sessions: int
    steps: int
    points: float


class LeaderboardEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One contributor; `contributor_id` is cut to its first 8 characters."""

    contributor_id: str
    total_points: float
    total_sessions: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """All that `GET /v1/stats/…` answers, in one value."""

    summary: Summary
    daily: list[DayReport]
    models: dict[str, ModelReport]
    providers: dict[str, ProviderReport]
    leaderboard: list[LeaderboardEntry]
