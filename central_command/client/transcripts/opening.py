"""Opens session files: only files, without waiting for anything, and only as much of them as there is just then."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from persistence.files.regular import open_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 256 * 1024


def open_transcript(path: Path) -> BinaryIO:
    """Open a session file for reading; what is written to its end from now on is not seen.

    So a file that grows faster than it is read has an end, too. Raises OSError, also for a FIFO, a device or a socket.
    """
    descriptor = open_file(path, follows_links=True)
    return io.BufferedReader(_Beginning(io.FileIO(descriptor), os.fstat(descriptor).st_size, path.name), _BUFFER_BYTES)


class _Beginning(io.RawIOBase):
    """The first `size` bytes of a file; `name` is its name without folders."""

    def __init__(self, file: io.FileIO, size: int, name: str) -> None:
        self._file = file
        self._size = size
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        left = max(0, self._size - self._file.tell())
        return self._file.readinto(memoryview(buffer)[:left])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert whence != os.SEEK_END, "a session file is read from its beginning"
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
