"""Settings of exports; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large an export's files become, and what making them may take."""

    shard_bytes_max: Annotated[int, msgspec.Meta(ge=1_000, le=500_000_000)] = 500_000_000
    row_group_bytes_max: Annotated[int, msgspec.Meta(ge=1_000, le=100_000_000)] = 33_554_432
    benchmark_ngrams_max: PositiveInt = 2_000_000
    family_bytes_max: PositiveInt = 64_000_000
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10
    workers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    worker_bytes_min: PositiveInt = 33_554_432
    worker_batch_bytes_max: PositiveInt = 524_288
    directory: str | None = None
    waiting_max: PositiveInt = 10
    kept_max: PositiveInt = 100
    stop_grace_s: PositiveSeconds = 2.0
    page_records_max: PositiveInt = 500
    page_bytes_max: PositiveInt = 4_194_304
    page_line_bytes_max: PositiveInt = 33_554_432
    readers_max: PositiveInt = 2
    readers_waiting_max: PositiveInt = 32
    requests_per_minute: PositiveInt = 120
    requests_per_hour: PositiveInt = 2_000
