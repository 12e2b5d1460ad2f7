"""`/jobs`: what is done in the background, each queue and each job, and what may be changed of them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from quart import Blueprint, Response, request

from actors.jobs.names import public_id
from central_command.access.tokens import Scope
from central_command.http.endpoints.job_questions import (
    LISTED_ALONE,
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
from central_command.http.requests.bodies import ProblemError, filled_in
from central_command.http.requests.replies import HTML_TYPE, HttpProblem
from central_command.web.site import Site, part
from persistence.databases.jobs_changing import is_unfinished
from persistence.databases.jobs_database import JobStatus, StoredJob
from persistence.databases.jobs_listing import JobHistory, QueueCounts
from persistence.format import times

PATH: Final = "/jobs"

DONE: Final[Mapping[str, str]] = {
    "retry": "The job waits again, with all its attempts.",
    "cancel": "The job is cancelled.",
    "promote": "The job waits no longer than the others.",
    "remove": "The job is removed.",
    "pause": "The queue is paused: what runs goes on, nothing new begins.",
    "resume": "The queue goes on.",
    "run": "The job waits; it begins within seconds.",
}
"""What is said after a change, by its name."""

ASKING_MAX: Final = 2
"""Rows of the table that ask for themselves again: what runs, then what waits, the latest first.

Each takes 30 of `http.requests_per_minute`.
"""

POSSIBLE: Final[Mapping[JobStatus, tuple[JobChange, ...]]] = {
    JobStatus.WAITING: (JobChange.CANCEL, JobChange.REMOVE),
    JobStatus.DELAYED: (JobChange.PROMOTE, JobChange.CANCEL, JobChange.REMOVE),
    JobStatus.ACTIVE: (JobChange.CANCEL,),
    JobStatus.COMPLETED: (JobChange.REMOVE,),
    JobStatus.FAILED: (JobChange.RETRY, JobChange.REMOVE),
}
"""What is offered of a job, by its status."""


class ShownJob(msgspec.Struct, frozen=True):
    """A job as pages show it, with what may be done with it."""

    id: str
    job: StoredJob
    changes: tuple[JobChange, ...]

    @property
    def stands(self) -> str:
        """How it stands, for a row that asks whether that is still so."""
        return f"{self.job.status.value}-{self.job.attempts}"

    @property
    def duration_s(self) -> float | None:
        """How long its last run took; None while it lasts, and before it."""
        began, ended = self.job.started_at, self.job.finished_at
        return None if began is None or ended is None else max(0.0, times.from_text(ended) - times.from_text(began))


def job_pages(site: Site) -> Blueprint:
    """The pages; without jobs there are none, and the answer is 404."""
    routes = Blueprint("pages_jobs", __name__)
    _add_views(routes, site)
    _add_changes(routes, site)
    return routes


def _add_views(routes: Blueprint, site: Site) -> None:
    @routes.get(PATH)
    async def jobs() -> Response:
        known, _ = await _admitted(site)
        asked = filled_in()
        async with jobs_watched(site.replies):
            page = await page_of_jobs(known, asked)
            queues = await known.desk.queues()
        scheduled = {each.queue: each for each in known.desk.schedules()}
        shown = [_shown(job) for job in page.jobs]
        return site.page(
            "jobs.html",
            title="Jobs",
            jobs=shown,
            asking=_asking(shown),
            total=page.total,
            cursor=page.next_before,
            queues=queues,
            elsewhere=[] if "queue" in asked else _elsewhere(queues, asked.get("status")),
            scheduled=scheduled,
            statuses=[*JobStatus],
            queue_options=[("", "All queues"), *((each.name, each.name) for each in queues)],
            status_options=[("", "Any status"), *((each.value, each.value.capitalize()) for each in JobStatus)],
            chosen={name: request.args.get(name, "") for name in ("queue", "status")},
            is_first="cursor" not in request.args,
            notice=DONE.get(request.args.get("done", "")),
        )

    @routes.get(f"{PATH}/<job_id>")
    async def job(job_id: str) -> Response:
        known, _ = await _admitted(site)
        values = _of_history(await _history(site, known, job_id))
        return site.page("job.html", title=values["shown"].id, notice=DONE.get(request.args.get("done", "")), **values)

    @routes.get(f"{PATH}/<job_id>/state")
    async def state(job_id: str) -> Response:
        found = await still(job_id)
        if found is None:  # it was removed: whoever looks at it is to ask no more
            return site.fragment("gone.html", sentence=NO_JOB.sentence)
        return site.fragment("job_state.html", **_of_history(found))

    @routes.get(f"{PATH}/<job_id>/row")
    async def row(job_id: str) -> Response:
        found = await still(job_id)
        if found is None:
            return Response(b"", content_type=HTML_TYPE)  # the row goes, too
        shown = _shown(found.job)
        if request.args.get("was") == shown.stands:
            return Response(b"", HTTPStatus.NO_CONTENT)
        return site.fragment("job_row.html", shown=shown, is_unfinished=is_unfinished(found.job))

    async def still(job_id: str) -> JobHistory | None:
        known, _ = await _admitted(site)
        async with jobs_watched(site.replies):
            return await history_of(known, job_id)


def _add_changes(routes: Blueprint, site: Site) -> None:
    @routes.post(f"{PATH}/<job_id>/<change>")
    async def of_job(job_id: str, change: str) -> Response:
        known, by = await _admitted(site)
        if change not in {*JobChange}:
            raise _problem(Outcome(HTTPStatus.NOT_FOUND, "There is no such page."))
        async with jobs_watched(site.replies):
            _check(await change_job(known, JobChange(change), job_id, by))
        return site.sent_to(PATH if change == JobChange.REMOVE else f"{PATH}/{job_id}", done=change)

    @routes.post(f"{PATH}/queues/<name>/<change>")
    async def of_queue(name: str, change: str) -> Response:
        known, by = await _admitted(site)
        if change not in {*QueueChange}:
            raise _problem(Outcome(HTTPStatus.NOT_FOUND, "There is no such page."))
        async with jobs_watched(site.replies):
            _check(await change_queue(known, QueueChange(change), name, by))
        return site.sent_to(PATH, done=change)


async def _admitted(site: Site) -> tuple[AdminJobs, str]:
    by = await site.admit(Scope.ADMIN)
    return part(site.sources.offered.get("jobs"), "This server has no jobs."), by


async def _history(site: Site, jobs: AdminJobs, job_id: str) -> JobHistory:
    async with jobs_watched(site.replies):
        found = await history_of(jobs, job_id)
    if found is None:
        raise _problem(NO_JOB)
    return found


def _of_history(found: JobHistory) -> dict[str, Any]:
    return {
        "shown": _shown(found.job),
        "events": found.events,
        "log": found.log,
        "payload": _indented(found.job.payload),
        "result": None if found.job.result is None else _indented(found.job.result),
        "is_unfinished": is_unfinished(found.job),
    }


def _shown(job: StoredJob) -> ShownJob:
    return ShownJob(public_id(job), job, POSSIBLE[job.status])


def _elsewhere(queues: Sequence[QueueCounts], status: str | None) -> list[tuple[str, int]]:
    """Queues that a list of all jobs leaves out, with how many each has of a status, or of any."""
    wanted = [each.value for each in JobStatus if status in {None, each.value}]
    counted = [(each.name, sum(getattr(each, name) for name in wanted)) for each in queues if each.name in LISTED_ALONE]
    return [(name, count) for name, count in counted if count]


def _asking(shown: list[ShownJob]) -> list[str]:
    """The jobs whose rows ask again: those that run before those that wait."""
    unfinished = [each for each in shown if is_unfinished(each.job)]
    unfinished.sort(key=lambda each: each.job.status is not JobStatus.ACTIVE)
    return [each.id for each in unfinished[:ASKING_MAX]]


def _indented(json_text: str) -> str:
    return msgspec.json.format(json_text, indent=2)


def _check(outcome: Outcome) -> None:
    """Raise ProblemError for a change that was not made."""
    if outcome.status != HTTPStatus.OK:
        raise _problem(outcome)


def _problem(outcome: Outcome) -> ProblemError:
    code = "not_found" if outcome.status == HTTPStatus.NOT_FOUND else "not_possible"
    return ProblemError(HttpProblem(outcome.status, code, outcome.sentence))
