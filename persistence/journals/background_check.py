"""Goes over all stored lines while the server runs, so that a changed one is noticed before it is needed.

Nothing else would notice it: a start reads only what the databases have not seen, and a session's lines are read again
at its close at the latest. What is found is said with its place, and the check goes on behind it.

It takes a share of the disk's time and no more: after each read it rests for as long as makes that share, whatever the
read took. While lines wait to be stored it waits, up to a minute for each read, so that it comes to an end on a server
that is never idle. Readers of what is acknowledged go no further than that (`JournalReader`), so what is just being
written is nobody's damage.

Rejected: bytes a second (a slow disk would be busy with nothing else), reading when the machine is idle (which nobody
knows from within), a position that survives a restart (a pass takes hours at most; where restarts come more often than
that, `verify` belongs into the same schedule).
"""

import logging
from collections.abc import Callable, Sequence

import msgspec
import trio

from persistence.files.failures import StorageFailure
from persistence.format.records import Mark
from persistence.journals.reading import JournalDamage, JournalReader, Scan
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")

SAID_MAX = 100
"""Places that one pass names; the rest is only counted. Guards the log."""

_BUSY_LOOK_S = 0.05
_BUSY_S_MAX = 60.0
_OFF_LOOK_S = 1.0
_INTERVAL_LOOK_S = 30.0
_SECONDS_PER_HOUR = 3_600


class CheckStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures since the start; `damaged_places` are those of the last full pass, or more of the one under way.

    `last_full_pass_at` is when the last pass ended that came to every line, in seconds since the epoch.
    """

    full_passes: int
    last_full_pass_at: float | None
    lines: int
    bytes: int
    damaged_places: int


class BackgroundCheck:
    """Checks journals while `run` runs; `is_busy` says whether lines wait to be stored."""

    def __init__(
        self,
        journals: Sequence[JournalReader],
        settings: StorageSettings,
        *,
        clock: Callable[[], float],
        is_busy: Callable[[], bool],
    ) -> None:
        self._journals = journals
        self._settings = settings
        self._clock = clock
        self._is_busy = is_busy
        self._full_passes = self._lines = self._bytes = 0
        self._last_full_pass_at: float | None = None
        self._found_before = self._found = 0

    def __repr__(self) -> str:
        return f"<BackgroundCheck full_passes={self._full_passes} lines={self._lines}>"

    def reconfigure(self, settings: StorageSettings) -> None:
        """Go on with other settings, from the next read on."""
        self._settings = settings

    async def run(self) -> None:
        """Go over all lines until cancelled, a pass every `check_interval_h` at most."""
        while True:
            began_at = trio.current_time()
            await self.check_all()
            await self._until(lambda: self._is_time(began_at), _INTERVAL_LOOK_S)  # noqa: B023 (awaited here)

    async def check_all(self) -> None:
        """Go over every line there is now once; what is wrong is logged and counted."""
        self._found = 0
        lines_before = self._lines
        came_through = [await self._check(journal) for journal in self._journals]
        if self._found > SAID_MAX:
            log.error("the stored lines are damaged in %d more places; `verify` lists them", self._found - SAID_MAX)
        self._found_before, found = self._found, self._found
        if all(came_through):
            log.info("all %d stored lines were checked: %d places are damaged", self._lines - lines_before, found)
            self._full_passes += 1
            self._last_full_pass_at = self._clock()

    async def _check(self, journal: JournalReader) -> bool:
        """Go over one journal; say whether the whole of it could be read."""
        start: Mark | None = Mark()
        while start is not None:
            try:
                await self._check_from(journal.scan(start))
                start = None
            except JournalDamage as damage:
                self._say(str(damage))
                start = damage.behind
            except StorageFailure as failure:
                self._say(str(failure))
                return False
        return True

    async def _check_from(self, scan: Scan) -> None:
        """Read to the journal's end, with the rests that belong to it."""
        while True:
            await self._turn()
            began_at = trio.current_time()
            try:
                lines = await anext(scan)
            except StopAsyncIteration:
                return
            finally:
                took_s = trio.current_time() - began_at
            self._lines += len(lines)
            self._bytes += sum(line.position.length for line in lines)
            share = self._settings.check_share
            await trio.sleep(took_s * (1 / share - 1) if share else 0)

    async def _turn(self) -> None:
        """Return when it is time to read: the check is on, and nothing waits to be stored, or has for long."""
        await self._until(lambda: bool(self._settings.check_share), _OFF_LOOK_S)
        with trio.move_on_after(_BUSY_S_MAX):
            await self._until(lambda: not self._is_busy(), _BUSY_LOOK_S)

    def _is_time(self, began_at: float) -> bool:
        return trio.current_time() - began_at >= self._settings.check_interval_h * _SECONDS_PER_HOUR

    @staticmethod
    async def _until(condition: Callable[[], bool], look_s: float) -> None:
        """Return when a condition holds that nobody tells of: settings and queues change without a word."""
        while True:
            if condition():
                return
            await trio.sleep(look_s)

    def _say(self, sentence: str) -> None:
        self._found += 1
        if self._found <= SAID_MAX:
            log.error("found in going over all lines: %s", sentence)

    def statistics(self) -> CheckStatistics:
        """Return the current figures."""
        return CheckStatistics(
            full_passes=self._full_passes,
            last_full_pass_at=self._last_full_pass_at,
            lines=self._lines,
            bytes=self._bytes,
            damaged_places=max(self._found, self._found_before),
        )
