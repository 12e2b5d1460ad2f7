"""The server's side of curation: the process started, watched, started again when it ends, and stopped in order.

Nothing waits for it. When it cannot run, the corpus falls behind, and that is all: its lag says so.
"""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from actors.curation.following import CurationStatistics
from central_command.curating.orders import Order, line_of, read_figures
from central_command.http.gateway import CurationLag
from central_command.process.children import start, stop
from central_command.settings.configuration import Settings

log = logging.getLogger("central_command.curation")

COMMAND = (sys.executable, "-m", "central_command.curating.worker")


class CurationProcess:
    """The process; `run` starts it and keeps it running until it is cancelled.

    `reached_n` says how many trajectories there are, `texts_n` how many texts of the intake; `clock` gives seconds
    since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        data_directory: Path,
        *,
        reached_n: Callable[[], int],
        texts_n: Callable[[], int],
        clock: Callable[[], float],
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._settings = settings.curation
        self._order = Order.of(settings, data_directory)
        self._reached_n = reached_n
        self._texts_n = texts_n
        self._clock = clock
        self._command = command
        self._figures: CurationStatistics | None = None
        self._current_at = clock()
        self._starts = 0
        self._turn = trio.Lock()
        """Held while the process lives, and by who has paused it."""
        self._living = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<CurationProcess starts={self._starts} {self.lag}>"

    @property
    def lag(self) -> CurationLag:
        """How far the corpus is behind; before the process has said anything, nothing is taken."""
        followed_n = 0 if self._figures is None else self._figures.followed_n
        texts_followed_n = 0 if self._figures is None else self._figures.texts_followed_n
        waiting = max(0, self._reached_n() - followed_n)
        texts = max(0, self._texts_n() - texts_followed_n)
        since = None if self._figures is None else self._figures.waiting_since
        since = self._current_at if since is None else since
        return CurationLag(
            trajectories=waiting, texts=texts, seconds=max(0.0, self._clock() - since) if waiting or texts else 0.0
        )

    @property
    def figures(self) -> CurationStatistics | None:
        """What the process said last; None before that."""
        return self._figures

    async def run(self) -> None:
        """Keep the process running; the pause before it is started again doubles with each time that it ends early."""
        delay_s = self._settings.restart_delay_s
        while True:
            began_at = trio.current_time()
            try:
                status = await self._live_in_turn()
            except OSError as error:
                log.error("curation could not be started: %s", error.strerror)  # noqa: TRY400 (says it all)
            else:
                if status is None:
                    continue
                # Who stops the server may tell all of its processes to end, and this one hears it first.
                level = logging.INFO if status == -signal.SIGTERM else logging.ERROR
                log.log(level, "curation ended with status %d; it is started again in %g s", status, delay_s)
            if trio.current_time() - began_at > self._settings.restart_delay_max_s:
                delay_s = self._settings.restart_delay_s
            await trio.sleep(delay_s)
            delay_s = min(2 * delay_s, self._settings.restart_delay_max_s)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """End the process; it is started again after the block."""
        self._living.cancel()
        async with self._turn:  # whoever waits for it is served in order, so it is not started again before
            yield

    async def _live_in_turn(self) -> int | None:
        """Run the process to its end; return its exit status, None when it was paused."""
        async with self._turn:
            with trio.CancelScope() as self._living:
                return await self._live()
        return None

    async def _live(self) -> int:
        """Run the process to its end; return its exit status, negative for a signal."""
        self._starts += 1
        process = await start(self._command)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            await process.stdin.send_all(line_of(self._order))
            await read_figures(process.stdout.receive_some, self._take)
        except (trio.BrokenResourceError, ValueError):
            pass  # it is ending, or is no such process any more
        finally:
            await self._stop(process)
        return process.returncode if process.returncode is not None else 0

    def _take(self, figures: CurationStatistics) -> None:
        self._figures = figures
        if figures.waiting_since is None:
            self._current_at = self._clock()

    async def _stop(self, process: trio.Process) -> None:
        """Tell it to stop, and end it when it takes too long: it may end at any moment without harm."""
        await stop(process, grace_s=self._settings.stop_grace_s)
        assert process.stdout is not None
        with trio.CancelScope(shield=True):
            await process.stdout.aclose()
