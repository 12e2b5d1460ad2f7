"""Session files within a zip archive, read where they are: an entry's path is that of the archive, then its own.

`backup.zip/projects/one.jsonl` is the entry `projects/one.jsonl`. Nothing is ever unpacked to the disk, so what an
entry is called can do no harm; still, names that point out of the archive, links and encrypted entries are refused:
none of them is what an agent wrote. Entries are stored or deflated; each is bound as a compressed file is.
"""

import errno
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import msgspec

from central_command.client.transcripts.unpacking import PIECE_BYTES, DamagedError, Meter
from persistence.files.regular import open_file

SUFFIX = ".zip"
ENTRIES_MAX = 100_000
"""Most entries of one archive: their names are held in memory."""
DIRECTORY_BYTES_MAX = 32 * 1024 * 1024
"""Largest table of contents, in bytes, which is in memory as a whole."""
_MAGIC = b"PK\x03\x04"
_MAGIC_EMPTY = b"PK\x05\x06"
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_COMMENT_BYTES_MAX = 65_535
_LOCAL = struct.Struct("<4s5H3L2H")
_OUTPUT_BYTES = 256 * 1024
_ENCRYPTED = 0x1
_ARCHIVES_KEPT = 2


class Place(msgspec.Struct, frozen=True):
    """Where an entry stands in an archive, and how it is packed; `problem` says why it is not read."""

    offset: int
    packed_bytes: int
    bytes: int
    crc: int
    is_deflated: bool
    problem: str | None


class Entry(msgspec.Struct, frozen=True):
    """An entry of an archive that is there."""

    archive: Path
    place: Place

    @property
    def packed_bytes(self) -> int:
        """What it takes in the archive, in bytes."""
        return self.place.packed_bytes


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes | None: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip archive; raises OSError."""
    with io.FileIO(open_file(path, follows_links=True)) as file:
        return file.read(len(_MAGIC)) in {_MAGIC, _MAGIC_EMPTY}


def entries(archive: Path) -> Mapping[str, Place]:
    """What an archive holds, by name, without folders. Raises OSError for one that cannot be read."""
    status = archive.stat()
    return _read_directory(archive, status.st_size, status.st_mtime_ns)


def entry_of(path: Path) -> Entry | None:
    """The entry of an archive that `path` names; None when it names a file of its own, or nothing. Raises OSError."""
    if SUFFIX not in str(path).lower() or os.path.lexists(path):
        return None
    for parent in path.parents:
        if parent.is_file() and is_archive(parent):
            place = entries(parent).get(path.relative_to(parent).as_posix())
            if place is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            if place.problem is not None:
                raise DamagedError(place.problem)
            return Entry(parent, place)
    return None


def contents(file: _Readable, entry: Entry) -> Iterator[bytes]:
    """The bytes of an entry of the opened archive `file`. Raises DamagedError."""
    place = entry.place
    file.seek(place.offset)
    header = file.read(_LOCAL.size) or b""
    if len(header) < _LOCAL.size or not header.startswith(_MAGIC):
        raise DamagedError("its entry in the archive is damaged")
    *_, name_bytes, extra_bytes = _LOCAL.unpack(header)
    file.seek(place.offset + _LOCAL.size + name_bytes + extra_bytes)
    left, crc, given, meter = place.packed_bytes, 0, 0, Meter()
    inner = zlib.decompressobj(-zlib.MAX_WBITS) if place.is_deflated else None
    while left and (piece := file.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        meter.take_in(len(piece))
        for out in (piece,) if inner is None else _inflated(inner, piece):
            meter.give_out(len(out))
            crc, given = zlib.crc32(out, crc), given + len(out)
            yield out
    if left or given != place.bytes or crc != place.crc or (inner is not None and not inner.eof):
        raise DamagedError("its entry in the archive is damaged")


def _inflated(inner: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    while piece:
        try:
            out = inner.decompress(piece, _OUTPUT_BYTES)
        except zlib.error as error:
            raise DamagedError(f"its entry in the archive is damaged ({error})") from error
        piece = inner.unconsumed_tail
        if not out:
            return
        yield out


@lru_cache(maxsize=_ARCHIVES_KEPT)
def _read_directory(archive: Path, _size: int, _changed_ns: int) -> dict[str, Place]:
    with io.BufferedReader(io.FileIO(open_file(archive, follows_links=True))) as file:
        _check_directory(file)
        try:
            with zipfile.ZipFile(file) as opened:
                found: dict[str, Place] = {}
                for each in opened.infolist():
                    if not each.is_dir():
                        name = PurePosixPath(each.filename).as_posix()  # as a path has it: without `./` and `//`
                        found[name] = _place(each, is_double=name in found)
                return found
        except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError, struct.error) as error:
            raise DamagedError(f"the zip archive is damaged ({error})") from error


def _check_directory(file: BinaryIO) -> None:
    """Refuse a table of contents that is too large, before it is read. Raises DamagedError."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _COMMENT_BYTES_MAX - _END.size))
    tail = file.read()
    at = tail.rfind(_MAGIC_EMPTY)
    if at < 0 or len(tail) - at < _END.size:
        raise DamagedError("the zip archive is damaged (it has no table of contents)")
    count, directory_bytes = _END.unpack_from(tail, at)[4:6]
    locator_at = start + at - _LOCATOR_64.size
    if locator_at >= 0:
        file.seek(locator_at)
        locator = _LOCATOR_64.unpack(file.read(_LOCATOR_64.size))
        if locator[0] == b"PK\x06\x07" and locator[2] < size:
            file.seek(locator[2])
            text = file.read(_END_64.size)
            if len(text) == _END_64.size:
                count, directory_bytes = _END_64.unpack(text)[7:9]
    if count > ENTRIES_MAX or directory_bytes > DIRECTORY_BYTES_MAX:
        raise DamagedError(f"the zip archive has more than {ENTRIES_MAX:,} entries, or a larger table of contents")
    file.seek(0)


def _place(info: zipfile.ZipInfo, *, is_double: bool) -> Place:
    return Place(
        offset=info.header_offset,
        packed_bytes=info.compress_size,
        bytes=info.file_size,
        crc=info.CRC,
        is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
        problem=_problem(info, is_double=is_double),
    )


def _problem(info: zipfile.ZipInfo, *, is_double: bool) -> str | None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "its name points out of the archive that it is in"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a symbolic link in an archive"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted in its archive"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"it is compressed in its archive in a way that is not read (method {info.compress_type})"
    if is_double:
        return "its archive holds it more than once"
    return None
