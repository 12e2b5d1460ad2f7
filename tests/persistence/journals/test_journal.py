"""The journal: what it acknowledges is on disk, framed, numbered and in order; what it refuses left no trace."""

import errno
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from persistence.files.failures import StorageFailure
from persistence.files.memory import MemoryFile
from persistence.format.records import EnvelopeKind, EnvelopeRecord, JournalName, Mark, Position
from persistence.journals.framing import parse_frame
from persistence.journals.journal import AppendRefused, Line
from persistence.journals.lines import parse_envelope_line
from persistence.journals.recovery import Recovery
from tests.persistence.journals.journal_disk import FOLDER, NOON, Disk

DAY_S = 86_400.0


def record(number: int) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{number}", session_id="s", kind=EnvelopeKind.SERVER_CLOSE, closed_by="http_close"
    )


def members(number: int) -> bytes:
    return b'"envelope_id":"env_%d","session_id":"s","type":"SERVER_CLOSE","closed_by":"http_close"' % number


async def test_a_line_is_json_with_number_time_and_checksum() -> None:
    """Training code reads the line as it is; the checksum covers every byte before it."""
    disk = Disk()
    async with trio.open_nursery() as nursery:
        journal = disk.journal()
        nursery.start_soon(journal.run)
        position = await journal.append(record(1), members(1), b',"gap":2')
        journal.close()
    line = disk.text()
    assert json.loads(line)["received"] == {"n": 1, "at": "2026-11-20T12:00:00.000000Z", "batch": 1, "gap": 2}
    body, checksum = line.split(b',"crc32":')
    assert checksum == b'"%08x"}\n' % zlib.crc32(body)
    assert position == Position(n=1, day="2026-11-20", offset=0, length=len(line), at=NOON)
    frame = parse_frame(line)
    assert frame is not None
    assert (frame.n, frame.batch, frame.at) == (1, 1, NOON)
    assert parse_envelope_line(line).closed_by == "http_close"


async def test_one_sync_answers_all_that_waited() -> None:
    """Lines handed over together are one group commit: one write, one sync, consecutive numbers, one batch."""
    disk = Disk()
    positions: dict[int, object] = {}
    journal = disk.journal()

    async def append(number: int) -> None:
        positions[number] = await journal.append(record(number), members(number))

    async with trio.open_nursery() as nursery:
        for number in range(1, 51):
            nursery.start_soon(append, number)
        await trio.testing.wait_all_tasks_blocked()
        assert positions == {}
        disk.operations.clear()
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        assert disk.operations == ["create", "sync", "sync_directory", "write", "sync"]
        journal.close()
    lines = [json.loads(line) for line in disk.text().splitlines()]
    assert [line["received"]["n"] for line in lines] == list(range(1, 51))
    assert {line["received"]["batch"] for line in lines} == {1}
    assert all(isinstance(positions[number], Position) for number in range(1, 51))
    assert [committed.position for committed in disk.committed] == sorted(
        committed.position for committed in disk.committed
    )
    offsets = {position.offset: position for position in positions.values() if isinstance(position, Position)}
    assert sum(position.length for position in offsets.values()) == len(disk.text())


async def test_lines_are_waited_for_until_as_many_as_last_time_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was answered together asks together; more than that are not expected, and none for ever."""
    monkeypatch.setattr("persistence.journals.journal.GATHER_QUIET_TURNS", 40)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    disk = Disk()
    journal = disk.journal()
    waited: list[bool] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        nursery.start_soon(count)
        for lines in (1, 1, 3, 3, 2, 2, 1, 1):
            before = turns
            async with trio.open_nursery() as appending:
                for number in range(lines):
                    appending.start_soon(journal.append, record(number), members(number))
            waited.append(turns - before >= 40)
        nursery.cancel_scope.cancel()
    # More than last time come in one turn here, so that they are not waited for either.
    assert waited == [False, False, False, False, True, False, True, False]
    assert journal.statistics().batches == 8


async def test_each_sync_is_counted_once() -> None:
    """When its lines are answered, however often the figures are asked for; a write without room has none."""
    disk = Disk()
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        for number in range(1, 4):
            await journal.append(record(number), members(number))
            assert sum(journal.sync_durations().counts) == number
        assert sum(journal.sync_durations().counts) == journal.statistics().batches == 3
        disk.fail["write"] = OSError(errno.ENOSPC, "No space left on device")
        assert await journal.append(record(4), members(4)) is AppendRefused.DISK_FULL
        assert sum(journal.sync_durations().counts) == 3
        journal.close()
    assert journal.sync_durations().sum_s > 0


async def test_nothing_is_answered_before_the_sync() -> None:
    """A line whose sync has not returned is not acknowledged, whatever was written."""
    disk = Disk()
    answered_at_sync: list[bool] = []
    done = trio.Event()
    journal = disk.journal(Mark(n=0, day="2026-11-20", offset=0))
    disk.files.create(FOLDER / "2026-11-20.jsonl")
    original = disk.files.before

    def watch(operation: str, path: Path) -> None:
        original(operation, path)
        if operation == "sync":
            answered_at_sync.append(done.is_set())

    disk.files.before = watch

    async def append() -> None:
        await journal.append(record(1), members(1))
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append)
        nursery.start_soon(journal.run)
        await done.wait()
        journal.close()
    assert answered_at_sync == [False]
    disk.files.sync_directory(FOLDER)
    disk.files.crash()
    assert parse_frame(disk.text()) is not None


async def test_a_batch_is_bounded_but_never_empty() -> None:
    """A line larger than the bound is a batch of its own."""
    disk = Disk(journal_batch_bytes_max=600)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        for number in range(1, 6):
            nursery.start_soon(journal.append, record(number), members(number) + b',"x":"%s"' % (b"x" * 900))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        journal.close()
    lines = [json.loads(line)["received"] for line in disk.text().splitlines()]
    assert [(line["n"], line["batch"]) for line in lines] == [(n, n) for n in range(1, 6)]


async def test_a_new_day_is_a_new_file_and_an_old_day_never_comes_back() -> None:
    """A clock that goes back goes on in the newest file; the numbers stay dense."""
    disk = Disk()
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        days = []
        for now in (NOON, NOON + DAY_S, NOON, NOON + DAY_S, NOON + 3 * DAY_S):
            disk.now = now
            position = await journal.append(record(1), members(1))
            assert isinstance(position, Position)
            days.append((position.n, position.day, position.at))
        journal.close()
    assert days == [
        (1, "2026-11-20", NOON),
        (2, "2026-11-21", NOON + DAY_S),
        (3, "2026-11-21", NOON),
        (4, "2026-11-21", NOON + DAY_S),
        (5, "2026-11-23", NOON + 3 * DAY_S),
    ]


async def test_a_new_file_is_durable_before_its_first_answer() -> None:
    """A crash right after the answer finds the file, its name and the line."""
    disk = Disk()
    async with trio.open_nursery() as nursery:
        journal = disk.journal()
        nursery.start_soon(journal.run)
        await journal.append(record(1), members(1))
        disk.files.crash()
        assert parse_frame(disk.text()) is not None
        journal.close()


async def test_no_room_refuses_the_batch_and_leaves_nothing() -> None:
    """The file is cut back to the last synced line, and the journal goes on when there is room again."""
    disk = Disk(capacity_bytes=400)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        assert isinstance(await journal.append(record(1), members(1)), Position)
        before = disk.text()
        big = members(2) + b',"x":"%s"' % (b"x" * 300)
        assert await journal.append(record(2), big, essential=True) is AppendRefused.DISK_FULL
        assert disk.text() == before
        assert await journal.append(record(2), big) is AppendRefused.DISK_FULL
        disk.files.capacity_bytes = 2**20
        disk.now += 60
        position = await journal.append(record(2), big)
        assert isinstance(position, Position)
        assert position.n == 2
        assert journal.statistics().refused_for_room == 1
        journal.close()


async def test_what_was_cut_back_does_not_come_back_behind_the_next_days_lines() -> None:
    """The kernel may have put half a line on the disk before it is cut off; power fails after the next day's line."""
    disk = Disk(capacity_bytes=400)
    big = members(2) + b',"x":"%s"' % (b"x" * 300)

    def written_back(operation: str, path: Path) -> None:
        if operation == "truncate":
            disk.files.open(path)._node.durable = bytes(disk.text())

    disk.files.before = written_back
    async with trio.open_nursery() as nursery:
        journal = disk.journal()
        nursery.start_soon(journal.run)
        assert isinstance(await journal.append(record(1), members(1)), Position)
        assert await journal.append(record(2), big, essential=True) is AppendRefused.DISK_FULL
        disk.files.capacity_bytes = 2**20
        disk.now += DAY_S
        assert isinstance(await journal.append(record(2), members(2)), Position)
        journal.close()
    disk.files.crash()
    recovery = Recovery(
        JournalName.ENVELOPES,
        FOLDER,
        Mark(),
        files=disk.files,
        torn_directory=FOLDER.with_name("torn"),
        batch_bytes_max=2**20,
    )
    assert [each.position.n for batch in recovery.batches() for each in batch] == [1, 2]


@pytest.mark.parametrize(
    ("operation", "number"),
    [("write", errno.EIO), ("sync", errno.EIO), ("sync", errno.ENOSPC), ("open", errno.EACCES), ("read", errno.EIO)],
)
async def test_a_disk_that_cannot_be_relied_on_ends_the_journal(operation: str, number: int) -> None:
    """An input/output error, and any failed sync, raise instead of answering: what is on disk is unknown."""
    disk = Disk()
    disk.files.create(FOLDER / "2026-11-20.jsonl")
    answers: list[object] = []
    with pytest.RaisesGroup(StorageFailure):
        async with trio.open_nursery() as nursery:
            journal = disk.journal(Mark(n=0, day="2026-11-20", offset=0))
            disk.fail[operation] = OSError(number, "failed")
            nursery.start_soon(journal.run)
            if operation == "read":
                await journal.read([Position(n=1, day="2026-11-20", offset=0, length=5, at=NOON)])
            answers.append(await journal.append(record(1), members(1)))
    assert answers == []
    assert disk.committed == []


@pytest.mark.parametrize("operation", ["truncate", "sync"])
async def test_a_cut_that_fails_ends_the_journal(operation: str) -> None:
    """When not even the half-written line can be taken away for good, a restart has to."""
    disk = Disk(capacity_bytes=100)

    def fail_at_the_cut(done: str, _path: Path) -> None:
        if done == operation and (operation == "truncate" or "truncate" in disk.operations):
            raise OSError(errno.EIO, "failed")
        disk.operations.append(done)

    disk.files.before = fail_at_the_cut
    with pytest.RaisesGroup(StorageFailure):
        async with trio.open_nursery() as nursery:
            journal = disk.journal()
            nursery.start_soon(journal.run)
            await journal.append(record(1), members(1), essential=True)
            journal.close()


async def test_bounds_refuse_at_once_and_essential_lines_pass() -> None:
    """A full queue, a projection that is behind and the quota refuse new envelopes, not the end of old ones."""
    disk = Disk(journal_queue_lines_max=1)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.append, record(1), members(1))
        await trio.testing.wait_all_tasks_blocked()
        assert await journal.append(record(2), members(2)) is AppendRefused.QUEUE_FULL
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        disk.room_behind = False
        assert await journal.append(record(2), members(2)) is AppendRefused.PROJECTION_BEHIND
        assert isinstance(await journal.append(record(2), members(2), essential=True), Position)
        journal.close()
        assert await journal.append(record(3), members(3), essential=True) is AppendRefused.CLOSED
    small = Disk(journal_queue_bytes_max=100)
    assert await small.journal().append(record(1), members(1)) is AppendRefused.QUEUE_FULL
    full = Disk(quota_bytes=100, quota_warning_bytes=100)
    assert await full.journal().append(record(1), members(1)) is AppendRefused.QUOTA_REACHED


async def test_lines_that_are_being_written_count_as_waiting() -> None:
    """The bound is on what is in memory."""
    disk = Disk(journal_queue_lines_max=2)
    journal = disk.journal()
    offload, released = journal._offload, trio.Event()
    answers: list[object] = []

    async def held_back(function: Any, *arguments: Any) -> Any:
        await released.wait()
        return await offload(function, *arguments)

    async def append(number: int) -> None:
        answers.append(await journal.append(record(number), members(number)))

    journal._offload = held_back
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        for number in (1, 2, 3):
            nursery.start_soon(append, number)
            await trio.testing.wait_all_tasks_blocked()
        assert answers == [AppendRefused.QUEUE_FULL]
        released.set()
        journal.close()
    assert len(disk.committed) == 2


async def test_each_days_file_is_closed_when_it_is_done_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs for a year keeps one open, not 365."""
    closed: list[MemoryFile] = []
    monkeypatch.setattr(MemoryFile, "close", lambda file: closed.append(file))  # noqa: PLW0108 a method, not a builtin
    disk = Disk()
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        for day in (1, 2, 3):
            await journal.append(record(day), members(day))
            assert len(closed) == day - 1
            disk.now += DAY_S
        journal.close()
    assert len(closed) == 3


ONE_AND_A_HALF = Line(record(1), members(1)).size_bytes * 3 // 2


@pytest.mark.parametrize(
    ("disk", "refused"),
    [
        (Disk(quota_bytes=ONE_AND_A_HALF, quota_warning_bytes=ONE_AND_A_HALF), AppendRefused.QUOTA_REACHED),
        (Disk(capacity_bytes=ONE_AND_A_HALF), AppendRefused.DISK_FULL),
    ],
    ids=["quota", "disk"],
)
async def test_what_waits_to_be_written_takes_up_room(disk: Disk, refused: AppendRefused) -> None:
    """Else all that arrives while the disk is slow is promised the same room."""
    journal = disk.journal()
    answers: list[object] = []

    async def append(number: int) -> None:
        answers.append(await journal.append(record(number), members(number)))

    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(append, number)
            await trio.testing.wait_all_tasks_blocked()
        assert answers == [refused, refused]
        nursery.start_soon(journal.run)
        journal.close()
    assert len(disk.committed) == 1


async def test_closing_answers_what_waits() -> None:
    """A line taken before the close is written; `run` returns only then."""
    disk = Disk()
    journal = disk.journal()
    outcomes: list[object] = []

    async def append() -> None:
        outcomes.append(await journal.append(record(1), members(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append)
        await trio.testing.wait_all_tasks_blocked()
        journal.close()
        assert repr(journal) == "<Journal envelopes closed n=0 waiting=1>"
        await journal.run()
    assert isinstance(outcomes[0], Position)


async def test_lines_are_read_back_by_their_place() -> None:
    """In the order asked for, from any of the files, without the newline."""
    disk = Disk()
    journal = disk.journal()
    places = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        for number in range(3):
            position = await journal.append(record(number), members(number))
            assert isinstance(position, Position)
            places.append(position)
            disk.now += DAY_S
        journal.close()
    lines = await journal.read([places[2], places[0]])
    assert [json.loads(line)["envelope_id"] for line in lines] == ["env_2", "env_0"]
    assert not any(line.endswith(b"\n") for line in lines)


class Pieces:
    """A line's members in pieces, of which making one may fail."""

    def __init__(self, *pieces: bytes, failing: bool = False) -> None:
        self._pieces = pieces
        self._failing = failing

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._failing:
            raise StorageFailure("reading the other journal failed")


async def test_a_line_that_comes_in_pieces_is_the_line_that_it_would_be_as_one() -> None:
    """Also between others of the same commit; each piece is written when it is made."""
    texts = []
    for whole in (True, False):
        disk = Disk()
        journal = disk.journal()
        middle = members(2) if whole else Pieces(members(2)[:7], members(2)[7:9], b"", members(2)[9:])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.run)
            lines = [Line(record(1), members(1)), Line(record(2), middle, b',"gap":4'), Line(record(3), members(3))]
            positions = await journal.append_many(lines)
            assert isinstance(positions, list)
            assert isinstance(await journal.append(record(4), members(4)), Position)
            assert [parse_frame(text) is not None for text in await journal.read(positions)] == [True] * 3
            journal.close()
        texts.append(disk.text())
        assert disk.operations.count("write") == (2 if whole else 8)
    assert texts[0] == texts[1]


async def test_no_room_for_a_line_in_pieces_leaves_nothing_of_it() -> None:
    """Some of it may have been written before."""
    disk = Disk(capacity_bytes=500)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        assert isinstance(await journal.append(record(1), members(1)), Position)
        before = disk.text()
        pieces = Pieces(members(2), b',"x":"', b"x" * 150, b"x" * 300, b'"')
        assert await journal.append(record(2), pieces, essential=True) is AppendRefused.DISK_FULL
        assert disk.text() == before
        position = await journal.append(record(2), members(2))
        assert isinstance(position, Position)
        assert position.n == 2
        journal.close()


async def test_a_line_whose_pieces_cannot_be_made_ends_the_journal() -> None:
    """They come from another journal: that cannot be relied on then, and nothing is acknowledged."""
    disk = Disk()
    with pytest.RaisesGroup(StorageFailure):
        async with trio.open_nursery() as nursery:
            journal = disk.journal()
            nursery.start_soon(journal.run)
            await journal.append(record(1), Pieces(members(1), failing=True))
    assert disk.committed == []
