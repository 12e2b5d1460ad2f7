"""An engine of jobs that a test turns, over a database that it closes."""

from collections.abc import Callable

from actors.jobs.engine import Jobs
from actors.jobs.settings import JobsSettings
from persistence.databases.jobs_database import JobsDatabase
from persistence.files.file_system import inline


def job_engine(database: JobsDatabase, clock: Callable[[], float]) -> Jobs:
    """It looks for what is due a hundred times a second, and names its runs by numbers."""
    numbers = iter(range(1_000))
    return Jobs(
        database,
        JobsSettings(poll_s=0.01),
        clock=clock,
        random_bytes=lambda size: next(numbers).to_bytes(size),
        offload=inline,
    )
