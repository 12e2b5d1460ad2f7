"""A thread of its own for one caller's blocking calls, one after the other.

trio's worker threads are drawn from a pool for each call, named, limited and given a context: several times the cost of
handing a function over and its result back, and a journal does that for every group commit.
"""

import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import outcome
import trio

from persistence.files.file_system import Offload

T = TypeVar("T")


class WriterThread:
    """An `Offload` that runs everything in one thread; use it through `writer_thread`."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[trio.lowlevel.Task, Callable[..., Any], tuple[object, ...]] | None]
        self._jobs = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def __call__(self, function: Callable[..., T], *args: object) -> T:
        """Run `function(*args)` to its end, whoever is cancelled meanwhile, and return its result."""
        self._jobs.put((trio.lowlevel.current_task(), function, args))
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    def end(self) -> None:
        """Let the thread end once it has run what it was given."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            task, function, args = job
            result = outcome.capture(function, *args)
            # The loop may be gone when the process is on its way out: then nobody waits.
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(trio.lowlevel.reschedule, task, result)
            # A job holds bytes, and the next may be long in coming.
            del job, task, function, args, result


@asynccontextmanager
async def writer_thread(name: str) -> AsyncIterator[Offload]:
    """An `Offload` with a thread of its own, for the length of the block."""
    thread = WriterThread(name)
    try:
        yield thread
    finally:
        thread.end()
