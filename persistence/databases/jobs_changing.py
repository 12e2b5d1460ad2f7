"""Jobs of jobs.db added, and changed by people: retried, promoted, cancelled, removed; queues paused. Blocking."""

from collections.abc import Collection
from typing import Final

import ahocorasick_rs
import msgspec

from persistence.databases.jobs_database import COLUMNS, JobsDatabase, JobStatus, StoredJob, stored_job
from persistence.databases.jobs_listing import one_of
from persistence.format import times

CANCELLED: Final = "It was cancelled."

SELECT_UNFINISHED: Final = """
SELECT job_id FROM jobs WHERE queue = ? AND deduplication_key = ? AND status IN ('waiting', 'delayed', 'active')
"""
COUNT_WAITING: Final = """
SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE queue = ? AND status IN ('waiting', 'delayed')
"""
INSERT: Final = f"""
INSERT INTO jobs (queue, name, status, payload, priority, deduplication_key, attempts, attempts_max, created_at,
    changed_at, delayed_at, due_at)
VALUES (?1, ?2, CASE WHEN ?8 IS NULL THEN 'waiting' ELSE 'delayed' END, ?3, ?4, ?5, 0, ?6, ?7, ?7,
    CASE WHEN ?8 IS NULL THEN NULL ELSE ?7 END, ?8)
RETURNING {COLUMNS}
"""  # noqa: S608 (our own column names, as everywhere in this file)
RETRY: Final = f"""
UPDATE OR IGNORE jobs SET status = 'waiting', attempts = 0, finished_at = NULL, result = NULL, progress = NULL,
    changed_at = ? WHERE job_id = ? AND status = 'failed' RETURNING {COLUMNS}
"""  # noqa: S608
PROMOTE: Final = f"""
UPDATE jobs SET status = 'waiting', delayed_at = NULL, due_at = NULL, changed_at = ?
WHERE job_id = ? AND status = 'delayed' RETURNING {COLUMNS}
"""  # noqa: S608
CANCEL: Final = f"""
UPDATE jobs SET status = 'failed', finished_at = ?1, changed_at = ?1, error = ?2, delayed_at = NULL, due_at = NULL,
    run_id = NULL, lease_until = NULL
WHERE job_id = ?3 AND status IN ('waiting', 'delayed', 'active') RETURNING {COLUMNS}
"""  # noqa: S608
REMOVE: Final = f"DELETE FROM jobs WHERE job_id = ? AND status != 'active' RETURNING {COLUMNS}"  # noqa: S608
PAUSE: Final = "UPDATE job_queues SET paused_at = coalesce(paused_at, ?) WHERE queue = ?"
RESUME: Final = "UPDATE job_queues SET paused_at = NULL WHERE queue = ?"
DELETE_COMPLETED: Final = """
DELETE FROM jobs WHERE job_id IN (
    SELECT job_id FROM jobs WHERE status = 'completed' AND finished_at < ? ORDER BY finished_at LIMIT ?
)
"""
DELETE_MORE_THAN: Final = """
DELETE FROM jobs WHERE job_id IN (
    SELECT job_id FROM jobs WHERE status = 'completed' ORDER BY finished_at
    LIMIT max(0, min(?2, (SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE status = 'completed') - ?1))
)
"""
SELECT_TEXTS: Final = """
SELECT job_id, payload || coalesce(result, '') || coalesce(error, '') || coalesce(deduplication_key, '') FROM jobs
UNION ALL SELECT job_id, error FROM job_events WHERE error IS NOT NULL
UNION ALL SELECT job_id, line FROM job_log
"""


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to add; `delay_s` is how long it is delayed, and of a deduplication key one is unfinished at a time."""

    queue: str
    name: str
    payload: str
    attempts_max: int
    priority: int = 0
    delay_s: float = 0.0
    deduplication_key: str | None = None


class Added(msgspec.Struct, frozen=True):
    """The job, or the unfinished one with its deduplication key, which stays as it is."""

    job: StoredJob
    is_new: bool


class QueueIsFull(msgspec.Struct, frozen=True):
    """As many jobs wait in the queue as may: nothing was added."""


class NoSuchJob(msgspec.Struct, frozen=True):
    """There is none of that id."""


class NotPossible(msgspec.Struct, frozen=True):
    """The job has a status that this cannot be done in: nothing was changed."""

    job: StoredJob


Change = StoredJob | NoSuchJob | NotPossible


class JobChanges:
    """What people and programs do to the jobs of a database; `now` is in seconds since the epoch."""

    def __init__(self, database: JobsDatabase) -> None:
        self._database = database

    def add(self, new: NewJob, *, now: float, waiting_max: int) -> Added | QueueIsFull:
        """Add a job; it is on disk when this returns."""
        at = times.to_text(now)
        due_at = times.to_text(now + new.delay_s) if new.delay_s > 0 else None
        with self._database.transaction() as connection:
            key = new.deduplication_key
            for (job_id,) in connection.execute(SELECT_UNFINISHED, (new.queue, key)).fetchall():
                return Added(one_of(connection, new.queue, job_id)[0], is_new=False)
            ((waiting,),) = connection.execute(COUNT_WAITING, (new.queue,))
            if waiting >= waiting_max:
                return QueueIsFull()
            row = (new.queue, new.name, new.payload, new.priority, key, new.attempts_max, at, due_at)
            (inserted,) = connection.execute(INSERT, row).fetchall()
            return Added(stored_job(inserted), is_new=True)

    def retry(self, queue: str, job_id: int, *, now: float) -> Change:
        """Let a failed job wait again, with all its attempts; not while another with its key is unfinished."""
        return self._change(RETRY, (times.to_text(now), job_id), queue, job_id)

    def promote(self, queue: str, job_id: int, *, now: float) -> Change:
        """Let a delayed job wait no longer than the others."""
        return self._change(PROMOTE, (times.to_text(now), job_id), queue, job_id)

    def cancel(self, queue: str, job_id: int, *, now: float) -> Change:
        """Let an unfinished job fail; what its run still does changes nothing of it."""
        return self._change(CANCEL, (times.to_text(now), CANCELLED, job_id), queue, job_id)

    def remove(self, queue: str, job_id: int) -> Change:
        """Remove a job that is not active, with its events and its log; return what it was."""
        return self._change(REMOVE, (job_id,), queue, job_id)

    def pause(self, queue: str, *, now: float) -> bool:
        """Let no job of a queue be started until it is resumed; False for a queue that there is not."""
        with self._database.transaction() as connection:
            return connection.execute(PAUSE, (times.to_text(now), queue)).rowcount > 0

    def resume(self, queue: str) -> bool:
        """Let jobs of a queue be started again; False for a queue that there is not."""
        with self._database.transaction() as connection:
            return connection.execute(RESUME, (queue,)).rowcount > 0

    def prune(self, *, before: float, completed_max: int, at_once_max: int) -> int:
        """Remove completed jobs that ended before a time, and the oldest beyond a number; return how many.

        At most `at_once_max` for either reason: who gets 0 is done.
        """
        with self._database.transaction() as connection:
            old = connection.execute(DELETE_COMPLETED, (times.to_text(before), at_once_max)).rowcount
            return old + connection.execute(DELETE_MORE_THAN, (completed_max, at_once_max)).rowcount

    def forget(self, texts: Collection[str]) -> int:
        """Remove every job that is not active and holds any of these texts, however it holds it; return how many."""
        if not texts:
            return 0
        automaton = ahocorasick_rs.AhoCorasick(list(texts))
        with self._database.transaction() as connection:
            found = {
                job_id for job_id, text in connection.execute(SELECT_TEXTS) if automaton.find_matches_as_indexes(text)
            }
            rows = [(job_id,) for job_id in sorted(found)]
            return connection.executemany("DELETE FROM jobs WHERE job_id = ? AND status != 'active'", rows).rowcount

    def _change(self, sql: str, row: tuple[object, ...], queue: str, job_id: int) -> Change:
        with self._database.transaction() as connection:
            found = one_of(connection, queue, job_id)
            if not found:
                return NoSuchJob()
            changed = connection.execute(sql, row).fetchall()
            return stored_job(changed[0]) if changed else NotPossible(found[0])


def is_unfinished(job: StoredJob) -> bool:
    """Whether something is still to be done of it."""
    return job.status in {JobStatus.WAITING, JobStatus.DELAYED, JobStatus.ACTIVE}
