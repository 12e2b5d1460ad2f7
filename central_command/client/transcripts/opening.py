"""Opens session files: only files, without waiting for anything, and only as much of them as there is just then.

What is compressed or of another encoding is read as the plain UTF-8 that it holds (`unpacking`, `encodings`), and an
entry of a zip archive by the path that it would have if the archive were a folder (`archives`).
"""

import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from central_command.client.transcripts import archives, encodings, unpacking
from persistence.files.regular import open_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 256 * 1024


class OpenedTranscript(io.BufferedReader):
    """A session file that is read from its beginning; `name` is its name without folders."""

    def __init__(self, raw: "_Beginning | _Layered", consumed: Callable[[], int]) -> None:
        super().__init__(raw, _BUFFER_BYTES)  # whose `name` is that of `raw`
        self._consumed = consumed

    @property
    def consumed(self) -> int:
        """How far the file itself is read, in bytes, as `size_of` counts them."""
        return self._consumed()


def open_transcript(path: Path) -> OpenedTranscript:
    """Open a session file for reading; what is written to its end from now on is not seen.

    So a file that grows faster than it is read has an end, too. Raises OSError, also for a FIFO, a device or a socket,
    and while it is read for what is damaged.
    """
    entry = archives.entry_of(path)
    descriptor = open_file(path if entry is None else entry.archive, follows_links=True)
    file = _Beginning(io.FileIO(descriptor), os.fstat(descriptor).st_size, path.name)
    try:
        if entry is None:
            return _decoded(file, None, start_bytes=0)
        return _decoded(file, partial(archives.contents, file, entry), start_bytes=entry.place.offset)
    except BaseException:
        file.close()
        raise


def size_of(path: Path) -> int:
    """Bytes that a session file takes on the disk, or in its archive. Raises OSError."""
    entry = archives.entry_of(path)
    return path.stat().st_size if entry is None else entry.packed_bytes


def _decoded(
    file: "_Beginning", contents: Callable[[], Iterator[bytes]] | None, *, start_bytes: int
) -> OpenedTranscript:
    """What reads `file`, or what `contents` takes from it behind its `start_bytes`, as plain UTF-8."""

    def start(layer: Callable[[], Iterator[bytes]], size: int) -> bytes:
        found = b""
        for piece in layer():
            found += piece
            if len(found) >= size:
                break
        return found[:size]

    layer = contents or partial(_pieces, file)
    if unpacking.unpacker_for(start(layer, unpacking.MAGIC_BYTES)) is not None:
        layer = contents = partial(_chained, unpacking.unpacked, layer)
    if unpacking.is_tar(start(layer, unpacking.TAR_HEAD_BYTES)):
        raise unpacking.DamagedError("it is a tar archive, which is not read here; unpack it first")
    if (found := encodings.encoding_of(start(layer, encodings.MARK_BYTES_MAX))) is not None:
        layer = contents = partial(_chained, partial(encodings.as_utf8, encoding=found[0], mark_bytes=found[1]), layer)
    file.seek(0)
    raw = file if contents is None else _Layered(file, layer)
    return OpenedTranscript(raw, lambda: max(0, file.tell() - start_bytes))


def _pieces(file: "_Beginning") -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(unpacking.PIECE_BYTES):
        yield piece


def _chained(
    change: Callable[[Iterator[bytes]], Iterator[bytes]], layer: Callable[[], Iterator[bytes]]
) -> Iterator[bytes]:
    return change(layer())


class _Layered(io.RawIOBase):
    """What `layer` makes of a file, from its beginning each time that it is called; its `name` is the file's."""

    def __init__(self, file: "_Beginning", layer: Callable[[], Iterator[bytes]]) -> None:
        self._file = file
        self.name = file.name
        self._layer = layer
        self._pieces = layer()
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._position += size
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert whence == os.SEEK_SET, "a session file is read from its beginning"
        if offset < self._position:
            self._pieces, self._rest, self._position = self._layer(), memoryview(b""), 0
        skipped = bytearray(unpacking.PIECE_BYTES)
        while self._position < offset:
            if not self.readinto(memoryview(skipped)[: offset - self._position]):
                break
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()
        super().close()


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
