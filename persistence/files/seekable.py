"""Compressed files that are still read at any place: zstd frames of a mebibyte each, and a table of them at the end.

The format is the seekable one that comes with zstd (contrib/seekable_format): frames that are whole by themselves, each
with a checksum of its content, then a skippable frame with the sizes of all of them. So `zstd -d` makes the plain file
of it, and a reader of a few bytes in its middle unpacks one frame, or two.

Blocking; raises OSError, and UnreadableFile where the file is not what was written.
"""

import errno
import hashlib
import struct
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final

import zstandard

from persistence.files.failures import UnreadableFile
from persistence.files.file_system import Buffer, File

FRAME_BYTES: Final = 1_048_576
"""What a frame holds, but for the last: what is unpacked at least to read anything of it."""
FRAME_BYTES_MAX: Final = 16_777_216
"""What a frame of another writer may hold. Guards memory."""
LEVEL: Final = 9

_TABLE_HEAD: Final = struct.Struct("<II")
_TABLE_MAGIC: Final = 0x184D2A5E
_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")
_FOOTER_MAGIC: Final = 0x8F92EAB1
_CHECKSUMS: Final = 0x80
"""In the footer's descriptor: the entries have a checksum of four bytes each; ours have none, the frames have."""
_RESERVED: Final = 0x7C
_CHECKSUM_BYTES: Final = 4
FRAMES_MAX: Final = 2**27


class SeekableWriter:
    """Writes a compressed file from its beginning on: `append` as often as there is something, then `finish`."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self._waiting = bytearray()
        self._entries: list[tuple[int, int]] = []
        self._offset = 0
        self._digest = hashlib.sha256()
        self.plain_bytes = 0
        """What was appended."""

    def __repr__(self) -> str:
        return f"<SeekableWriter {self.plain_bytes} bytes in {self._offset}>"

    @property
    def sha256(self) -> str:
        """Of what was appended, in hexadecimal digits."""
        return self._digest.hexdigest()

    def append(self, piece: Buffer) -> None:
        """Take the next bytes; they are written once they fill a frame."""
        self._digest.update(piece)
        self.plain_bytes += len(piece)
        self._waiting += piece
        while len(self._waiting) >= FRAME_BYTES:
            self._write(bytes(self._waiting[:FRAME_BYTES]))
            del self._waiting[:FRAME_BYTES]

    def finish(self) -> int:
        """Write what is left, and the table; return the file's size."""
        if self._waiting:
            self._write(bytes(self._waiting))
            self._waiting.clear()
        entries = b"".join(_ENTRY.pack(*entry) for entry in self._entries)
        footer = _FOOTER.pack(len(self._entries), 0, _FOOTER_MAGIC)
        table = _TABLE_HEAD.pack(_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer
        self._file.write_at([table], self._offset)
        return self._offset + len(table)

    def _write(self, piece: bytes) -> None:
        frame = self._compressor.compress(piece)
        self._file.write_at([frame], self._offset)
        self._offset += len(frame)
        self._entries.append((len(frame), len(piece)))


class SeekableFile:
    """A compressed file as if it was the plain one, for reading. It satisfies `File`, but for what changes a file."""

    def __init__(self, file: File, name: str) -> None:
        self._file = file
        self._name = name
        try:
            entries = self._table()
        except BaseException:
            file.close()
            raise
        self._starts = [0, *accumulate(plain for _, plain in entries)]
        self._offsets = [0, *accumulate(packed for packed, _ in entries)]
        self._decompressor = zstandard.ZstdDecompressor()
        self._kept = lru_cache(maxsize=1)(self._unpacked)
        """The frame that was unpacked last: who reads on in it does not unpack it again."""

    def __repr__(self) -> str:
        return f"<SeekableFile {self._name} {self.size()} bytes in {len(self._starts) - 1} frames>"

    def size(self) -> int:
        """Return the plain file's size."""
        return self._starts[-1]

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes of the plain file."""
        end, parts = min(offset + length, self.size()), list[bytes]()
        while offset < end:
            index = bisect_right(self._starts, offset) - 1
            start = self._starts[index]
            part = self._kept(index)[offset - start : end - start]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close it."""
        self._kept.cache_clear()
        self._file.close()

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:  # noqa: ARG002 (as in `File`)
        """Not possible: such a file is made anew."""
        raise OSError(errno.EROFS, f"{self._name} is compressed, and never written to")

    def truncate(self, size: int) -> None:  # noqa: ARG002
        """Not possible."""
        raise OSError(errno.EROFS, f"{self._name} is compressed, and never cut")

    def sync(self) -> None:
        """There is nothing to sync: it was, before it had its name."""

    def _table(self) -> list[tuple[int, int]]:
        size = self._file.size()
        footer = self._file.read_at(max(0, size - _FOOTER.size), _FOOTER.size)
        if len(footer) != _FOOTER.size:
            raise self._unreadable("is cut off")
        count, descriptor, magic = _FOOTER.unpack(footer)
        if magic != _FOOTER_MAGIC or descriptor & _RESERVED or count > FRAMES_MAX:
            raise self._unreadable("has no table of its frames at its end")
        step = _ENTRY.size + (_CHECKSUM_BYTES if descriptor & _CHECKSUMS else 0)
        length = count * step + _FOOTER.size
        begin = size - length - _TABLE_HEAD.size
        if begin < 0 or self._file.read_at(begin, _TABLE_HEAD.size) != _TABLE_HEAD.pack(_TABLE_MAGIC, length):
            raise self._unreadable("has no whole table of its frames")
        table = self._file.read_at(begin + _TABLE_HEAD.size, count * step)
        entries = [_ENTRY.unpack_from(table, place) for place in range(0, len(table), step)]
        is_whole = sum(packed for packed, _ in entries) == begin
        if not is_whole or any(not 0 < plain <= FRAME_BYTES_MAX for _, plain in entries):
            raise self._unreadable("has frames that its table does not fit")
        return entries

    def _unpacked(self, index: int) -> bytes:
        plain_bytes = self._starts[index + 1] - self._starts[index]
        frame = self._file.read_at(self._offsets[index], self._offsets[index + 1] - self._offsets[index])
        try:
            if zstandard.frame_content_size(frame) != plain_bytes:
                raise self._unreadable(f"has another frame {index + 1} than its table says")
            return self._decompressor.decompress(frame)
        except zstandard.ZstdError:
            raise self._unreadable(f"has a frame {index + 1} that was changed") from None

    def _unreadable(self, what: str) -> UnreadableFile:
        return UnreadableFile(f"{self._name} {what}", is_away=False)


def check_written(file: File, name: str, writer: SeekableWriter) -> None:
    """Read a compressed file back, and compare it with what was appended; closes it. Raises UnreadableFile."""
    plain, digest, offset = SeekableFile(file, name), hashlib.sha256(), 0
    try:
        while piece := plain.read_at(offset, FRAME_BYTES):
            digest.update(piece)
            offset += len(piece)
    finally:
        plain.close()
    if (offset, digest.hexdigest()) != (writer.plain_bytes, writer.sha256):
        raise UnreadableFile(f"{name} does not read as it was written", is_away=False)
