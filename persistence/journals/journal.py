"""Append-only JSONL with group commit: what it acknowledges is on disk.

Theory of operation. Many actors hand lines over; one writer takes everything that waits, frames it, writes it with one
`pwritev` at an offset that the journal tracks itself, syncs once, and only then answers all of it. While one batch is
being synced the next one gathers, and goes on to as long as lines keep coming, a few turns of the event loop: so the
sync's price is shared by whoever came meanwhile, and no timer is needed.

A line is one JSON object: `{` members `,"received":{"n":…,"at":…,"batch":…},"crc32":"…"}`. `n` is dense from 1, so a
missing line shows. `crc32` covers every byte before it, so a changed one shows. `batch` is the `n` of the first line of
the same group commit. It is there for recovery: a batch begins only after the one before it was synced, so a bad line
followed by good lines of the *same* batch is an unsynced batch that a crash tore, which nobody was told of and which
may be cut; a bad line followed by a line of a *later* batch was on disk once, which is damage.

What can fail, and what it means:
- No room (ENOSPC, EDQUOT, EFBIG on the write): nothing was acknowledged; the file is cut back to the last synced
  offset, the batch is refused, the journal goes on.
- Anything else (EIO, any failed sync, a failed cut): what is on disk is unknown, and a second sync may report success
  for pages that the kernel has already dropped. The writer raises `StorageFailure`, which ends the process; a restart
  reads what is there.

Rejected: `O_APPEND` (a failed write leaves the offset unknown), a write and a sync per line (an order of magnitude
slower), a commit timer (adds latency when idle and gathers nothing that the sync itself does not).

Lines that are handed over together (`append_many`) are in the same batch, so they are refused or acknowledged as one;
what a crash leaves of them is a beginning, as of any batch that nobody was told of.
"""

import errno
import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import assert_never, cast

import msgspec
import trio

from persistence.files.failures import StorageFailure
from persistence.files.file_system import Buffer, File, FileSystem, Offload
from persistence.files.space import Room, Space
from persistence.format import times
from persistence.format.records import Committed, JournalName, Position, Record
from persistence.journals.slot import Slot
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")

FRAME_BYTES_MAX = 160
"""More than a frame adds to a line's members, for counting what waits."""

GATHER_QUIET_TURNS = 6
"""Turns of the event loop without a new line after which no more are waited for: a request takes three to get here."""

GATHER_TURNS_MAX = 64
"""Turns after which the lines that have come are written, however many more keep coming."""

NO_ROOM_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class AppendRefused(StrEnum):
    """Why a line was not taken; nothing was written."""

    QUEUE_FULL = "queue_full"
    PROJECTION_BEHIND = "projection_behind"
    QUOTA_REACHED = "quota_reached"
    DISK_FULL = "disk_full"
    CLOSED = "closed"


class Tail(msgspec.Struct, frozen=True):
    """The end of a journal: its last line's number (0 when empty), the current file's day ("" for none) and size."""

    n: int = 0
    day: str = ""
    offset: int = 0


class JournalStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one journal since it was opened."""

    lines: int
    waiting_lines: int
    waiting_bytes: int
    batches: int
    batch_lines_max: int
    refused_for_room: int
    tail: Tail


class Line(msgspec.Struct, frozen=True):
    """A line to append: its record, its members without braces, and more members of `received` (`Journal.append`)."""

    record: Record
    members: bytes
    received: bytes = b""

    @property
    def size_bytes(self) -> int:
        """No less than the line will have."""
        return len(self.members) + len(self.received) + FRAME_BYTES_MAX


class _Pending:
    """A line handed over and not yet answered.

    `commits_bytes` is what is committed with it: its own size; of the first of several lines that go together the size
    of all, and zero of the others, which are never left behind then.
    """

    __slots__ = ("answer", "commits_bytes", "line", "size_bytes")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.size_bytes = line.size_bytes
        self.commits_bytes = self.size_bytes
        self.answer: Slot[Position | AppendRefused] = Slot()


class Journal:
    """One journal. `run` must run in a nursery for appends to be answered."""

    def __init__(
        self,
        name: JournalName,
        directory: Path,
        tail: Tail,
        *,
        files: FileSystem,
        offload: Offload,
        clock: Callable[[], float],
        space: Space,
        settings: StorageSettings,
        committed: Callable[[JournalName, Sequence[Committed]], None],
        has_room_behind: Callable[[], bool],
    ) -> None:
        self.name = name
        self._directory = directory
        self._tail = tail
        self._files = files
        self._offload = offload
        self._clock = clock
        self._space = space
        self._settings = settings
        self._committed = committed
        self._has_room_behind = has_room_behind
        self._file: File | None = None
        self._waiting: deque[_Pending] = deque()
        self._waiting_bytes = 0
        self._in_commit_lines = 0
        self._lines_expected = 1
        self._arrived = trio.Event()
        self._closed = False
        self._lines = self._batches = self._batch_lines_max = self._refused_for_room = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Journal {self.name} {state} n={self._tail.n} waiting={len(self._waiting)}>"

    @property
    def is_open(self) -> bool:
        """Whether lines are taken."""
        return not self._closed

    async def append(
        self, record: Record, members: bytes, received: bytes = b"", *, essential: bool = False
    ) -> Position | AppendRefused:
        """Append a line and return where it is, once it is on disk.

        The hand-over happens before the first suspension: whoever checked a state just before can rely on the order.
        `members` is JSON members without braces, on one line; `received` is more members of `received`, with a leading
        comma. `essential` lines complete what was acknowledged before (a close, its trajectory): they pass the quota
        and the queue's bounds, which they can't exceed by much, as each session has at most one of them under way.
        """
        pending = _Pending(Line(record, members, received))
        refused = AppendRefused.CLOSED if self._closed else None
        if refused is None and not essential:
            refused = self._refusal(pending.size_bytes)
        if refused is not None:
            await trio.lowlevel.checkpoint()
            return refused
        self._waiting.append(pending)
        self._waiting_bytes += pending.size_bytes
        self._arrived.set()
        return await pending.answer.wait()

    async def append_many(self, lines: Sequence[Line]) -> list[Position] | AppendRefused:
        """Append lines with one group commit, all of them or none; they must fit into one (`fits_one_commit`).

        As with `append`, the hand-over happens before the first suspension.
        """
        pending = [_Pending(line) for line in lines]
        size_bytes = sum(each.size_bytes for each in pending)
        assert self.fits_one_commit(len(pending), size_bytes), "the caller has bounded it"
        refused = AppendRefused.CLOSED if self._closed else self._refusal(size_bytes, len(pending))
        if refused is not None or not pending:
            await trio.lowlevel.checkpoint()
            return [] if refused is None else refused
        for each in pending:
            each.commits_bytes = 0
        pending[0].commits_bytes = size_bytes
        self._waiting.extend(pending)
        self._waiting_bytes += size_bytes
        self._arrived.set()
        return self._answers(await pending[-1].answer.wait(), pending)

    @staticmethod
    def _answers(last: Position | AppendRefused, pending: Sequence[_Pending]) -> list[Position] | AppendRefused:
        """Return the answers of lines that went together: the last one is answered last."""
        if isinstance(last, AppendRefused):
            return last
        positions = [each.answer.value for each in pending]
        assert all(isinstance(position, Position) for position in positions)
        return cast("list[Position]", positions)

    def fits_one_commit(self, lines: int, size_bytes: int) -> bool:
        """Whether `append_many` takes so much at once; a single line is always let through to the other bounds."""
        return lines <= 1 or (
            lines <= self._settings.journal_queue_lines_max and size_bytes <= self._settings.journal_batch_bytes_max
        )

    def _refusal(self, size_bytes: int, lines: int = 1) -> AppendRefused | None:
        if len(self._waiting) + self._in_commit_lines + lines > self._settings.journal_queue_lines_max:
            return AppendRefused.QUEUE_FULL
        if self._waiting_bytes + size_bytes > self._settings.journal_queue_bytes_max:
            return AppendRefused.QUEUE_FULL
        if not self._has_room_behind():
            return AppendRefused.PROJECTION_BEHIND
        match self._space.room_for(self._waiting_bytes + size_bytes):
            case Room.YES:
                return None
            case Room.QUOTA_REACHED:
                return AppendRefused.QUOTA_REACHED
            case Room.DISK_FULL:
                return AppendRefused.DISK_FULL
            case unreachable:
                assert_never(unreachable)

    async def run(self) -> None:
        """Write what is handed over until `close`; raises StorageFailure when the disk cannot be relied on."""
        try:
            while True:
                await self._arrived.wait()
                if not self._waiting:
                    if self._closed:
                        return
                    self._arrived = trio.Event()
                    continue
                await self._gather()
                await self._commit(self._take_batch())
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def close(self) -> None:
        """Take no more lines; `run` returns once those that wait are answered."""
        self._closed = True
        self._arrived.set()

    async def _gather(self) -> None:
        """Let lines that are on their way arrive, as long as some do: whoever was answered together asks together.

        Without this, eight clients end up in batches of two or three, each with a trip to the thread and back; with it
        they share one. As many as were there at the end of the last commit are all that can be expected. A turn of an
        idle event loop takes some microseconds.
        """
        quiet_turns, seen = 0, len(self._waiting)
        for _ in range(GATHER_TURNS_MAX):
            if len(self._waiting) >= self._lines_expected:
                return
            await trio.lowlevel.checkpoint()
            quiet_turns = quiet_turns + 1 if len(self._waiting) == seen else 0
            seen = len(self._waiting)
            if quiet_turns == GATHER_QUIET_TURNS:
                return

    def _take_batch(self) -> list[_Pending]:
        batch = [self._waiting.popleft()]
        size_bytes = batch[0].commits_bytes
        bytes_max = self._settings.journal_batch_bytes_max
        while self._waiting:
            more_bytes = self._waiting[0].commits_bytes
            if more_bytes and size_bytes + more_bytes > bytes_max:
                break
            batch.append(self._waiting.popleft())
            size_bytes += more_bytes
        self._in_commit_lines = len(batch)
        return batch

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        positions = await self._offload(self._write, batch)
        self._in_commit_lines = 0
        self._waiting_bytes -= sum(pending.size_bytes for pending in batch)
        if positions is None:
            self._refused_for_room += len(batch)
            log.error("the %s journal found no room on the disk; %d lines were refused", self.name, len(batch))
        else:
            self._batches += 1
            self._batch_lines_max = max(self._batch_lines_max, len(batch))
            self._lines += len(batch)
            self._space.add(sum(position.length for position in positions))
            self._committed(
                self.name,
                [Committed(pending.line.record, position) for pending, position in zip(batch, positions, strict=True)],
            )
        self._lines_expected = len(batch) + len(self._waiting)
        for index, pending in enumerate(batch):
            pending.answer.fill(AppendRefused.DISK_FULL if positions is None else positions[index])

    def _write(self, batch: Sequence[_Pending]) -> list[Position] | None:
        """Write and sync a batch (blocking); None when there was no room and nothing was kept."""
        at = times.to_microseconds_precision(self._clock())
        try:
            file = self._file_for(times.day_of(at))
        except OSError as error:
            if error.errno in NO_ROOM_ERRNOS:
                return None
            raise StorageFailure(f"the {self.name} journal could not open its file: {error.strerror}") from error
        buffers, positions = self._frame(batch, at)
        try:
            file.write_at(buffers, self._tail.offset)
        except OSError as error:
            if error.errno not in NO_ROOM_ERRNOS:
                raise StorageFailure(f"writing the {self.name} journal failed: {error.strerror}") from error
            self._cut_back(file)
            return None
        try:
            file.sync()
        except OSError as error:
            raise StorageFailure(f"syncing the {self.name} journal failed: {error.strerror}") from error
        last = positions[-1]
        self._tail = Tail(n=last.n, day=last.day, offset=last.offset + last.length)
        return positions

    def _cut_back(self, file: File) -> None:
        try:
            file.truncate(self._tail.offset)
        except OSError as error:
            raise StorageFailure(f"cutting the {self.name} journal back failed: {error.strerror}") from error

    def _file_for(self, today: str) -> File:
        """Return the file to write to: today's, or the current one when the clock has gone back behind it."""
        if self._tail.day and today <= self._tail.day:
            if self._file is None:
                self._file = self._files.open(self._directory / f"{self._tail.day}.jsonl")
            return self._file
        created = self._files.create(self._directory / f"{today}.jsonl")
        try:
            created.sync()
            self._files.sync_directory(self._directory)
        except OSError as error:
            raise StorageFailure(f"syncing a new file of the {self.name} journal failed: {error.strerror}") from error
        if self._file is not None:
            self._file.close()
        self._file = created
        self._tail = Tail(n=self._tail.n, day=today, offset=0)
        return created

    def _frame(self, batch: Sequence[_Pending], at: float) -> tuple[list[Buffer], list[Position]]:
        """Return the batch's bytes and where each line will stand."""
        buffers: list[Buffer] = []
        positions: list[Position] = []
        first = self._tail.n + 1
        offset = self._tail.offset
        at_text = times.to_text(at)
        for n, pending in enumerate(batch, start=first):
            line = pending.line
            received = b',"received":{"n":%d,"at":"%s","batch":%d%s}' % (n, at_text.encode(), first, line.received)
            crc = zlib.crc32(received, zlib.crc32(line.members, zlib.crc32(b"{")))
            checksum = b',"crc32":"%08x"}\n' % crc
            buffers += (b"{", line.members, received, checksum)
            length = 1 + len(line.members) + len(received) + len(checksum)
            positions.append(Position(n=n, day=self._tail.day, offset=offset, length=length, at=at))
            offset += length
        return buffers, positions

    async def read(self, places: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Read lines back by (day, offset in bytes, length in bytes), each without its newline."""
        return await self._offload(self._read, places)

    def _read(self, places: Sequence[tuple[str, int, int]]) -> list[bytes]:
        lines: list[bytes] = []
        opened: dict[str, File] = {}
        try:
            for day, offset, length in places:
                if day not in opened:
                    opened[day] = self._files.open_read_only(self._directory / f"{day}.jsonl")
                lines.append(opened[day].read_at(offset, length).removesuffix(b"\n"))
        except OSError as error:
            raise StorageFailure(f"reading the {self.name} journal back failed: {error.strerror}") from error
        finally:
            for file in opened.values():
                file.close()
        return lines

    def statistics(self) -> JournalStatistics:
        """Return the current figures."""
        return JournalStatistics(
            lines=self._lines,
            waiting_lines=len(self._waiting) + self._in_commit_lines,
            waiting_bytes=self._waiting_bytes,
            batches=self._batches,
            batch_lines_max=self._batch_lines_max,
            refused_for_room=self._refused_for_room,
            tail=self._tail,
        )
