"""When a repeatable job is due: the times of a cron expression, in UTC. Pure.

What must hold while the clock is set to and fro: no time of a schedule makes two jobs, and none that comes makes none.
A mark (`persistence.databases.jobs_schedule`) says up to which time nothing is left to do. It moves to the last time
that has come, past all that were missed, with one job for all of them. A clock that is set back stands before the mark:
by less than from one time of the schedule to the next, it waits to come past it again; by more, the mark goes back with
it, or a day in a wrong year would silence a schedule until then. Times that had their job keep it in their row, so that
going over them again makes no second.
"""

# ruff: noqa: PLC0415 (imports within functions: settings are checked without what comes with the server)

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

_SECOND: Final = timedelta(seconds=1)


class ScheduledJob(msgspec.Struct, frozen=True):
    """A job that is repeated, and when next: seconds since the epoch."""

    queue: str
    name: str
    cron: str
    next_at: float


class Step(msgspec.Struct, frozen=True):
    """Where the mark goes, in seconds since the epoch, and whether that time is due."""

    to: float
    is_due: bool


def wrong_cron(cron: str) -> str | None:
    """What is wrong with an expression; None where it has five fields that name a time."""
    from cronsim import CronSimError

    if len(cron.split()) != 5:
        return "it must have five fields: minute, hour, day of the month, month, day of the week"
    try:
        next_after(cron, 0.0)
    except CronSimError as error:
        return str(error)
    except StopIteration:
        return "it names no time that ever comes"
    return None


def next_after(cron: str, seconds: float) -> float:
    """The first time of a schedule after a time, both in seconds since the epoch."""
    from cronsim import CronSim

    return next(CronSim(cron, datetime.fromtimestamp(seconds, UTC))).timestamp()


def latest_until(cron: str, seconds: float) -> float:
    """The last time of a schedule that is not after a time."""
    from cronsim import CronSim

    behind = datetime.fromtimestamp(seconds, UTC).replace(microsecond=0) + _SECOND
    return next(CronSim(cron, behind, reverse=True)).timestamp()


def step_from(cron: str, reached: float, now: float) -> Step | None:
    """What is to be done of a schedule whose mark is at `reached`; None for nothing."""
    latest = latest_until(cron, now)
    if latest > reached:
        return Step(latest, is_due=True)
    is_far_back = now < reached and latest_until(cron, reached - 1) > now
    return Step(latest, is_due=False) if is_far_back else None
