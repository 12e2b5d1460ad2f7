"""From the journal's refusal of a line to the outcome that the client is told."""

from typing import assert_never

from actors.sessions.outcomes import Busy, BusyReason, FullReason, StorageFull
from persistence.journals.journal import AppendRefused


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
