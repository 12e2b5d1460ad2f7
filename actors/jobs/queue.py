"""A queue, and what the handler of its jobs is given."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

P = TypeVar("P")


class NotDone(Exception):  # noqa: N818 (a state of the world, in one sentence)
    """Raised by a handler that could not do its job for a reason outside of the program, which it says; tried again."""


class NotRetried(Exception):  # noqa: N818 (likewise)
    """Raised by a handler whose job is to fail without another attempt: trying again would come to the same."""


class Run(Generic[P]):
    """One attempt at a job, as its handler sees it.

    A handler may be cancelled at every checkpoint, and a job may be run again after a crash, or in rare cases while an
    earlier run of it still ends: what it does must come to the same when it is done twice.
    """

    def __init__(
        self, *, job_id: str, name: str, payload: P, attempt: int, created_at: str, note: Callable[[str], None]
    ) -> None:
        self.job_id = job_id
        self.name = name
        self.payload = payload
        self.attempt = attempt
        self.created_at = created_at
        self.fraction: float | None = None
        """How far it is, from 0 to 1; None until it has said so."""
        self._note = note

    def __repr__(self) -> str:
        return f"<Run of {self.job_id} attempt={self.attempt}>"

    def progress(self, fraction: float) -> None:
        """Say how far it is; written down soon."""
        if math.isfinite(fraction):
            self.fraction = min(1.0, max(0.0, fraction))

    def log(self, line: str) -> None:
        """Say something for whoever looks at the job; written down soon, the last `jobs.log_lines_max` of them."""
        self._note(line)


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs of a queue are run.

    Its payloads are of the type `payload`. At most `concurrency` are active at once; each has `attempts` of at most
    `timeout_s`, and after the nth failed one waits for `backoff_s` times 2^(n-1), `backoff_s_max` at most. What a
    handler returns is kept as JSON.
    """

    name: str
    payload: type[Any]
    handler: Callable[[Run[Any]], Awaitable[object]]
    concurrency: int
    attempts: int
    backoff_s: float
    backoff_s_max: float
    timeout_s: float

    def delay_s(self, attempt: int) -> float:
        """Seconds until the next attempt, after so many."""
        return float(min(self.backoff_s * 2 ** (attempt - 1), self.backoff_s_max))
