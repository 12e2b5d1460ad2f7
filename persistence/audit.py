"""The audit journal: a line for each thing that an administrator has changed, written by whoever has changed it.

It is the one journal that several processes write, commands beside the server. So each line is written in a turn: with
the lock held, the end is looked for from where this process knows it, what a crash has torn is cut off, the line is
written and synced, and the lock let go. That costs some syncs, which nobody notices who changes something a few times a
day. The first turn of a process reads all of the journal: a hundred thousand lines in a second.

No line holds a secret, or anything that people wrote: ids and digests, and what was done.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from persistence.files.failures import StorageFailure
from persistence.files.file_system import FileSystem, Offload, OsFileSystem
from persistence.files.lock import audit_turn
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import AuditRecord, JournalName, Mark
from persistence.journals.lines import parse_audit_line
from persistence.journals.reading import JournalDamage
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd

BATCH_BYTES_MAX: Final = 1_048_576
"""Bytes of lines that are in memory while the end is looked for."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it is shown: its number, when it was written, and what it says."""

    n: int
    at: str
    actor: str
    action: str
    subject: str
    address: str


class AuditSize(msgspec.Struct, frozen=True):
    """How many lines the audit journal has, and how many bytes."""

    lines: int
    stored_bytes: int


NO_AUDIT: Final = AuditSize(0, 0)


class NoRoomForAudit(StorageFailure):
    """The disk takes no line now."""


class AuditJournal:
    """The audit journal of a data directory; `clock` gives seconds since the epoch."""

    def __init__(self, layout: DataLayout, *, clock: Callable[[], float], files: FileSystem | None = None) -> None:
        self._layout = layout
        self._clock = clock
        self._files = files or OsFileSystem()
        self._known = Mark()

    def __repr__(self) -> str:
        return f"<AuditJournal n={self._known.n}>"

    def append(self, record: AuditRecord) -> None:
        """Write a line, and return once it is on disk. Blocking.

        Raises NoRoomForAudit, DataDirectoryLocked, StorageDamage or StorageFailure.
        """
        directory = self._layout.journal(JournalName.AUDIT)
        with audit_turn(self._layout.root):
            self._files.make_directory(directory)
            end = JournalEnd(JournalName.AUDIT, directory, self._end(), files=self._files, clock=self._clock)
            try:
                written = end.write([(msgspec.json.encode(record)[1:-1], b"")])
            finally:
                end.close()
            self._known = end.tail
        if written is None:
            raise NoRoomForAudit("there is no room on the disk for a line of the audit journal")

    def _end(self) -> Mark:
        recovery = Recovery(
            JournalName.AUDIT,
            self._layout.journal(JournalName.AUDIT),
            self._known,
            files=self._files,
            torn_directory=self._layout.torn,
            batch_bytes_max=BATCH_BYTES_MAX,
        )
        for _ in recovery.batches():
            pass
        return recovery.tail


class AuditTail:
    """Tells how much the audit journal holds, whoever writes it: each look goes on where the last one has ended."""

    def __init__(self, layout: DataLayout, offload: Offload) -> None:
        self._journal = StoredJournal(JournalName.AUDIT, layout.journal(JournalName.AUDIT), offload=offload)
        self._offload = offload
        self._reached = Mark()

    def __repr__(self) -> str:
        return f"<AuditTail n={self._reached.n}>"

    async def size(self) -> AuditSize:
        """Look again; what is damaged, whoever checks the lines says, and it ends before it."""
        try:
            async for lines in self._journal.scan(self._reached):
                self._reached = lines[-1].position.end
            stored = await self._offload(self._journal.statistics)
        except (JournalDamage, StorageFailure, OSError):
            return AuditSize(self._reached.n, 0)
        return AuditSize(self._reached.n, stored.stored_bytes)


async def read_audit(
    layout: DataLayout, offload: Offload, *, after_n: int, since: float, limit: int
) -> list[AuditEntry]:
    """The first lines behind a number, and not before a time in seconds since the epoch; at most `limit`.

    Raises JournalDamage where a line is missing or changed, StorageFailure when the disk fails.
    """
    journal = StoredJournal(JournalName.AUDIT, layout.journal(JournalName.AUDIT), offload=offload)
    entries: list[AuditEntry] = []
    async for lines in journal.scan(after_n + 1):
        for line in lines:
            if line.position.at < since:
                continue
            record = parse_audit_line(line.text)
            at = times.to_text(line.position.at)
            entries.append(AuditEntry(n=line.position.n, at=at, **msgspec.structs.asdict(record)))
            if len(entries) == limit:
                return entries
    return entries
