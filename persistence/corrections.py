"""A file of corrections that another program appends to, read on from where it was read to. Blocking.

The file is that program's: nothing is written, and it may be cut, replaced or taken away at any time. A line counts
once its newline is there. Where the file is another one (its inode) or is shorter than what was read of it, it is read
from its start.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.regular import open_file
from persistence.format.records import ReadUpTo

READ_BYTES: Final = 1_048_576


class Rows(msgspec.Struct, frozen=True):
    """Whole lines without their newlines, in order, each with up to where the file is read with it.

    A line that is too long is None. `is_all`: there is no other whole line now.
    """

    rows: list[tuple[bytes | None, ReadUpTo]]
    is_all: bool


def read_rows(path: Path, since: ReadUpTo, *, row_bytes_max: int, rows_max: int) -> Rows | None:
    """Read at most `rows_max` lines behind a place; None where there is no file. Raises OSError for what is none."""
    try:
        descriptor = open_file(path, follows_links=True)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb", buffering=READ_BYTES) as file:
        status = os.fstat(file.fileno())
        is_same = status.st_ino == since.inode and status.st_size >= since.offset
        offset = since.offset if is_same else 0
        file.seek(offset)
        rows: list[tuple[bytes | None, ReadUpTo]] = []
        while len(rows) < rows_max:
            line = file.readline(row_bytes_max + 1)
            length = len(line)
            is_long = length > row_bytes_max and not line.endswith(b"\n")
            while is_long and not line.endswith(b"\n") and (line := file.readline(READ_BYTES)):
                length += len(line)
            if not line.endswith(b"\n"):
                return Rows(rows, is_all=True)
            offset += length
            rows.append((None if is_long else line[:-1], ReadUpTo(status.st_ino, offset)))
    return Rows(rows, is_all=False)
