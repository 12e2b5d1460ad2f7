"""`/api/admin/jobs`: what is done in the background, looked at and changed. With a token of the scope `admin`."""

from http import HTTPStatus
from typing import Final

import msgspec
from quart import Blueprint, Response, request

from actors.jobs.names import public_id
from central_command.access.tokens import Scope
from central_command.http.endpoints.job_questions import (
    NO_JOB,
    AdminJobs,
    JobChange,
    Outcome,
    QueueChange,
    change_job,
    change_queue,
    history_of,
    jobs_watched,
    page_of_jobs,
)
from central_command.http.requests.authorization import Door
from central_command.http.requests.bodies import check_arguments
from central_command.http.requests.replies import Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.databases.jobs_database import StoredJob
from persistence.databases.jobs_listing import JobHistory

JOBS_PATH: Final = "/api/admin/jobs"
QUEUES_PATH: Final = f"{JOBS_PATH}/queues"
JOB_PATH: Final = f"{JOBS_PATH}/<job_id>"
RETRY_PATH: Final = f"{JOB_PATH}/retry"
CANCEL_PATH: Final = f"{JOB_PATH}/cancel"
PROMOTE_PATH: Final = f"{JOB_PATH}/promote"
PAUSE_PATH: Final = f"{QUEUES_PATH}/<name>/pause"
RESUME_PATH: Final = f"{QUEUES_PATH}/<name>/resume"
RUN_PATH: Final = f"{QUEUES_PATH}/<name>/run"


def job_routes(jobs: AdminJobs | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoints; without jobs there is nobody to ask, and the answer is 404."""
    routes = Blueprint("jobs", __name__)
    asked = _Asked(jobs, http, replies)
    _add_lists(routes, asked)
    _add_changes(routes, asked)
    return routes


class _Asked:
    """Lets requests to the jobs that may ask them."""

    def __init__(self, jobs: AdminJobs | None, http: HttpSettings, replies: Replies) -> None:
        self.replies = replies
        self._door = Door(jobs, lambda known: (known.gate, known), Scope.ADMIN, http=http, replies=replies)

    async def admitted(self) -> tuple[AdminJobs, str]:
        """The jobs, and who asks; raises ProblemError for who may not."""
        jobs, by = await self._door.admit(Scope.ADMIN)
        return jobs, by.token_id

    async def change_job(self, change: JobChange, job_id: str) -> Response:
        jobs, by = await self.admitted()
        async with jobs_watched(self.replies):
            return _reply(await change_job(jobs, change, job_id, by)).response()

    async def change_queue(self, change: QueueChange, name: str) -> Response:
        jobs, by = await self.admitted()
        async with jobs_watched(self.replies):
            return _reply(await change_queue(jobs, change, name, by)).response()


def _add_lists(routes: Blueprint, asked: _Asked) -> None:
    @routes.get(JOBS_PATH)
    async def page() -> Response:
        jobs, _ = await asked.admitted()
        async with jobs_watched(asked.replies):
            check_arguments("status", "queue", "cursor", "limit")
            found = await page_of_jobs(jobs, request.args)
        more = {} if found.next_before is None else {"nextCursor": str(found.next_before)}
        listed = [job_members(job) for job in found.jobs]
        return json_reply({"jobs": listed, "total": found.total, **more}).response()

    @routes.get(JOB_PATH)
    async def history(job_id: str) -> Response:
        jobs, _ = await asked.admitted()
        async with jobs_watched(asked.replies):
            found = await history_of(jobs, job_id)
        return (_reply(NO_JOB) if found is None else json_reply(_history(found))).response()

    @routes.get(QUEUES_PATH)
    async def queues() -> Response:
        jobs, _ = await asked.admitted()
        async with jobs_watched(asked.replies):
            return json_reply({"queues": await jobs.desk.queues()}).response()


def _add_changes(routes: Blueprint, asked: _Asked) -> None:
    @routes.post(RETRY_PATH)
    async def retry(job_id: str) -> Response:
        return await asked.change_job(JobChange.RETRY, job_id)

    @routes.post(CANCEL_PATH)
    async def cancel(job_id: str) -> Response:
        return await asked.change_job(JobChange.CANCEL, job_id)

    @routes.post(PROMOTE_PATH)
    async def promote(job_id: str) -> Response:
        return await asked.change_job(JobChange.PROMOTE, job_id)

    @routes.delete(JOB_PATH)
    async def remove(job_id: str) -> Response:
        return await asked.change_job(JobChange.REMOVE, job_id)

    @routes.post(PAUSE_PATH)
    async def pause(name: str) -> Response:
        return await asked.change_queue(QueueChange.PAUSE, name)

    @routes.post(RESUME_PATH)
    async def resume(name: str) -> Response:
        return await asked.change_queue(QueueChange.RESUME, name)

    @routes.post(RUN_PATH)
    async def run(name: str) -> Response:
        return await asked.change_queue(QueueChange.RUN, name)


def job_members(job: StoredJob) -> dict[str, object]:
    """A job as it is shown; times are texts, null for what has not been."""
    return {
        "id": public_id(job),
        "name": job.name,
        "queue": job.queue,
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "maxAttempts": job.attempts_max,
        "progress": job.progress,
        "createdAt": job.created_at,
        "dueAt": job.due_at,
        "processedAt": job.started_at,
        "finishedAt": job.finished_at,
        "failedReason": job.error,
        "data": msgspec.Raw(job.payload.encode()),
        "result": None if job.result is None else msgspec.Raw(job.result.encode()),
    }


def _history(history: JobHistory) -> dict[str, object]:
    return {**job_members(history.job), "events": history.events, "log": history.log}


def _reply(outcome: Outcome) -> Reply:
    if outcome.status != HTTPStatus.OK:
        return error(outcome.status, outcome.sentence)
    return json_reply({"ok": True, "message": outcome.sentence})
