"""Room on the disk: the quota over the journals of what was accepted, and the free space that must stay."""

import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from persistence.files.file_system import FileSystem
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")


class Room(StrEnum):
    """Whether more can be stored."""

    YES = "yes"
    QUOTA_REACHED = "quota_reached"
    DISK_FULL = "disk_full"


class SpaceStatistics(msgspec.Struct, frozen=True):
    """`stored_bytes` in what is under the quota; `free_bytes` as last asked; whether the warning level is passed."""

    stored_bytes: int
    free_bytes: int
    above_warning: bool


class Allowance(Protocol):
    """What a journal may still take."""

    def room_for(self, size_bytes: int) -> Room:
        """Say whether `size_bytes` more may be stored."""
        ...

    def add(self, size_bytes: int) -> None:
        """Count bytes that are now stored."""
        ...


class FreeSpace:
    """What is free on the disk, under no quota: short of `free_bytes_min` nothing more is stored.

    It is asked for at most every `free_space_check_s`, so room made by an operator is noticed by itself.
    """

    def __init__(self, path: Path, *, files: FileSystem, clock: Callable[[], float], settings: StorageSettings) -> None:
        self._path = path
        self._files = files
        self._clock = clock
        self._settings = settings
        self.free_bytes = files.free_bytes(path)
        """As last asked, less what was stored since."""
        self._asked_at = clock()
        self._short_of_bytes = 0

    def reconfigure(self, settings: StorageSettings) -> None:
        """Go on with another bound; the next question is answered by it."""
        self._settings = settings
        self._short_of_bytes = min(self._short_of_bytes, 1)  # what was refused is judged anew

    async def watch(self) -> None:
        """Look at the free space until cancelled, so that reaching and leaving its bound is said when nobody asks."""
        while True:
            await trio.sleep(self._settings.free_space_check_s)
            self.room_for(0)

    def room_for(self, size_bytes: int) -> Room:
        """Say whether `size_bytes` more may be stored."""
        if abs(self._clock() - self._asked_at) >= self._settings.free_space_check_s:
            self._asked_at = self._clock()
            self.free_bytes = self._files.free_bytes(self._path)
        needed_bytes = self._settings.free_bytes_min + size_bytes
        if self.free_bytes < needed_bytes:
            self._say_short(needed_bytes)
            return Room.DISK_FULL
        if self.free_bytes >= self._short_of_bytes > 0:
            self._short_of_bytes = 0
            log.warning("the disk has room again, %d bytes are free: envelopes are taken in", self.free_bytes)
        return Room.YES

    def _say_short(self, needed_bytes: int) -> None:
        """Warn once that the bound is reached; it is left when there is room for what was refused."""
        if not self._short_of_bytes:
            log.warning(
                "the disk has %d bytes free, and storage.free_bytes_min (%d) stay free: envelopes are refused",
                self.free_bytes,
                self._settings.free_bytes_min,
            )
        self._short_of_bytes = max(self._short_of_bytes, needed_bytes)

    def add(self, size_bytes: int) -> None:
        """Count bytes that are now stored."""
        self.free_bytes -= size_bytes


class Space:
    """Counts what the journals of accepted envelopes hold, and refuses what would pass the quota or fill the disk.

    `disk` is what is free for everything, also for what is not counted here.
    """

    def __init__(
        self, path: Path, *, files: FileSystem, clock: Callable[[], float], settings: StorageSettings, stored_bytes: int
    ) -> None:
        self.disk = FreeSpace(path, files=files, clock=clock, settings=settings)
        self._settings = settings
        self._stored_bytes = stored_bytes
        self._warned = False

    def reconfigure(self, settings: StorageSettings) -> None:
        """Go on with other bounds; the next question is answered by them."""
        self._settings = settings
        self.disk.reconfigure(settings)
        self._warned = self._warned and self._stored_bytes >= settings.quota_warning_bytes
        self.add(0)

    def room_for(self, size_bytes: int) -> Room:
        """Say whether `size_bytes` more may be stored."""
        if self._stored_bytes + size_bytes > self._settings.quota_bytes:
            return Room.QUOTA_REACHED
        return self.disk.room_for(size_bytes)

    def add(self, size_bytes: int) -> None:
        """Count bytes that are now stored, and warn once when the warning level is passed."""
        self._stored_bytes += size_bytes
        self.disk.add(size_bytes)
        if self._stored_bytes >= self._settings.quota_warning_bytes and not self._warned:
            self._warned = True
            log.warning(
                "the journals hold %d bytes, past the warning level of %d; at %d bytes envelopes are refused",
                self._stored_bytes,
                self._settings.quota_warning_bytes,
                self._settings.quota_bytes,
            )

    def statistics(self) -> SpaceStatistics:
        """Return the current figures."""
        return SpaceStatistics(
            stored_bytes=self._stored_bytes,
            free_bytes=self.disk.free_bytes,
            above_warning=self._stored_bytes >= self._settings.quota_warning_bytes,
        )
