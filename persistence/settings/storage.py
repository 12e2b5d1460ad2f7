"""Settings of what is on disk, each with its unit and its bounds; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the journals, of the projection that follows them and of the databases: `[storage]` of config.toml.

    One type for all rooms of this package, because their bounds are one matter: what the journals take in, projection
    has to follow, within one disk. A room of its own for each would be a section of its own for the operator, or names
    that no check of a section knows.
    """

    quota_bytes: PositiveInt = 50_000_000_000
    quota_warning_bytes: PositiveInt = 40_000_000_000
    refused_quota_bytes: PositiveInt = 5_000_000_000
    free_bytes_min: Annotated[int, msgspec.Meta(ge=0)] = 100_000_000
    journal_queue_lines_max: PositiveInt = 4_096
    journal_queue_bytes_max: PositiveInt = 75_497_472
    journal_batch_bytes_max: PositiveInt = 8_388_608
    journal_stall_max_s: PositiveSeconds = 30.0
    free_space_check_s: PositiveSeconds = 1.0
    recovery_batch_bytes_max: PositiveInt = 16_777_216
    projection_lag_lines_max: PositiveInt = 100_000
    projection_batch_lines_max: PositiveInt = 1_000
    fingerprint_filter_bytes: Annotated[int, msgspec.Meta(ge=0, le=536_870_912)] = 16_777_216
    projection_interval_s: PositiveSeconds = 0.25
    projection_retry_s: PositiveSeconds = 1.0
    open_batch_max: PositiveInt = 64
    open_queue_max: PositiveInt = 1_024
    wal_checkpoint_pages: PositiveInt = 4_000
    database_busy_timeout_s: PositiveSeconds = 5.0
    check_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02
    check_interval_h: PositiveSeconds = 24.0
    erasures_max: PositiveInt = 100_000
    erasure_sessions_at_once_max: PositiveInt = 1_000
    erasure_retry_s: PositiveSeconds = 600.0
    erasure_rest_s: PositiveSeconds = 30.0
