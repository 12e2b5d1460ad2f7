"""Files of an export while they are written: under another name, hashed as they go, on disk when they are closed.

A writer is for one format and one split within one segment. What it is given was *prepared* first, so that it is known
how large it is before it is decided which file it goes into.
"""

import hashlib
import os
from pathlib import Path
from typing import Protocol

from central_command.exporting.contents import Place, WrittenFile
from central_command.exporting.formats.format import Format
from central_command.exporting.prepared import Prepared
from persistence.files.file_system import OsFileSystem

LINES = "jsonl"
BUFFER_BYTES = 1_048_576
SYNC_BYTES = 33_554_432
"""What is written between two syncs: a server's own sync waits for what others have left in the disk's queue."""


class Writer(Protocol):
    """Writes one file after the other, below a folder."""

    def add(self, record_id: str, prepared: Prepared) -> Place:
        """Write the rows of one trajectory; answer where they are."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the open file holds, before compression."""
        ...

    def close(self) -> list[WrittenFile]:
        """End what is open, and answer what was written; it is on disk then."""
        ...

    def abandon(self) -> None:
        """Write nothing any more, from the moment that this returns; what was written does not count."""
        ...


class HashedFile:
    """A new file that is written from its beginning to its end, buffered, and hashed meanwhile."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._file = OsFileSystem().create(path)
        self._sha256 = hashlib.sha256()
        self._buffer: list[bytes] = []
        self._buffered = self._unsynced = 0
        self.size_bytes = 0
        self.closed = False

    def write(self, data: "bytes | memoryview") -> int:
        """Write what comes next."""
        piece = bytes(data)
        self._buffer.append(piece)
        self._buffered += len(piece)
        self.size_bytes += len(piece)
        if self._buffered >= BUFFER_BYTES:
            self.flush()
        return len(piece)

    def tell(self) -> int:
        """How much was written."""
        return self.size_bytes

    def flush(self) -> None:
        """Hand on what is buffered."""
        joined = b"".join(self._buffer)
        self._sha256.update(joined)
        self._file.write_at([joined], self.size_bytes - len(joined))
        self._unsynced += len(joined)
        self._buffer, self._buffered = [], 0
        if self._unsynced >= SYNC_BYTES:
            self._file.sync()
            self._unsynced = 0

    def close(self) -> None:
        """Write the rest, and return once all is on disk."""
        if self.closed:
            return
        self.flush()
        self._file.sync()
        self._file.close()
        self.closed = True

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._sha256.hexdigest()

    def readable(self) -> bool:
        """It is written only."""
        return False

    def writable(self) -> bool:
        """It is written."""
        return True

    def seekable(self) -> bool:
        """It is written from its beginning to its end."""
        return False


class LineWriter:
    """Each row a line of JSON."""

    def __init__(self, folder: Path, path: str, format_name: str, split: str) -> None:
        self._folder = folder
        self._path = path
        self._format = format_name
        self._split = split
        self._file: HashedFile | None = None
        self._rows = self._trajectories = 0

    def add(self, record_id: str, prepared: Prepared) -> Place:  # noqa: ARG002 (of the protocol)
        """Write lines."""
        if self._file is None:
            self._file = HashedFile(self._folder / self._path)
        first = self._rows
        self._file.write(b"".join(prepared.rows))
        self._rows += len(prepared.rows)
        self._trajectories += 1
        return Place(self._path, first, len(prepared.rows))

    @property
    def size_bytes(self) -> int:
        """What the file holds."""
        return 0 if self._file is None else self._file.size_bytes

    def close(self) -> list[WrittenFile]:
        """End the file."""
        if self._file is None:
            return []
        self._file.close()
        return [
            WrittenFile(
                path=self._path,
                format=self._format,
                split=self._split,
                rows=self._rows,
                trajectories=self._trajectories,
                size_bytes=self._file.size_bytes,
                sha256=self._file.sha256,
            )
        ]

    def abandon(self) -> None:
        """All that was added was written then."""


class FileEachWriter:
    """Files of their own, named for their records; those of one segment in one folder.

    Where files have lines, all rows of a record are in one; else each row is a file (`paths_of`).
    """

    def __init__(self, folder: Path, path: str, known: Format, split: str) -> None:
        self._folder = folder
        self._path = path
        self._format = known
        self._split = split
        self._written: list[WrittenFile] = []
        self.size_bytes = 0

    def add(self, record_id: str, prepared: Prepared) -> Place:
        """Write the files of a record."""
        first = f"{self._path}/{record_id}.{self._format.ending}"
        has_lines = self._format.ending == LINES
        texts = [b"".join(prepared.rows)] if has_lines else prepared.rows
        for number, (path, text) in enumerate(zip(paths_of(first, len(texts)), texts, strict=True)):
            file = HashedFile(self._folder / path)
            file.write(text)
            file.close()
            self._written.append(
                WrittenFile(
                    path=path,
                    format=self._format.name,
                    split=self._split,
                    rows=len(prepared.rows) if has_lines else 1,
                    trajectories=int(number == 0),
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                )
            )
        self.size_bytes += prepared.size_bytes
        return Place(first, 0, len(prepared.rows))

    def close(self) -> list[WrittenFile]:
        """Answer what was written."""
        return self._written

    def abandon(self) -> None:
        """All that was added was written then."""


def paths_of(first: str, count: int) -> list[str]:
    """The files of a record that has several, by the first: the others have their number behind its name."""
    stem, _, ending = first.rpartition(".")
    return [first, *(f"{stem}-{number}.{ending}" for number in range(2, count + 1))]


def draft_of(path: Path) -> Path:
    """Where a small file is written before it gets its name."""
    return path.with_name(f".{path.name}.draft")


def put_file(path: Path, text: bytes) -> None:
    """Put a small file into its place, whole and on disk, or not at all."""
    draft = draft_of(path)
    file = HashedFile(draft)
    file.write(text)
    file.close()
    draft.replace(path)
    OsFileSystem().sync_directory(path.parent)


def move_file(source: Path, target: Path) -> None:
    """Give a file its name; done before, it stays as it is."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if source.exists() or not target.exists():
        os.replace(source, target)  # noqa: PTH105 (the same as Path.replace, and said at once)
