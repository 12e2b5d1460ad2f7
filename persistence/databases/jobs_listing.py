"""What there is in jobs.db: pages of jobs, one with its events and log, counts by queue and status. Blocking."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from persistence.databases.database import Value
from persistence.databases.jobs_database import COLUMNS, JobsDatabase, JobStatus, StoredJob, stored_job

SELECT: Final = f"SELECT {COLUMNS} FROM jobs"  # noqa: S608 (our own column names)
SELECT_EVENTS: Final = "SELECT event, attempts, error, at FROM job_events WHERE job_id = ? ORDER BY event_id"
SELECT_LOG: Final = "SELECT at, line FROM job_log WHERE job_id = ? ORDER BY line_id"
SELECT_COUNTS: Final = "SELECT queue, status, jobs FROM job_counts"
SELECT_QUEUES: Final = "SELECT queue, paused_at FROM job_queues"


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue have which status, and whether it is paused."""

    name: str
    waiting: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0
    delayed: int = 0
    paused: bool = False
    paused_at: str | None = None
    """Since when, where it is."""


class JobEventRow(msgspec.Struct, frozen=True):
    """Something that happened to a job."""

    event: str
    attempts: int
    error: str | None
    at: str


class LogLine(msgspec.Struct, frozen=True):
    """A line that a job has said."""

    at: str
    line: str


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, the latest first; `total` of all that were asked for, and the id behind which the next page begins."""

    jobs: list[StoredJob]
    total: int
    next_before: int | None


class JobHistory(msgspec.Struct, frozen=True):
    """A job with what happened to it, and what it has said."""

    job: StoredJob
    events: list[JobEventRow]
    log: list[LogLine]


class JobLists:
    """The lists of a database."""

    def __init__(self, database: JobsDatabase) -> None:
        self._database = database

    def page(
        self, *, status: JobStatus | None = None, queue: str | None = None, before: int | None = None, limit: int
    ) -> JobPage:
        """Jobs of a status, of a queue, of both or all of them; those added before the one with the id `before`."""
        asked: list[tuple[str, Value]] = [("queue = ?", queue), ("status = ?", status), ("job_id < ?", before)]
        given = [(condition, value) for condition, value in asked if value is not None]
        where = f" WHERE {' AND '.join(condition for condition, _ in given)}" if given else ""
        sql = f"{SELECT}{where} ORDER BY job_id DESC LIMIT {limit + 1:d}"
        with self._database.snapshot() as connection:
            jobs = [stored_job(row) for row in connection.execute(sql, [value for _, value in given])]
            total = sum(
                count
                for of, has, count in connection.execute(SELECT_COUNTS)
                if queue in {None, of} and status in {None, has}
            )
        return JobPage(jobs[:limit], total, jobs[limit - 1].job_id if len(jobs) > limit else None)

    def history(self, queue: str, job_id: int) -> JobHistory | None:
        """One job with its events and its log; None for one that there is not."""
        with self._database.snapshot() as connection:
            rows = connection.execute(f"{SELECT} WHERE job_id = ? AND queue = ?", (job_id, queue)).fetchall()
            if not rows:
                return None
            events = [JobEventRow(*row) for row in connection.execute(SELECT_EVENTS, (job_id,))]
            return JobHistory(
                stored_job(rows[0]), events, [LogLine(*row) for row in connection.execute(SELECT_LOG, (job_id,))]
            )

    def queues(self) -> list[QueueCounts]:
        """The queues by their names: those that the server knows, and those that jobs are left of."""
        with self._database.snapshot() as connection:
            return queue_counts(connection)


def queue_counts(connection: sqlite3.Connection) -> list[QueueCounts]:
    """The counts within a transaction."""
    since: dict[str, str | None] = dict(connection.execute(SELECT_QUEUES))
    counts: dict[str, dict[str, int]] = {queue: {} for queue in since}
    for queue, status, jobs in connection.execute(SELECT_COUNTS):
        if jobs:
            counts.setdefault(queue, {})[status] = jobs
    return [
        QueueCounts(name=queue, paused=since.get(queue) is not None, paused_at=since.get(queue), **counts[queue])
        for queue in sorted(counts)
    ]


def one_of(connection: sqlite3.Connection, queue: str, job_id: int) -> Sequence[StoredJob]:
    """The job within a transaction, or nothing."""
    rows = connection.execute(f"{SELECT} WHERE job_id = ? AND queue = ?", (job_id, queue)).fetchall()
    return [stored_job(row) for row in rows]
