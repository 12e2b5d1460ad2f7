"""Digests of the ledger: for each day that has credits a line, with the root of a Merkle tree over them, chained.

What is digested is the credits' source, the lines of trajectories/: of each its number, its points, and the SHA-256 of
the line as it was written. An erased line says that hash of the one before, and keeps its points, so what was digested
stays true when somebody's name is erased from the ledger: no entry is ever made anew. What an erasure does to a credit
is another name, and names are in no entry but through the hash of the line.

An entry covers the lines behind the entry before it up to the last of its day, so nothing lies between two. Lines that
a clock which went back has brought into a day that has its entry already are the next day's.

The server writes them, by a job once a day. A day that has an entry gets no second one, however often the job runs.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Final, cast

import msgspec

from persistence.files.failures import StorageFailure
from persistence.files.file_system import FileSystem, Offload
from persistence.format.layout import DataLayout
from persistence.format.merkle import MerkleTree
from persistence.format.records import DigestRecord, JournalName, Mark, TrajectoryRecord
from persistence.journals.erased_lines import is_erased, read_erased
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalReader, StoredLine
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd

BEFORE_FIRST: Final = "0" * 64
"""What the first entry has in the place of the hash of the one before."""
BATCH_BYTES_MAX: Final = 1_048_576
ENTRIES_AT_ONCE: Final = 1_000

_LEAF: Final = struct.Struct(">Qd32s")
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class ShownDigest(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is shown: with its hash, which the next one has, and how many credits it covers."""

    day: str
    credits: int
    first_n: int
    last_n: int
    root: str
    previous_sha256: str
    sha256: str


class UnknownLeafError(ValueError):
    """An erased line does not say what it was."""


def entry_sha256(entry: DigestRecord) -> str:
    """The hash of an entry: of its members as JSON by RFC 8785."""
    return hashlib.sha256(_CANONICAL.encode(entry)).hexdigest()


def leaf_of(line: bytes, n: int, record: TrajectoryRecord) -> bytes:
    """What of a line of trajectories/ is an entry of the tree; raises UnknownLeafError."""
    if not is_erased(line):
        return _LEAF.pack(n, record.total_points, hashlib.sha256(line).digest())
    sha256 = read_erased(line).erased.sha256
    if sha256 is None:
        raise UnknownLeafError(f"line {n} of trajectories is erased, and does not say what it was")
    return _LEAF.pack(n, record.total_points, bytes.fromhex(sha256))


def shown(entry: DigestRecord) -> ShownDigest:
    """An entry as it is shown."""
    return ShownDigest(
        day=entry.day,
        credits=entry.last_n - entry.first_n + 1,
        first_n=entry.first_n,
        last_n=entry.last_n,
        root=entry.root,
        previous_sha256=entry.previous_sha256,
        sha256=entry_sha256(entry),
    )


async def read_digests(layout: DataLayout, offload: Offload, *, files: FileSystem | None = None) -> list[DigestRecord]:
    """All entries, the earliest first. Raises JournalDamage, LineError, StorageFailure."""
    directory = layout.journal(JournalName.DIGESTS)
    journal = StoredJournal(JournalName.DIGESTS, directory, files=files, offload=offload)
    return [_read(line.text) async for lines in journal.scan() for line in lines]


class _Gathering:
    """Trees of the days of lines as they come, one after the other."""

    def __init__(self, before: DigestRecord | None, until: str) -> None:
        self._until = until
        self._last = before
        self._tree = MerkleTree()
        self._day = ""
        self._first_n = self._next_n = 1 if before is None else before.last_n + 1
        self.entries: list[DigestRecord] = []

    def take(self, lines: Iterable[StoredLine]) -> bool:
        """Take lines in their order; False once there is one of a day that is to have no entry yet."""
        for line in lines:
            if len(self._tree) and self._day_of(line) != self._day:
                self.end()
            day = self._day_of(line)
            if day > self._until:
                return False
            self._add(line, day)
        return True

    def _day_of(self, line: StoredLine) -> str:
        """The day that a line is digested with: its file's, or, where that has its entry, the day after it."""
        if self._last is None or line.position.day > self._last.day:
            return line.position.day
        return (date.fromisoformat(self._last.day) + timedelta(days=1)).isoformat()

    def end(self) -> None:
        """Make an entry of the day's lines, if there are any."""
        if not len(self._tree):
            return
        self._last = DigestRecord(
            day=self._day,
            first_n=self._first_n,
            last_n=self._next_n - 1,
            root=self._tree.root(),
            previous_sha256=BEFORE_FIRST if self._last is None else entry_sha256(self._last),
        )
        self.entries.append(self._last)
        self._tree, self._first_n = MerkleTree(), self._next_n

    def _add(self, line: StoredLine, day: str) -> None:
        assert line.position.n == self._next_n, "a scan leaves none out"
        self._day = day
        self._tree.add(_leaf(line))
        self._next_n += 1


class DigestJournal:
    """The journal of digests, for the server that writes it."""

    def __init__(self, layout: DataLayout, *, clock: Callable[[], float], files: FileSystem, offload: Offload) -> None:
        self._layout = layout
        self._directory = layout.journal(JournalName.DIGESTS)
        self._clock = clock
        self._files = files
        self._offload = offload
        self._known = Mark()
        self._last: DigestRecord | None = None

    def __repr__(self) -> str:
        return f"<DigestJournal n={self._known.n}>"

    async def add_until(self, day: str, trajectories: JournalReader) -> list[DigestRecord]:
        """Add an entry for each day up to one, that one included, that has credits and no entry; return these.

        The days must be over. Raises JournalDamage, StorageDamage or StorageFailure; NoRoomForDigest with none added.
        """
        await self._offload(self._recover)
        gathering = _Gathering(self._last, day)
        async for lines in trajectories.scan(1 if self._last is None else self._last.last_n + 1):
            if not await self._offload(gathering.take, lines):
                break
        gathering.end()
        for first in range(0, len(gathering.entries), ENTRIES_AT_ONCE):
            await self._offload(self._write, gathering.entries[first : first + ENTRIES_AT_ONCE])
        return gathering.entries

    def _recover(self) -> None:
        """Find the end from where it is known, cut off what a crash has torn."""
        self._files.make_directory(self._directory)
        recovery = Recovery(
            JournalName.DIGESTS,
            self._directory,
            self._known,
            files=self._files,
            torn_directory=self._layout.torn,
            batch_bytes_max=BATCH_BYTES_MAX,
        )
        for batch in recovery.batches():
            self._last = cast("DigestRecord", batch[-1].record)
        self._known = recovery.tail

    def _write(self, entries: Sequence[DigestRecord]) -> None:
        end = JournalEnd(JournalName.DIGESTS, self._directory, self._known, files=self._files, clock=self._clock)
        try:
            written = end.write([(msgspec.json.encode(entry)[1:-1], b"") for entry in entries])
        finally:
            end.close()
        self._known = end.tail
        if written is None:
            raise NoRoomForDigest("there is no room on the disk for a digest of the ledger")
        self._last = entries[-1]


class NoRoomForDigest(StorageFailure):
    """The disk takes no line now."""


class DigestCheck:
    """Whether entries are a chain, and have the roots of the lines that they cover; `take` all of these, then `end`."""

    def __init__(self, entries: Sequence[DigestRecord]) -> None:
        self._entries = entries
        self._at = 0
        self._tree = MerkleTree()
        self._n = 0
        self.faults = list(_broken(entries))
        """What was found wrong, a sentence each."""

    def __repr__(self) -> str:
        return f"<DigestCheck {self._at} of {len(self._entries)}>"

    def take(self, line: StoredLine, record: object) -> None:
        """Take a line of trajectories/, in their order."""
        if self._at >= len(self._entries) or not isinstance(record, TrajectoryRecord):
            return
        self._n = line.position.n
        entry = self._entries[self._at]
        try:
            self._tree.add(leaf_of(line.text, self._n, record))
        except UnknownLeafError as error:
            self.faults.append(f"the digest of {entry.day} cannot be checked: {error}")
        if self._n >= entry.last_n:
            if self._tree.root() != entry.root:
                self.faults.append(
                    f"the digest of {entry.day} is not that of lines {entry.first_n} to {entry.last_n} of trajectories"
                )
            self._at += 1
            self._tree = MerkleTree()

    def end(self) -> None:
        """There are no more lines."""
        for entry in self._entries[self._at :]:
            covers = f"lines of trajectories up to {entry.last_n}"
            self.faults.append(f"the digest of {entry.day} covers {covers}, which are not there")


def _broken(entries: Sequence[DigestRecord]) -> Iterable[str]:
    """Where entries do not follow each other."""
    before, next_n, day = BEFORE_FIRST, 1, ""
    for entry in entries:
        if entry.previous_sha256 != before or entry.first_n != next_n or entry.last_n < next_n or entry.day <= day:
            yield f"the digest of {entry.day} does not follow the one before it: one of the two was changed"
        before, next_n, day = entry_sha256(entry), entry.last_n + 1, entry.day


def _leaf(line: StoredLine) -> bytes:
    record = parse_line(JournalName.TRAJECTORIES, line.text)
    assert isinstance(record, TrajectoryRecord), "the journal has no others"
    return leaf_of(line.text, line.position.n, record)


def _read(text: bytes) -> DigestRecord:
    record = parse_line(JournalName.DIGESTS, text)
    assert isinstance(record, DigestRecord), "the journal has no others"
    return record
