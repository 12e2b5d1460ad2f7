"""Room on the disk: the quota over all journals, and the free space that must stay."""

import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from persistence.files.file_system import FileSystem
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")


class Room(StrEnum):
    """Whether more can be stored."""

    YES = "yes"
    QUOTA_REACHED = "quota_reached"
    DISK_FULL = "disk_full"


class SpaceStatistics(msgspec.Struct, frozen=True):
    """`stored_bytes` over all journals; `free_bytes` as last asked; whether the warning level is passed."""

    stored_bytes: int
    free_bytes: int
    above_warning: bool


class Space:
    """Counts what the journals hold and refuses what would pass the quota or fill the disk.

    The free space is asked for at most every `free_space_check_s`, so room made by an operator is noticed by itself.
    """

    def __init__(
        self, path: Path, *, files: FileSystem, clock: Callable[[], float], settings: StorageSettings, stored_bytes: int
    ) -> None:
        self._path = path
        self._files = files
        self._clock = clock
        self._settings = settings
        self._stored_bytes = stored_bytes
        self._free_bytes = files.free_bytes(path)
        self._asked_at = clock()
        self._warned = False

    def room_for(self, size_bytes: int) -> Room:
        """Say whether `size_bytes` more may be stored."""
        if self._stored_bytes + size_bytes > self._settings.quota_bytes:
            return Room.QUOTA_REACHED
        if abs(self._clock() - self._asked_at) >= self._settings.free_space_check_s:
            self._asked_at = self._clock()
            self._free_bytes = self._files.free_bytes(self._path)
        if self._free_bytes - size_bytes < self._settings.free_bytes_min:
            return Room.DISK_FULL
        return Room.YES

    def add(self, size_bytes: int) -> None:
        """Count bytes that are now stored, and warn once when the warning level is passed."""
        self._stored_bytes += size_bytes
        self._free_bytes -= size_bytes
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
            free_bytes=self._free_bytes,
            above_warning=self._stored_bytes >= self._settings.quota_warning_bytes,
        )
