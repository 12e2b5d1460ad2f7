"""The end of a journal that is being written: framed lines at a tracked offset, synced. Blocking, one call at a time.

What can fail, and what it means:
- No room (ENOSPC, EDQUOT, EFBIG on the write): the file is cut back to the last synced offset, durably, and nothing
  was kept.
- Anything else (EIO, any failed sync, a failed cut): what is on disk is unknown, and a second sync may report success
  for pages that the kernel has already dropped. That is a `StorageFailure`, which ends the process; a restart reads
  what is there.

Rejected: `O_APPEND` (a failed write leaves the offset unknown), a write and a sync per line (an order of magnitude
slower).
"""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

from persistence.files.failures import StorageDamage, StorageFailure, UnreadableFile
from persistence.files.file_system import Buffer, File, FileSystem, Offload
from persistence.format import times
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.erasing import ColdDayAnew, DayAnew, NotMade, Rewrite
from persistence.journals.framing import frame, tail_of
from persistence.journals.stored import StoredJournal
from persistence.journals.tiering import days_to_make_cold, make_cold

log = logging.getLogger("central_command.storage")

NO_ROOM_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Pieces(Protocol):
    """The members of a line that is too long to be in memory: bytes, piece by piece, and how many there are."""

    def __len__(self) -> int:
        """How many bytes all pieces have together."""
        ...

    def __iter__(self) -> Iterator[Buffer]:
        """Yield the pieces; called in the journal's own thread."""
        ...


Members = bytes | Pieces


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
        self.last_sync_s: float | None = None
        """How long the last batch's sync took, until that is counted; not to be read while `write` runs."""

    def reader(self, offload: Offload) -> StoredJournal:
        """Return the reader of what is synced; `offload` is not that of `write`: no commit waits for a read."""
        return StoredJournal(
            self.name, self._files.directory, files=self._file_system, offload=offload, acknowledged=lambda: self.tail
        )

    def write(self, lines: Sequence[tuple[Members, bytes]]) -> list[Position] | None:
        """Write and sync lines (`framing.frame`'s first two) as one batch; None when there was no room for them.

        What making the pieces of a line raises is raised, and nothing was kept.
        """
        at = times.to_microseconds_precision(self._clock())
        try:
            file = self._file_for(times.day_of(at))
        except OSError as error:
            if error.errno in NO_ROOM_ERRNOS:
                return None
            raise StorageFailure(f"the {self.name} journal could not open its file: {error.strerror}") from error
        try:
            positions = self._written(file, lines, at)
        except OSError as error:
            if error.errno not in NO_ROOM_ERRNOS:
                raise StorageFailure(f"writing the {self.name} journal failed: {error.strerror}") from error
            self._cut_back(file)
            return None
        began_at = time.perf_counter()
        try:
            file.sync()
        except OSError as error:
            raise StorageFailure(f"syncing the {self.name} journal failed: {error.strerror}") from error
        self.last_sync_s = time.perf_counter() - began_at
        self.tail = positions[-1].end
        return positions

    def made_anew(self, day: str, places: Sequence[Position], rewrite: Rewrite) -> DayAnew | ColdDayAnew | NotMade:
        """Make a day's file anew as far as it is synced, with lines rewritten, to be exchanged; or leave it as it is.

        Raises JournalDamage where another line stands, StorageFailure when the disk fails.
        """
        try:
            self._files.remove_leftovers(day)
            anew = ColdDayAnew(self.name, self._files, day) if self._files.is_cold(day) else None
        except FileNotFoundError:
            return NotMade.DROPPED
        except UnreadableFile as error:
            log.warning("%s of the %s journal is not made anew: %s", day, self.name, error.strerror)
            return NotMade.OUT_OF_REACH
        return self._made_anew(anew or DayAnew(self.name, self._files, day), places, rewrite)

    def _made_anew(
        self, anew: DayAnew | ColdDayAnew, places: Sequence[Position], rewrite: Rewrite
    ) -> DayAnew | ColdDayAnew | NotMade:
        day = anew.day
        try:
            if anew.has_room():
                anew.copy(places, rewrite, self.synced_bytes(day))
                return anew
        except FileNotFoundError:
            anew.give_up()
            return NotMade.DROPPED
        except UnreadableFile as error:
            anew.give_up()
            log.warning("%s of the %s journal is not made anew: %s", day, self.name, error.strerror)
            return NotMade.OUT_OF_REACH
        except OSError as error:
            anew.give_up()
            if isinstance(anew, ColdDayAnew) and error.errno not in NO_ROOM_ERRNOS:
                log.warning("%s of the %s journal is not made anew: %s", day, self.name, error.strerror)
                return NotMade.OUT_OF_REACH
            if error.errno not in NO_ROOM_ERRNOS:
                raise StorageFailure(
                    f"making a file of the {self.name} journal anew failed: {error.strerror}"
                ) from error
        except StorageDamage:
            anew.give_up()
            raise
        return NotMade.NO_ROOM

    def synced_bytes(self, day: str) -> int:
        """Return how many bytes of a day's file are synced."""
        tail = self.tail
        return tail.offset if day == tail.day else self._files.size_bytes(day)

    def exchange(self, anew: DayAnew | ColdDayAnew) -> bool:
        """Put a file that was made anew in the place of a day's, and go on in it; False when there was no room.

        False also where that day was dropped meanwhile. In the turn of who writes.
        """
        is_newest = anew.day == self.tail.day
        try:
            file = anew.exchange(self.synced_bytes(anew.day))
        except OSError as error:
            is_harmless = isinstance(error, FileNotFoundError) or isinstance(anew, ColdDayAnew)
            if error.errno not in NO_ROOM_ERRNOS and not is_harmless:
                raise StorageFailure(
                    f"exchanging a file of the {self.name} journal failed: {error.strerror}"
                ) from error
            anew.give_up()
            return False
        if is_newest:
            self.close()
            self._file = file
        elif file is not None:
            file.close()
        return True

    def days_to_make_cold(self, before: str, archive: Path | None) -> Sequence[str]:
        """Return the days before one that can be made cold: never the newest."""
        return [day for day in days_to_make_cold(self._files, before, archive) if day < self.tail.day]

    async def make_cold(self, day: str, archive: Path | None, offload: Offload) -> int:
        """Compress a day, or move it to an archive, while nobody makes it anew; return the bytes that are free.

        Raises OSError, and UnreadableFile where an archive is out of reach; then the day is as it was.
        """
        assert day < self.tail.day, "the newest day is still appended to"
        return await make_cold(self._files, day, archive, offload)

    def close(self) -> None:
        """Close the file; what was acknowledged is synced."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut_back(self, file: File) -> None:
        """Take away what a failed write has left, for good: the next lines may go to another day's file.

        Bytes that came back behind the last synced line would make a start cut off what was written after them.
        """
        try:
            file.truncate(self.tail.offset)
            file.sync()
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

    def _written(self, file: File, lines: Sequence[tuple[Members, bytes]], at: float) -> list[Position]:
        """Write a batch and return where each line stands: all of it at once, unless a line comes in pieces."""
        writer = _Batch(file, self.tail, at)
        for members, received in lines:
            if isinstance(members, bytes):
                writer.add(members, received)
            else:
                writer.add_pieces(members, received)
        writer.flush()
        return writer.positions


class _Batch:
    """A batch on its way to a file: what is framed and not yet written, and where each line stands."""

    def __init__(self, file: File, tail: Mark, at: float) -> None:
        self._file = file
        self._day = tail.day
        self._at = at
        self._at_text = times.to_text(at).encode()
        self._first = tail.n + 1
        self._buffers: list[Buffer] = []
        self._written_to = self._offset = tail.offset
        self.positions: list[Position] = []

    def add(self, members: bytes, received: bytes) -> None:
        """Frame a line."""
        n = self._first + len(self.positions)
        framed = frame(members, received, n=n, at=self._at_text, batch=self._first)
        self._buffers += framed
        self._placed(sum(map(len, framed)))

    def add_pieces(self, members: Iterable[Buffer], received: bytes) -> None:
        """Write a line piece by piece, so that all of it is never in memory."""
        n = self._first + len(self.positions)
        checksum = length = 0
        for piece in chain((b"{",), members):
            self._buffers.append(piece)
            self.flush(length + len(piece))
            checksum = crc32(piece, checksum)
            length += len(piece)
        tail = tail_of(received, n=n, at=self._at_text, batch=self._first, checksum=checksum)
        self._buffers.append(tail)
        self.flush(length + len(tail))
        self._placed(length + len(tail))

    def flush(self, beyond: int = 0) -> None:
        """Write what is framed: up to `beyond` bytes behind the last line that is placed."""
        if self._buffers:
            self._file.write_at(self._buffers, self._written_to)
            self._buffers = []
        self._written_to = self._offset + beyond

    def _placed(self, length: int) -> None:
        n = self._first + len(self.positions)
        self.positions.append(Position(n=n, day=self._day, offset=self._offset, length=length, at=self._at))
        self._offset += length
