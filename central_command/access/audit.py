"""What administrators change, noted: one call for whoever changes something, once it is done and before the answer.

A line that cannot be written undoes nothing, because taking a token back must work on a full disk; who has asked is
told, and the log has it.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from persistence.audit import AuditEntry, AuditJournal, read_audit
from persistence.files.failures import DataDirectoryLocked, StorageDamage, StorageFailure
from persistence.files.file_system import Offload
from persistence.format.layout import DataLayout
from persistence.format.records import AuditRecord

log = logging.getLogger("central_command.audit")

COMMAND: Final = "command"
"""Who uses a command of the server's machine: as which user, only the system knows."""

READ_AT_ONCE: Final = 1_000
"""Lines in memory while the last ones are looked for."""

UNABLE: Final = (StorageFailure, StorageDamage, DataDirectoryLocked, OSError)


class NotNotedError(Exception):
    """It was done, and no line of the audit journal says so; the text is one sentence."""


class Audit:
    """The audit journal as the server uses it; `clock` gives seconds since the epoch."""

    def __init__(self, layout: DataLayout, *, clock: Callable[[], float], offload: Offload) -> None:
        self._layout = layout
        self._journal = AuditJournal(layout, clock=clock)
        self._offload = offload
        self._seen_n = 0
        """The number of a line that there is, so that the last ones are not looked for from the first."""

    def __repr__(self) -> str:
        return f"<Audit in {self._journal!r}>"

    async def note(self, actor: str, action: str, subject: str, address: str) -> None:
        """Note what was changed, durably: by which token or session (their ids), what, of what, from which address.

        None of it may be a secret, or anything that people wrote. Raises NotNotedError.
        """
        record = AuditRecord(actor=actor, action=action, subject=subject, address=address)
        try:
            await self._offload(self._journal.append, record)
        except UNABLE as failure:
            raise _not_noted(record, failure) from failure

    async def entries(self, *, after_n: int, limit: int) -> list[AuditEntry]:
        """The first lines behind a number. Raises StorageDamage or StorageFailure."""
        return await read_audit(self._layout, self._offload, after_n=after_n, since=0.0, limit=limit)

    async def latest(self, *, before_n: int | None, limit: int) -> list[AuditEntry]:
        """The last lines before a number, or of all, the latest first. Raises StorageDamage or StorageFailure."""
        if before_n is not None:
            count = min(limit, before_n - 1)
            return (await self.entries(after_n=before_n - 1 - count, limit=count))[::-1] if count else []
        last = deque[AuditEntry](maxlen=limit)
        after_n = max(0, self._seen_n - limit)
        while page := await self.entries(after_n=after_n, limit=READ_AT_ONCE):
            last.extend(page)
            after_n = page[-1].n
        self._seen_n = after_n
        return [*reversed(last)]


def note_command(layout: DataLayout, action: str, subject: str, *, clock: Callable[[], float]) -> None:
    """Note what a command has changed. Blocking; raises NotNotedError."""
    record = AuditRecord(actor=COMMAND, action=action, subject=subject, address="")
    try:
        AuditJournal(layout, clock=clock).append(record)
    except UNABLE as failure:
        raise _not_noted(record, failure) from failure


def _not_noted(record: AuditRecord, failure: Exception) -> NotNotedError:
    log.error("not in the audit journal: %s %s by %s: %s", record.action, record.subject, record.actor, failure)
    return NotNotedError(f"It was done, but the audit journal does not say so: {failure}".rstrip(".") + ".")
