"""Lines that are handed over together: one group commit takes all of them or none, and a crash leaves a beginning."""

import errno

import pytest
import trio
import trio.testing

from persistence.files.failures import StorageFailure
from persistence.format.records import ClosedBy, EnvelopeKind, EnvelopeRecord, Position
from persistence.journals.framing import FRAME_BYTES_MAX
from persistence.journals.journal import AppendRefused, Line
from tests.persistence.journals.journal_disk import Disk


def line(number: int, *, size: int = 0) -> Line:
    record = EnvelopeRecord(
        envelope_id=f"env_{number}", session_id="s", kind=EnvelopeKind.SERVER_CLOSE, closed_by=ClosedBy.HTTP_CLOSE
    )
    members = b'"envelope_id":"env_%d","session_id":"s","type":"SERVER_CLOSE","closed_by":"http_close"' % number
    return Line(record, members.ljust(size), b',"gap":2' if number == 2 else b"")


def lines(count: int, *, first: int = 1, size: int = 0) -> list[Line]:
    return [line(number, size=size) for number in range(first, first + count)]


async def test_all_lines_share_one_write_one_sync_and_one_batch() -> None:
    """Their positions come back in order, and the projector hears of all of them."""
    disk = Disk()
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        positions = await journal.append_many(lines(5))
        journal.close()
    assert isinstance(positions, list)
    assert [position.n for position in positions] == [1, 2, 3, 4, 5]
    assert disk.operations.count("write") == 1
    assert [(each["n"], each["batch"]) for each in disk.received()] == [(n, 1) for n in range(1, 6)]
    assert disk.received()[1]["gap"] == 2
    assert [each.position for each in disk.committed] == positions
    statistics = journal.statistics()
    assert (statistics.lines, statistics.batches, statistics.batch_lines_max) == (5, 1, 5)
    assert (statistics.waiting_lines, statistics.waiting_bytes) == (0, 0)


async def test_they_are_not_torn_apart_by_the_bound_of_a_group_commit() -> None:
    """What waits before them fills most of a batch: they wait for the next one, together."""
    room = 4 * (200 + FRAME_BYTES_MAX)
    disk = Disk(journal_batch_bytes_max=room)
    journal = disk.journal()
    answers: list[object] = []

    async def append_many(count: int, first: int) -> None:
        answers.append(await journal.append_many(lines(count, first=first, size=180)))

    async with trio.open_nursery() as nursery:
        for count, first in ((2, 1), (3, 3), (1, 6), (4, 7)):
            nursery.start_soon(append_many, count, first)
            await trio.testing.wait_all_tasks_blocked()
        assert journal.statistics().waiting_lines == 10
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        journal.close()
    assert [each["batch"] for each in disk.received()] == [1, 1, 3, 3, 3, 3, 7, 7, 7, 7]
    assert len(answers) == 4


async def test_without_room_none_of_them_is_kept() -> None:
    """Though some would have fitted: the file ends where it did, and the next lines are numbered as if they had not
    been.
    """
    disk = Disk(capacity_bytes=1_500)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        assert isinstance(await journal.append_many(lines(2)), list)
        # More than the bytes that are left by the last look at them, so that the write itself fails.
        journal._space.disk.free_bytes = 10**9
        assert await journal.append_many(lines(9)) is AppendRefused.DISK_FULL
        assert len(disk.received()) == 2
        positions = await journal.append_many(lines(1))
        assert isinstance(positions, list)
        assert positions[0].n == 3
        journal.close()
    assert journal.statistics().refused_for_room == 9
    assert journal.statistics().waiting_bytes == 0


async def test_the_bounds_of_the_queue_count_every_line() -> None:
    """A hand-over that would pass a bound leaves nothing behind; closed is closed."""
    disk = Disk(journal_queue_lines_max=6)
    journal = disk.journal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.append_many, lines(4))
        await trio.testing.wait_all_tasks_blocked()
        assert await journal.append_many(lines(3)) is AppendRefused.QUEUE_FULL
        assert await journal.append_many([]) == []
        assert journal.statistics().waiting_lines == 4
        nursery.start_soon(journal.run)
        assert isinstance(await journal.append_many(lines(2)), list)
        journal.close()
        assert await journal.append_many(lines(1)) is AppendRefused.CLOSED


def test_what_fits_one_commit_is_bounded_in_lines_and_bytes_but_one_line_always_does() -> None:
    """Otherwise a setting could refuse an envelope for ever."""
    journal = Disk(journal_queue_lines_max=6, journal_batch_bytes_max=1_000).journal()
    assert journal.fits_one_commit(6, 1_000)
    assert not journal.fits_one_commit(7, 1_000)
    assert not journal.fits_one_commit(2, 1_001)
    assert journal.fits_one_commit(1, 10**9)


async def test_nobody_is_answered_when_the_sync_fails() -> None:
    """What is on disk is unknown then, and the process ends."""
    disk = Disk()
    journal = disk.journal()
    disk.fail["sync"] = OSError(errno.EIO, "Input/output error")
    answered: list[object] = []

    async def append() -> None:
        answered.append(await journal.append_many(lines(3)))

    with pytest.RaisesGroup(StorageFailure):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(journal.run)
    assert answered == []


async def test_cancelling_the_requester_takes_nothing_back() -> None:
    """The lines were handed over before the first suspension."""
    disk = Disk()
    journal = disk.journal()
    with trio.CancelScope() as scope:
        scope.cancel()
        await journal.append_many(lines(3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        position = await journal.append(line(4).record, line(4).members)
        journal.close()
    assert isinstance(position, Position)
    assert position.n == 4
