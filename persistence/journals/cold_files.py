"""The files of days that are cold: compressed in the journal's folder, or in an archive that a pointer names. Blocking.

What is in an archive is out of reach while that is not mounted. So nothing of it is opened but to read what is in it,
to erase from it, or to move another day there, and each of these says so then (UnreadableFile), and changes nothing.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.failures import StorageFailure, UnreadableFile
from persistence.files.file_system import File, FileSystem
from persistence.files.seekable import SeekableFile
from persistence.files.whole_file import UNFINISHED_ENDING, read_file, remove_file, replace_file
from persistence.journals.day_names import day_of, name_of

COMPRESSED_ENDING: Final = ".zst"
ARCHIVED_ENDING: Final = ".archived"
ANEW_ENDING: Final = ".anew"
"""What the name of a compressed file ends in while it is made, beside where it will be."""

_ENDINGS: Final = (COMPRESSED_ENDING, ARCHIVED_ENDING)
_DRAFTS: Final = (f"{COMPRESSED_ENDING}{ANEW_ENDING}", f"{ARCHIVED_ENDING}{UNFINISHED_ENDING}")


class _Archived(msgspec.Struct, frozen=True):
    archived: str


_ARCHIVED: Final = msgspec.json.Decoder(_Archived)


class ColdFiles:
    """Those of one journal."""

    def __init__(self, files: FileSystem, directory: Path) -> None:
        self._files = files
        self._directory = directory

    # Names

    @staticmethod
    def day_of(name: str) -> str | None:
        """Return the day of a file that is compressed, or says that one is archived; None for another one."""
        bare = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), None)
        return None if bare is None else day_of(bare)

    @staticmethod
    def is_draft(name: str) -> bool:
        """Whether a name is that of a file which is being made, or was when a crash came."""
        bare = next((name.removesuffix(ending) for ending in _DRAFTS if name.endswith(ending)), None)
        return bare is not None and day_of(bare) is not None

    @classmethod
    def is_ours(cls, name: str) -> bool:
        """Whether a name is that of either."""
        return cls.day_of(name) is not None or cls.is_draft(name)

    def compressed(self, day: str) -> Path:
        """Where a day's compressed file is in the journal's folder."""
        return self._directory / f"{name_of(day)}{COMPRESSED_ENDING}"

    def pointer(self, day: str) -> Path:
        """Where it stands that a day is archived."""
        return self._directory / f"{name_of(day)}{ARCHIVED_ENDING}"

    def archived(self, day: str) -> Path | None:
        """Where a day is archived, if it is."""
        try:
            text = read_file(self._files, self.pointer(day))
            return None if text is None else Path(_ARCHIVED.decode(text).archived)
        except msgspec.DecodeError:
            raise UnreadableFile(f"{self.pointer(day).name} does not say where it is archived", is_away=False) from None

    def in_archive(self, day: str, archive: Path) -> Path:
        """Where a day belongs in an archive."""
        return archive / self._directory.name / self.compressed(day).name

    # Reading

    def open(self, day: str) -> File:
        """Open a cold day's file, to be read as the plain one; raises FileNotFoundError for a day that there is not."""
        path = self.compressed(day)
        try:
            return SeekableFile(self._files.open_read_only(path), path.name)
        except FileNotFoundError:
            away = self.archived(day)
            if away is None:
                raise
        return SeekableFile(self.open_archived(away), str(away))

    def stored_bytes(self, day: str) -> int:
        """Return how many bytes a cold day takes in the journal's folder: nothing where it is archived."""
        try:
            file = self._files.open_read_only(self.compressed(day))
        except FileNotFoundError:
            return 0
        try:
            return file.size()
        finally:
            file.close()

    def file_bytes(self, place: Path) -> int:
        """Return how many bytes a compressed file has, here or in its archive."""
        file = self.open_archived(place)
        try:
            return file.size()
        finally:
            file.close()

    def place_of(self, day: str) -> Path:
        """Where the compressed file of a cold day is, here or in its archive; raises FileNotFoundError."""
        if self._is_there(self.compressed(day)):
            return self.compressed(day)
        away = self.archived(day)
        if away is None:
            raise FileNotFoundError(self.compressed(day).name)
        return away

    def free_bytes(self, place: Path) -> int:
        """Return the room on the disk of a compressed file."""
        try:
            return self._files.free_bytes(place.parent)
        except FileNotFoundError as error:
            raise _away(place, error) from error

    def check(self, day: str, *, is_archived: bool) -> None:
        """Open the compressed file that a day will be read from; raises OSError, or UnreadableFile."""
        place = self.archived(day) if is_archived else self.compressed(day)
        assert place is not None, "its pointer was written first"
        opened = self.open_archived(place) if is_archived else self._files.open_read_only(place)
        SeekableFile(opened, str(place)).close()

    # Making

    def create_anew(self, place: Path) -> File:
        """Create a compressed file beside where it will be; one that was left there before is removed."""
        draft = _draft(place)
        with suppress(FileNotFoundError):
            self._files.remove(draft)
        try:
            return self._files.create(draft)
        except FileNotFoundError as error:
            raise _away(place, error) from error

    def open_anew(self, place: Path) -> File:
        """Open what was created, for reading it back."""
        return self._files.open_read_only(_draft(place))

    def put(self, place: Path) -> None:
        """Give it its name, durably. An OSError leaves the old file, StorageFailure is raised after it."""
        self._files.rename(_draft(place), place)
        try:
            self._files.sync_directory(place.parent)
        except OSError as error:  # which of the two has the name after a crash is not known any more
            raise StorageFailure(f"syncing {place.parent} failed: {error.strerror}") from error

    def give_up(self, place: Path) -> None:
        """Remove it."""
        with suppress(OSError):
            self._files.remove(_draft(place))

    def point(self, day: str, place: Path) -> None:
        """Say durably that a day is, or will be, archived there; nobody heeds it while the day is here."""
        replace_file(self._files, self.pointer(day), msgspec.json.encode(_Archived(str(place))) + b"\n")

    def has(self, place: Path) -> bool:
        """Whether there is a file in an archive; its folder is made where it is missing."""
        if not self._is_directory(place.parent.parent):
            raise UnreadableFile(f"the archive {place.parent.parent} is not there", is_away=True)
        self._files.make_directory(place.parent)
        return self._is_there(place)

    def remove_beside(self, day: str, *, is_plain: bool, there: Sequence[str]) -> None:
        """Remove the forms of a day that do not count: beside a plain file all, beside a compressed one the archived.

        What is archived is not removed while it is out of reach, and then its pointer stays, too. Raises
        UnreadableFile for that.
        """
        if self.pointer(day).name in there:
            away = self.archived(day)
            if away is not None:
                self._remove_away(away)
            remove_file(self._files, self.pointer(day))
        if is_plain and self.compressed(day).name in there:
            self._files.remove(self.compressed(day))
            self._files.sync_directory(self._directory)

    def _remove_away(self, place: Path) -> None:
        if not self._is_directory(place.parent):
            raise UnreadableFile(f"what a crash has left in the archive at {place} is out of reach", is_away=True)
        for path in (place, _draft(place)):
            with suppress(FileNotFoundError):
                self._files.remove(path)
        self._files.sync_directory(place.parent)

    # Looking

    def open_archived(self, place: Path) -> File:
        """Open the file of an archive as it is; raises UnreadableFile where that is out of reach."""
        try:
            return self._files.open_read_only(place)
        except OSError as error:
            raise _away(place, error) from error

    def _is_there(self, place: Path) -> bool:
        return place.name in self._list(place.parent)

    def _is_directory(self, place: Path) -> bool:
        try:
            self._files.list_names(place)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _list(self, directory: Path) -> Collection[str]:
        try:
            return self._files.list_names(directory)
        except FileNotFoundError:
            return ()


def _draft(place: Path) -> Path:
    return place.with_name(f"{place.name}{ANEW_ENDING}")


def _away(place: Path, error: OSError) -> UnreadableFile:
    return UnreadableFile(f"the archived file {place} cannot be reached ({error.strerror})", is_away=True)
