"""Jobs of jobs.db being run: claimed with a lease, renewed, and ended by whoever holds the run. Blocking.

Theory of operation. A run has an id that nobody else has. Who ends it names that id, and the row is changed only while
it is still the job's run: a run that was given up, because its lease lapsed or somebody cancelled the job, ends with no
effect on the job. A claim first gives up the runs whose lease has lapsed, a bounded number of them, so that a process
that died is found by whoever comes next.

The wall clock may be set at any time. Ahead, it lapses leases: those of runs that the caller still has are left to it.
Back, it would keep a dead process's lease, and a delay, for as long as it was set back: a lease that ends later than
any that could have been given now has lapsed, and a delay that began later than now begins now.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from persistence.databases.database import Row
from persistence.databases.jobs_database import COLUMNS, JobsDatabase, JobStatus, StoredJob, stored_job
from persistence.databases.jobs_listing import QueueCounts, queue_counts
from persistence.format import times

AT_ONCE_MAX: Final = 100
"""Rows that one look gives up, or makes due: the rest is for the next one."""

LAPSED: Final = "The process that ran it has ended, or did not say that it lives."

SELECT_ACTIVE: Final = "SELECT run_id FROM jobs WHERE status = 'active'"
SELECT_LAPSED: Final = """
SELECT job_id, run_id FROM jobs WHERE status = 'active' AND (lease_until <= ? OR lease_until > ?) ORDER BY lease_until
"""
GIVE_UP: Final = f"""
UPDATE jobs SET status = CASE WHEN attempts < attempts_max THEN 'waiting' ELSE 'failed' END,
    finished_at = CASE WHEN attempts < attempts_max THEN NULL ELSE ?1 END,
    run_id = NULL, lease_until = NULL, error = ?2, changed_at = ?1
WHERE job_id = ?3 AND status = 'active' RETURNING {COLUMNS}
"""  # noqa: S608 (our own column names, as everywhere in this file)
SELECT_DELAYED_LATER: Final = """
SELECT job_id, delayed_at, due_at FROM jobs WHERE status = 'delayed' AND delayed_at > ? LIMIT ?
"""
BEGIN_DELAY_AGAIN: Final = "UPDATE jobs SET delayed_at = ?, due_at = ? WHERE job_id = ?"
MAKE_DUE: Final = """
UPDATE jobs SET status = 'waiting', delayed_at = NULL, due_at = NULL, changed_at = ?1 WHERE job_id IN (
    SELECT job_id FROM jobs WHERE status = 'delayed' AND due_at <= ?1 ORDER BY due_at LIMIT ?2
)
"""
COUNT_ACTIVE: Final = "SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE queue = ? AND status = 'active'"
IS_PAUSED: Final = "SELECT count(*) FROM job_queues WHERE queue = ? AND paused_at IS NOT NULL"
CLAIM: Final = f"""
UPDATE jobs SET status = 'active', attempts = attempts + 1, started_at = ?1, changed_at = ?1, run_id = ?2,
    lease_until = ?3, progress = NULL, error = NULL
WHERE job_id = (
    SELECT job_id FROM jobs WHERE status = 'waiting' AND queue = ?4 ORDER BY priority DESC, job_id LIMIT 1
) RETURNING {COLUMNS}
"""  # noqa: S608
RENEW: Final = "UPDATE jobs SET lease_until = ? WHERE run_id = ?"
NOTE_PROGRESS: Final = "UPDATE jobs SET progress = ? WHERE run_id = ?"
ADD_LINE: Final = "INSERT INTO job_log (job_id, at, line) SELECT job_id, ?, ? FROM jobs WHERE run_id = ?"
DROP_LINES: Final = """
DELETE FROM job_log WHERE job_id = (SELECT job_id FROM jobs WHERE run_id = ?1) AND line_id <= (
    SELECT line_id FROM job_log WHERE job_id = (SELECT job_id FROM jobs WHERE run_id = ?1)
    ORDER BY line_id DESC LIMIT 1 OFFSET ?2
)
"""
END: Final = f"""
UPDATE jobs SET status = ?1, attempts = attempts - ?2, changed_at = ?3, finished_at = ?4, delayed_at = ?5, due_at = ?6,
    result = ?7, error = ?8, run_id = NULL, lease_until = NULL
WHERE run_id = ?9 RETURNING {COLUMNS}
"""  # noqa: S608
SELECT_NEXT: Final = """
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM jobs WHERE status = 'delayed'
    UNION ALL SELECT min(lease_until) FROM jobs WHERE status = 'active'
)
"""


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that the caller has: what to note of it, and whether its lease is to be renewed."""

    run_id: str
    is_renewed: bool = False
    progress: float | None = None
    lines: tuple[tuple[str, str], ...] = ()
    """Further lines of its log, each with its time."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a look is for: `now` in seconds since the epoch, and for each queue how many may be active, and are free."""

    now: float
    lease_s: float
    live: Sequence[LiveRun]
    free: Mapping[str, int]
    concurrency: Mapping[str, int]
    log_lines_max: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a look has come to; `next_at` is the time of the next thing to do that is known, in seconds."""

    claimed: list[StoredJob]
    given_up: list[StoredJob]
    lost: list[str]
    """Of the runs that the caller has, those that are none any more."""
    next_at: float | None
    counts: list[QueueCounts]


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: the status that its job has from now on.

    `is_counted` is whether it was an attempt; `delay_s` is for how long it is delayed.
    """

    run: LiveRun
    status: JobStatus
    result: str | None = None
    error: str | None = None
    delay_s: float = 0.0
    is_counted: bool = True


class JobRuns:
    """The runs of a database."""

    def __init__(self, database: JobsDatabase) -> None:
        self._database = database

    def look(self, look: Look, new_run_id: Callable[[], str]) -> Found:
        """Note what is new of the caller's runs, give up what has lapsed, make due what is, and claim what is free."""
        now, lease_until = times.to_text(look.now), times.to_text(look.now + look.lease_s)
        with self._database.transaction() as connection:
            for run in look.live:
                _note(connection, run, look.log_lines_max)
                if run.is_renewed:
                    connection.execute(RENEW, (lease_until, run.run_id))
            mine = {run.run_id for run in look.live}
            given_up = _given_up(connection, now, lease_until, mine)
            _make_due(connection, look.now)
            claimed = [
                job
                for queue, free in look.free.items()
                for job in _claimed(connection, queue, free, look.concurrency[queue], now, lease_until, new_run_id)
            ]
            active = {run_id for (run_id,) in connection.execute(SELECT_ACTIVE)}
            ((next_at,),) = connection.execute(SELECT_NEXT)
            return Found(
                claimed=claimed,
                given_up=given_up,
                lost=sorted(mine - active),
                next_at=None if next_at is None else times.from_text(next_at),
                counts=queue_counts(connection),
            )

    def end(self, ended: JobEnd, *, now: float, log_lines_max: int) -> StoredJob | None:
        """End a run; its job as it is from then on, or None where it was that job's run no more: nothing is changed."""
        at = times.to_text(now)
        is_delayed = ended.status is JobStatus.DELAYED
        row = (
            ended.status,
            0 if ended.is_counted else 1,
            at,
            at if ended.status in {JobStatus.COMPLETED, JobStatus.FAILED} else None,
            at if is_delayed else None,
            times.to_text(now + ended.delay_s) if is_delayed else None,
            ended.result,
            ended.error,
            ended.run.run_id,
        )
        with self._database.transaction() as connection:
            _note(connection, ended.run, log_lines_max)
            rows = connection.execute(END, row).fetchall()
            return stored_job(rows[0]) if rows else None


def _note(connection: sqlite3.Connection, run: LiveRun, log_lines_max: int) -> None:
    if run.progress is not None:
        connection.execute(NOTE_PROGRESS, (run.progress, run.run_id))
    if run.lines:
        connection.executemany(ADD_LINE, [(at, line, run.run_id) for at, line in run.lines])
        connection.execute(DROP_LINES, (run.run_id, log_lines_max))


def _given_up(connection: sqlite3.Connection, now: str, latest: str, mine: Collection[str]) -> list[StoredJob]:
    """Give up runs whose lease has lapsed, or ends later than one given now; but for the caller's own."""
    lapsed = [job_id for job_id, run_id in connection.execute(SELECT_LAPSED, (now, latest)) if run_id not in mine]
    return [
        stored_job(row)
        for job_id in lapsed[:AT_ONCE_MAX]
        for row in connection.execute(GIVE_UP, (now, LAPSED, job_id)).fetchall()
    ]


def _make_due(connection: sqlite3.Connection, now: float) -> None:
    at = times.to_text(now)
    for job_id, since, due in connection.execute(SELECT_DELAYED_LATER, (at, AT_ONCE_MAX)).fetchall():
        later_s = times.from_text(due) - times.from_text(since)
        connection.execute(BEGIN_DELAY_AGAIN, (at, times.to_text(now + later_s), job_id))
    connection.execute(MAKE_DUE, (at, AT_ONCE_MAX))


def _claimed(
    connection: sqlite3.Connection,
    queue: str,
    free: int,
    concurrency: int,
    now: str,
    lease_until: str,
    new_run_id: Callable[[], str],
) -> list[StoredJob]:
    """Claim the most urgent jobs of a queue; none while it is paused, or as many as may be are active anywhere."""
    ((active,),) = connection.execute(COUNT_ACTIVE, (queue,))
    ((paused,),) = connection.execute(IS_PAUSED, (queue,))
    claimed: list[Row] = []
    for _ in range(0 if paused else min(free, concurrency - active)):
        rows = connection.execute(CLAIM, (now, new_run_id(), lease_until, queue)).fetchall()
        if not rows:
            break
        claimed += rows
    return [stored_job(row) for row in claimed]
