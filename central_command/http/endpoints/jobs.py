"""`/api/admin/jobs`: what is done in the background, looked at and changed. With a token of the scope `admin`."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from quart import Blueprint, Response, request

from actors.jobs.names import QUEUE, public_id, read_id
from central_command.access.audit import Audit
from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import (
    ProblemError,
    Reader,
    check_arguments,
    number_argument,
    text_argument,
)
from central_command.http.requests.replies import Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.databases.database import DatabaseFailure
from persistence.databases.jobs_changing import Change, NoSuchJob, NotPossible
from persistence.databases.jobs_database import JobStatus, StoredJob
from persistence.databases.jobs_listing import JobHistory, JobPage, QueueCounts

JOBS_PATH: Final = "/api/admin/jobs"
QUEUES_PATH: Final = f"{JOBS_PATH}/queues"
JOB_PATH: Final = f"{JOBS_PATH}/<job_id>"
RETRY_PATH: Final = f"{JOB_PATH}/retry"
CANCEL_PATH: Final = f"{JOB_PATH}/cancel"
PROMOTE_PATH: Final = f"{JOB_PATH}/promote"
PAUSE_PATH: Final = f"{QUEUES_PATH}/<name>/pause"
RESUME_PATH: Final = f"{QUEUES_PATH}/<name>/resume"

LIMIT_DEFAULT: Final = 50
_NUMBER: Final = re.compile(r"\A[1-9][0-9]{0,17}\Z")
_NO_JOB: Final = "There is no such job."


class JobDesk(Protocol):
    """What is asked of the jobs; every method raises DatabaseFailure."""

    async def page(
        self, *, status: JobStatus | None = None, queue: str | None = None, before: int | None = None, limit: int
    ) -> JobPage:
        """Jobs, the latest first."""
        ...

    async def history(self, queue: str, job_id: int) -> JobHistory | None:
        """One job with its events and its log."""
        ...

    async def queues(self) -> list[QueueCounts]:
        """The queues and how many jobs each has."""
        ...

    async def retry(self, queue: str, job_id: int) -> Change:
        """Let a failed job wait again."""
        ...

    async def cancel(self, queue: str, job_id: int) -> Change:
        """Let an unfinished job fail."""
        ...

    async def promote(self, queue: str, job_id: int) -> Change:
        """Let a delayed job wait no longer than the others."""
        ...

    async def remove(self, queue: str, job_id: int) -> Change:
        """Remove a job that is not active."""
        ...

    async def pause(self, queue: str) -> bool:
        """Start no job of a queue until it is resumed."""
        ...

    async def resume(self, queue: str) -> bool:
        """Start jobs of a queue again."""
        ...


class AdminJobs(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, how often, and how many jobs a page has at most.

    `audit` is told of every change that was made.
    """

    desk: JobDesk
    gate: TokenCheck
    audit: Audit
    requests_per_minute: int
    requests_per_hour: int
    page_max: int


def job_routes(jobs: AdminJobs | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoints; without jobs there is nobody to ask, and the answer is 404."""
    routes = Blueprint("jobs", __name__)
    asked = _Asked(jobs, http, replies)
    _add_lists(routes, asked)
    _add_changes(routes, asked)
    _add_queues(routes, asked)
    return routes


class _Asked:
    """Lets requests to the jobs that may ask them, and answers for those whose database cannot be used."""

    def __init__(self, jobs: AdminJobs | None, http: HttpSettings, replies: Replies) -> None:
        self._replies = replies
        self._door = Door(jobs, lambda known: (known.gate, known), Scope.ADMIN, http=http, replies=replies)

    async def answer(
        self, ask: Callable[[AdminJobs], Awaitable[Reply]], *, action: str = "", subject: str = ""
    ) -> Response:
        """What `ask` answers; raises ProblemError for who may not, and where nothing can be said now.

        A change that was made is noted by its `action`.
        """
        jobs, by = await self._door.admit(Scope.ADMIN)
        try:
            reply = await ask(jobs)
        except DatabaseFailure as failure:
            sentence = "Jobs cannot be used now; send this request again later."
            raise ProblemError(self._replies.overloaded("storage_failed", sentence)) from failure
        if action and reply.status == HTTPStatus.OK:
            await jobs.audit.note(by.token_id, action, subject, Reader.address())
        return reply.response()


def _add_lists(routes: Blueprint, asked: _Asked) -> None:
    @routes.get(JOBS_PATH)
    async def page() -> Response:
        return await asked.answer(_page)

    @routes.get(JOB_PATH)
    async def history(job_id: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            found = await jobs.desk.history(*_known(job_id))
            return error(HTTPStatus.NOT_FOUND, _NO_JOB) if found is None else json_reply(_history(found))

        return await asked.answer(ask)


def _add_changes(routes: Blueprint, asked: _Asked) -> None:
    @routes.post(RETRY_PATH)
    async def retry(job_id: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            changed = await jobs.desk.retry(*_known(job_id))
            return _changed_reply(changed, "waits again", "retried", status=HTTPStatus.NOT_FOUND)

        return await asked.answer(ask, action="job_retried", subject=job_id)

    @routes.post(CANCEL_PATH)
    async def cancel(job_id: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return _changed_reply(await jobs.desk.cancel(*_known(job_id)), "is cancelled", "cancelled")

        return await asked.answer(ask, action="job_cancelled", subject=job_id)

    @routes.post(PROMOTE_PATH)
    async def promote(job_id: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return _changed_reply(await jobs.desk.promote(*_known(job_id)), "waits for no time", "promoted")

        return await asked.answer(ask, action="job_promoted", subject=job_id)

    @routes.delete(JOB_PATH)
    async def remove(job_id: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return _changed_reply(await jobs.desk.remove(*_known(job_id)), "is removed", "removed")

        return await asked.answer(ask, action="job_removed", subject=job_id)


def _add_queues(routes: Blueprint, asked: _Asked) -> None:
    @routes.get(QUEUES_PATH)
    async def queues() -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return json_reply({"queues": await jobs.desk.queues()})

        return await asked.answer(ask)

    @routes.post(PAUSE_PATH)
    async def pause(name: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return _queue_reply(name, "is paused", is_known=await jobs.desk.pause(name))

        return await asked.answer(ask, action="queue_paused", subject=name)

    @routes.post(RESUME_PATH)
    async def resume(name: str) -> Response:
        async def ask(jobs: AdminJobs) -> Reply:
            return _queue_reply(name, "goes on", is_known=await jobs.desk.resume(name))

        return await asked.answer(ask, action="queue_resumed", subject=name)


def _known(job_id: str) -> tuple[str, int]:
    """The queue and the number of an id; of what is none, those of no job."""
    return read_id(job_id) or ("", 0)


async def _page(jobs: AdminJobs) -> Reply:
    check_arguments("status", "queue", "cursor", "limit")
    queue = text_argument("queue", QUEUE, "the name of a queue")
    cursor = text_argument("cursor", _NUMBER, "what the page before gave as nextCursor")
    limit = number_argument("limit", default=min(LIMIT_DEFAULT, jobs.page_max), maximum=jobs.page_max)
    status = request.args.get("status")
    if status is not None and status not in {*JobStatus}:
        return json_reply({"jobs": [], "total": 0})
    page = await jobs.desk.page(
        status=None if status is None else JobStatus(status),
        queue=queue,
        before=None if cursor is None else int(cursor),
        limit=limit,
    )
    more = {} if page.next_before is None else {"nextCursor": str(page.next_before)}
    return json_reply({"jobs": [job_members(job) for job in page.jobs], "total": page.total, **more})


def job_members(job: StoredJob) -> dict[str, object]:
    """A job as it is shown; times are texts, null for what has not been."""
    return {
        "id": public_id(job.queue, job.job_id),
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


def _queue_reply(name: str, done: str, *, is_known: bool) -> Reply:
    if not is_known:
        return error(HTTPStatus.NOT_FOUND, "There is no such queue.")
    return json_reply({"ok": True, "message": f"The queue {name} {done}."})


def _changed_reply(changed: Change, done: str, asked: str, *, status: HTTPStatus = HTTPStatus.CONFLICT) -> Reply:
    """What became of a job; `status` is that of a job which has another status than this can be done in."""
    if isinstance(changed, NoSuchJob):
        return error(HTTPStatus.NOT_FOUND, _NO_JOB)
    if isinstance(changed, NotPossible):
        if asked == "retried" and changed.job.status is JobStatus.FAILED:
            return error(HTTPStatus.CONFLICT, "Another job that does the same is unfinished.")
        return error(status, f"The job is {changed.job.status}, so it cannot be {asked}.")
    return json_reply({"ok": True, "message": f"The job {public_id(changed.queue, changed.job_id)} {done}."})
