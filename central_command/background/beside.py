"""Work that has a queue of its own, shown with the jobs: exports, erasures, curation.

Each is durable in its own way, in files that were there before the jobs were, and stays so. Here they are counted and
listed as jobs are, and what can be done with a job is done where it means something; where it does not, that is said.
They are in no table of jobs.db, so a list of all jobs does not hold them: one of their own queue does.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import trio

from actors.curation.following import CurationStatistics
from actors.erasure.job import Eraser, Report
from actors.jobs.engine import Jobs, JobsStatistics
from actors.jobs.names import number_of
from actors.jobs.schedule import ScheduledJob
from central_command.export_queue.queue import ExportQueue
from central_command.http.endpoints.exports import ExportReport, ExportState
from central_command.http.endpoints.job_questions import NotPausable
from central_command.http.gateway import CurationLag
from persistence.databases.jobs_changing import Change, NoSuchJob, NotPossible
from persistence.databases.jobs_database import JobStatus, StoredJob
from persistence.databases.jobs_listing import JobHistory, JobPage, QueueCounts
from persistence.databases.jobs_schedule import AlreadyThere, NoneOfThatName
from persistence.journals.erasure_register import ErasureState

_EXPORT_STATUS: Final = {
    ExportState.WAITING: JobStatus.WAITING,
    ExportState.RUNNING: JobStatus.ACTIVE,
    ExportState.DONE: JobStatus.COMPLETED,
    ExportState.FAILED: JobStatus.FAILED,
}


class JobBeside(StoredJob, frozen=True, kw_only=True):
    """Something that is kept elsewhere, as a job: `known_as` is the id that it has there."""

    known_as: str

    @property
    def own_id(self) -> str:
        """The same within its queue as elsewhere."""
        return self.known_as


class QueueBeside(Protocol):
    """A queue that is kept elsewhere. All that it tells is in memory."""

    @property
    def name(self) -> str:
        """Its name, which no queue of the jobs has."""
        ...

    @property
    def why_not_paused(self) -> str:
        """Why it cannot be paused, as one sentence."""
        ...

    def counts(self) -> QueueCounts:
        """How many of it are what."""
        ...

    def jobs(self) -> list[StoredJob]:
        """What is in it, in any order."""
        ...

    async def retry(self, job: StoredJob) -> bool:
        """Try one again that has failed, or is delayed; False where that means nothing."""
        ...


class JobsBeside:
    """The jobs, with the queues beside them."""

    def __init__(self, jobs: Jobs, beside: Sequence[QueueBeside]) -> None:
        self._jobs = jobs
        self._beside = {queue.name: queue for queue in beside}

    def __repr__(self) -> str:
        return f"<JobsBeside {self._jobs!r} {[*self._beside]}>"

    async def page(
        self, *, status: JobStatus | None = None, queue: str | None = None, before: int | None = None, limit: int
    ) -> JobPage:
        """Jobs, the latest first; of a queue beside them where one is asked for."""
        beside = self._beside.get(queue or "")
        if beside is None:
            return await self._jobs.page(status=status, queue=queue, before=before, limit=limit)
        await trio.lowlevel.checkpoint()
        found = sorted(beside.jobs(), key=lambda job: (job.created_at, job.job_id), reverse=True)
        wanted = [job for job in found if status in {None, job.status}]
        numbers = [job.job_id for job in wanted]
        first = numbers.index(before) + 1 if before in numbers else 0
        shown = wanted[first : first + limit]
        return JobPage(shown, len(wanted), shown[-1].job_id if len(wanted) > first + limit else None)

    async def history(self, queue: str, job_id: int) -> JobHistory | None:
        """One job; of a queue beside them without events and log, which are not kept."""
        if queue not in self._beside:
            return await self._jobs.history(queue, job_id)
        await trio.lowlevel.checkpoint()
        job = self._job(queue, job_id)
        return None if job is None else JobHistory(job, [], [])

    async def queues(self) -> list[QueueCounts]:
        """All queues, by their names."""
        return self._with_beside(await self._jobs.queues())

    def statistics(self) -> JobsStatistics:
        """The figures of the jobs' last turn, with the queues beside them as they are now."""
        figures = self._jobs.statistics()
        return msgspec.structs.replace(figures, queues=(*self._with_beside(figures.queues),))

    def schedules(self) -> list[ScheduledJob]:
        """What is repeated, and when next."""
        return self._jobs.schedules()

    async def run_now(self, name: str) -> StoredJob | AlreadyThere | NoneOfThatName:
        """Add the job of what is repeated, beside its schedule."""
        return await self._jobs.run_now(name)

    async def retry(self, queue: str, job_id: int) -> Change:
        """Let a failed job wait again."""
        if queue not in self._beside:
            return await self._jobs.retry(queue, job_id)
        job = self._job(queue, job_id)
        if job is None:
            return await _none()
        return job if await self._beside[queue].retry(job) else NotPossible(job)

    async def cancel(self, queue: str, job_id: int) -> Change:
        """Let an unfinished job fail; what is beside the jobs has other ways to be ended."""
        return await (self._jobs.cancel(queue, job_id) if queue not in self._beside else self._not(queue, job_id))

    async def promote(self, queue: str, job_id: int) -> Change:
        """Let a delayed job wait no longer."""
        return await (self._jobs.promote(queue, job_id) if queue not in self._beside else self._not(queue, job_id))

    async def remove(self, queue: str, job_id: int) -> Change:
        """Remove a job that is not active."""
        return await (self._jobs.remove(queue, job_id) if queue not in self._beside else self._not(queue, job_id))

    async def pause(self, queue: str) -> bool | NotPausable:
        """Start no job of a queue until it is resumed."""
        return await (self._jobs.pause(queue) if queue not in self._beside else self._not_paused(queue))

    async def resume(self, queue: str) -> bool | NotPausable:
        """Start jobs of a queue again."""
        return await (self._jobs.resume(queue) if queue not in self._beside else self._not_paused(queue))

    def _with_beside(self, jobs: Sequence[QueueCounts]) -> list[QueueCounts]:
        """What is counted everywhere: the queues of the jobs, and those beside them, by their names."""
        return sorted([*jobs, *(queue.counts() for queue in self._beside.values())], key=lambda queue: queue.name)

    async def _not(self, queue: str, job_id: int) -> Change:
        job = self._job(queue, job_id)
        return await _none() if job is None else NotPossible(job)

    async def _not_paused(self, queue: str) -> NotPausable:
        await trio.lowlevel.checkpoint()
        return NotPausable(self._beside[queue].why_not_paused)

    def _job(self, queue: str, job_id: int) -> StoredJob | None:
        return next((job for job in self._beside[queue].jobs() if job.job_id == job_id), None)


class ExportsBeside:
    """The exports that were asked for over HTTP: one is made at a time."""

    name = "export"
    why_not_paused = "Exports are made one at a time, and are not paused; DELETE /api/exports/{id} ends one."

    def __init__(self, exports: ExportQueue) -> None:
        self._exports = exports

    def counts(self) -> QueueCounts:
        """How many are what."""
        counts = Counter(_EXPORT_STATUS[report.state] for report in self._exports.reports())
        return QueueCounts(
            name=self.name,
            waiting=counts[JobStatus.WAITING],
            active=counts[JobStatus.ACTIVE],
            completed=counts[JobStatus.COMPLETED],
            failed=counts[JobStatus.FAILED],
        )

    def jobs(self) -> list[StoredJob]:
        """All that there are."""
        return [_export(report) for report in self._exports.reports()]

    async def retry(self, job: StoredJob) -> bool:
        """Make one again that has failed."""
        return await self._exports.retry(job.own_id)


class ErasuresBeside:
    """The requests for erasure: all that wait are done together."""

    name = "erasure"
    why_not_paused = "An erasure that was asked for is owed, and is not paused."

    def __init__(self, eraser: Eraser) -> None:
        self._eraser = eraser

    def counts(self) -> QueueCounts:
        """How many are what; one that is hindered is delayed."""
        counts = self._eraser.counts()
        others, is_at_work = counts.open - counts.hindered, self._eraser.is_at_work
        return QueueCounts(
            name=self.name,
            waiting=0 if is_at_work else others,
            active=others if is_at_work else 0,
            completed=counts.done,
            delayed=counts.hindered,
        )

    def jobs(self) -> list[StoredJob]:
        """All requests."""
        return [self._erasure(report) for report in self._eraser.reports()]

    async def retry(self, job: StoredJob) -> bool:
        """Try those that are hindered again now."""
        await trio.lowlevel.checkpoint()
        if job.status is JobStatus.DELAYED:
            self._eraser.try_again()
        return job.status is JobStatus.DELAYED

    def _erasure(self, report: Report) -> StoredJob:
        erasure = report.erasure
        status = JobStatus.ACTIVE if self._eraser.is_at_work else JobStatus.WAITING
        if erasure.state is ErasureState.DONE:
            status = JobStatus.COMPLETED
        elif report.hindered is not None:
            status = JobStatus.DELAYED
        return _job(
            self.name,
            erasure.request,
            status,
            name=erasure.subject.value,
            created_at=erasure.requested_at,
            finished_at=erasure.done_at,
            payload={"request": erasure.request},
            result=erasure.counts if erasure.state is ErasureState.DONE else None,
            error=report.hindered,
        )


class CurationBeside:
    """Curation, which follows trajectories and texts one by one, and keeps no job for each."""

    name = "curation"
    why_not_paused = "Curation follows what comes, and is not paused; curation.enabled turns it off."

    def __init__(self, lag: Callable[[], CurationLag | None], figures: Callable[[], CurationStatistics | None]) -> None:
        self._lag = lag
        self._figures = figures

    def counts(self) -> QueueCounts:
        """What waits to be followed, and what was."""
        lag, figures = self._lag(), self._figures()
        waiting = 0 if lag is None else lag.trajectories + lag.texts
        done = 0 if figures is None else figures.followed_n + figures.texts_followed_n
        is_at_work = bool(waiting) and figures is not None and not figures.is_out_of_room
        return QueueCounts(name=self.name, waiting=waiting - is_at_work, active=int(is_at_work), completed=done)

    def jobs(self) -> list[StoredJob]:
        """There is none for each."""
        return []

    async def retry(self, job: StoredJob) -> bool:  # noqa: ARG002 (there is none)
        """There is nothing to retry."""
        await trio.lowlevel.checkpoint()
        return False


async def _none() -> NoSuchJob:
    await trio.lowlevel.checkpoint()
    return NoSuchJob()


def _export(report: ExportReport) -> StoredJob:
    is_done = report.state is ExportState.DONE
    return _job(
        ExportsBeside.name,
        report.id,
        _EXPORT_STATUS[report.state],
        name="export",
        created_at=report.asked_at,
        payload={"export": report.id, "formats": report.formats},
        result={"rows": report.rows, "bytes": report.bytes} if is_done else None,
        error=report.reason,
    )


def _job(
    queue: str,
    own_id: str,
    status: JobStatus,
    *,
    name: str,
    created_at: str,
    payload: object,
    result: object,
    error: str | None,
    finished_at: str | None = None,
) -> StoredJob:
    return JobBeside(
        known_as=own_id,
        job_id=number_of(own_id),
        queue=queue,
        name=name,
        status=status,
        payload=msgspec.json.encode(payload).decode(),
        priority=0,
        scheduled_at=None,
        attempts=0 if status is JobStatus.WAITING else 1,
        attempts_max=1,
        created_at=created_at,
        due_at=None,
        started_at=None,
        finished_at=finished_at,
        run_id=None,
        progress=None,
        result=None if result is None else msgspec.json.encode(result).decode(),
        error=error,
    )
