"""Settings of curation; `config.toml` explains what each guards."""

from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class CurationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the corpus is made beside the server, and what that may take."""

    enabled: bool = True
    field_tags: bool = False
    poll_interval_s: PositiveSeconds = 1.0
    feedback_interval_s: PositiveSeconds = 60.0
    trajectory_bytes_max: PositiveInt = 536_870_912
    text_chars_max: PositiveInt = 16_777_216
    findings_max: PositiveInt = 100_000
    guarded_bytes_min: PositiveInt = 16_777_216
    attempts_max: PositiveInt = 2
    room_retry_s: PositiveSeconds = 5.0
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 19
    restart_delay_s: PositiveSeconds = 1.0
    restart_delay_max_s: PositiveSeconds = 300.0
    stop_grace_s: PositiveSeconds = 2.0
