"""Settings of sessions; `config.toml` explains what each guards."""

from enum import StrEnum

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds


class SequenceGaps(StrEnum):
    """What happens to an envelope whose sequence is higher than the expected one."""

    REFUSE = "refuse"
    ACCEPT = "accept"


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and times of sessions and of the actors that own them."""

    active_actors_max: PositiveInt = 4_096
    activation_wait_s: PositiveSeconds = 2.0
    mailbox_messages_max: PositiveInt = 128
    inline_bytes_max: PositiveInt = 262_144
    rewritten_bytes_max: PositiveInt = 5_242_880
    passivate_after_s: PositiveSeconds = 300.0
    abandon_after_h: PositiveSeconds = 24.0
    abandon_sweep_s: PositiveSeconds = 300.0
    abandon_batch_max: PositiveInt = 100
    envelopes_max: PositiveInt = 200
    session_bytes_max: PositiveInt = 268_435_456
    opens_per_machine_per_h: PositiveInt = 20
    opens_per_contributor_per_h: PositiveInt = 1_000
    unused_sessions_max: PositiveInt = 500_000
    sequence_gaps: SequenceGaps = SequenceGaps.ACCEPT
    chunk_buffer_bytes_max: PositiveInt = 2_097_152
    chunk_buffers_total_bytes_max: PositiveInt = 134_217_728
    stitches_at_once_max: PositiveInt = 1
    recent_runs_max: PositiveInt = 200_000
    guarded_close_bytes_min: PositiveInt = 16_777_216
    close_attempts_max: PositiveInt = 2
