"""Room on the disk: reaching its bound and leaving it are said, once each."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from persistence.files.memory import MemoryFileSystem
from persistence.files.space import Room, Space
from persistence.settings.storage import StorageSettings

ROOT = Path("/data")


class Disk(MemoryFileSystem):
    """A disk with as much room as a test says."""

    free = 1_000

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free


@pytest.fixture
def disk() -> Disk:
    """Room for 1,000 bytes."""
    return Disk()


def space_on(disk: Disk, now: list[float], **settings: Any) -> Space:
    """Of which 500 stay free."""
    return Space(
        ROOT, files=disk, clock=lambda: now[0], settings=StorageSettings(free_bytes_min=500, **settings), stored_bytes=0
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first words of each."""
    return [record.getMessage()[:22] for record in caplog.records if record.levelno == logging.WARNING]


def test_the_bound_is_said_when_it_is_reached_and_when_it_is_left(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Once each, however many are refused meanwhile."""
    now = [0.0]
    space = space_on(disk, now)
    assert space.room_for(400) is Room.YES
    assert warnings(caplog) == []
    disk.free, now[0] = 400, 2.0
    assert [space.room_for(1) for _ in range(3)] == [Room.DISK_FULL] * 3
    assert warnings(caplog) == ["the disk has 400 bytes"]
    disk.free, now[0] = 600, 4.0
    assert [space.room_for(1) for _ in range(3)] == [Room.YES] * 3
    assert warnings(caplog) == ["the disk has 400 bytes", "the disk has room agai"]


def test_the_bound_is_not_left_until_what_was_refused_has_room(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Else one large envelope after small ones would be a warning each time."""
    now = [0.0]
    space = space_on(disk, now)
    for _ in range(3):
        assert space.room_for(501) is Room.DISK_FULL
        assert space.room_for(1) is Room.YES
    assert warnings(caplog) == ["the disk has 1000 byte"]
    disk.free, now[0] = 1_001, 2.0
    assert space.room_for(1) is Room.YES
    assert warnings(caplog)[1:] == ["the disk has room agai"]


async def test_it_is_said_when_nobody_asks(
    disk: Disk, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """Within `free_space_check_s`."""
    space = Space(
        ROOT,
        files=disk,
        clock=trio.current_time,
        settings=StorageSettings(free_bytes_min=500, free_space_check_s=3),
        stored_bytes=0,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.disk.watch)
        disk.free = 400
        await trio.sleep(4)
        assert len(warnings(caplog)) == 1
        disk.free = 600
        await trio.sleep(4)
        assert len(warnings(caplog)) == 2
        nursery.cancel_scope.cancel()


def test_other_bounds_hold_at_once(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Quota, warning level and free space; the level is said again when it is passed again."""
    space = space_on(disk, [0.0], quota_bytes=100, quota_warning_bytes=50)
    space.add(60)
    assert space.room_for(41) is Room.QUOTA_REACHED
    assert len(warnings(caplog)) == 1
    space.reconfigure(StorageSettings(free_bytes_min=500, quota_bytes=200, quota_warning_bytes=150))
    assert space.room_for(41) is Room.YES
    space.reconfigure(StorageSettings(free_bytes_min=500, quota_bytes=200, quota_warning_bytes=55))
    assert len(warnings(caplog)) == 2
    space.reconfigure(StorageSettings(free_bytes_min=10_000))
    assert space.room_for(0) is Room.DISK_FULL
    space.reconfigure(StorageSettings(free_bytes_min=500))
    assert space.room_for(0) is Room.YES
    assert warnings(caplog)[2:] == ["the disk has 940 bytes", "the disk has room agai"]


def test_with_another_bound_a_single_byte_is_room(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """What was refused by the old one says nothing about the new one."""
    disk.free = 1
    space = space_on(disk, [0.0])
    assert space.room_for(1) is Room.DISK_FULL
    space.reconfigure(StorageSettings(free_bytes_min=0))
    assert space.room_for(1) is Room.YES
    assert warnings(caplog) == ["the disk has 1 bytes f", "the disk has room agai"]


def test_the_warning_level_is_said_once_while_it_is_reached(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly reached is reached, also for settings that are read again."""
    space = space_on(disk, [0.0], quota_bytes=100, quota_warning_bytes=50)
    space.add(49)
    assert warnings(caplog) == []
    space.add(1)
    space.reconfigure(StorageSettings(free_bytes_min=500, quota_bytes=100, quota_warning_bytes=50))
    space.add(1)
    assert warnings(caplog) == ["the journals hold 50 b"]
