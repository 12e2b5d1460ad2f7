"""Threads for what blocks: so many at once, so many who wait for one, and a refusal for whoever comes then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import trio

T = TypeVar("T")


class FullError(Exception):
    """As many wait for a thread as may."""


class ThreadsStatistics(msgspec.Struct, frozen=True):
    """How many ask, and in how many threads something runs, also what nobody waits for any more."""

    asking: int
    running: int


class BoundedThreads:
    """At most `running_max` threads; `waiting_max` more may ask meanwhile, and wait for their turn in order."""

    def __init__(self, running_max: int, waiting_max: int) -> None:
        self._asking_max = running_max + waiting_max
        self._asking = 0
        self._limiter = trio.CapacityLimiter(running_max)

    def __repr__(self) -> str:
        return f"<BoundedThreads {self._asking} of {self._asking_max} asking>"

    def statistics(self) -> ThreadsStatistics:
        """How it stands."""
        return ThreadsStatistics(self._asking, self._limiter.borrowed_tokens)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Count one who asks, from before the wait until all is answered; raises FullError where too many do."""
        if self._asking >= self._asking_max:
            raise FullError
        with self.counted():
            yield

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one who was let in before and goes on: they are never refused, but who comes meanwhile may be."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def run(self, work: Callable[[], T], *, abandon_on_cancel: bool = True) -> T:
        """What a function returns, or raises, in a thread, when one is free: for one who was counted already.

        A caller that is cancelled is not waited for, if so: what runs ends by itself, and its thread is free then.
        """
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=abandon_on_cancel)

    async def answer(self, work: Callable[[], T], *, abandon_on_cancel: bool = True) -> T:
        """The same for one who asks for that alone; raises FullError where too many ask."""
        with self.asked():
            return await self.run(work, abandon_on_cancel=abandon_on_cancel)
