"""A journal's files: one a UTC day, `2026-11-20.jsonl`. Nothing else knows their names, or opens one.

A day that is written no more may be cold: compressed, as `2026-11-20.jsonl.zst`, or archived, which a small file
`2026-11-20.jsonl.archived` says with the path of the compressed one. It is read as the plain one (`cold_files`). Where
a crash has left several forms of a day, the plain one counts, then the compressed one.

Of refused envelopes and operations the oldest days are dropped when their quota is reached
(`persistence.journals.dropping`).
`dropped.jsonl` beside them says up to where: what it names is no part of the journal, whether or not the files are
still there.

Whatever else lies in a journal's folder (an editor's copy, a note) is none of them, however it ends: it is never read,
written, cut or copied, and is named by a start and by `verify`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.failures import StorageFailure, UnreadableFile
from persistence.files.file_system import File, FileSystem
from persistence.format import times
from persistence.format.records import FORGETTING, Dropped
from persistence.journals.cold_files import COMPRESSED_ENDING, ColdFiles
from persistence.journals.day_names import day_of, name_of
from persistence.journals.framing import frame, parse_frame

NEVER_MENTIONED: Final = frozenset({"lost+found"})
"""What a file system keeps in its own root: a journal's folder may be one."""


DROPPED_NAME: Final = "dropped.jsonl"

ANEW_ENDING: Final = ".erasing"
"""What the name of a day's file ends in while it is made anew, beside the one that it will replace."""

DROPPED_BYTES_READ: Final = 65_536
"""What is read of the end of that file: hundreds of its lines, of which the last one counts."""


class _DroppedLine(msgspec.Struct, frozen=True):
    dropped: Dropped


class Present(msgspec.Struct, frozen=True):
    """The days that there are files for, oldest first, and what was dropped before the first of them.

    `cold` are those of which there is no plain file.
    """

    days: Sequence[str]
    dropped: Dropped
    cold: frozenset[str] = frozenset()


_DROPPED: Final = msgspec.json.Decoder(_DroppedLine)
NOTHING_DROPPED: Final = Dropped()


class DayFiles:
    """The files of one journal. What is asked of the disk blocks, and raises OSError."""

    def __init__(self, files: FileSystem, directory: Path) -> None:
        self.directory = directory
        self._files = files
        self._cold = ColdFiles(files, directory)
        self._may_drop = directory.name in FORGETTING

    def days(self) -> Sequence[str]:
        """Return the days that there are files for, oldest first; none where the folder is missing."""
        return self.present().days

    def present(self) -> Present:
        """Return the days that there are files for, and what was dropped before them."""
        names = self._names()  # before what was dropped: of what goes in between, nothing is left
        plain = {day for name in names if (day := day_of(name)) is not None}
        cold = frozenset(day for name in names if (day := self._cold.day_of(name)) is not None) - plain
        dropped = self.dropped()
        return Present(sorted(day for day in plain | cold if day > dropped.day), dropped, cold)

    def dropped(self) -> Dropped:
        """Return what was dropped of the journal."""
        return self._dropped()[0] if self._may_drop else NOTHING_DROPPED

    def _dropped(self) -> tuple[Dropped, int, int]:
        """What was dropped, the number of the line that says so, and where that ends; what is torn does not count."""
        try:
            file = self._files.open_read_only(self.directory / DROPPED_NAME)
        except FileNotFoundError:
            return NOTHING_DROPPED, 0, 0
        try:
            start = max(0, file.size() - DROPPED_BYTES_READ)
            text = file.read_at(start, DROPPED_BYTES_READ)
        finally:
            file.close()
        end = len(text)
        while (end := text.rfind(b"\n", 0, end)) >= 0:
            line = text[text.rfind(b"\n", 0, end) + 1 : end]
            frame = parse_frame(line)
            if frame is not None:
                return _DROPPED.decode(line).dropped, frame.n, start + end + 1
        return NOTHING_DROPPED, 0, 0

    def note_dropped(self, dropped: Dropped, at: float) -> None:
        """Add a line that says what was dropped; it is on disk before this returns.

        Raises OSError when it could not be written, and is not; StorageFailure when it is not known to be on disk.
        """
        _, number, offset = self._dropped()
        framed = frame(
            b'"dropped":' + msgspec.json.encode(dropped),
            b"",
            n=number + 1,
            at=times.to_text(at).encode(),
            batch=number + 1,
        )
        path = self.directory / DROPPED_NAME
        present = DROPPED_NAME in self._names()
        file = self._files.open(path) if present else self._files.create(path)
        try:
            file.truncate(offset)
            file.write_at(framed, offset)
            try:
                file.sync()
                self.sync_directory()
            except OSError as error:
                raise StorageFailure(f"syncing {path.name} failed: {error.strerror}") from error
        finally:
            file.close()

    def remove_dropped(self) -> list[str]:
        """Remove the files of the days that were dropped, for good; return those days.

        What says that they were is synced before: a killed process may have written it and no more.
        """
        dropped = self.dropped()
        days = [day for name in self._names() if (day := day_of(name)) is not None and day <= dropped.day]
        if days:
            file = self._files.open(self.directory / DROPPED_NAME)
            try:
                file.sync()
            finally:
                file.close()
            self.sync_directory()
            for day in days:
                self._files.remove(self.directory / name_of(day))
            self.sync_directory()
        return days

    def foreign_names(self) -> list[str]:
        """Return the names in the folder that are none of the journal's."""
        own = {*NEVER_MENTIONED, *([DROPPED_NAME] if self._may_drop else ())}
        names = (name for name in self._names() if day_of(name.removesuffix(ANEW_ENDING)) is None)
        return [name for name in names if name not in own and not self._cold.is_ours(name)]

    def size_bytes(self, day: str) -> int:
        """Return how many bytes a day's file holds, as a plain one."""
        with self.reading(day) as file:
            return file.size()

    def stored_bytes(self, day: str) -> int:
        """Return how many bytes it takes in the journal's folder."""
        try:
            file = self._files.open_read_only(self.directory / name_of(day))
        except FileNotFoundError:
            return self._cold.stored_bytes(day)
        try:
            return file.size()
        finally:
            file.close()

    @property
    def cold(self) -> ColdFiles:
        """The files of days that are compressed or archived."""
        return self._cold

    def is_cold(self, day: str) -> bool:
        """Whether there is no plain file of a day."""
        return day in self.present().cold

    def open(self, day: str) -> File:
        """Open a day's file for reading and writing."""
        return self._files.open(self.directory / name_of(day))

    def create(self, day: str) -> File:
        """Create a day's file; its name is not durable before `sync_directory`."""
        return self._files.create(self.directory / name_of(day))

    def open_read_only(self, day: str) -> File:
        """Open a day's file for reading; raises UnreadableFile where it is archived, and out of reach."""
        try:
            return self._files.open_read_only(self.directory / name_of(day))
        except FileNotFoundError:
            return self._cold.open(day)

    def create_anew(self, day: str) -> File:
        """Create a file that will replace a day's, beside that; one that was left there before is removed."""
        path = self.directory / f"{name_of(day)}{ANEW_ENDING}"
        with suppress(FileNotFoundError):
            self._files.remove(path)
        return self._files.create(path)

    def replace(self, day: str) -> None:
        """Put the file that was created anew in the place of a day's; durable only after `sync_directory`."""
        path = self.directory / name_of(day)
        self._files.rename(path.with_name(f"{path.name}{ANEW_ENDING}"), path)

    def remove_anew(self) -> list[str]:
        """Remove what was created anew and took no place, and what a crash has left of cold days; return the names.

        Nobody else may be making a day cold meanwhile. What lies in an archive that is out of reach stays until then.
        """
        there = self._names()
        drafts = [name for name in there if name.endswith(ANEW_ENDING) and day_of(name.removesuffix(ANEW_ENDING))]
        drafts += [name for name in there if self._cold.is_draft(name)]
        for name in drafts:
            self._files.remove(self.directory / name)
        if drafts:
            self.sync_directory()
        for day in {day for name in there if (day := self._cold.day_of(name)) is not None}:
            with suppress(UnreadableFile):
                self.remove_leftovers(day, there)
        return drafts

    def remove_warm(self, day: str, *, and_compressed: bool) -> None:
        """Remove the plain file of a day that is cold, and its compressed one where it is archived; durably.

        Whether what is left can be read is looked at once more before. Raises OSError, with nothing removed then.
        """
        names = self._names()
        gone = [name_of(day)] if name_of(day) in names else []
        if and_compressed and self._cold.compressed(day).name in names:
            gone.append(self._cold.compressed(day).name)
        self._cold.check(day, is_archived=and_compressed)
        for name in gone:
            self._files.remove(self.directory / name)
        self.sync_directory()

    def remove_leftovers(self, day: str, there: Sequence[str] | None = None) -> None:
        """Remove the forms of a day that do not count, because another one is there."""
        names = self._names() if there is None else there
        if name_of(day) in names or COMPRESSED_ENDING in {name.removeprefix(name_of(day)) for name in names}:
            self._cold.remove_beside(day, is_plain=name_of(day) in names, there=names)

    def free_bytes(self) -> int:
        """Return the room on the disk that they are on."""
        return self._files.free_bytes(self.directory)

    def sync_directory(self) -> None:
        """Make the names of the files durable."""
        self._files.sync_directory(self.directory)

    @contextmanager
    def reading(self, day: str) -> Iterator[File]:
        """A day's file, for reading, as long as the block lasts."""
        file = self.open_read_only(day)
        try:
            yield file
        finally:
            file.close()

    @contextmanager
    def changing(self, day: str) -> Iterator[File]:
        """A day's file, for reading and writing, as long as the block lasts."""
        file = self.open(day)
        try:
            yield file
        finally:
            file.close()

    def _names(self) -> list[str]:
        try:
            return self._files.list_names(self.directory)
        except FileNotFoundError:
            return []
