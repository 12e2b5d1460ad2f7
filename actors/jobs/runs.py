"""The runs of this process: which there are, what they have said, and when their leases are renewed."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import trio

from actors.jobs.queue import Queue, Run
from actors.jobs.settings import JobsSettings
from persistence.databases.jobs_database import StoredJob
from persistence.databases.jobs_running import LiveRun

RENEWALS = 3
"""A lease is renewed after this part of its time, so that one that comes late does no harm."""


class Living:
    """One run, from its claim to its end."""

    def __init__(self, job: StoredJob, queue: Queue, settings: JobsSettings) -> None:
        assert job.run_id is not None, "it was claimed"
        self.job = job
        self.queue = queue
        self.run_id = job.run_id
        self.run: Run[Any] | None = None
        self.scope = trio.CancelScope()
        self.renewed_at = trio.current_time()
        self._lines: deque[tuple[str, str]] = deque(maxlen=settings.log_lines_max)
        self._line_chars_max = settings.log_line_chars_max

    def __repr__(self) -> str:
        return f"<Living {self.run_id} of {self.job.queue} {self.job.job_id}>"

    def say(self, at: str, line: str) -> None:
        """Remember a line until it is noted."""
        self._lines.append((at, line[: self._line_chars_max]))

    def said(self, *, is_renewed: bool = False) -> LiveRun:
        """What there is to note of it; its lines are the caller's from now on."""
        lines = tuple(self._lines)
        self._lines.clear()
        fraction = None if self.run is None else self.run.fraction
        return LiveRun(run_id=self.run_id, is_renewed=is_renewed, progress=fraction, lines=lines)

    def take_back(self, lines: Sequence[tuple[str, str]]) -> None:
        """Remember lines again that could not be noted, as far as there is room before those that came since."""
        room = (self._lines.maxlen or 0) - len(self._lines)
        self._lines.extendleft(reversed(lines[-room:] if room else ()))


class LiveRuns:
    """All of them, as many as the queues let be at once."""

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings
        self._living: dict[str, Living] = {}

    def __len__(self) -> int:
        return len(self._living)

    def __repr__(self) -> str:
        return f"<LiveRuns {len(self)}>"

    def begin(self, job: StoredJob, queue: Queue) -> Living:
        """Take a run that was claimed now."""
        living = Living(job, queue, self._settings)
        self._living[living.run_id] = living
        return living

    def end(self, living: Living) -> None:
        """Its place is free."""
        del self._living[living.run_id]

    def free(self, queue: Queue) -> int:
        """How many places a queue has."""
        return queue.concurrency - sum(living.queue.name == queue.name for living in self._living.values())

    def said(self) -> list[LiveRun]:
        """What there is to note of the runs that are in their time; those that are past it are left to their lease."""
        now, lease_s = trio.current_time(), self._settings.lease_s
        return [
            living.said(is_renewed=now >= living.renewed_at + lease_s / RENEWALS)
            for living in self._living.values()
            if now < living.scope.deadline + lease_s
        ]

    def noted(self, runs: Sequence[LiveRun]) -> None:
        """The database has what was said."""
        for run in runs:
            if run.is_renewed and run.run_id in self._living:
                self._living[run.run_id].renewed_at = trio.current_time()

    def not_noted(self, runs: Sequence[LiveRun]) -> None:
        """The database has nothing of what was said."""
        for run in runs:
            if run.run_id in self._living:
                self._living[run.run_id].take_back(run.lines)

    def cancel_run(self, run_id: str) -> None:
        """Cancel a run that is none any more."""
        if run_id in self._living:
            self._living[run_id].scope.cancel()

    def cancel_job(self, job_id: int) -> None:
        """Cancel the run of a job, if it is here."""
        for living in self._living.values():
            if living.job.job_id == job_id:
                living.scope.cancel()
