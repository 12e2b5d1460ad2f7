"""Append-only JSONL with group commit: what it acknowledges is on disk.

Theory of operation. Many actors hand lines over; one writer takes everything that waits, frames it, writes it with one
`pwritev` at an offset that it tracks itself, syncs once (`persistence.journals.writing`), and only then answers all of
it. While one batch is being synced the next one gathers, and goes on to as long as lines keep coming, a few turns of
the event loop: so the sync's price is shared by whoever came meanwhile, and no timer is needed.

A line is one JSON object: `{` members `,"received":{"n":…,"at":…,"batch":…},"crc32":"…"}`. `n` is dense from 1, so a
missing line shows. `crc32` covers every byte before it, so a changed one shows. `batch` is the `n` of the first line of
the same group commit. It is there for recovery: a batch begins only after the one before it was synced, so a bad line
followed by good lines of the *same* batch is an unsynced batch that a crash tore, which nobody was told of and which
may be cut; a bad line followed by a line of a *later* batch was on disk once, which is damage.

When there is no room on the disk, the batch is refused and the journal goes on. When the disk cannot be relied on,
`run` raises StorageFailure, which ends the process.

Rejected: a commit timer (adds latency when idle and gathers nothing that the sync itself does not).

Lines that are handed over together (`append_many`) are in the same batch, so they are refused or acknowledged as one;
what a crash leaves of them is a beginning, as of any batch that nobody was told of.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import assert_never, cast

import msgspec
import trio

from persistence.files.durations import SYNC_BOUNDS_S, Durations, DurationStatistics
from persistence.files.file_system import Offload
from persistence.files.space import Allowance, Room
from persistence.format.records import Committed, JournalName, Mark, Position, Record
from persistence.journals.erasing import ColdDayAnew, DayAnew, NotMade, Rewrite, by_day
from persistence.journals.framing import FRAME_BYTES_MAX
from persistence.journals.reading import Scan, StoredStatistics
from persistence.journals.slot import Slot
from persistence.journals.writing import JournalEnd, Members
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")

GATHER_QUIET_TURNS = 6
"""Turns of the event loop without a new line after which no more are waited for: a request takes three to get here."""

GATHER_TURNS_MAX = 64
"""Turns after which the lines that have come are written, however many more keep coming."""


class AppendRefused(StrEnum):
    """Why a line was not taken; nothing was written."""

    QUEUE_FULL = "queue_full"
    PROJECTION_BEHIND = "projection_behind"
    QUOTA_REACHED = "quota_reached"
    DISK_FULL = "disk_full"
    CLOSED = "closed"


class JournalStatistics(StoredStatistics, frozen=True, kw_only=True):
    """Figures of one journal since it was opened; `tail` is its end."""

    lines: int
    waiting_lines: int
    waiting_bytes: int
    batches: int
    batch_lines_max: int
    refused_for_room: int
    tail: Mark


class Line(msgspec.Struct, frozen=True):
    """A line to append: its record, its members without braces, and more members of `received` (`Journal.append`)."""

    record: Record
    members: Members
    received: bytes = b""

    @property
    def size_bytes(self) -> int:
        """No less than the line will have."""
        return len(self.members) + len(self.received) + FRAME_BYTES_MAX


class _Pending(Slot[Position | AppendRefused]):
    """A line handed over, and the place for its answer.

    `commits_bytes` is what is committed with it: its own size; of the first of several lines that go together the size
    of all, and zero of the others, which are never left behind then.
    """

    __slots__ = ("commits_bytes", "line", "size_bytes")

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line
        self.size_bytes = line.size_bytes
        self.commits_bytes = self.size_bytes


class _Exchange(Slot[bool]):
    """A day's file made anew, for the writer's turn; filled with whether it took the old one's place."""

    __slots__ = ("anew",)

    def __init__(self, anew: DayAnew | ColdDayAnew) -> None:
        super().__init__()
        self.anew = anew


class Journal:
    """One journal. `run` must run in a nursery for appends to be answered."""

    def __init__(
        self,
        end: JournalEnd,
        *,
        offload: Offload,
        offload_reading: Offload,
        space: Allowance,
        settings: StorageSettings,
        stored_bytes: int,
        committed: Callable[[JournalName, Sequence[Committed]], None],
        has_room_behind: Callable[[], bool],
    ) -> None:
        self._end = end
        self._offload = offload
        self._offload_reading = offload_reading
        self._exchanges: deque[_Exchange] = deque()
        self._erasing = trio.Lock()
        self._reader = end.reader(offload_reading)
        self._space = space
        self._settings = settings
        self._stored_bytes = stored_bytes
        self._committed = committed
        self._has_room_behind = has_room_behind
        self._waiting: deque[_Pending] = deque()
        self._waiting_bytes = 0
        self._in_commit_lines = 0
        self._lines_expected = 1
        self._arrived = trio.Event()
        self._closed = False
        self._lines = self._batches = self._batch_lines_max = self._refused_for_room = 0
        self._syncs = Durations(SYNC_BOUNDS_S)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Journal {self.name} {state} n={self._end.tail.n} waiting={len(self._waiting)}>"

    @property
    def name(self) -> JournalName:
        """Which journal it is."""
        return self._end.name

    @property
    def is_open(self) -> bool:
        """Whether lines are taken."""
        return not self._closed

    @property
    def has_waiting_lines(self) -> bool:
        """Whether lines wait to be stored, or are being stored."""
        return bool(self._waiting or self._in_commit_lines)

    async def append(
        self, record: Record, members: Members, received: bytes = b"", *, essential: bool = False
    ) -> Position | AppendRefused:
        """Append a line and return where it is, once it is on disk.

        The hand-over happens before the first suspension: whoever checked a state just before can rely on the order.
        `members` is JSON members without braces, on one line, as bytes or in pieces; `received` is more members of
        `received`, with a leading comma. `essential` lines complete what was acknowledged before (a close, its
        trajectory): they pass the quota and the queue's bounds, which they can't exceed by much, as each session has at
        most one of them under way.
        """
        return await self._append_line(Line(record, members, received), essential=essential)

    async def _append_line(self, line: Line, *, essential: bool = False) -> Position | AppendRefused:
        pending = _Pending(line)
        refused = AppendRefused.CLOSED if self._closed else None
        if refused is None and not essential:
            refused = self._refusal(pending.size_bytes)
        if refused is not None:
            await trio.lowlevel.checkpoint()
            return refused
        self._waiting.append(pending)
        self._waiting_bytes += pending.size_bytes
        self._arrived.set()
        return await pending.wait()

    async def append_many(self, lines: Sequence[Line]) -> list[Position] | AppendRefused:
        """Append lines with one group commit, all of them or none; they must fit into one (`fits_one_commit`).

        As with `append`, the hand-over happens before the first suspension.
        """
        if len(lines) == 1:
            position = await self._append_line(lines[0])
            return position if isinstance(position, AppendRefused) else [position]
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
        return self._answers(await pending[-1].wait(), pending)

    @staticmethod
    def _answers(last: Position | AppendRefused, pending: Sequence[_Pending]) -> list[Position] | AppendRefused:
        """Return the answers of lines that went together: the last one is answered last."""
        if isinstance(last, AppendRefused):
            return last
        positions = [each.value for each in pending]
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
                self._count_sync()  # a turn after its lines were answered
                if self._exchanges:
                    exchange = self._exchanges.popleft()
                    exchange.fill(await self._offload(self._end.exchange, exchange.anew))
                if not self._waiting:
                    if self._closed:
                        return
                    self._arrived = trio.Event()
                    continue
                await self._gather()
                await self._commit(self._take_batch())
        finally:
            self._end.close()

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
            size_bytes = sum(position.length for position in positions)
            self._stored_bytes += size_bytes
            self._space.add(size_bytes)
            self._committed(
                self.name,
                [Committed(pending.line.record, position) for pending, position in zip(batch, positions, strict=True)],
            )
        self._lines_expected = len(batch) + len(self._waiting)
        for index, pending in enumerate(batch):
            pending.fill(AppendRefused.DISK_FULL if positions is None else positions[index])

    def _write(self, batch: Sequence[_Pending]) -> list[Position] | None:
        return self._end.write([(pending.line.members, pending.line.received) for pending in batch])

    async def erase(self, places: Sequence[Position], rewrite: Rewrite) -> bool:
        """Rewrite lines that are on disk, each to the same length; False when a file of them could not be made anew.

        That is so where there is no room, or it is in an archive out of reach.

        Lines of days that were dropped are gone already; False also where one is dropped just then. Each day's file is
        exchanged as a whole, one after the other (`persistence.journals.erasing`); what is appended meanwhile waits
        for the last piece of the newest one alone. After False, some may have been exchanged. Raises JournalDamage,
        with nothing of that day changed, where another line stands, StorageFailure when the disk fails.
        """
        for day, of_day in by_day(places):
            async with self._erasing:  # two that make one file anew would each leave out what the other one did
                if not await self._erase_in(day, of_day, rewrite):
                    return False
        return True

    async def _erase_in(self, day: str, places: Sequence[Position], rewrite: Rewrite) -> bool:
        anew = await self._offload_reading(self._end.made_anew, day, places, rewrite)
        if isinstance(anew, NotMade):
            return anew is NotMade.DROPPED
        exchange = _Exchange(anew)
        self._exchanges.append(exchange)
        self._arrived.set()
        return await exchange.wait()

    async def days_to_make_cold(self, before: str, archive: Path | None) -> Sequence[str]:
        """The days before one that can be compressed, or moved to an archive: never the newest. Raises OSError."""
        return await self._offload_reading(self._end.days_to_make_cold, before, archive)

    async def make_cold(self, day: str, archive: Path | None) -> int:
        """Compress a day, or move it to an archive (`persistence.journals.tiering`); return the bytes that are free.

        Raises OSError, and UnreadableFile where the archive is out of reach; then the day is as it was.
        """
        async with self._erasing:
            freed_bytes = await self._end.make_cold(day, archive, self._offload_reading)
        self._stored_bytes -= freed_bytes
        self._space.add(-freed_bytes)
        return freed_bytes

    def let_go(self, size_bytes: int) -> None:
        """Count bytes of its beginning that are stored no more."""
        self._stored_bytes -= size_bytes

    # Reading

    def scan(self, start: int | Mark = 1) -> Scan:
        """Read what is acknowledged, from line number `start` or a mark on (`JournalReader.scan`).

        When it has ended, iterate it again once there is more (`Projector.wait_projected` waits for lines).
        """
        return self._reader.scan(start)

    async def read(self, places: Sequence[Position]) -> list[bytes]:
        """Read lines by their places, in the order given, each without its newline (`JournalReader.read`)."""
        return await self._reader.read(places)

    def read_now(self, place: Position) -> bytes:
        """Read a line in the thread that asks (`JournalReader.read_now`)."""
        return self._reader.read_now(place)

    def part_now(self, place: Position, start: int, end: int) -> bytes:
        """Read some bytes of a line, unchecked, in the thread that asks (`JournalReader.part_now`)."""
        return self._reader.part_now(place, start, end)

    def statistics(self) -> JournalStatistics:
        """Return the current figures."""
        return JournalStatistics(
            lines=self._lines,
            waiting_lines=len(self._waiting) + self._in_commit_lines,
            waiting_bytes=self._waiting_bytes,
            batches=self._batches,
            batch_lines_max=self._batch_lines_max,
            refused_for_room=self._refused_for_room,
            tail=self._end.tail,
            stored_bytes=self._stored_bytes,
        )

    def sync_durations(self) -> DurationStatistics:
        """Return how long each batch's sync took: not with `statistics`, which is asked for each dead letter."""
        self._count_sync()
        return self._syncs.statistics()

    def _count_sync(self) -> None:
        if self._end.last_sync_s is not None and not self._in_commit_lines:
            self._syncs.count(self._end.last_sync_s)
            self._end.last_sync_s = None
