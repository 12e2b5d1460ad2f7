"""Copies of files, described by what is in them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from persistence.files.file_system import OsFile, OsFileSystem
from persistence.files.regular import open_file

COPY_BYTES: Final = 1_048_576
SYNC_BYTES: Final = 33_554_432
"""What is written between two syncs: a server's own sync waits for what others have left in the disk's queue."""

Count = Annotated[int, msgspec.Meta(ge=0)]


class CopiedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path below the folder, its size in bytes, its SHA-256 in hex, and how many newlines it holds."""

    path: str
    size_bytes: Count
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    lines: Count


def copy_file(
    source: Path,
    root: Path,
    path: str,
    *,
    size_bytes: int | None = None,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> CopiedFile:
    """Copy `source` to the new file `path` below `root`, 0600 and synced; in pieces, whatever its size.

    At most `size_bytes` are copied. Either end must be a file, not a link to one. `progress` is told how many bytes
    each piece had. Raises OSError.
    """
    target = root / path
    original = OsFile(open_file(source, follows_links=False))
    try:
        copy = OsFileSystem().create(target)
        try:
            limit = original.size() if size_bytes is None else size_bytes
            return _copied(original, copy, path, limit, progress)
        except OSError as error:
            error.filename = error.filename or str(target)
            raise
        finally:
            copy.close()
    finally:
        original.close()


def checksum_of(root: Path, path: str) -> CopiedFile:
    """Describe a file that is there already, and sync it."""
    file = OsFileSystem().open(root / path)
    try:
        return _copied(file, None, path, file.size(), lambda _bytes: None)
    finally:
        file.sync()
        file.close()


def _copied(
    original: OsFile, copy: OsFile | None, path: str, limit: int, progress: Callable[[int], None]
) -> CopiedFile:
    """Read a file up to `limit` bytes, and write it to `copy` if there is one."""
    checksum = hashlib.sha256()
    offset = lines = unsynced = 0
    while piece := original.read_at(offset, min(COPY_BYTES, limit - offset)):
        checksum.update(piece)
        lines += piece.count(b"\n")
        if copy is not None:
            copy.write_at([piece], offset)
            unsynced += len(piece)
        if copy is not None and unsynced >= SYNC_BYTES:
            copy.sync()
            unsynced = 0
        offset += len(piece)
        progress(len(piece))
    if copy is not None:
        copy.sync()
    return CopiedFile(path=path, size_bytes=offset, sha256=checksum.hexdigest(), lines=lines)
