"""A journal's files: one a UTC day, `2026-11-20.jsonl`. Nothing else knows their names, or opens one.

Whatever else lies in a journal's folder (an editor's copy, a note) is none of them, however it ends: it is never read,
written, cut or copied, and is named by a start and by `verify`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from persistence.files.file_system import File, FileSystem

NAME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")

NEVER_MENTIONED: Final = frozenset({"lost+found"})
"""What a file system keeps in its own root: a journal's folder may be one."""


def name_of(day: str) -> str:
    """Return the name of a day's file."""
    return f"{day}.jsonl"


def day_of(name: str) -> str | None:
    """Return the day that a file's name says; None for one that is no journal's file."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    try:
        date.fromisoformat(match[1])
    except ValueError:
        return None
    return match[1]


class DayFiles:
    """The files of one journal. What is asked of the disk blocks, and raises OSError."""

    def __init__(self, files: FileSystem, directory: Path) -> None:
        self.directory = directory
        self._files = files

    def days(self) -> list[str]:
        """Return the days that there are files for, oldest first; none where the folder is missing."""
        return [day for name in self._names() if (day := day_of(name)) is not None]

    def foreign_names(self) -> list[str]:
        """Return the names in the folder that are none of the journal's."""
        return [name for name in self._names() if day_of(name) is None and name not in NEVER_MENTIONED]

    def size_bytes(self, day: str) -> int:
        """Return how many bytes a day's file holds."""
        with self.reading(day) as file:
            return file.size()

    def open(self, day: str) -> File:
        """Open a day's file for reading and writing."""
        return self._files.open(self.directory / name_of(day))

    def create(self, day: str) -> File:
        """Create a day's file; its name is not durable before `sync_directory`."""
        return self._files.create(self.directory / name_of(day))

    def open_read_only(self, day: str) -> File:
        """Open a day's file for reading."""
        return self._files.open_read_only(self.directory / name_of(day))

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
