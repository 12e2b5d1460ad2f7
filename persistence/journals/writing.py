"""The end of a journal that is being written: framed lines at a tracked offset, synced. Blocking, one call at a time.

What can fail, and what it means:
- No room (ENOSPC, EDQUOT, EFBIG on the write): the file is cut back to the last synced offset, and nothing was kept.
- Anything else (EIO, any failed sync, a failed cut): what is on disk is unknown, and a second sync may report success
  for pages that the kernel has already dropped. That is a `StorageFailure`, which ends the process; a restart reads
  what is there.

Rejected: `O_APPEND` (a failed write leaves the offset unknown), a write and a sync per line (an order of magnitude
slower).
"""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from persistence.files.failures import StorageFailure
from persistence.files.file_system import Buffer, File, FileSystem, Offload
from persistence.format import times
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.framing import frame
from persistence.journals.stored import StoredJournal

NO_ROOM_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JournalEnd:
    """Where a journal is written to; `tail` is the end of what is synced."""

    def __init__(
        self, name: JournalName, directory: Path, tail: Mark, *, files: FileSystem, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.tail = tail
        self._file_system = files
        self._files = DayFiles(files, directory)
        self._clock = clock
        self._file: File | None = None

    def reader(self, offload: Offload) -> StoredJournal:
        """Return the reader of what is synced; `offload` is not that of `write`: no commit waits for a read."""
        return StoredJournal(
            self.name, self._files.directory, files=self._file_system, offload=offload, acknowledged=lambda: self.tail
        )

    def write(self, lines: Iterable[tuple[bytes, bytes]]) -> list[Position] | None:
        """Write and sync lines (`framing.frame`'s first two) as one batch; None when there was no room for them."""
        at = times.to_microseconds_precision(self._clock())
        try:
            file = self._file_for(times.day_of(at))
        except OSError as error:
            if error.errno in NO_ROOM_ERRNOS:
                return None
            raise StorageFailure(f"the {self.name} journal could not open its file: {error.strerror}") from error
        buffers, positions = self._framed(lines, at)
        try:
            file.write_at(buffers, self.tail.offset)
        except OSError as error:
            if error.errno not in NO_ROOM_ERRNOS:
                raise StorageFailure(f"writing the {self.name} journal failed: {error.strerror}") from error
            self._cut_back(file)
            return None
        try:
            file.sync()
        except OSError as error:
            raise StorageFailure(f"syncing the {self.name} journal failed: {error.strerror}") from error
        self.tail = positions[-1].end
        return positions

    def close(self) -> None:
        """Close the file; what was acknowledged is synced."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut_back(self, file: File) -> None:
        try:
            file.truncate(self.tail.offset)
        except OSError as error:
            raise StorageFailure(f"cutting the {self.name} journal back failed: {error.strerror}") from error

    def _file_for(self, today: str) -> File:
        """Return the file to write to: today's, or the current one when the clock has gone back behind it."""
        if self.tail.day and today <= self.tail.day:
            if self._file is None:
                self._file = self._files.open(self.tail.day)
            return self._file
        created = self._files.create(today)
        try:
            created.sync()
            self._files.sync_directory()
        except OSError as error:
            raise StorageFailure(f"syncing a new file of the {self.name} journal failed: {error.strerror}") from error
        self.close()
        self._file = created
        self.tail = Mark(self.tail.n, today, 0)
        return created

    def _framed(self, lines: Iterable[tuple[bytes, bytes]], at: float) -> tuple[list[Buffer], list[Position]]:
        """Return the batch's bytes and where each line will stand."""
        buffers: list[Buffer] = []
        positions: list[Position] = []
        first, day, offset = self.tail.n + 1, self.tail.day, self.tail.offset
        at_text = times.to_text(at).encode()
        for n, (members, received) in enumerate(lines, start=first):
            framed = frame(members, received, n=n, at=at_text, batch=first)
            buffers += framed
            length = sum(map(len, framed))
            positions.append(Position(n=n, day=day, offset=offset, length=length, at=at))
            offset += length
        return buffers, positions
