"""`/`: what came in today and in the last 30 days, and whether the server is well."""

import logging
from collections.abc import Mapping
from typing import Final

import msgspec
from quart import Blueprint, Response

from actors.observer.failures import FailureGroup
from central_command.access.tokens import Scope
from central_command.web.site import Site
from persistence.databases.database import DatabaseFailure
from persistence.databases.reports import DayReport

DAYS: Final = 30
ROWS_MAX: Final = 8
"""Models and providers that are shown."""
FAILURES_MAX: Final = 3

MEANINGS: Final[Mapping[str, str]] = {
    "recovery": "what stood in the journals at the start was read",
    "journals": "envelopes can be written",
    "projection": "the databases keep up with the journals",
    "disk": "there is room for envelopes",
    "sessions": "sessions can be opened",
    "lines": "stored lines are as they were written",
    "erasures": "nothing hinders an erasure",
    "access": "tokens and bans can be looked up",
    "embedding": "texts can be embedded",
}
"""What checks of the service say that are ok; others say for themselves what is wrong."""

log = logging.getLogger("central_command.pages")


class Totals(msgspec.Struct, frozen=True):
    """What came in over some days."""

    sessions: int
    steps: int
    points: float

    @classmethod
    def of(cls, days: list[DayReport]) -> "Totals":
        """The sum of days."""
        return cls(sum(day.sessions for day in days), sum(day.steps for day in days), sum(day.points for day in days))


def overview_pages(site: Site) -> Blueprint:
    """The first page; what of it needs another scope is numbers alone."""
    routes = Blueprint("pages_overview", __name__)
    gateway = site.sources.gateway

    @routes.get("/")
    async def overview() -> Response:
        await site.admit(Scope.READ, Scope.ADMIN)
        days = await gateway.daily(DAYS)
        return site.page(
            "overview.html",
            title="Overview",
            summary=await gateway.summary(),
            days=days,
            today=days[-1],
            totals=Totals.of(days),
            models=[*(await gateway.models()).items()],
            providers=[*(await gateway.providers()).items()],
            rows_max=ROWS_MAX,
            meanings=MEANINGS,
            readiness=gateway.readiness(),
            uptime_s=gateway.uptime_s,
            last_full_check_at=gateway.last_full_check_at,
            lag=gateway.curation_lag,
            free_bytes=None if site.sources.free_bytes is None else site.sources.free_bytes(),
            failed_jobs=await _failed_jobs(site),
            failures=_failures(site),
        )

    return routes


async def _failed_jobs(site: Site) -> int | None:
    """How many jobs have failed and were not tried again; None where there are no jobs, or nobody can tell."""
    known = site.sources.offered.get("jobs")
    if known is None:
        return None
    try:
        return sum(queue.failed for queue in await known.desk.queues())
    except DatabaseFailure as failure:
        log.warning("the jobs cannot be counted: %s", failure)
        return None


def _failures(site: Site) -> list[FailureGroup]:
    """What failed last, as the observer groups it."""
    known = site.sources.offered.get("observing")
    return [] if known is None else sorted(known.desk.failures, key=lambda each: each.last)[: -FAILURES_MAX - 1 : -1]
