"""Settings of search, `[search]` of config.toml, which explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import NonNegativeInt, PositiveInt, PositiveSeconds


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is indexed, and what answering may take."""

    enabled: bool = True
    semantic: bool = False
    batch_bytes_max: PositiveInt = 16_777_216
    hash_bytes_max: Annotated[int, msgspec.Meta(ge=1_048_576, le=1_073_741_824)] = 33_554_432
    hits_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    timeout_s: PositiveSeconds = 2.0
    concurrency_max: PositiveInt = 2
    waiting_max: NonNegativeInt = 32
    ranked_matches_max: PositiveInt = 5_000
    snippet_bytes_max: PositiveInt = 33_554_432
    embeddings_max: PositiveInt = 250_000
    requests_per_minute: PositiveInt = 300
    requests_per_hour: PositiveInt = 6_000
