"""Harm done to a data directory, as a hand could do it that knows the format: checksums and numbers are right again."""

import re
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

TAIL = re.compile(rb',"received":\{"n":(\d+),"at":"([^"]+)","batch":(\d+)(.*?)\},"crc32":"[0-9a-f]{8}"\}\n\Z')


def files_of(root: Path, journal: str) -> list[Path]:
    """The files of a journal, oldest first."""
    return sorted((root / journal).glob("????-??-??.jsonl"))


def lines_of(root: Path, journal: str) -> list[bytes]:
    """All lines of a journal, each with its newline."""
    return [line for path in files_of(root, journal) for line in path.read_bytes().splitlines(keepends=True)]


def checksummed(line: bytes) -> bytes:
    """A line with the checksum that it should have."""
    text = line[: line.rindex(b',"crc32":"')]
    return text + b',"crc32":"%08x"}\n' % zlib.crc32(text)


def numbered(line: bytes, n: int) -> bytes:
    """A line as the next one, in a batch of its own."""
    tail = TAIL.search(line)
    assert tail is not None
    received = b'"n":%d,"at":"%s","batch":%d%s' % (n, tail[2], n, tail[4])
    return checksummed(line[: tail.start()] + b',"received":{%s},"crc32":""}\n' % received)


def change(root: Path, journal: str, having: bytes, old: bytes, new: bytes) -> None:
    """Change the first line of a journal that has `having` in it, and its checksum."""
    for path in files_of(root, journal):
        lines = path.read_bytes().splitlines(keepends=True)
        for index, line in enumerate(lines):
            if having in line:
                assert old in line, line
                lines[index] = checksummed(line.replace(old, new, 1))
                path.write_bytes(b"".join(lines))
                return
    raise AssertionError(f"no line of {journal} has {having!r}")


def append(root: Path, journal: str, line: bytes, *, old: bytes = b"", new: bytes = b"") -> None:
    """Put a line behind the last one, under the number that follows."""
    assert old in line
    path = files_of(root, journal)[-1]
    text = numbered(line.replace(old, new, 1), len(lines_of(root, journal)) + 1)
    path.write_bytes(path.read_bytes() + text)


def line_with(root: Path, journal: str, having: bytes) -> bytes:
    """The first line of a journal that has `having` in it."""
    return next(line for line in lines_of(root, journal) if having in line)


def execute(root: Path, database: str, sql: str) -> None:
    """Run statements in a database."""
    with closing(sqlite3.connect(root / database)) as connection:
        connection.executescript(sql)
