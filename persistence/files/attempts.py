"""Work that may end the process, noted before it begins: whoever starts again knows what was under way.

One small file holds, for each such piece of work, how often it was begun and not ended. It is written and synced before
the work begins, and when it ends. A crash within a write can leave a text that is none: then no work is known to have
been begun, which puts nothing aside that should not be. Nor does a disk that takes no note keep the work from being
done: on a full one it is refused for itself, and says so in its own way.
"""

import logging
import threading
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.file_system import File, FileSystem

log = logging.getLogger("central_command.storage")

TEXT_BYTES_MAX: Final = 1_048_576
"""More than the names of what is put aside take, before an operator looks at it."""

_COUNTS: Final = msgspec.json.Decoder(dict[str, int])


class Attempts:
    """How often each piece of work was begun and not ended. `begin` and `end` block."""

    def __init__(self, path: Path, files: FileSystem) -> None:
        self._path = path
        self._files = files
        self._lock = threading.Lock()
        self._counts = self._read()

    def __repr__(self) -> str:
        return f"<Attempts {len(self._counts)} under way or put aside>"

    def count(self, name: str) -> int:
        """How often it was begun and not ended."""
        return self._counts.get(name, 0)

    def begun_often(self, attempts: int) -> list[str]:
        """Return what was begun so often, or more, and not ended."""
        return sorted(name for name, count in self._counts.items() if count >= attempts)

    def begin(self, name: str) -> None:
        """Note that it begins: on disk before this returns, if the disk takes it."""
        with self._lock:
            self._counts[name] = self.count(name) + 1
            self._write()

    def end(self, name: str) -> None:
        """Forget it: it ended, one way or another, and the process lives."""
        with self._lock:
            if self._counts.pop(name, None) is not None:
                self._write()

    def _read(self) -> dict[str, int]:
        try:
            file = self._files.open_read_only(self._path)
        except FileNotFoundError:
            return {}
        try:
            return _COUNTS.decode(file.read_at(0, TEXT_BYTES_MAX))
        except msgspec.DecodeError:
            log.warning("%s cannot be read, so nothing is known to have been begun before", self._path)
            return {}
        finally:
            file.close()

    def _write(self) -> None:
        try:
            self._write_to_disk(msgspec.json.encode(self._counts) + b"\n")
        except OSError as error:
            log.warning("%s could not be written (%s): the next start will not know", self._path, error.strerror)

    def _write_to_disk(self, text: bytes) -> None:
        file = self._opened()
        try:
            file.write_at([text], 0)
            file.truncate(len(text))
            file.sync()
        finally:
            file.close()

    def _opened(self) -> File:
        try:
            return self._files.open(self._path)
        except FileNotFoundError:
            created = self._files.create(self._path)
            self._files.sync_directory(self._path.parent)
            return created
