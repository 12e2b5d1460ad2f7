"""A day that is written no more made cold: compressed where it is, or into an archive. Blocking, a piece at a time.

What must hold is that at every moment one whole form of the day is there, and counts. So the compressed file is made
beside where it will be, synced, and read back: its bytes and their SHA-256 are compared with what was read of the day.
Only then it gets its name, durably; and only then the form that was there goes. A process that ends before that leaves
the day as it was, and a draft that the next start removes; one that ends after it leaves two forms, of which the plain
one counts, and the next start removes the other.

Where a day is archived, a pointer says so before anything is written there. So whatever a crash has left in an archive
is found from here, and what is erased is not left lying in a file that nobody knows of.

Nobody else may make the same day anew meanwhile: the journal's own turn for that is held (`Journal.make_cold`).

Rejected: replacing the file in place (readers would see half of it), a list of cold days beside the journals (a second
truth, to be written together with the first), and trusting what was written without reading it back.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from persistence.files.failures import UnreadableFile
from persistence.files.file_system import File, FileSystem, Offload
from persistence.files.seekable import FRAME_BYTES, SeekableFile, SeekableWriter, check_written
from persistence.journals.day_files import DayFiles

PIECE_BYTES: Final = 8 * FRAME_BYTES
"""What is compressed before there is a rest as long as it took, and the job may be cut off."""


class DayMadeCold:
    """One day on its way: `begin`, `some` until it says that nothing is left, `finish`; or `give_up`."""

    def __init__(self, files: DayFiles, day: str, archive: Path | None) -> None:
        self._files = files
        self._cold = files.cold
        self.day = day
        self._archive = archive
        self._place = files.cold.compressed(day) if archive is None else files.cold.in_archive(day, archive)
        self._source: File | None = None
        self._draft: File | None = None
        self._writer: SeekableWriter | None = None
        self._is_adopted = False

    def __repr__(self) -> str:
        return f"<DayMadeCold {self.day} to {self._place}>"

    def begin(self) -> None:
        """Open both files. Raises OSError, and UnreadableFile where the archive is out of reach, or has another's."""
        self._files.remove_leftovers(self.day)
        if self._archive is not None:
            known = self._cold.archived(self.day)
            if self._cold.has(self._place) and known != self._place:
                self._adopt()
            self._cold.point(self.day, self._place)
            if self._is_adopted:
                return
        self._source = self._files.open_read_only(self.day)
        self._draft = self._cold.create_anew(self._place)
        self._writer = SeekableWriter(self._draft)

    def some(self) -> bool:
        """Compress some more; whether there is more."""
        if self._is_adopted:
            return False
        assert self._source is not None, "it was begun"
        assert self._writer is not None, "likewise"
        piece = self._source.read_at(self._writer.plain_bytes, PIECE_BYTES)
        if piece:
            self._writer.append(piece)
        return bool(piece)

    def finish(self) -> int:
        """Read it back, give it its name, and remove what was there before; return by how many bytes the folder shrank.

        Raises OSError, and UnreadableFile where it does not read as it was written; then the day is as it was.
        """
        before = self._files.stored_bytes(self.day)
        if not self._is_adopted:
            assert self._draft is not None, "it was begun"
            assert self._writer is not None, "likewise"
            self._writer.finish()
            self._draft.sync()
            self._close()
            check_written(self._cold.open_anew(self._place), self._place.name, self._writer)
            self._cold.put(self._place)
        self._files.remove_warm(self.day, and_compressed=self._archive is not None)
        return before - self._files.stored_bytes(self.day)

    def give_up(self) -> None:
        """Leave the day as it was."""
        self._close()
        if not self._is_adopted:
            self._cold.give_up(self._place)

    def _close(self) -> None:
        for file in (self._source, self._draft):
            if file is not None:
                file.close()
        self._source = self._draft = None

    def _adopt(self) -> None:
        """Take what is in the archive already, if it is this day: of a data directory that was restored since.

        Raises UnreadableFile where it is another file.
        """
        with self._files.reading(self.day) as here:
            own = _content(here)
        away = SeekableFile(self._cold.open_archived(self._place), str(self._place))
        try:
            theirs = _content(away)
        finally:
            away.close()
        if own != theirs:
            raise UnreadableFile(
                f"{self._place} is there already, and is not this data directory's: name another archive", is_away=True
            )
        self._is_adopted = True


def _content(file: File) -> tuple[int, str]:
    digest, offset = hashlib.sha256(), 0
    while piece := file.read_at(offset, PIECE_BYTES):
        digest.update(piece)
        offset += len(piece)
    return offset, digest.hexdigest()


async def make_cold(files: DayFiles, day: str, archive: Path | None, offload: Offload) -> int:
    """Make a day cold, in as many pieces as it takes, each with a rest behind it; return the bytes that are free."""
    making = DayMadeCold(files, day, archive)
    is_made = False
    try:
        await offload(making.begin)
        is_more = True
        while is_more:
            began_at = trio.current_time()
            is_more = await offload(making.some)
            await trio.sleep(trio.current_time() - began_at)
        with trio.CancelScope(shield=True):
            freed_bytes = await offload(making.finish)
        is_made = True
    finally:
        if not is_made:
            with trio.CancelScope(shield=True):
                await offload(making.give_up)
    return freed_bytes


def days_to_make_cold(files: DayFiles, before: str, archive: Path | None) -> Sequence[str]:
    """Return the days before one that are not cold yet, or, where there is an archive, not in it; but the newest never.

    What a crash has left of a day is taken up again.
    """
    present = files.present()
    due = [day for day in present.days[:-1] if day < before]
    if archive is None:
        return [day for day in due if day not in present.cold]
    return [day for day in due if day not in present.cold or files.cold.stored_bytes(day)]


def days_of_journal(files: FileSystem, directory: Path, before: str, archive: Path | None) -> Sequence[str]:
    """The same of the journal in a folder, which another process may be writing."""
    return days_to_make_cold(DayFiles(files, directory), before, archive)
