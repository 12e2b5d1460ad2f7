"""The operations that the observer keeps: a journal of their own, which no database follows, and which forgets.

What is acknowledged is on disk. The oldest days go when the quota is reached or their time is over. A start looks at
the last commits alone, which are what a crash can have torn: so it takes as long with a million operations as with a
few. Those before were checked when they were the last, and are by `verify`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from persistence.files.durations import DurationStatistics
from persistence.files.file_system import FileSystem, Offload
from persistence.files.space import FreeSpace, Room
from persistence.files.whole_file import read_file, replace_file
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Mark, OperationRecord, Position, ReadUpTo
from persistence.journals.dropping import JournalQuota
from persistence.journals.journal import AppendRefused, Journal, JournalStatistics, Line
from persistence.journals.reading import Scan, StoredLine
from persistence.journals.recovery import Recovery, last_commits, last_lines
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd
from persistence.settings.storage import StorageSettings

NAME: Final = JournalName.OPERATIONS


class _Noted(msgspec.Struct, frozen=True):
    read_up_to: ReadUpTo
    n: int


_NOTED: Final = msgspec.json.Decoder(_Noted)


def line_of(record: OperationRecord) -> Line:
    """The line of an operation."""
    members = b'"operation":' + bytes(record.operation)
    if record.read_up_to is not None:
        members += b',"read_up_to":' + msgspec.json.encode(record.read_up_to)
    return Line(record, members)


class _Allowance:
    """The newest day may fill the quota, and no more: it is the one that cannot be dropped."""

    def __init__(self, quota: JournalQuota) -> None:
        self._quota = quota

    def room_for(self, size_bytes: int) -> Room:
        return self._quota.room_for(size_bytes) if self._quota.has_room_for(size_bytes) else Room.QUOTA_REACHED

    def add(self, size_bytes: int) -> None:
        self._quota.add(size_bytes)


class OperationsJournal:
    """The journal of operations, for the one process that writes it. Its files fail with StorageFailure."""

    def __init__(
        self, journal: Journal, quota: JournalQuota, layout: DataLayout, *, files: FileSystem, offload: Offload
    ) -> None:
        self._journal = journal
        self._quota = quota
        self._path = layout.observer
        self._directory = layout.journal(NAME)
        self._files = files
        self._offload = offload

    def __repr__(self) -> str:
        return f"<OperationsJournal {self._journal!r}>"

    @property
    def tail(self) -> Mark:
        """The end of what is on disk."""
        return self._journal.statistics().tail

    async def append(self, records: Sequence[OperationRecord]) -> tuple[list[Position], AppendRefused | None]:
        """Store operations in their order, in as many commits as they take; return where those are that are on disk.

        Where that are not all, also why the next one was not taken.
        """
        places: list[Position] = []
        waiting = [line_of(record) for record in records]
        while group := self._next_group(waiting):
            stored = await self._journal.append_many(group)
            if isinstance(stored, AppendRefused):
                return places, stored
            places += stored
        return places, None

    def _next_group(self, waiting: list[Line]) -> list[Line]:
        group: list[Line] = []
        size_bytes = 0
        while waiting and self._journal.fits_one_commit(len(group) + 1, size_bytes + waiting[0].size_bytes):
            size_bytes += waiting[0].size_bytes
            group.append(waiting.pop(0))
        return group

    def statistics(self) -> JournalStatistics:
        """Return the current figures."""
        return self._journal.statistics()

    def sync_durations(self) -> DurationStatistics:
        """How long syncs took."""
        return self._journal.sync_durations()

    def scan(self, start: int | Mark = 1) -> Scan:
        """Read what is on disk, from a line number or a mark on, but for what was dropped."""
        return self._journal.scan(start)

    async def newest(self, limit: int) -> list[StoredLine]:
        """The last `limit` lines, in order."""
        first_n = max(1, self.tail.n - limit + 1)
        start = await self._offload(last_lines, self._directory, self._files, first_n)
        return [line async for lines in self.scan(start) for line in lines if line.position.n >= first_n]

    @property
    def dropped_day(self) -> str:
        """The day up to which everything was dropped; "" before anything was."""
        return self._quota.dropped_day

    async def drop_before(self, day: str) -> int:
        """Drop the days before one, but never the newest; return how many lines are gone, as far as it can be now."""
        return await self._quota.drop_before(day)

    async def read_up_to(self) -> tuple[ReadUpTo, int]:
        """Up to where corrections were read, as was noted last, and the journal's last line then."""
        noted = await self._offload(read_file, self._files, self._path)
        try:
            found = _Noted(ReadUpTo(), 0) if noted is None else _NOTED.decode(noted)
        except msgspec.DecodeError:
            found = _Noted(ReadUpTo(), 0)  # the journal's own lines say it again
        return found.read_up_to, found.n

    async def note_read_up_to(self, read_up_to: ReadUpTo) -> None:
        """Note it, durably; raises OSError."""
        content = msgspec.json.encode(_Noted(read_up_to, self.tail.n)) + b"\n"
        await self._offload(replace_file, self._files, self._path, content)


@asynccontextmanager
async def open_operations(
    layout: DataLayout,
    settings: StorageSettings,
    *,
    quota_bytes: int,
    disk: FreeSpace,
    files: FileSystem,
    clock: Callable[[], float],
    offload: Offload,
) -> AsyncIterator[OperationsJournal]:
    """Recover the journal and open it for writing; on leaving, what waits is stored.

    Raises StorageDamage or StorageFailure, each with one sentence.
    """
    directory = layout.journal(NAME)
    files.make_directory(directory)
    tail = await offload(_recovered, layout, settings, files)
    end = JournalEnd(NAME, directory, tail, files=files, clock=clock)
    journals: list[Journal] = []
    quota = await offload(
        partial(
            JournalQuota,
            NAME,
            directory,
            quota_bytes=quota_bytes,
            files=files,
            offload=offload,
            clock=clock,
            disk=disk,
            tail=lambda: end.tail,
            settled=_settled,
            let_go=lambda dropped_bytes: journals[0].let_go(dropped_bytes),  # noqa: PLW0108 made later
        )
    )
    journal = Journal(
        end,
        offload=offload,
        offload_reading=offload,
        space=_Allowance(quota),
        settings=settings,
        stored_bytes=quota.stored_bytes,
        committed=lambda _name, _committed: None,
        has_room_behind=lambda: True,
    )
    journals.append(journal)
    async with trio.open_nursery() as dropping:
        dropping.start_soon(quota.run, name="operations' quota")
        async with trio.open_nursery() as writing:
            writing.start_soon(journal.run, name="operations journal")
            yield OperationsJournal(journal, quota, layout, files=files, offload=offload)
            journal.close()
        dropping.cancel_scope.cancel()


def _recovered(layout: DataLayout, settings: StorageSettings, files: FileSystem) -> Mark:
    """Check the last commits, cut off what is torn, and return where the journal ends."""
    directory = layout.journal(NAME)
    recovery = Recovery(
        NAME,
        directory,
        last_commits(directory, files),
        files=files,
        torn_directory=layout.torn,
        batch_bytes_max=settings.recovery_batch_bytes_max,
    )
    for _ in recovery.batches():
        pass
    return recovery.tail


async def _settled(_n: int) -> bool:
    """No database has to hold what operations say before they go."""
    await trio.lowlevel.checkpoint()
    return True


def stored_operations(layout: DataLayout) -> StoredJournal:
    """The journal of a data directory, for a command."""
    return StoredJournal.of(layout, NAME)
