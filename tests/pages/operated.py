"""A server with jobs, exports, an observer, dead letters and figures behind its pages, in process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.jobs.queue import NotRetried, Run
from actors.observer.settings import ObserverSettings
from central_command.access.tokens import Scope
from central_command.export_queue.queue import ExportQueue
from central_command.http.app import Offered
from central_command.http.endpoints.observer import Observing
from central_command.tallies.tallies import Tallies
from persistence.databases.jobs_changing import Added
from persistence.databases.jobs_database import JobsDatabase, JobStatus
from persistence.files.file_system import inline
from persistence.settings.search import SearchSettings
from tests.actors.observer.observing import Watched, watching
from tests.job_engine import job_engine
from tests.pages.page_client import PageClient, pages_on
from tests.running_service import Running, settings_with


class Payload(msgspec.Struct):
    """What a job is to do: to end well or badly, or not yet."""

    ends: str


async def handler(run: Run[Payload]) -> object:
    if run.payload.ends == "badly":
        raise NotRetried("It went <b>wrong</b>.")
    if run.payload.ends == "never":
        run.progress(0.25)
        await trio.sleep_forever()
    run.log("did it")
    return {"well": True}


class Operated:
    """The parts of a server, and a browser that is signed in to its pages."""

    def __init__(self, run: Running, watched: Watched) -> None:
        self.watched = watched
        self.browser: PageClient
        self.database = JobsDatabase(run.root / "jobs.db", run.clock)
        self.jobs = job_engine(self.database, run.clock)
        self.jobs.register("work", Payload, handler, concurrency=2)
        self.jobs.register("nightly", Payload, handler)
        self.jobs.add_repeatable("nightly", "nightly", Payload("well"), "30 4 29 2 *")
        self.exports = ExportQueue(
            settings_with(), run.root, clock=run.clock, random_bytes=lambda size: bytes([7] * size), offload=inline
        )
        self.offered = Offered(
            jobs=run.service.desks.admin_jobs(self.jobs),
            exports=run.service.desks.exports(self.exports),
            refused=run.service.desks.refused(),
            observing=Observing(watched.observer, run.service._gate, ObserverSettings()),
            tallies=Tallies(run.root, SearchSettings()),
        )

    async def add(self, ends: str, queue: str = "work", **options: Any) -> str:
        """Add a job; return its id."""
        added = await self.jobs.add(queue, "do", Payload(ends), **options)
        assert isinstance(added, Added)
        return f"{queue}__{added.job.job_id}"

    async def until(self, job_id: str, status: JobStatus) -> None:
        """Wait until a job has a status."""
        queue, _, number = job_id.partition("__")
        with trio.fail_after(10):
            while (found := await self.jobs.history(queue, int(number))) is None or found.job.status is not status:  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.01)

    async def noted(self) -> list[tuple[str, str]]:
        """What the audit journal says that was changed, but for signing in."""
        entries = await self.browser.run.service.access.audit.entries(after_n=0, limit=100)
        return [(each.action, each.subject) for each in entries if not each.action.startswith("browser_session")]


@asynccontextmanager
async def operated(root: Path, *scopes: Scope, runs_jobs: bool = True) -> AsyncIterator[Operated]:
    """A server on `root`, and a browser that may do this (all, where nothing is said)."""
    made: list[Operated] = []

    async with watching(root / "observed") as watched:

        def offering(run: Running) -> Offered:
            made.append(Operated(run, watched))
            return made[0].offered

        allowed = scopes or (Scope.READ, Scope.EXPORT, Scope.ADMIN)
        async with pages_on(root / "data", *allowed, offering=offering) as browser, trio.open_nursery() as nursery:
            made[0].browser = browser
            if runs_jobs:
                nursery.start_soon(made[0].jobs.run)
            yield made[0]
            nursery.cancel_scope.cancel()
        made[0].database.close()
