"""What is repeated: in jobs.db, of each such job, up to which time of its schedule nothing is left to do. Blocking.

A time of a schedule becomes a job in the transaction that moves that mark past it, and only if the mark is where the
caller has seen it: two processes, or one before and after a crash, come to one job.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from persistence.databases.jobs_database import COLUMNS, JobsDatabase, StoredJob, stored_job
from persistence.format import times

INSERT_QUEUE: Final = "INSERT OR IGNORE INTO job_queues (queue) VALUES (?)"
FORGET_QUEUES: Final = """
DELETE FROM job_queues WHERE paused_at IS NULL AND queue NOT IN (SELECT value FROM json_each(?))
"""
FORGET_REPEATABLES: Final = """
DELETE FROM repeatables WHERE queue || '/' || repeatable_key NOT IN (SELECT value FROM json_each(?))
"""
DECLARE: Final = """
INSERT INTO repeatables (queue, repeatable_key, name, payload, cron, attempts_max, reached_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (queue, repeatable_key) DO UPDATE
    SET name = ?3, payload = ?4, cron = ?5, attempts_max = ?6
    WHERE (name, payload, cron, attempts_max) != (?3, ?4, ?5, ?6)
"""
SELECT: Final = "SELECT queue, repeatable_key, reached_at FROM repeatables"
SELECT_MARK: Final = "SELECT reached_at FROM repeatables WHERE queue = ? AND repeatable_key = ?"
MOVE: Final = "UPDATE repeatables SET reached_at = ?1 WHERE queue = ?2 AND repeatable_key = ?3 AND reached_at = ?4"
INSERT_SCHEDULED: Final = f"""
INSERT OR IGNORE INTO jobs (queue, name, status, payload, priority, deduplication_key, repeatable_key, scheduled_at,
    attempts, attempts_max, created_at, changed_at)
SELECT queue, name, 'waiting', payload, 0, 'repeatable ' || repeatable_key, repeatable_key, ?3, 0, attempts_max, ?4, ?4
FROM repeatables WHERE queue = ?1 AND repeatable_key = ?2
RETURNING {COLUMNS}
"""  # noqa: S608 (our own column names)
INSERT_NOW: Final = f"""
INSERT OR IGNORE INTO jobs (queue, name, status, payload, priority, deduplication_key, attempts, attempts_max,
    created_at, changed_at)
SELECT queue, name, 'waiting', payload, 0, 'repeatable ' || repeatable_key, 0, attempts_max, ?2, ?2
FROM repeatables WHERE name = ?1
RETURNING {COLUMNS}
"""  # noqa: S608
SELECT_NAMES: Final = "SELECT name FROM repeatables ORDER BY name"


class Repeatable(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is added again and again; `cron` is in UTC."""

    queue: str
    key: str
    name: str
    payload: str
    cron: str
    attempts_max: int


class Reached(msgspec.Struct, frozen=True):
    """Where the mark is now, and the job that was added."""

    at: str
    job: StoredJob | None = None


class AlreadyThere(msgspec.Struct, frozen=True):
    """One of them is unfinished, so nothing was added."""


class NoneOfThatName(msgspec.Struct, frozen=True):
    """There is no repeatable job of that name: those that there are."""

    names: tuple[str, ...]


class JobSchedule:
    """The schedules of a database; `now` is in seconds since the epoch."""

    def __init__(self, database: JobsDatabase) -> None:
        self._database = database

    def declare(
        self, queues: Collection[str], repeatables: Collection[Repeatable], *, now: float
    ) -> dict[tuple[str, str], str]:
        """Make these the queues and the repeatable jobs; return up to which time each of them is done.

        A new one is as if it was done now. What is repeated no more is forgotten, and so is a queue, unless it is
        paused; its jobs stay.
        """
        at = times.to_text(now)
        with self._database.transaction() as connection:
            connection.executemany(INSERT_QUEUE, [(queue,) for queue in queues])
            connection.execute(FORGET_QUEUES, (msgspec.json.encode(list(queues)).decode(),))
            known = [f"{each.queue}/{each.key}" for each in repeatables]
            connection.execute(FORGET_REPEATABLES, (msgspec.json.encode(known).decode(),))
            for each in repeatables:
                row = (each.queue, each.key, each.name, each.payload, each.cron, each.attempts_max, at)
                connection.execute(DECLARE, row)
            return {(queue, key): reached_at for queue, key, reached_at in connection.execute(SELECT)}

    def reach(self, repeatable: Repeatable, *, reached_at: str, to: str, now: float, adds: bool) -> Reached:
        """Move the mark of a repeatable job `to` a time of its schedule, and add its job if `adds`.

        Nothing is added where another process has moved the mark, where that time has its job already, and where one
        of before is unfinished, which does for both.
        """
        of = (repeatable.queue, repeatable.key)
        with self._database.transaction() as connection:
            if not connection.execute(MOVE, (to, *of, reached_at)).rowcount:
                found = connection.execute(SELECT_MARK, of).fetchall()
                return Reached(found[0][0] if found else to)
            rows = connection.execute(INSERT_SCHEDULED, (*of, to, times.to_text(now))).fetchall() if adds else []
            return Reached(to, stored_job(rows[0]) if rows else None)

    def run_now(self, name: str, *, now: float) -> StoredJob | AlreadyThere | NoneOfThatName:
        """Add a repeatable job's job beside its schedule."""
        with self._database.transaction() as connection:
            rows = connection.execute(INSERT_NOW, (name, times.to_text(now))).fetchall()
            if rows:
                return stored_job(rows[0])
            names = tuple(each for (each,) in connection.execute(SELECT_NAMES))
            return AlreadyThere() if name in names else NoneOfThatName(names)
