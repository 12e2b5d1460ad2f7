"""Settings of jobs; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt, PositiveSeconds

Cron = Annotated[str, msgspec.Meta(max_length=100)]
"""Five fields, in UTC; empty for never."""


class JobsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How jobs are run and kept, and when the server's own are: `[jobs]` of config.toml."""

    poll_s: PositiveSeconds = 2.0
    lease_s: PositiveSeconds = 60.0
    storage_retry_s: PositiveSeconds = 10.0
    waiting_max: PositiveInt = 10_000
    payload_bytes_max: PositiveInt = 65_536
    result_bytes_max: PositiveInt = 65_536
    log_lines_max: PositiveInt = 200
    log_line_chars_max: PositiveInt = 1_000
    completed_days: PositiveInt = 7
    completed_max: PositiveInt = 10_000
    prune_at_once_max: PositiveInt = 1_000
    page_max: PositiveInt = 200
    requests_per_minute: PositiveInt = 300
    requests_per_hour: PositiveInt = 6_000
    verify_cron: Cron = "0 3 * * 0"
    retention_cron: Cron = "30 3 * * *"
    gc_cron: Cron = "0 4 * * *"
    summarization_cron: Cron = "0 */6 * * *"
    summaries_at_once_max: PositiveInt = 1_000
    ledger_digest_cron: Cron = "15 0 * * *"
    tier_management_cron: Cron = "0 3 * * *"
    backup_cron: Cron = "0 2 * * *"
    backup_dir: str | None = None
    backups_kept: PositiveInt = 7
    process_timeout_s: PositiveSeconds = 21_600.0
    exports_days: NonNegativeInt = 90
    tokens_days: PositiveInt = 30
    drafts_hours: PositiveInt = 24
