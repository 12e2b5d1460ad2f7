"""The timer of a connection: how long it may be idle, silent, or unwilling to take an answer."""

from collections.abc import Awaitable, Callable

import trio
from hypercorn.typing import TaskGroup


class ConnectionTimer:
    """One task for the life of a connection, and assignments for what happens on it.

    It stands in for hypercorn's idle task, which is started and cancelled with every request, and for a cancel scope
    around every read and write: each of these takes longer than parsing the request. The task sleeps no longer than the
    shortest of its times, and then looks at what the connection has been doing since when; so nothing that begins
    while it sleeps can end before it wakes.

    All times are in seconds of the run's clock, which `now` asks without looking for it. `silent` and `stuck` are
    called when a read or a write takes too long.
    """

    def __init__(
        self,
        *,
        idle_s: float,
        read_s: float,
        write_s: float,
        silent: Callable[[], None],
        stuck: Callable[[], Awaitable[None]],
        terminated: Callable[[], Awaitable[None]],
    ) -> None:
        self.now = trio.lowlevel.current_clock().current_time
        self._idle_s = idle_s
        self._read_s = read_s
        self._write_s = write_s
        self._silent = silent
        self._stuck = stuck
        self._terminated = terminated
        self._scope: trio.CancelScope | None = None
        self._has_ended = False
        self.idle_since: float | None = None
        self.reading_since: float | None = None
        self.writing_since: float | None = None

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on: do `action` when that lasts, or when the server ends (hypercorn's)."""
        self.idle_since = self.now()
        if self._scope is None:
            self._scope = self._next_scope()
            task_group.spawn(self._watch, action)

    async def stop(self) -> None:
        """The connection is not idle any more (hypercorn's name for it)."""
        self.idle_since = None

    def end(self) -> None:
        """The connection is over: there is nothing to watch."""
        self._has_ended = True
        if self._scope is not None:
            self._scope.cancel()

    async def _watch(self, action: Callable[[], Awaitable[None]]) -> None:
        while self._scope is not None:
            with self._scope:
                await self._terminated()
            if self._has_ended:
                return
            now = self.now()
            if not self._scope.cancelled_caught or _is_over(self.idle_since, self._idle_s, now):
                break
            if _is_over(self.writing_since, self._write_s, now):
                await self._stuck()
                return
            if _is_over(self.reading_since, self._read_s, now):
                self._silent()
                return
            self._scope = self._next_scope()
        # At the end of the server a connection at work is closed by its protocol, after its request.
        if self.idle_since is not None:
            await action()

    def _next_scope(self) -> trio.CancelScope:
        now = self.now()
        times = (
            (self.idle_since, self._idle_s),
            (self.reading_since, self._read_s),
            (self.writing_since, self._write_s),
        )
        return trio.CancelScope(deadline=min((now if since is None else since) + most_s for since, most_s in times))


def _is_over(since: float | None, most_s: float, now: float) -> bool:
    return since is not None and since + most_s <= now
