"""Unpacks compressed session files as streams: gzip and Zstandard by their first bytes, whatever the file is called.

Agents compress what they have not touched for some days, and people archive theirs. Nothing is unpacked to the disk,
and at most a few megabytes are in memory at once. A *bomb* is what unpacks to more than `RATIO_MAX` times its size,
once it is past `RATIO_FROM_BYTES`, or to more than `UNPACKED_BYTES_MAX`. Damage anywhere refuses the whole file: what
stands before it may be half of a session.
"""

import errno
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import zstandard

UNPACKED_BYTES_MAX = 1024 * 1024 * 1024
"""Most bytes that one session may have unpacked: as many as a plain file may have."""
RATIO_MAX = 250
RATIO_FROM_BYTES = 16 * 1024 * 1024
"""Session files shrink to a tenth or so; a small one that repeats itself may shrink to far less."""
ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024
"""Largest memory that a Zstandard frame may ask for; the format's own tools take no more by default."""
PIECE_BYTES = 16 * 1024
"""What is read of a compressed file at once."""
_OUTPUT_BYTES = 256 * 1024
_ZSTD_INPUT_BYTES = 512
"""What the decompressor is fed at once: four bytes can be a block of 128 KiB, so this is 16 MiB at most."""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_GZIP_MAGIC = b"\x1f\x8b"
MAGIC_BYTES = 4
OTHER_ARCHIVES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
)
"""What is known by its first bytes and not read."""


TAR_HEAD_BYTES = 512
_TAR_MAGIC = slice(257, 262)


class DamagedError(OSError):
    """A compressed file that cannot be read; `strerror` says why, as part of a sentence."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EINVAL, why)


class Unpacker(Protocol):
    """Unpacks one member, or frame, of a compressed file."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What `data` unpacks to, and what of it is left: for the next call, or for what follows a member's end."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether the member is at its end."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._inner.decompress(data, _OUTPUT_BYTES)
        return out, self._inner.unconsumed_tail or self._inner.unused_data

    @property
    def is_done(self) -> bool:
        return self._inner.eof


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        self._inner = decompressor.decompressobj()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._inner.decompress(data[:_ZSTD_INPUT_BYTES])
        return out, self._inner.unused_data + data[_ZSTD_INPUT_BYTES:]

    @property
    def is_done(self) -> bool:
        return self._inner.eof


def unpacker_for(start: bytes) -> type[Unpacker] | None:
    """What unpacks a member that begins like this; None for what is not compressed. Raises DamagedError for others."""
    if start.startswith(_ZSTD_MAGIC) or (start[1:4] == _ZSTD_SKIPPABLE and start[:1] in b"PQRSTUVWXYZ[\\]^_"):
        return _Zstd
    if start.startswith(_GZIP_MAGIC):
        return _Gzip
    for magic, what in OTHER_ARCHIVES:
        if start.startswith(magic[:MAGIC_BYTES]):
            raise DamagedError(f"it is {what}, which is not read here; unpack it first")
    return None


def is_tar(start: bytes) -> bool:
    """Whether what begins like this, unpacked, is a tar archive: its files would be read as one.

    The archive's magic stands behind the first file's name, which NULs pad.
    """
    return start[_TAR_MAGIC] == b"ustar" and b"\0" in start[: _TAR_MAGIC.start]


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a compressed file, all of its members one after the other. Raises DamagedError."""
    meter = Meter()
    unpacker: Unpacker | None = None
    rest = b""
    for piece in pieces:
        meter.take_in(len(piece))
        rest += piece
        while rest or (unpacker is not None and not unpacker.is_done):
            if unpacker is None:
                rest = rest.lstrip(b"\0")  # some writers pad to whole blocks
                if len(rest) < MAGIC_BYTES:
                    break
                unpacker = _next_member(rest)
            before = len(rest)
            try:
                out, rest = unpacker.feed(rest)
            except (zlib.error, zstandard.ZstdError) as error:
                raise DamagedError(f"the compressed data are damaged ({error})") from error
            if unpacker.is_done:
                unpacker = None
            if out:
                meter.give_out(len(out))
                yield out
            elif len(rest) == before or not rest:
                break
    if unpacker is not None or rest.strip(b"\0"):
        raise DamagedError("the compressed data are cut off")


def _next_member(start: bytes) -> Unpacker:
    found = unpacker_for(start)
    if found is None:
        raise DamagedError("the compressed data are damaged (other data follow them)")
    return found()


class Meter:
    """Counts what goes in and comes out, and refuses bombs."""

    def __init__(self) -> None:
        self._taken = self._given = 0

    def take_in(self, size: int) -> None:
        """So many more compressed bytes were read."""
        self._taken += size

    def give_out(self, size: int) -> None:
        """So many more bytes came out of them; raises DamagedError when these are too many."""
        self._given += size
        if self._given > UNPACKED_BYTES_MAX:
            raise DamagedError(f"it unpacks to more than {UNPACKED_BYTES_MAX // 1024**2} MiB")
        if self._given > RATIO_FROM_BYTES and self._given > RATIO_MAX * self._taken:
            raise DamagedError(f"it unpacks to more than {RATIO_MAX} times its size, as a bomb does")
