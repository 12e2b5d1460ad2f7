"""Exports, erasures and curation are counted and listed as jobs are, and what cannot be done with them is said."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.curation.following import CurationStatistics
from actors.erasure.job import Report
from actors.jobs.engine import Jobs
from actors.jobs.names import public_id, read_id
from central_command.background.beside import CurationBeside, ErasuresBeside, ExportsBeside, JobsBeside
from central_command.background.own_jobs import Nothing
from central_command.export_queue.queue import ExportQueue
from central_command.http.endpoints.exports import ExportReport, ExportState
from central_command.http.endpoints.job_questions import LISTED_ALONE, NotPausable
from central_command.http.gateway import CurationLag
from persistence.databases.jobs_changing import Added, NoSuchJob, NotPossible
from persistence.databases.jobs_database import JobsDatabase, JobStatus, StoredJob
from persistence.databases.jobs_listing import QueueCounts
from persistence.files.file_system import inline
from persistence.journals.erasure_register import ErasureSubject
from tests.running_service import Running, running, settings_with

ASKED: dict[str, Any] = {"formats": ["messages"]}
FIGURES = CurationStatistics(
    followed_n=7, reached_n=9, waiting_since=None, records=5, passed_over={}, is_out_of_room=False
)


async def nothing(run: Any) -> None:
    """A job that does nothing."""


class Beside:
    """The jobs of a service with all that is beside them; exports are made by a program that fails."""

    def __init__(self, run: Running) -> None:
        settings = settings_with()
        self.run = run
        self.exports = ExportQueue(
            settings,
            run.root,
            clock=run.clock,
            random_bytes=os.urandom,
            offload=inline,
            command=("/bin/sh", "-c", "echo it is broken >&2; exit 3"),
        )
        self.database = JobsDatabase(run.root / "jobs.db", run.clock)
        self.jobs = Jobs(self.database, settings.jobs, clock=run.clock, random_bytes=os.urandom, offload=inline)
        self.jobs.register("work", Nothing, nothing)
        curation = CurationBeside(lambda: CurationLag(trajectories=2, texts=1, seconds=5.0), lambda: FIGURES)
        others = [ExportsBeside(self.exports), ErasuresBeside(run.service.eraser), curation]
        self.desk = JobsBeside(self.jobs, others)

    async def queue(self, name: str) -> QueueCounts:
        return next(queue for queue in await self.desk.queues() if queue.name == name)

    async def only(self, queue: str, **asked: Any) -> StoredJob:
        [job] = (await self.desk.page(queue=queue, limit=10, **asked)).jobs
        return job


@asynccontextmanager
async def beside(root: Path) -> AsyncIterator[Beside]:
    async with running(root) as run:
        found = Beside(run)
        yield found
        found.database.close()


async def test_all_queues_are_counted_by_their_names(tmp_path: Path) -> None:
    async with beside(tmp_path) as found, trio.open_nursery() as nursery:
        nursery.start_soon(found.jobs.run)
        while "work" not in [queue.name for queue in await found.desk.queues()]:  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.001)
        assert isinstance(await found.jobs.add("work", "x", Nothing(), delay_s=600.0), Added)
        assert [queue.name for queue in await found.desk.queues()] == ["curation", "erasure", "export", "work"]
        assert [*LISTED_ALONE, "work"] == [queue.name for queue in await found.desk.queues()]
        assert (await found.queue("work")).delayed == 1
        curation = await found.queue("curation")
        assert (curation.waiting, curation.active, curation.completed, curation.paused) == (2, 1, 7, False)
        assert [job.queue for job in (await found.desk.page(limit=10)).jobs] == ["work"]
        assert (await found.desk.page(queue="curation", limit=10)).total == 0
        while next(queue for queue in found.desk.statistics().queues if queue.name == "work").delayed == 0:  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.001)
        assert [*found.desk.statistics().queues] == await found.desk.queues(), "metrics count as the page does"
        nursery.cancel_scope.cancel()


async def test_an_export_that_has_failed_is_listed_and_made_again_by_a_retry(tmp_path: Path) -> None:
    async with beside(tmp_path) as found, trio.open_nursery() as nursery:
        asked = await found.exports.ask(ASKED)
        assert isinstance(asked, ExportReport)
        job = await found.only("export", status=JobStatus.WAITING)
        assert (job.status, job.attempts, msgspec.json.decode(job.payload)["export"]) == ("waiting", 0, asked.id)
        assert (await found.queue("export")).waiting == 1
        assert public_id(job) == f"export__{asked.id}", "it is called the same everywhere"
        assert read_id(public_id(job)) == read_id(f"export__{job.job_id}") == ("export", job.job_id)
        assert isinstance(await found.desk.retry("export", job.job_id), NotPossible)
        nursery.start_soon(found.exports.run)
        while (report := found.exports.report(asked.id)) is None or report.state is not ExportState.FAILED:  # noqa: ASYNC110
            await trio.sleep(0.01)
        failed = await found.only("export", status=JobStatus.FAILED)
        assert await found.queue("export") == QueueCounts(name="export", failed=1)
        assert (failed.job_id, failed.error) == (job.job_id, "it is broken")
        history = await found.desk.history("export", job.job_id)
        assert history is not None
        assert (history.job, history.events, history.log) == (failed, [], [])
        ended: list[ExportReport] = []
        found.exports.ended = lambda report, _duration_s: ended.append(report)
        assert isinstance(await found.desk.retry("export", job.job_id), StoredJob)
        while not ended:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_an_erasure_that_is_hindered_is_delayed_and_tried_again_at_once(tmp_path: Path) -> None:
    async with beside(tmp_path) as found:
        asked = await found.run.service.ask_erasure(ErasureSubject.SESSION, "sess_of_nobody")
        assert isinstance(asked, Report)
        job = await found.only("erasure")
        assert public_id(job) == f"erasure__{asked.erasure.request}"
        assert read_id(public_id(job)) == ("erasure", job.job_id)
        assert (job.status, job.name) in {(JobStatus.WAITING, "session"), (JobStatus.ACTIVE, "session")}
        await found.run.service.eraser.erase_pending()
        done = await found.only("erasure", status=JobStatus.COMPLETED)
        assert (done.job_id, (await found.queue("erasure")).completed) == (job.job_id, 1)
        assert done.finished_at is not None
        assert isinstance(await found.desk.retry("erasure", job.job_id), NotPossible)
        again = await found.run.service.ask_erasure(ErasureSubject.SESSION, "sess_of_another")
        assert (await found.queue("erasure")).waiting == 1
        async with found.run.service.eraser._turn:
            assert (await found.queue("erasure")).active == 1
        assert isinstance(again, Report)
        found.run.service.eraser._hindered[again.erasure.request] = "the archive is out of reach"
        hindered = await found.only("erasure", status=JobStatus.DELAYED)
        assert hindered.error == "the archive is out of reach"
        assert await found.queue("erasure") == QueueCounts(name="erasure", completed=1, delayed=1)
        assert isinstance(await found.desk.retry("erasure", hindered.job_id), StoredJob)
        assert found.run.service.eraser._asked.is_set()
        assert "sess_of" not in f"{await found.desk.page(queue='erasure', limit=10)}", "whom it is for is not said"


async def test_what_means_nothing_for_them_changes_nothing_and_is_said(tmp_path: Path) -> None:
    async with beside(tmp_path) as found:
        assert isinstance(await found.exports.ask(ASKED), ExportReport)
        number = (await found.only("export")).job_id
        for change in (found.desk.cancel, found.desk.promote, found.desk.remove):
            assert isinstance(await change("export", number), NotPossible)
            assert isinstance(await change("export", 3), NoSuchJob)
        assert isinstance(await found.desk.retry("curation", 1), NoSuchJob)
        for queue in ("export", "erasure", "curation"):
            for change_queue in (found.desk.pause, found.desk.resume):
                answer = await change_queue(queue)
                assert isinstance(answer, NotPausable)
                assert answer.sentence.endswith(".")
        assert await found.desk.pause("no") is False


async def test_pages_of_exports_go_back_through_all_of_them(tmp_path: Path) -> None:
    async with beside(tmp_path) as found:
        for _ in range(5):
            found.run.clock.now += 1
            assert isinstance(await found.exports.ask(ASKED), ExportReport)
        every = [job.job_id for job in (await found.desk.page(queue="export", limit=10)).jobs]
        seen, before = list[int](), None
        while True:
            page = await found.desk.page(queue="export", limit=2, before=before)
            seen += [job.job_id for job in page.jobs]
            before = page.next_before
            if before is None:
                break
        assert (seen, len({*seen}), page.total) == (every, 5, 5)
