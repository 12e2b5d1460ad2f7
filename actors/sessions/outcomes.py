"""What can come of a message to a session: values to be matched on, not exceptions.

Exceptions in this layer mean a bug or a broken disk. `central_command.http.requests.replies` maps each to its
answer.
"""

from enum import StrEnum
from typing import assert_never

import msgspec

from actors.envelopes.refusals import InvalidPublicKey, Refusal
from persistence.journals.journal import AppendRefused


class Accepted(msgspec.Struct, frozen=True):
    """The envelope is on disk; `duplicate` when it already was (a resend after a lost answer)."""

    envelope_id: str
    duplicate: bool = False


class Opened(msgspec.Struct, frozen=True):
    """The session is open and its keys are on disk; `server_public_key` is base64 of an uncompressed P-256 point."""

    server_public_key: str


class KeyConflict(msgspec.Struct, frozen=True):
    """The session id is already open with another public key."""


class MachineLimit(msgspec.Struct, frozen=True):
    """Too many sessions were opened by one machine, or with one contributor's key, within an hour."""

    retry_after_s: int


class Credit(msgspec.Struct, frozen=True):
    """What a closed session was worth.

    `copied_steps` of its steps stood in earlier sessions, most of them in `copied_from`, and earned nothing. Without a
    tier its model counts 1.
    """

    total_points: float
    total_steps: int
    copied_steps: int = 0
    copied_from: str | None = None
    has_model_tier: bool = True


class Closed(msgspec.Struct, frozen=True):
    """The session is closed; `credit` is None when it held no chunk."""

    already_closed: bool
    credit: Credit | None


class UnknownSession(msgspec.Struct, frozen=True):
    """No such session (for a close by HTTP)."""


class StillActive(msgspec.Struct, frozen=True):
    """The session was to be closed as abandoned, but something came from it meanwhile."""


class Forgotten(msgspec.Struct, frozen=True):
    """The session was to be closed as abandoned, and nothing ever came from it: it is gone without a trace."""


class BusyReason(StrEnum):
    """Why the server cannot take something now; a retry will help."""

    MAILBOX_FULL = "mailbox_full"
    SESSIONS_FULL = "sessions_full"
    JOURNAL_FULL = "journal_full"
    SHUTTING_DOWN = "shutting_down"
    STORAGE_FAILED = "storage_failed"
    SET_ASIDE = "set_aside"
    BEING_ERASED = "being_erased"


class Busy(msgspec.Struct, frozen=True):
    """Overload, shutdown or a storage out of order: nothing was done, and the same request may be sent again."""

    reason: BusyReason


class FullReason(StrEnum):
    """Why nothing more can be stored."""

    QUOTA = "quota"
    DISK_FULL = "disk_full"
    UNUSED_SESSIONS = "unused_sessions"
    CONTRIBUTORS = "contributors"


class StorageFull(msgspec.Struct, frozen=True):
    """The quota is reached, the disk is full, or there is too much else: nothing was stored."""

    reason: FullReason


class ActorFailed(msgspec.Struct, frozen=True):
    """A bug ended the session's actor; the next message activates it afresh from what is durable."""


class TakenIn(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter is an accepted envelope now, or was before (`already`).

    `is_stitched` says whether the session's trajectory has it, or will; otherwise that was written before, and stays.
    """

    letter_id: str
    envelope_id: str
    already: bool
    is_stitched: bool


class StaysRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter stays one: one sentence says why. `code` is that of a refusal, or of what it lacks."""

    letter_id: str
    code: str
    reason: str


LetterOutcome = TakenIn | StaysRefused

OpenOutcome = Opened | KeyConflict | InvalidPublicKey | MachineLimit | Busy | StorageFull | ActorFailed
CloseOutcome = Closed | UnknownSession | Busy | StorageFull | ActorFailed
AbandonOutcome = CloseOutcome | StillActive | Forgotten
IngestOutcome = Accepted | Refusal | Busy | StorageFull | ActorFailed
RetryOutcome = tuple[LetterOutcome, ...] | Busy | StorageFull | ActorFailed
IngestOutcomes = tuple[IngestOutcome, ...] | Busy | ActorFailed
"""An outcome for each envelope in order, or one for all of them."""


def unavailable(refused: AppendRefused) -> Busy | StorageFull:
    """Return the outcome of a line that the journal did not take."""
    match refused:
        case AppendRefused.QUEUE_FULL | AppendRefused.PROJECTION_BEHIND:
            return Busy(BusyReason.JOURNAL_FULL)
        case AppendRefused.CLOSED:
            return Busy(BusyReason.SHUTTING_DOWN)
        case AppendRefused.QUOTA_REACHED:
            return StorageFull(FullReason.QUOTA)
        case AppendRefused.DISK_FULL:
            return StorageFull(FullReason.DISK_FULL)
        case unreachable:
            assert_never(unreachable)
