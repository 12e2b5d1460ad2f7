"""What may be asked of jobs, for endpoints and pages alike: it is checked, done, and noted in the audit journal."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Protocol, assert_never

import msgspec
from werkzeug.datastructures import MultiDict

from actors.jobs.names import QUEUE, public_id, read_id
from actors.jobs.schedule import ScheduledJob
from central_command.access.audit import Audit
from central_command.http.requests.authorization import TokenCheck
from central_command.http.requests.bodies import ProblemError, Reader, number_argument, text_argument
from central_command.http.requests.replies import Replies
from persistence.databases.database import DatabaseFailure
from persistence.databases.jobs_changing import Change, NoSuchJob, NotPossible
from persistence.databases.jobs_database import JobStatus, StoredJob
from persistence.databases.jobs_listing import JobHistory, JobPage, QueueCounts
from persistence.databases.jobs_schedule import AlreadyThere, NoneOfThatName

LIMIT_DEFAULT: Final = 50
LISTED_ALONE: Final = ("curation", "erasure", "export")
"""Queues that are kept beside the jobs: they are counted with them, and listed only where one is asked for by name."""
_CURSOR: Final = re.compile(r"\A[1-9][0-9]{0,17}\Z")


class NotPausable(msgspec.Struct, frozen=True):
    """A queue that goes on whatever is asked for: one sentence says why."""

    sentence: str


class JobDesk(Protocol):
    """What is asked of the jobs; every method but `schedules` raises DatabaseFailure."""

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

    def schedules(self) -> list[ScheduledJob]:
        """What is repeated, and when next."""
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

    async def pause(self, queue: str) -> bool | NotPausable:
        """Start no job of a queue until it is resumed."""
        ...

    async def resume(self, queue: str) -> bool | NotPausable:
        """Start jobs of a queue again."""
        ...

    async def run_now(self, name: str) -> StoredJob | AlreadyThere | NoneOfThatName:
        """Add the job of what is repeated, beside its schedule."""
        ...


class AdminJobs(msgspec.Struct, frozen=True):
    """What is needed for it: who does it, who says who may ask, how often, and how many jobs a page has at most.

    `audit` is told of every change that was made.
    """

    desk: JobDesk
    gate: TokenCheck
    audit: Audit
    requests_per_minute: int
    requests_per_hour: int
    page_max: int


class JobChange(StrEnum):
    """What may be done with a job."""

    RETRY = "retry"
    CANCEL = "cancel"
    PROMOTE = "promote"
    REMOVE = "remove"


class QueueChange(StrEnum):
    """What may be done with a queue, or with what is repeated."""

    PAUSE = "pause"
    RESUME = "resume"
    RUN = "run"


class Outcome(msgspec.Struct, frozen=True):
    """What became of a change, in a sentence; it was made if `status` is 200."""

    status: int
    sentence: str


NO_JOB: Final = Outcome(HTTPStatus.NOT_FOUND, "There is no such job.")

_ACTIONS: Final[Mapping[JobChange, tuple[str, str, str]]] = {
    JobChange.RETRY: ("job_retried", "waits again", "retried"),
    JobChange.CANCEL: ("job_cancelled", "is cancelled", "cancelled"),
    JobChange.PROMOTE: ("job_promoted", "waits for no time", "promoted"),
    JobChange.REMOVE: ("job_removed", "is removed", "removed"),
}
"""Of each change its name in the audit journal, what then holds of the job, and what could not be done with it."""


@asynccontextmanager
async def jobs_watched(replies: Replies) -> AsyncIterator[None]:
    """Raise ProblemError where the database of jobs cannot be used in the block."""
    try:
        yield
    except DatabaseFailure as failure:
        sentence = "Jobs cannot be used now; send this request again later."
        raise ProblemError(replies.overloaded("storage_failed", sentence)) from failure


async def page_of_jobs(jobs: AdminJobs, given: MultiDict[str, str]) -> JobPage:
    """The jobs that a query string chooses; raises ProblemError for one that cannot be read."""
    queue = text_argument("queue", QUEUE, "the name of a queue", given)
    cursor = text_argument("cursor", _CURSOR, "what the page before gave as nextCursor", given)
    limit = number_argument("limit", default=min(LIMIT_DEFAULT, jobs.page_max), maximum=jobs.page_max, given=given)
    status = given.get("status")
    if status is not None and status not in {*JobStatus}:
        return JobPage([], 0, None)
    return await jobs.desk.page(
        status=None if status is None else JobStatus(status),
        queue=queue,
        before=None if cursor is None else int(cursor),
        limit=limit,
    )


async def history_of(jobs: AdminJobs, job_id: str) -> JobHistory | None:
    """A job by the id that is shown of it, with its events and its log; None for one that there is not."""
    return await jobs.desk.history(*_known(job_id))


async def change_job(jobs: AdminJobs, change: JobChange, job_id: str, by: str) -> Outcome:
    """Change a job, by whom a token's or a session's id says."""
    desk = jobs.desk
    does = {
        JobChange.RETRY: desk.retry,
        JobChange.CANCEL: desk.cancel,
        JobChange.PROMOTE: desk.promote,
        JobChange.REMOVE: desk.remove,
    }[change]
    outcome = _outcome(await does(*_known(job_id)), change)
    if outcome.status == HTTPStatus.OK:
        await jobs.audit.note(by, _ACTIONS[change][0], job_id, Reader.address())
    return outcome


async def change_queue(jobs: AdminJobs, change: QueueChange, name: str, by: str) -> Outcome:
    """Pause or resume a queue, or have what is repeated done now, by whom a token's or a session's id says."""
    match change:
        case QueueChange.PAUSE:
            action, outcome = "queue_paused", _of_queue(name, "is paused", await jobs.desk.pause(name))
        case QueueChange.RESUME:
            action, outcome = "queue_resumed", _of_queue(name, "goes on", await jobs.desk.resume(name))
        case QueueChange.RUN:
            action, outcome = "job_run", _begun(name, await jobs.desk.run_now(name))
        case unreachable:
            assert_never(unreachable)
    if outcome.status == HTTPStatus.OK:
        await jobs.audit.note(by, action, name, Reader.address())
    return outcome


def _known(job_id: str) -> tuple[str, int]:
    """The queue and the number of an id; of what is none, those of no job."""
    return read_id(job_id) or ("", 0)


def _of_queue(name: str, done: str, changed: bool | NotPausable) -> Outcome:  # noqa: FBT001 (what the desk says)
    if isinstance(changed, NotPausable):
        return Outcome(HTTPStatus.CONFLICT, changed.sentence)
    if not changed:
        return Outcome(HTTPStatus.NOT_FOUND, "There is no such queue.")
    return Outcome(HTTPStatus.OK, f"The queue {name} {done}.")


def _begun(name: str, added: StoredJob | AlreadyThere | NoneOfThatName) -> Outcome:
    match added:
        case StoredJob():
            return Outcome(HTTPStatus.OK, f"The job {public_id(added)} waits.")
        case AlreadyThere():
            return Outcome(HTTPStatus.CONFLICT, f"A job {name} is unfinished already.")
        case NoneOfThatName():
            return Outcome(HTTPStatus.NOT_FOUND, "No job of that name is repeated.")


def _outcome(changed: Change, change: JobChange) -> Outcome:
    _, done, asked = _ACTIONS[change]
    match changed:
        case NoSuchJob():
            return NO_JOB
        case NotPossible(job=job) if change is JobChange.RETRY and job.status is JobStatus.FAILED:
            return Outcome(HTTPStatus.CONFLICT, "Another job that does the same is unfinished.")
        case NotPossible(job=job):
            status = HTTPStatus.NOT_FOUND if change is JobChange.RETRY else HTTPStatus.CONFLICT
            return Outcome(status, f"The job is {job.status}, so it cannot be {asked}.")
        case StoredJob():
            return Outcome(HTTPStatus.OK, f"The job {public_id(changed)} {done}.")
