"""The quota of a journal that may forget: when it is reached, the oldest days go; so do those whose time is over.

Refused envelopes are kept so that a later version can take them in, and nobody can be sent them again. They must not
take the disk from what was accepted, so they have a quota of their own, and what was refused first goes first: whole
day files, never the newest. While older days are there, the quota can be passed by what they hold until they are gone.
When only the newest is left and full, `has_room_for` says so, and letters are kept without their bodies.

Of operations the same holds, but that the databases know nothing of them (`persistence.operations`).

A line is what the databases are made from, and it has used up a number of its session. So before a day goes, the
databases hold all that its lines say, synced (`settled`); then `dropped.jsonl` says that it goes, synced; then it is
unlinked, and its folder synced. A process that ends in between leaves a file that is no part of the journal any more,
and the next start removes it.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from persistence.files.failures import StorageFailure
from persistence.files.file_system import FileSystem, Offload
from persistence.files.space import FreeSpace, Room
from persistence.format import times
from persistence.format.records import Dropped, JournalName, Mark
from persistence.journals.day_files import DayFiles
from persistence.journals.day_names import name_of
from persistence.journals.scanning import first_number
from persistence.journals.writing import NO_ROOM_ERRNOS

log = logging.getLogger("central_command.storage")

RETRY_S: Final = 1.0
"""Until a day is dropped after there was no room to note it, or its lines' rows could not be synced."""


_LINES: Final = {JournalName.REFUSED: "refused envelopes", JournalName.OPERATIONS: "operations"}
"""What lines are called in the log."""


class QuotaStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal takes of its quota, and what was dropped of it since the beginning."""

    stored_bytes: int
    quota_bytes: int
    days_dropped: int
    dropped_bytes: int


class _OldDay(msgspec.Struct, frozen=True):
    day: str
    last_n: int
    size_bytes: int


class JournalQuota:
    """What a journal holds, day by day, and what it may hold; `run` drops the oldest days.

    `tail` is the end of the journal, `settled` returns once the databases hold its lines up to a number for good, or
    False when they cannot now; `let_go` is told how many bytes are dropped.
    """

    def __init__(
        self,
        name: JournalName,
        directory: Path,
        *,
        quota_bytes: int,
        files: FileSystem,
        offload: Offload,
        clock: Callable[[], float],
        disk: FreeSpace,
        tail: Callable[[], Mark],
        settled: Callable[[int], Awaitable[bool]],
        let_go: Callable[[int], None],
    ) -> None:
        self._name = name
        self._lines = _LINES[name]
        self._files = DayFiles(files, directory)
        self._quota_bytes = quota_bytes
        self._offload = offload
        self._clock = clock
        self._disk = disk
        self._tail = tail
        self._settled = settled
        self._let_go = let_go
        present = self._files.present()
        self._dropped = present.dropped
        self._sizes = {day: self._files.size_bytes(day) for day in present.days}
        self._kept_from = ""
        self._excess = trio.Event()
        self._turn = trio.Lock()
        self._look_for_excess()

    def __repr__(self) -> str:
        return f"<JournalQuota {self._name} {self.stored_bytes} of {self._quota_bytes} bytes>"

    @property
    def dropped_day(self) -> str:
        """The day up to which everything was dropped; "" before anything was."""
        return self._dropped.day

    @property
    def dropped_n(self) -> int:
        """The number of the last line that was dropped; 0 before."""
        return self._dropped.n

    @property
    def stored_bytes(self) -> int:
        """What the journal holds."""
        return sum(self._sizes.values())

    def room_for(self, size_bytes: int) -> Room:
        """Say whether `size_bytes` more may be stored: as long as the disk has room, at least without a body."""
        return self._disk.room_for(size_bytes)

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether the quota takes so much more, with all days dropped that can be."""
        newest = max(times.day_of(self._clock()), self._tail().day)
        return self._sizes.get(newest, 0) + size_bytes <= self._quota_bytes

    def add(self, size_bytes: int) -> None:
        """Count bytes that are now at the journal's end."""
        day = self._tail().day
        self._sizes[day] = self._sizes.get(day, 0) + size_bytes
        self._disk.add(size_bytes)
        self._look_for_excess()

    def _look_for_excess(self) -> None:
        if self._has_excess():
            self._excess.set()

    def _has_excess(self) -> bool:
        """Whether the oldest day has to go, which is not the newest: the quota is passed, or its time is over."""
        if len(self._sizes) < 2:
            return False
        return self.stored_bytes > self._quota_bytes or min(self._sizes) < self._kept_from

    async def drop_before(self, day: str) -> int:
        """Drop the days before one, but never the newest; return how many lines are gone, as far as it can be now."""
        self._kept_from, before = max(self._kept_from, day), self._dropped.n
        await self._drop_excess()
        return self._dropped.n - before

    async def run(self) -> None:
        """Drop the oldest days whenever the quota is passed, until cancelled.

        Raises StorageFailure when the disk cannot be relied on.
        """
        while True:
            await self._excess.wait()
            self._excess = trio.Event()
            if not await self._drop_excess():
                await trio.sleep(RETRY_S)
                self._look_for_excess()

    async def _drop_excess(self) -> bool:
        """Drop the oldest days while they have to go; False when that is not possible now."""
        async with self._turn:
            while self._has_excess():
                oldest = await self._offload(self._oldest)
                if oldest is None:
                    return True  # the newest day has no line yet: its first one begins this anew
                if not await self._drop_day(oldest):
                    return False
            return True

    async def _drop_day(self, oldest: _OldDay) -> bool:
        """Drop the oldest day; False when that is not possible now."""
        if not await self._settled(oldest.last_n):
            return False
        before = self._dropped
        dropped = Dropped(oldest.last_n, oldest.day, before.files + 1, before.size_bytes + oldest.size_bytes)
        if not await self._offload(self._drop, dropped):
            return False
        self._dropped = dropped
        for day in [day for day in self._sizes if day <= dropped.day]:
            self._let_go(self._sizes.pop(day))
        if oldest.day < self._kept_from:
            log.info("the %s of %s were dropped (lines %d to %d)", self._lines, oldest.day, before.n + 1, dropped.n)
        else:
            log.warning(
                "the %s have reached their quota of %d bytes: those of %s were dropped (lines %d to %d)",
                self._lines,
                self._quota_bytes,
                oldest.day,
                before.n + 1,
                dropped.n,
            )
        return True

    def _oldest(self) -> _OldDay | None:
        """The oldest day and its last line; None while no line of a later day says which that is."""
        try:
            first, *later = self._files.days()
            numbers = (first_number(self._files, day) for day in later)
            following = next((number for number in numbers if number is not None), None)
            return None if following is None else _OldDay(first, following - 1, self._files.size_bytes(first))
        except OSError as error:
            raise StorageFailure(f"reading the {self._name} journal failed: {error.strerror}") from error

    def _drop(self, dropped: Dropped) -> bool:
        """Note that a day is dropped, and remove its file; False, with nothing done, without room to note it."""
        try:
            self._files.note_dropped(dropped, times.to_microseconds_precision(self._clock()))
        except OSError as error:
            if error.errno not in NO_ROOM_ERRNOS:
                raise StorageFailure(
                    f"noting that {name_of(dropped.day)} is dropped failed: {error.strerror}"
                ) from error
            return False
        try:
            self._files.remove_dropped()
        except OSError as error:
            raise StorageFailure(f"dropping {name_of(dropped.day)} failed: {error.strerror}") from error
        return True

    def statistics(self) -> QuotaStatistics:
        """Return the current figures."""
        return QuotaStatistics(
            stored_bytes=self.stored_bytes,
            quota_bytes=self._quota_bytes,
            days_dropped=self._dropped.files,
            dropped_bytes=self._dropped.size_bytes,
        )
