"""The recorder for programs without trio: it runs in a daemon thread of its own, and nothing waits for it.

A program that was forked has no such thread: open a recorder in the child.
"""

import atexit
import logging
import math
import os
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import trio

from central_command.client.recording.agents import check
from central_command.client.recording.recorded_steps import Scrub
from central_command.client.recording.recorder import RecorderSettings, RecorderStatistics, TrioRecorder, open_recorder
from central_command.client.recording.recording import Recording

_logger = logging.getLogger(__name__)


class Recorder:
    """Records sessions for the server at `url`, which need not be up; arguments and errors are `open_recorder`'s.

    Every method may be called in any thread. Closed at the end of the program if not before.
    """

    def __init__(
        self,
        url: str,
        *,
        provider: str,
        model: str,
        agent_role: str = "agent",
        agent_id: str = "agent-1",
        contributor_id: str | None = None,
        spool_path: str | os.PathLike[str] | None = None,
        scrub: Scrub | bool = True,
        settings: RecorderSettings | None = None,
    ) -> None:
        self._settings = settings or RecorderSettings()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._recorder: TrioRecorder | None = None
        self._stop = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._close_timeout_s = self._settings.close_timeout_s
        run = partial(
            open_recorder,
            url,
            provider=provider,
            model=model,
            agent_role=agent_role,
            agent_id=agent_id,
            contributor_id=contributor_id,
            spool_path=spool_path,
            scrub=scrub,
            settings=settings,
        )
        self._thread = threading.Thread(target=self._run, args=(run,), name="central-command-recorder", daemon=True)
        self._thread.start()
        self._started.wait()
        if (failure := self._failed()) is not None:
            self._thread.join()
            raise failure
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"<Recorder {self._recorder!r}{'' if self._thread.is_alive() else ' closed'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def session(self, **agent: Any) -> Recording:
        """A new session, as `TrioRecorder.session` makes it."""
        return self._running().session(**agent)

    def statistics(self) -> RecorderStatistics:
        """What became of the steps so far."""
        return self._running().statistics()

    def close(self, timeout_s: float = 10.0) -> bool:
        """Close what is open, keep everything on disk, and deliver what can be delivered in `timeout_s` after that.

        Keeping is waited for as long as `settings.keep_timeout_s`, however short the time for delivery is. True when
        the spool holds nothing of this recorder's sessions that waits, and the server has closed them all; the rest
        goes with the next recorder. What the server refused for good waits no more: it makes no False of it, and
        `statistics().envelopes_refused` counts it. May be called again.
        Raises ValueError for a time that is none; one below 0 counts as 0.
        """
        check("timeout_s", timeout_s, _is_time(timeout_s), "a number of seconds")
        timeout_s = min(max(timeout_s, 0.0), threading.TIMEOUT_MAX / 2)
        atexit.unregister(self.close)
        token = self._token
        if token is None or not self._thread.is_alive():
            return self._is_delivered()
        self._close_timeout_s = timeout_s
        try:
            token.run_sync_soon(self._stop.set)
        except trio.RunFinishedError:
            return self._is_delivered()
        if not self._running().has_kept_all.wait(self._settings.keep_timeout_s):
            _logger.error("%d steps are in memory alone: the disk hangs", self.statistics().steps_waiting)
        self._thread.join(timeout_s + 1)  # a second more than delivery may take
        return not self._thread.is_alive() and self._is_delivered()

    def _failed(self) -> BaseException | None:
        return self._failure if self._recorder is None else None

    def _running(self) -> TrioRecorder:
        assert self._recorder is not None
        return self._recorder

    def _is_delivered(self) -> bool:
        return self._running().is_delivered

    def _run(self, opening: Callable[[], Any]) -> None:
        try:
            trio.run(self._serve, opening)
        except BaseException as error:
            self._failure = error
            if self._started.is_set():
                _logger.exception("the recorder's thread ended")
        finally:
            if self._recorder is not None:
                self._recorder.has_kept_all.set()
            self._started.set()

    async def _serve(self, opening: Callable[[], Any]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with opening() as recorder:
            self._recorder = recorder
            self._started.set()
            await self._stop.wait()
            recorder.close_timeout_s = self._close_timeout_s


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not math.isnan(seconds)
