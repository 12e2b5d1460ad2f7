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
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from persistence.files.failures import StorageDamage, StorageFailure
from persistence.files.file_system import FileSystem
from persistence.format.records import Committed, JournalName, Mark, Record
from persistence.journals.day_files import DayFiles
from persistence.journals.day_names import name_of
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import BadLine, StoredLine
from persistence.journals.scanning import (
    READ_BYTES,
    damage,
    find_last_commits,
    find_near_end,
    good_line_of_a_later_batch,
    scan,
)

log = logging.getLogger("central_command.storage")

NAMES_SAID: Final = 5
"""Names of foreign files in one log line."""


def last_commits(directory: Path, files: FileSystem) -> Mark:
    """Return where the last commits begin, which a crash may have torn: for what no database follows. Blocking."""
    return find_last_commits(DayFiles(files, directory))


def last_lines(directory: Path, files: FileSystem, n: int) -> Mark:
    """Return where to read on so that line `n` comes soon, if it is among the last of its day. Blocking."""
    return find_near_end(DayFiles(files, directory), n)


class Recovery:
    """The recovery of one journal: drain `batches` (blocking), then `tail` is where the journal ends."""

    def __init__(
        self,
        name: JournalName,
        directory: Path,
        start: Mark,
        *,
        files: FileSystem,
        torn_directory: Path,
        batch_bytes_max: int,
    ) -> None:
        self._name = name
        self.start = start
        """Where it begins: further on than asked for where lines from there on were dropped, once it has begun."""
        self._file_system = files
        self._files = DayFiles(files, directory)
        self._torn_directory = torn_directory
        self._batch_bytes_max = batch_bytes_max
        self.tail = start

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
        self._files.remove_anew()  # an erasure was interrupted: it begins anew
        _mention_foreign_names(self._name, self._files)
        self._pass_over_dropped()
        _check_start(self._name, self._files, self.start)
        _sync(self._files, self.start.day)
        batch: list[Committed] = []
        batch_bytes = 0
        for item in scan(self._files, self.start):
            if isinstance(item, BadLine):
                self._cut_torn(item)
                break
            batch.append(Committed(self._record(item), item.position))
            batch_bytes += item.position.length
            self.tail = item.position.end
            if batch_bytes >= self._batch_bytes_max:
                yield batch
                batch, batch_bytes = [], 0
        if batch:
            yield batch
        days = self._files.days()
        if days and days[-1] > self.tail.day:
            # A day's file that was created and not written to: go on in it, as its name is already durable.
            self.tail = Mark(self.tail.n, days[-1], 0)

    def _pass_over_dropped(self) -> None:
        """Begin behind what was dropped, and remove what a crash has left of it."""
        for day in self._files.remove_dropped():
            log.info("%s of the %s journal was dropped before; it is removed", name_of(day), self._name)
        dropped = self._files.dropped()
        if self.start.n < dropped.n:
            log.warning(
                "the databases have seen the %s journal up to line %d, and its lines up to %d were dropped: what "
                "those between have used up is not known any more",
                self._name,
                self.start.n,
                dropped.n,
            )
        if self.start.n <= dropped.n:
            self.start = self.tail = Mark(dropped.n, dropped.day, 0)

    def _record(self, line: StoredLine) -> Record:
        try:
            return parse_line(self._name, line.text)
        except LineError as error:
            raise StorageDamage(
                f"the {self._name} journal holds {line.where}, of which {error}: use the version of the program that "
                "wrote it, or restore that file from a backup."
            ) from error

    def _cut_torn(self, bad: BadLine) -> None:
        """Copy everything from the bad line on aside and cut it off, unless it is damage."""
        later = good_line_of_a_later_batch(self._files, bad)
        if later is not None or any(day >= bad.day for day in self._files.present().cold):
            raise damage(self._name, bad, later)  # a cold day was whole when it was made cold
        for day in reversed([day for day in self._files.days() if day >= bad.day]):
            offset = bad.offset if day == bad.day else 0
            size = self._files.size_bytes(day)
            if size > offset:
                self._copy_aside(day, offset)
                with self._files.changing(day) as file:
                    file.truncate(offset)
                    file.sync()
                log.warning(
                    "the %s journal ended in %s: %d bytes at byte %d of %s, never acknowledged, were moved to %s",
                    self._name,
                    bad.what,
                    size - offset,
                    offset,
                    name_of(day),
                    self._torn_directory.name,
                )

    def _copy_aside(self, day: str, offset: int) -> None:
        """Copy a day's file from `offset` on into the folder of torn pieces, durably."""
        files, target = self._file_system, self._torn_directory / f"{self._name}-{day}-{offset}.part"
        files.make_directory(self._torn_directory)
        present = target.name in files.list_names(self._torn_directory)
        with (
            closing(files.open(target) if present else files.create(target)) as copy,
            self._files.reading(day) as original,
        ):
            copy.truncate(0)
            written = 0
            while block := original.read_at(offset + written, READ_BYTES):
                copy.write_at([block], written)
                written += len(block)
            copy.sync()
        files.sync_directory(self._torn_directory)


def _mention_foreign_names(name: JournalName, files: DayFiles) -> None:
    foreign = files.foreign_names()
    if foreign:
        more = f" and {len(foreign) - NAMES_SAID} more" if len(foreign) > NAMES_SAID else ""
        listed = ", ".join(map(repr, foreign[:NAMES_SAID]))
        log.warning(
            "the folder of the %s journal holds %s%s, which the journal leaves alone: move it away", name, listed, more
        )


def _check_start(name: JournalName, files: DayFiles, start: Mark) -> None:
    if start.day <= files.dropped().day:
        return
    size = files.size_bytes(start.day) if start.day in files.days() else -1
    if size < start.offset:
        found = "is missing" if size < 0 else f"holds {size} bytes"
        raise StorageDamage(
            f"the {name} journal's file {name_of(start.day)} {found}, but the databases have seen {start.offset} bytes "
            f"of it (line {start.n}): restore it from a backup, or run `central-command rebuild` to accept the loss."
        )


def _sync(files: DayFiles, first_day: str) -> None:
    present = files.present()
    for day in present.days:
        if day >= first_day and day not in present.cold:
            with files.changing(day) as file:
                file.sync()
    files.sync_directory()
