"""The engine of jobs over a database in memory, with a clock that tests set."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from actors.jobs.engine import Jobs
from actors.jobs.events import JobEvent
from actors.jobs.queue import Run
from actors.jobs.settings import JobsSettings
from persistence.databases.jobs_database import JobsDatabase, StoredJob
from persistence.databases.jobs_listing import JobHistory, JobLists
from persistence.files.file_system import inline

BEGAN_S = 1_800_000_000.0
"""When every test begins, on the wall clock: a Friday, 8:00 UTC."""


class Payload(msgspec.Struct, frozen=True):
    """What a job of a test is given."""

    what: str = ""


class WallClock:
    """Goes with trio's clock, and can be set."""

    def __init__(self) -> None:
        self.set_by_s = 0.0

    def __call__(self) -> float:
        return BEGAN_S + trio.current_time() + self.set_by_s


class World:
    """A database, its clock, and what was told of its jobs; engines come and go."""

    def __init__(self, database: JobsDatabase | None = None, seed: int = 0) -> None:
        self.clock = WallClock()
        self.database = database or JobsDatabase(None, lambda: BEGAN_S)
        self.lists = JobLists(self.database)
        self.told: list[JobEvent] = []
        self.kind = Jobs
        """Of which type engines are."""
        self._random = random.Random(seed)

    def engine(self, *, on_event: Callable[[JobEvent], None] | None = None, **settings: Any) -> Jobs:
        """Another engine, which nobody runs yet."""
        return self.kind(
            self.database,
            JobsSettings(**settings),
            clock=self.clock,
            random_bytes=self._random.randbytes,
            offload=inline,
            on_event=on_event or self.told.append,
        )

    def job(self, queue: str, job_id: int) -> StoredJob:
        """A job as it stands."""
        return self.history(queue, job_id).job

    def history(self, queue: str, job_id: int) -> JobHistory:
        """A job with its events and its log."""
        found = self.lists.history(queue, job_id)
        assert found is not None
        return found

    def events(self, queue: str, job_id: int) -> list[str]:
        """What happened to a job."""
        return [event.event for event in self.history(queue, job_id).events]


@asynccontextmanager
async def run_engine(jobs: Jobs) -> AsyncIterator[trio.CancelScope]:
    """Run an engine for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.run)
        await settled()
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def settled() -> None:
    """Return when everybody waits for time, or for an event."""
    await trio.testing.wait_all_tasks_blocked()


def noting(done: list[str], *, takes_s: float = 0.0) -> Callable[[Run[Payload]], Awaitable[object]]:
    """A handler that notes what it has done."""

    async def handler(run: Run[Payload]) -> object:
        await trio.sleep(takes_s)
        done.append(run.payload.what)
        return {"did": run.payload.what}

    return handler
