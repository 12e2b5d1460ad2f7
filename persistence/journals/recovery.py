"""What a restart makes of a journal: where it ends, what is torn off, what has to be projected.

Reading starts at the position up to which the databases are known to be projected, so its cost is that of the tail.
Every line from there on is checked: its checksum, and that its number follows the one before. The first line that fails
a check is either

- torn: nothing good follows it, or only lines of the same group commit. That commit was never acknowledged (see
  `persistence.journals.journal`), so everything from there on is copied to `torn/` and cut off; or
- damage: a line of a later commit, or a number that goes backwards, follows. Then something that was on disk is gone,
  and a server that started on it would hide that: `StorageDamage` says where.

What a killed process wrote but did not sync is still in the kernel's cache and looks like part of the file. It is
synced before anything is derived from it: else a power failure could take a line away that the databases have seen.

Everything here can be interrupted at any point and run again: the copy is made before the cut, under a name that says
what it holds, and the cut is the last step.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from persistence.files.failures import StorageDamage, StorageFailure
from persistence.files.file_system import File, FileSystem
from persistence.format.records import Committed, JournalName, Position, Record
from persistence.journals.journal import Tail
from persistence.journals.lines import parse_frame

log = logging.getLogger("central_command.storage")

READ_BYTES = 1_048_576
SUFFIX = ".jsonl"


class Start(msgspec.Struct, frozen=True):
    """Where to read from: the first line's number is `n` + 1, in the file of `day` ("" for the first) at `offset`."""

    n: int = 0
    day: str = ""
    offset: int = 0


class Line(msgspec.Struct, frozen=True):
    """A line that passed its checks, without its newline, and where it stands."""

    text: bytes
    position: Position
    batch: int


class BadLine(msgspec.Struct, frozen=True):
    """The first place where a journal cannot be believed."""

    day: str
    offset: int
    expected_n: int
    what: str


def days_of(files: FileSystem, directory: Path) -> list[str]:
    """Return the days that a journal's folder has files for, oldest first."""
    return [name.removesuffix(SUFFIX) for name in files.list_names(directory) if name.endswith(SUFFIX)]


def stored_bytes(files: FileSystem, directory: Path) -> int:
    """Return how many bytes a journal's files hold."""
    return sum(_size(files, directory / f"{day}{SUFFIX}") for day in days_of(files, directory))


def scan(files: FileSystem, directory: Path, start: Start) -> Iterator[Line | BadLine]:
    """Yield a journal's lines from `start` on, in order; a `BadLine`, if there is one, is the last item."""
    n = start.n
    for day in days_of(files, directory):
        if day < start.day:
            continue
        offset = start.offset if day == start.day else 0
        for text, whole in _pieces(files, directory, day, offset):
            frame = parse_frame(text) if whole else None
            if frame is None:
                yield BadLine(
                    day, offset, n + 1, "an incomplete line" if not whole else "a line that fails its checksum"
                )
                return
            if frame.n != n + 1:
                yield BadLine(day, offset, n + 1, f"line number {frame.n} where {n + 1} belongs")
                return
            n += 1
            length = len(text) + 1
            yield Line(text, Position(n=n, day=day, offset=offset, length=length, at=frame.at), frame.batch)
            offset += length


def _pieces(files: FileSystem, directory: Path, day: str, offset: int) -> Iterator[tuple[bytes, bool]]:
    """Yield a file's lines from `offset` on, without their newline, and whether the newline was there."""
    file = files.open_read_only(directory / f"{day}{SUFFIX}")
    try:
        parts: list[bytes] = []
        while block := file.read_at(offset, READ_BYTES):
            offset += len(block)
            first, *others = block.split(b"\n")
            parts.append(first)
            if others:
                yield b"".join(parts), True
                for text in others[:-1]:
                    yield text, True
                parts = [others[-1]]
        rest = b"".join(parts)
        if rest:
            yield rest, False
    finally:
        file.close()


def good_line_of_a_later_batch(files: FileSystem, directory: Path, bad: BadLine) -> Position | None:
    """Return where a good line stands that cannot belong to the commit that the bad line was part of."""
    for day in days_of(files, directory):
        if day < bad.day:
            continue
        offset = bad.offset if day == bad.day else 0
        for text, whole in _pieces(files, directory, day, offset):
            frame = parse_frame(text) if whole else None
            if frame is not None and (frame.batch > bad.expected_n or frame.n < bad.expected_n):
                return Position(n=frame.n, day=day, offset=offset, length=len(text) + 1, at=frame.at)
            offset += len(text) + 1
    return None


class Recovery:
    """The recovery of one journal: drain `batches` (blocking), then `tail` is where the journal ends."""

    def __init__(
        self,
        name: JournalName,
        directory: Path,
        start: Start,
        *,
        files: FileSystem,
        torn_directory: Path,
        parse: Callable[[bytes], Record],
        batch_bytes_max: int,
    ) -> None:
        self._name = name
        self._directory = directory
        self._start = start
        self._files = files
        self._torn_directory = torn_directory
        self._parse = parse
        self._batch_bytes_max = batch_bytes_max
        self.tail = Tail(n=start.n, day=start.day, offset=start.offset)

    def batches(self) -> Iterator[list[Committed]]:
        """Check every line, cut off what is torn, and yield the lines in batches of about `batch_bytes_max`.

        Raises StorageDamage where the journal contradicts itself or the databases, StorageFailure when the disk fails.
        """
        try:
            yield from self._batches()
        except OSError as error:
            raise StorageFailure(
                f"recovering the {self._name} journal failed: {error.strerror}; the next start tries again."
            ) from error

    def _batches(self) -> Iterator[list[Committed]]:
        _check_start(self._name, self._files, self._directory, self._start)
        _sync(self._files, self._directory, self._start.day)
        batch: list[Committed] = []
        batch_bytes = 0
        for item in scan(self._files, self._directory, self._start):
            if isinstance(item, BadLine):
                _cut_torn(self._name, self._files, self._directory, self._torn_directory, item)
                break
            batch.append(Committed(self._parse(item.text), item.position))
            batch_bytes += item.position.length
            end = item.position.offset + item.position.length
            self.tail = Tail(n=item.position.n, day=item.position.day, offset=end)
            if batch_bytes >= self._batch_bytes_max:
                yield batch
                batch, batch_bytes = [], 0
        if batch:
            yield batch
        days = days_of(self._files, self._directory)
        if days and days[-1] > self.tail.day:
            # A day's file that was created and not written to: go on in it, as its name is already durable.
            self.tail = Tail(n=self.tail.n, day=days[-1], offset=0)


def _check_start(name: JournalName, files: FileSystem, directory: Path, start: Start) -> None:
    if not start.day:
        return
    size = _size(files, directory / f"{start.day}{SUFFIX}") if start.day in days_of(files, directory) else -1
    if size < start.offset:
        found = "is missing" if size < 0 else f"holds {size} bytes"
        raise StorageDamage(
            f"the {name} journal's file {start.day}{SUFFIX} {found}, but the databases have seen {start.offset} bytes "
            f"of it (line {start.n}): restore it from a backup, or run `central-command rebuild` to accept the loss."
        )


def _sync(files: FileSystem, directory: Path, first_day: str) -> None:
    for day in days_of(files, directory):
        if day >= first_day:
            with _opened(files.open(directory / f"{day}{SUFFIX}")) as file:
                file.sync()
    files.sync_directory(directory)


def _cut_torn(name: JournalName, files: FileSystem, directory: Path, torn_directory: Path, bad: BadLine) -> None:
    """Copy everything from the bad line on aside and cut it off, unless it is damage."""
    later = good_line_of_a_later_batch(files, directory, bad)
    if later is not None:
        raise StorageDamage(
            f"the {name} journal is damaged: {bad.what} at byte {bad.offset} of {bad.day}{SUFFIX}, and good lines "
            f"follow (line {later.n} at byte {later.offset} of {later.day}{SUFFIX}): restore that file from a backup."
        )
    for day in reversed([day for day in days_of(files, directory) if day >= bad.day]):
        offset = bad.offset if day == bad.day else 0
        path = directory / f"{day}{SUFFIX}"
        size = _size(files, path)
        if size > offset:
            _copy_aside(files, path, offset, torn_directory / f"{name}-{day}-{offset}.part", torn_directory)
            with _opened(files.open(path)) as file:
                file.truncate(offset)
                file.sync()
            log.warning(
                "the %s journal ended in %s: %d bytes at byte %d of %s, never acknowledged, were moved to %s",
                name,
                bad.what,
                size - offset,
                offset,
                path.name,
                torn_directory.name,
            )


def _copy_aside(files: FileSystem, source: Path, offset: int, target: Path, torn_directory: Path) -> None:
    files.make_directory(torn_directory)
    present = target.name in files.list_names(torn_directory)
    with (
        _opened(files.open(target) if present else files.create(target)) as copy,
        _opened(files.open_read_only(source)) as original,
    ):
        copy.truncate(0)
        written = 0
        while block := original.read_at(offset + written, READ_BYTES):
            copy.write_at([block], written)
            written += len(block)
        copy.sync()
    files.sync_directory(torn_directory)


def _size(files: FileSystem, path: Path) -> int:
    with _opened(files.open_read_only(path)) as file:
        return file.size()


@contextmanager
def _opened(file: File) -> Iterator[File]:
    try:
        yield file
    finally:
        file.close()
