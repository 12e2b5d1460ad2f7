"""Blocking work in a thread that can be left behind.

`trio.to_thread` either waits for its thread to the end or forgets it. A batch that hangs must be waited for, then told
to stop, then waited for a little, then left behind and still be counted: so the thread and the waiting are apart here.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import trio

T = TypeVar("T")


class Job(Generic[T]):
    """Work under way, and its result once it has ended."""

    __slots__ = ("_ended", "_error", "_value")

    def __init__(self) -> None:
        self._ended = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return f"<Job {'ended' if self.has_ended else 'running'}>"

    @property
    def has_ended(self) -> bool:
        """Whether it ran to its end."""
        return self._ended.is_set()

    async def wait(self) -> None:
        """Return once it has ended. Whoever is cancelled here leaves it running."""
        await self._ended.wait()

    def result(self) -> T:
        """Return what the function returned, or raise what it raised. Only after it has ended."""
        assert self.has_ended
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value] # None only where T is

    def run(self, function: Callable[[], T]) -> None:
        """Call the function and keep its result; `end` makes that known."""
        try:
            self._value = function()
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error

    def end(self) -> None:
        """Wake who waits; called on trio's thread."""
        self._ended.set()


class StartJob(Protocol):
    """Starts work and returns at once."""

    def __call__(self, function: Callable[[], T]) -> Job[T]:
        """Start `function()`."""
        ...


def start_in_thread(function: Callable[[], T]) -> Job[T]:
    """Start it in a daemon thread of trio's own cache of threads."""
    job: Job[T] = Job()
    token = trio.lowlevel.current_trio_token()

    def ended(_: object) -> None:
        try:
            token.run_sync_soon(job.end)
        except trio.RunFinishedError:
            return  # left behind, and the loop has ended meanwhile

    trio.lowlevel.start_thread_soon(lambda: job.run(function), ended, name="embedding")
    return job


async def ended_within(job: Job[T], grace_s: float) -> bool:
    """Wait for a job that was told to stop, also while the caller is being cancelled; say whether it ended."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + grace_s):
        await job.wait()
    return job.has_ended
