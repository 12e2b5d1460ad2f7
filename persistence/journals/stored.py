"""A journal of a data directory, read: at rest, or while it is written. Takes no lock, and writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from persistence.files.failures import StorageFailure, UnreadableFile
from persistence.files.file_system import FileSystem, Offload, OsFileSystem, inline
from persistence.format.layout import DataLayout
from persistence.format.records import Dropped, JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.reading import JournalDamage, JournalOutOfReach, Piece, Scan, StoredStatistics
from persistence.journals.scanning import KeptOpen, find, next_lines, read_lines, read_part

T = TypeVar("T")


class StoredJournal:
    """The reader of one journal's files.

    Whoever writes them in this process gives `acknowledged`, up to where everything is on disk: a scan goes no further,
    and what it finds wrong before it is damage, never torn.
    """

    def __init__(
        self,
        name: JournalName,
        directory: Path,
        *,
        files: FileSystem | None = None,
        offload: Offload = inline,
        acknowledged: Callable[[], Mark] | None = None,
    ) -> None:
        self._name = name
        self._files = DayFiles(files or OsFileSystem(), directory)
        self._offload = offload
        self._acknowledged = acknowledged

    @classmethod
    def of(cls, layout: DataLayout, name: JournalName) -> "StoredJournal":
        """The journal of a data directory, for a command: read in place, as nothing else waits there.

        A folder that is missing has no lines.
        """
        return cls(name, layout.journal(name))

    def __repr__(self) -> str:
        return f"<StoredJournal {self._name} in {self._files.directory}>"

    @property
    def name(self) -> JournalName:
        """Which journal it is."""
        return self._name

    def scan(self, start: int | Mark = 1) -> Scan:
        """Read the lines from number `start` on, or those behind a mark, in order (`JournalReader.scan`)."""
        return Scan(start, find=partial(self._read, find, self._files), next_lines=self._next_lines)

    async def _next_lines(self, mark: Mark) -> Piece:
        end = None if self._acknowledged is None else self._acknowledged()
        return await self._read(next_lines, self._name, self._files, mark, end)

    async def read(self, places: Sequence[Position]) -> list[bytes]:
        """Read lines by their places, in the order given, each without its newline."""
        return await self._read(read_lines, self._name, self._files, places)

    def read_now(self, place: Position) -> bytes:
        """Read a line in the thread that asks (`JournalReader.read_now`)."""
        return self._now(read_lines, self._name, self._files, [place])[0]

    @contextmanager
    def kept_open(self) -> Iterator[Callable[[Position], bytes]]:
        """What reads lines one by one, as `read_now` does, but does not open their file for each (`KeptOpen`)."""
        kept = KeptOpen(self._name, self._files)
        try:
            yield partial(self._now, kept.read)
        finally:
            kept.close()

    def part_now(self, place: Position, start: int, end: int) -> bytes:
        """Read some bytes of a line, unchecked (`JournalReader.part_now`)."""
        return self._now(read_part, self._files, place, start, end)

    def statistics(self) -> StoredStatistics:
        """Look at the files and return the current figures (blocking)."""
        return StoredStatistics(stored_bytes=sum(map(self._files.stored_bytes, self._files.days())))

    def dropped(self) -> Dropped:
        """Return what was dropped of the journal (blocking)."""
        return self._now(self._files.dropped)

    def foreign_names(self) -> list[str]:
        """Return the names in the journal's folder that are none of its own, and are left alone (blocking)."""
        return self._files.foreign_names()

    def _now(self, function: Callable[..., T], *args: object) -> T:
        try:
            return function(*args)
        except OSError as error:
            raise self._failure(error) from error

    async def _read(self, function: Callable[..., T], *args: object) -> T:
        try:
            return await self._offload(function, *args)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StorageFailure | JournalDamage:
        if isinstance(error, UnreadableFile):
            return JournalOutOfReach(self._name, error.said) if error.is_away else JournalDamage(self._name, error.said)
        return StorageFailure(f"reading the {self._name} journal failed: {error.strerror}")
