"""The jobs checked: jobs.db as a database, and that its counts are those of its rows. Nothing else speaks of them."""

import sqlite3
from typing import Final

from persistence.databases.migrations import JOBS_SCHEMA
from persistence.format.layout import DataLayout
from persistence.upkeep.findings import Findings
from persistence.upkeep.lone_database import check_database

MISCOUNTED: Final = """
SELECT queue, status FROM (
    SELECT queue, status, jobs FROM job_counts
    UNION ALL SELECT queue, status, -count(*) FROM jobs GROUP BY queue, status
) GROUP BY queue, status HAVING sum(jobs) != 0 LIMIT 10
"""

ADVICE: Final = "restore it from a backup, or move it away: the server then makes another one, without jobs"


def check_jobs(layout: DataLayout, findings: Findings) -> None:
    """Check the jobs, if a server has run. Raises SchemaRefused for a jobs.db of another version of the program."""
    check_database(layout.jobs_database, JOBS_SCHEMA, findings, advice=ADVICE, look=_check)


def _check(connection: sqlite3.Connection, findings: Findings) -> None:
    for queue, status in connection.execute(MISCOUNTED):
        findings.add(f"jobs.db: the queue {queue!r} has not as many jobs that are {status} as it counts")
