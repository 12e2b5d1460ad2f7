"""Runs of jobs, told to the observer: all that failed, and of the others what an hour has room for."""

from collections.abc import Callable
from typing import Any, Final

import trio

from actors.jobs.events import JobEvent
from central_command.observing.own import job_ended

IN_FULL: Final = 60
"""Runs of a queue that are told of in an hour before only one in so many of them is."""
HOUR_S: Final = 3_600.0


class ObservedJobs:
    """Tells `note` of runs that have ended, of those that went well beyond `IN_FULL` one in `sample_every`."""

    def __init__(self, note: Callable[[dict[str, Any]], None], *, sample_every: int) -> None:
        self._note = note
        self._sample_every = sample_every
        self._hour_began_at = trio.current_time()
        self._completed: dict[str, int] = {}
        """How many of each queue there were in this hour; as many queues as are registered."""

    def __repr__(self) -> str:
        return f"<ObservedJobs {self._completed}>"

    def told(self, event: JobEvent) -> None:
        """Take an event of a job; one that is no end of a run is nothing to tell."""
        is_failure = event.event in {"retried", "failed"} and event.error is not None
        if not is_failure and (event.event != "completed" or not self._is_in_sample(event.queue)):
            return
        self._note(
            job_ended(
                event.queue,
                event.name,
                duration_s=event.duration_s or 0.0,
                attempt=event.attempts,
                error=event.error if is_failure else None,
            )
        )

    def _is_in_sample(self, queue: str) -> bool:
        if trio.current_time() >= self._hour_began_at + HOUR_S:
            self._hour_began_at = trio.current_time()
            self._completed.clear()
        count = self._completed[queue] = self._completed.get(queue, 0) + 1
        return count <= IN_FULL or count % self._sample_every == 0
