"""Lines of a journal replaced by what is left of them after an erasure, a whole day's file at a time. Blocking.

Nothing is overwritten where it stands: a file of the same shape is written beside the day's, synced, and takes its
name, and the folder is synced. A process that ends before leaves the old file, and one beside it that the next start
removes; one that ends after leaves the new one. Whoever reads the old file meanwhile reads on in it, and every place
in it is the same in the new one, because an erased line is as long as the line before (`erased_lines`).

A day that is compressed or archived stays that: all of it is compressed anew beside the old one, in its archive where
it has one, and read back before it takes its name (`ColdDayAnew`).

The newest file is being written to meanwhile. All of it that is synced is copied first, which takes as long as it
takes; the rest, and the exchange, happen in the turn of the journal's one writer, which then goes on in the new file.

Rejected: shorter lines (every place behind them, in two databases, in scans and in what is just being closed, would
have to change in the same instant), overwriting in place (a crash leaves half a line, and a failed sync neither of
the two), a second file with what is erased (readers without it would go on showing what they should not).
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from persistence.files.failures import StorageFailure
from persistence.files.file_system import File
from persistence.files.seekable import SeekableWriter, check_written
from persistence.format.records import (
    AuditRecord,
    ConsentRecord,
    ContributorKeyRecord,
    DigestRecord,
    EnvelopeRecord,
    IntakeRecord,
    JournalName,
    OperationRecord,
    Position,
    TrajectoryRecord,
)
from persistence.journals.day_files import DayFiles
from persistence.journals.decoding import LineError
from persistence.journals.erased_lines import erased_text, expired_text, is_erased, read_erased
from persistence.journals.framing import Frame, parse_frame
from persistence.journals.lines import parse_line
from persistence.journals.reading import BadLine
from persistence.journals.scanning import READ_BYTES, damage

Rewrite = Callable[[bytes, Frame], bytes]
"""What takes the place of a line, both without the newline and of the same length."""


class NotMade(Enum):
    """Why a day's file was not made anew."""

    NO_ROOM = "no room"
    DROPPED = "dropped"
    """It is gone already."""
    OUT_OF_REACH = "out of reach"
    """It is in an archive that cannot be reached now."""


ROOM_BEYOND_BYTES: Final = 4_194_304
"""Room that a disk must have beyond a file that is made anew, so that what is being ingested meanwhile has some."""


def by_day(places: Sequence[Position]) -> list[tuple[str, list[Position]]]:
    """Return places by the day's file that they are in, in the order of days."""
    days: dict[str, list[Position]] = {}
    for place in places:
        days.setdefault(place.day, []).append(place)
    return sorted(days.items())


def erasing(name: JournalName, request: str, at: float) -> Rewrite:
    """Return what makes an erased line of a line of a journal, for a request, at a time; an erased one stays as it is.

    Of a line that is not what its journal holds it raises LineError.
    """

    def rewrite(line: bytes, framed: Frame) -> bytes:
        if is_erased(line) and read_erased(line).erased.kept is None:
            return line
        record = parse_line(name, line)
        kept = ConsentRecord | ContributorKeyRecord | AuditRecord | OperationRecord | DigestRecord
        assert not isinstance(record, kept), "nothing of these is erased"
        return erased_text(line, framed, record, request=request, at=at)

    return rewrite


def expiring(name: JournalName, at: float) -> Rewrite:
    """Return what takes what it held from a line of a journal, at a time, and leaves its names.

    Of a line that is not what its journal holds it raises LineError.
    """

    def rewrite(line: bytes, framed: Frame) -> bytes:
        if is_erased(line):
            return line
        record = parse_line(name, line)
        assert isinstance(record, EnvelopeRecord | TrajectoryRecord | IntakeRecord), (
            "of no other journal a line keeps its names"
        )
        return expired_text(line, framed, record, at=at)

    return rewrite


class DayAnew:
    """One day's file of a journal, made anew beside it: `copy` some, then `exchange`, or `give_up`.

    In memory is one line at a time, and one piece of a copy.
    """

    def __init__(self, name: JournalName, files: DayFiles, day: str) -> None:
        self._name = name
        self._files = files
        self.day = day
        self._file: File | None = None
        self._copied_to = 0

    def __repr__(self) -> str:
        return f"<DayAnew {self._name} {self.day} up to {self._copied_to}>"

    def has_room(self) -> bool:
        """Whether the disk has room for it."""
        return self._files.free_bytes() >= self._files.size_bytes(self.day) + ROOM_BEYOND_BYTES

    def copy(self, places: Sequence[Position], rewrite: Rewrite, end: int) -> None:
        """Copy the file up to byte `end`, with the lines at `places` rewritten, and sync it.

        Raises JournalDamage where another line than that stands there, OSError, and what `rewrite` raises.
        """
        file = self._file = self._files.create_anew(self.day)
        with self._files.reading(self.day) as old:
            self._copy_to(end, old, file)
            for place in places:
                file.write_at([_rewritten(self._name, old, place, rewrite)], place.offset)
        file.sync()

    def exchange(self, end: int) -> File:
        """Copy the rest up to byte `end`, put the new file in the old one's place, durably, and return it, open.

        Nothing else may write to the journal meanwhile. An OSError is raised before the names are exchanged and
        leaves the old file, StorageFailure after it.
        """
        assert self._file is not None, "it was copied before"
        with self._files.reading(self.day) as old:
            self._copy_to(end, old, self._file)
        self._file.sync()
        self._files.replace(self.day)
        try:
            self._files.sync_directory()
        except OSError as error:  # which of the two has the name after a crash is not known any more
            raise StorageFailure(f"syncing the folder of {self._name} failed: {error.strerror}") from error
        file, self._file = self._file, None
        return file

    def give_up(self) -> None:
        """Remove it; the day's file is as it was."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._files.remove_anew()

    def _copy_to(self, end: int, old: File, new: File) -> None:
        while self._copied_to < end:
            block = old.read_at(self._copied_to, min(READ_BYTES, end - self._copied_to))
            if not block:
                raise damage(
                    self._name, BadLine(self.day, self._copied_to, 0, "the end of the file before what was stored")
                )
            new.write_at([block], self._copied_to)
            self._copied_to += len(block)


class ColdDayAnew:
    """The same of a day that is compressed: its file is made anew where it is, here or in its archive."""

    def __init__(self, name: JournalName, files: DayFiles, day: str) -> None:
        self._name = name
        self._files = files
        self.day = day
        self._place = files.cold.place_of(day)
        self._file: File | None = None

    def __repr__(self) -> str:
        return f"<ColdDayAnew {self._name} {self.day} at {self._place}>"

    def has_room(self) -> bool:
        """Whether the disk that it is on has room for it, and some beyond."""
        with self._files.reading(self.day) as plain:
            needed = plain.size()  # more than it will have, which nobody knows before
        return self._files.cold.free_bytes(self._place) >= needed + ROOM_BEYOND_BYTES

    def copy(self, places: Sequence[Position], rewrite: Rewrite, end: int) -> None:
        """Compress all of the day with the lines at `places` rewritten, sync it, and read it back; raises as `DayAnew`.

        It is never the newest day, so `end` is its whole length.
        """
        self._file = self._files.cold.create_anew(self._place)
        writer = SeekableWriter(self._file)
        with self._files.reading(self.day) as old:
            for place in sorted(places):
                self._append_to(place.offset, old, writer)
                writer.append(_rewritten(self._name, old, place, rewrite) + b"\n")
            self._append_to(end, old, writer)
        writer.finish()
        self._file.sync()
        self._close()
        check_written(self._files.cold.open_anew(self._place), self._place.name, writer)

    def exchange(self, end: int) -> None:
        """Put it in the old one's place, durably. An OSError leaves the old file, StorageFailure is raised after it."""
        assert end == self._files.size_bytes(self.day), "nobody writes to it"
        self._files.cold.put(self._place)

    def give_up(self) -> None:
        """Remove it; the day is as it was."""
        self._close()
        self._files.cold.give_up(self._place)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append_to(self, end: int, old: File, writer: SeekableWriter) -> None:
        while writer.plain_bytes < end:
            block = old.read_at(writer.plain_bytes, min(READ_BYTES, end - writer.plain_bytes))
            if not block:
                bad = BadLine(self.day, writer.plain_bytes, 0, "the end of the file before what was stored")
                raise damage(self._name, bad)
            writer.append(block)


def _rewritten(name: JournalName, old: File, place: Position, rewrite: Rewrite) -> bytes:
    """What takes the place of a line, without the newline; raises JournalDamage where another one stands there."""
    text = old.read_at(place.offset, place.length)
    framed = parse_frame(text) if len(text) == place.length and text.endswith(b"\n") else None
    if framed is None or framed.n != place.n:
        raise damage(name, BadLine(place.day, place.offset, place.n, f"no line {place.n} that is whole"))
    try:
        anew = rewrite(text[:-1], framed)
    except LineError as error:
        bad = BadLine(place.day, place.offset, place.n, f"line {place.n}, of which {error},")
        raise damage(name, bad) from error
    assert len(anew) == place.length - 1, "every other line stays where it is"
    return anew
