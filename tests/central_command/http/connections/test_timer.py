"""The timer of connections: one task for each, whatever it does."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from central_command.http.connections.timer import ConnectionTimer

IDLE_S, READ_S, WRITE_S = 10.0, 25.0, 7.0


class Tasks:
    """The part of hypercorn's task group that a timer needs, counting what it starts."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.started = 0

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self.started += 1
        self.nursery.start_soon(function, *args)


class Watched:
    """A timer, when its action was done, and the end of the server."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.terminated = trio.Event()
        self.tasks = Tasks(nursery)
        self.silent_at: list[float] = []
        self.stuck_at: list[float] = []
        self.timer = ConnectionTimer(
            idle_s=IDLE_S,
            read_s=READ_S,
            write_s=WRITE_S,
            silent=lambda: self.silent_at.append(trio.current_time()),
            stuck=self._stuck,
            terminated=self.terminated.wait,
        )
        self.closed_at: list[float] = []

    async def idle(self) -> None:
        await self.timer.restart(self.tasks, self._close)  # type: ignore[arg-type]

    async def _stuck(self) -> None:
        self.stuck_at.append(trio.current_time())

    async def _close(self) -> None:
        self.closed_at.append(trio.current_time())


async def test_a_connection_that_stays_idle_is_closed_once(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        await watched.idle()
    assert watched.closed_at == [IDLE_S]


async def test_requests_put_it_off_with_the_same_task(autojump_clock: trio.testing.MockClock) -> None:
    """A connection at work is never closed, however long it works."""
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        await watched.idle()
        for _ in range(5):
            await trio.sleep(IDLE_S - 1)
            await watched.timer.stop()
            await trio.sleep(5 * IDLE_S)
            await watched.idle()
    assert watched.closed_at == [5 * (IDLE_S - 1 + 5 * IDLE_S) + IDLE_S]
    assert watched.tasks.started == 1


@pytest.mark.parametrize("is_idle", [True, False])
async def test_the_end_of_the_server_closes_idle_ones_only(
    is_idle: bool,  # noqa: FBT001 pytest's parameter
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One at work is closed by its protocol when its request has ended."""
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        await watched.idle()
        await trio.sleep(1)
        if not is_idle:
            await watched.timer.stop()
        watched.terminated.set()
    assert watched.closed_at == ([1] if is_idle else [])


async def test_after_the_end_of_the_connection_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        watched.timer.end()
        await watched.idle()
        await trio.sleep(1)
        watched.timer.end()
    assert watched.closed_at == []
    assert trio.current_time() == 1


async def test_a_read_may_take_its_time_and_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    """Each byte begins it anew; a request under way is no excuse for silence."""
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        await watched.idle()
        await watched.timer.stop()
        for _ in range(3):
            watched.timer.reading_since = trio.current_time()
            await trio.sleep(READ_S - 1)
        watched.timer.reading_since = began_at = trio.current_time()
    assert watched.silent_at == [began_at + READ_S]
    assert watched.closed_at == watched.stuck_at == []


async def test_a_write_may_take_its_time_and_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    """Many writes one after the other are no slow one."""
    async with trio.open_nursery() as nursery:
        watched = Watched(nursery)
        await watched.idle()
        await watched.timer.stop()
        for _ in range(5):
            watched.timer.writing_since = trio.current_time()
            await trio.sleep(WRITE_S - 1)
            watched.timer.writing_since = None
        watched.timer.writing_since = began_at = trio.current_time()
    assert watched.stuck_at == [began_at + WRITE_S]
    assert watched.closed_at == watched.silent_at == []
