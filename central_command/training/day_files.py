"""JSON lines in a file a day, that threads and processes append to: whole lines, in order, on disk before it is said.

Whoever writes holds the lock on the folder's file `lock`, which the system takes back from a process that ends. A line
that has no newline was never finished: its writer died, and it was never said to be there. It is cut off before the
next line is written, and readers pass over it. Lines are taken out by writing a file anew and renaming it over the old
one: a reader sees all of the one or all of the other.
"""

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from central_command.training.records import TrainingDataError
from persistence.files.file_system import OsFile, OsFileSystem
from persistence.files.regular import open_file

LOCK_TIMEOUT_S: Final = 30.0
"""Rewriting a day's file takes seconds; whoever holds the lock for longer is stopped, or hangs on its disk."""

_LOCK_POLL_S: Final = 0.002
_READ_BYTES: Final = 262_144
_NAME: Final = re.compile(r"\Atraining_\d{4}-\d\d-\d\d\.jsonl\Z")
_DRAFT: Final = "rewritten.draft"


class DayFiles:
    """The files of one folder, which is made when it is first written to: 0600 in 0700."""

    def __init__(self, folder: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s

    def __repr__(self) -> str:
        return f"<DayFiles {self.folder}>"

    def paths(self) -> list[Path]:
        """The files, oldest day first."""
        try:
            return sorted(each for each in self.folder.iterdir() if _NAME.match(each.name))
        except FileNotFoundError:
            return []

    def size_bytes(self) -> int:
        """What they take."""
        size = 0
        for path in self.paths():
            with suppress(FileNotFoundError):  # deleted since
                size += path.stat().st_size
        return size

    @contextmanager
    def locked(self) -> Iterator["LockedDayFiles"]:
        """To write: nobody else does meanwhile.

        Raises TrainingDataError when another writer does not let go within `lock_timeout_s`, and OSError.
        """
        files = OsFileSystem()
        files.make_directory(self.folder)
        if self.folder.stat().st_mode & 0o077:
            files.make_private(self.folder)
        descriptor = open_file(self.folder / "lock", os.O_RDWR | os.O_CREAT, follows_links=False)
        try:
            self._wait_for_lock(descriptor)
            try:
                yield LockedDayFiles(self, files)
            finally:
                # Said, because a process that was forked meanwhile has the descriptor as well.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        give_up_at = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    raise TrainingDataError(
                        f"another process has written to {self.folder} for more than {self._lock_timeout_s:g} s."
                    ) from None
                time.sleep(_LOCK_POLL_S)
            else:
                return


class LockedDayFiles:
    """What may be done by whoever holds the lock."""

    def __init__(self, days: DayFiles, files: OsFileSystem) -> None:
        self._days = days
        self._files = files

    def __repr__(self) -> str:
        return f"<LockedDayFiles {self._days.folder}>"

    def append(self, day: str, lines: Sequence[bytes]) -> None:
        """Append lines, with their newlines, to a day's file: all of them, on disk, or none. Raises OSError."""
        path = self._days.folder / f"training_{day}.jsonl"
        try:
            file = self._files.open(path)
        except FileNotFoundError:
            file = self._files.create(path)
            self._files.sync_directory(self._days.folder)
        try:
            end = _whole_lines_end(file)
            if end < file.size():
                file.truncate(end)
            try:
                file.write_at(lines, end)
                file.sync()
            except OSError:
                file.truncate(end)
                raise
        finally:
            file.close()

    def drop(self, is_dropped: Callable[[bytes], bool]) -> int:
        """Take out every line that `is_dropped` says, and what was never finished; how many lines those are.

        Raises OSError; asked again, it goes on with what is left.
        """
        draft = self._days.folder / _DRAFT
        draft.unlink(missing_ok=True)
        return sum(self._dropped(path, draft, is_dropped) for path in self._days.paths())

    def _dropped(self, path: Path, draft: Path, is_dropped: Callable[[bytes], bool]) -> int:
        if not any(not line.endswith(b"\n") or is_dropped(line) for line in _lines(path)):
            return 0
        dropped = kept = 0
        file = self._files.create(draft)
        try:
            for line in _lines(path):
                if not line.endswith(b"\n"):
                    continue
                if is_dropped(line):
                    dropped += 1
                else:
                    file.write_at([line], kept)
                    kept += len(line)
            file.sync()
        except BaseException:
            draft.unlink()
            raise
        finally:
            file.close()
        if kept:
            draft.replace(path)
        else:
            path.unlink()
            draft.unlink()
        self._files.sync_directory(self._days.folder)
        return dropped


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, with their newlines, but for one that is not finished; nothing of one that is gone."""
    try:
        yield from (line for line in _lines(path) if line.endswith(b"\n"))
    except FileNotFoundError:
        return


def _lines(path: Path) -> Iterator[bytes]:
    with os.fdopen(open_file(path, follows_links=False), "rb", buffering=_READ_BYTES) as file:
        yield from file


def _whole_lines_end(file: OsFile) -> int:
    """Where the last whole line ends, in bytes."""
    end = file.size()
    while end > 0:
        start = max(0, end - _READ_BYTES)
        newline = file.read_at(start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
