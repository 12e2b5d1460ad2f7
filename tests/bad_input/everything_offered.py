"""One application with all that a server offers, asked in its own process: request by request, as ASGI has them."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import trio

from actors.envelopes.settings import SchemaSettings
from actors.jobs.engine import Jobs
from actors.jobs.queue import Run
from central_command.access.making import Maker, NewLink
from central_command.access.tokens import Scope
from central_command.export_queue.queue import ExportQueue
from central_command.http.app import Application, Offered, create_app
from central_command.metrics.exposition import Exposing
from central_command.observing.opening import open_observer
from central_command.process.collector import CollectorStatistics
from central_command.settings.configuration import Settings
from persistence.databases.jobs_changing import Added
from persistence.databases.jobs_database import JobsDatabase
from persistence.files.file_system import OsFileSystem, inline
from persistence.storage import Platform
from tests.bad_input.wire import Answer
from tests.running_service import Running, running, settings_with
from tests.signing_client import CONTRIBUTOR
from tests.submitted_texts import leave_token

MANY = {"requests_per_minute": 1_000_000, "requests_per_hour": 1_000_000}
BODY_TIMEOUT_S = 1.0
"""What a body that stops halfway is waited for."""


class Nothing(msgspec.Struct):
    """What the jobs of the tests' queue are given."""


async def _do_nothing(_run: Run[Nothing]) -> None:
    await trio.lowlevel.checkpoint()


class Offering:
    """The application, who may ask it what, and what stands in its data directory."""

    def __init__(self, run: Running, app: Application) -> None:
        self.run = run
        self.app = app
        self.tokens = {str(scope): leave_token(run.root, scope, now=run.clock.now)[0] for scope in Scope}
        self.job_id = ""
        self.cookie = ""
        self._addresses = 0

    async def prepare(self, jobs: Jobs) -> None:
        """Leave a job that waits, and sign a browser in for everything."""
        added = await jobs.add("work", "do", Nothing(), delay_s=3_600.0)
        assert isinstance(added, Added)
        self.job_id = f"work__{added.job.job_id}"
        maker = Maker(
            self.run.root / "access.db",
            self.run.service._settings.access,
            clock=self.run.clock,
            random_bytes=os.urandom,
        )
        link = maker.link([*Scope])
        assert isinstance(link, NewLink)
        own = [("Sec-Fetch-Site", "same-origin")]
        answer = await self.ask("POST", "/sign-in", own, f"key={link.code}".encode())
        assert answer.status == 303, answer
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    async def ask(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        ends: bool = True,
        address: str | None = None,
    ) -> Answer:
        """Send a request, from an address of its own unless one is named; its body `ends`, or stays half."""
        path, _, query = target.partition("?")
        self._addresses += 1
        own = f"10.{self._addresses >> 16}.{self._addresses >> 8 & 255}.{self._addresses & 255}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path, errors="replace"),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost"), *((name.lower().encode(), value.encode()) for name, value in headers)],
            "client": (address or own, 4_000),
            "server": ("localhost", 80),
            "state": {},
        }
        parts = [{"type": "http.request", "body": body, "more_body": not ends}]
        status, received, parts_of_answer = 0, dict[str, str](), list[bytes]()

        async def receive() -> Any:
            await trio.lowlevel.checkpoint()
            if not parts:
                await trio.sleep_forever()
            return parts.pop(0)

        async def send(message: Any) -> None:
            nonlocal status
            await trio.lowlevel.checkpoint()
            if message["type"] == "http.response.start":
                status = message["status"]
                received.update({name.decode().lower(): value.decode() for name, value in message["headers"]})
            elif message["type"] == "http.response.body":
                parts_of_answer.append(message["body"])

        call: Any = self.app
        with trio.fail_after(30):
            await call(scope, receive, send)
        return Answer(status, received, b"".join(parts_of_answer))

    def state(self) -> Mapping[str, tuple[int, int]]:
        """Size and time of change of every file in the data directory."""
        found = {}
        for folder, _, names in os.walk(self.run.root):
            for name in names:
                path = Path(folder) / name
                if not name.endswith("-shm"):
                    status = path.stat()
                    found[str(path.relative_to(self.run.root))] = (status.st_size, status.st_mtime_ns)
        return found


def _settings(wrong_per_minute: int) -> Settings:
    generous = dict.fromkeys(("access", "metrics", "intake", "export", "search", "live", "jobs", "observer"), MANY)
    generous["access"] = {**MANY, "wrong_per_minute": wrong_per_minute, "wrong_per_hour": 1_000_000}
    http = {"limits_enabled": False, "body_timeout_s": BODY_TIMEOUT_S, "linger_s": 0.01}
    return settings_with(**generous, http=http, consent={"mode": "required"})


@asynccontextmanager
async def offering(root: Path, *, wrong_per_minute: int = 1_000_000) -> AsyncIterator[Offering]:
    """Run it all but what runs beside it: nothing is written that nobody asks for."""
    settings = _settings(wrong_per_minute)
    async with running(root, settings=settings) as run:
        platform = Platform(clock=run.clock, environ={}, files=OsFileSystem(), offload=inline)
        database = JobsDatabase(root / "jobs.db", run.clock)
        jobs = Jobs(database, settings.jobs, clock=run.clock, random_bytes=os.urandom, offload=inline)
        jobs.register("work", Nothing, _do_nothing)
        queue = ExportQueue(settings, root, clock=run.clock, random_bytes=os.urandom, offload=inline)
        observing = partial(
            open_observer,
            root,
            settings.observer,
            settings.storage,
            platform,
            kept_days=30,
            disk=run.service.disk,
            embeddings=None,
        )
        async with observing() as observer:
            figures = CollectorStatistics(full_collections=0, uncollected_blocks=0)
            exposing = Exposing(run.service, lambda: run.service.storage_settings, lambda: figures)
            offered = Offered(
                desk=run.service.desk,
                intake=run.service.intake,
                exports=run.service.desks.exports(queue),
                access=run.service.access,
                monitoring=run.service.desks.monitoring(exposing),
                search=run.service.desks.search(),
                live=run.service.desks.live_sessions(),
                jobs=run.service.desks.admin_jobs(jobs),
                refused=run.service.desks.refused(),
                observing=run.service.desks.observing(observer),
            )
            app = create_app(run.service, settings.http, schema=SchemaSettings(), clock=run.clock, **offered)
            found = Offering(run, app)
            client = await run.open("sess_theirs", contributor_id=CONTRIBUTOR)
            await run.send(client.chunk())
            await run.projected()
            await found.prepare(jobs)
            yield found
        database.close()
