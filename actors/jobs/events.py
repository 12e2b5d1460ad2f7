"""What happens to jobs, told to whoever listens. Nobody who listens can hold a job up, or make one fail."""

import logging
from collections.abc import Callable

import msgspec

from actors.jobs.names import public_id
from persistence.databases.jobs_database import StoredJob

log = logging.getLogger("central_command.jobs")


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`event` is added, started, completed, retried, released or failed; `error` why one was retried or failed.

    `duration_s` is how long the run took that has ended here, without the time that writing its end down took.
    """

    job_id: str
    name: str
    queue: str
    event: str
    attempts: int
    error: str | None
    duration_s: float | None = None


class JobEvents:
    """Tells one listener."""

    def __init__(self, on_event: Callable[[JobEvent], None] | None) -> None:
        self._on_event = on_event
        self.lost = 0
        """Events that the listener has failed at."""

    def __repr__(self) -> str:
        return f"<JobEvents lost={self.lost}>"

    def tell(self, job: StoredJob, event: str, *, duration_s: float | None = None) -> None:
        """Tell of a job as it is after the event."""
        told = JobEvent(
            job_id=public_id(job),
            name=job.name,
            queue=job.queue,
            event=event,
            attempts=job.attempts,
            error=job.error,
            duration_s=duration_s,
        )
        level = logging.WARNING if event in {"failed", "retried"} else logging.DEBUG
        log.log(level, "job %s %s%s", told.job_id, event, f": {job.error}" if job.error else "")
        if self._on_event is None:
            return
        try:
            self._on_event(told)
        except Exception:
            self.lost += 1
            log.exception("an event of job %s was not taken", told.job_id)
