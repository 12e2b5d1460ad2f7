"""The statistics, from counters kept with each write: each answer costs the same whatever is stored."""

from datetime import date, timedelta
from typing import Final, NamedTuple

from persistence.databases.database import Database
from persistence.databases.remembered_rows import RememberedRows
from persistence.databases.reports import DayReport, ModelReport, ProviderReport, Summary
from persistence.journals.dropping import QuotaStatistics

NAMES_MAX: Final = 100
"""Models (and providers) reported by name. Clients choose the names, so there may be any number of them."""
OTHER: Final = "other"
POINTS_DECIMALS: Final = 6
"""What is summed here is rounded, so that the sum of the rest shows no trace of how binary fractions were added."""

# One statement, and so one state of the database: each row carries the totals with it.
SELECT_NAMED: Final = {
    table: f"SELECT named.name, named.sessions, named.steps, named.points, sessions_with_chunks, totals.steps, "  # noqa: S608
    f"totals.points FROM {table} AS named, totals ORDER BY named.steps DESC, named.name LIMIT {NAMES_MAX + 1}"
    for table in ("models", "providers")
}


def _megabytes(size_bytes: int) -> float:
    return round(size_bytes / 2**20, 2)


class _Sums(NamedTuple):
    sessions: int
    steps: int
    points: float


class Counters:
    """Reads the counters of both databases."""

    def __init__(self, sessions: Database, ledger: Database) -> None:
        self._sessions = RememberedRows(sessions)
        self._ledger = RememberedRows(ledger)

    async def summary(self, storage_bytes: int, refused: QuotaStatistics) -> Summary:
        """Totals since the beginning; `storage_bytes` is the size of the journals without the refused one.

        Envelopes are the accepted ones that clients sent. Contributors are those with a credit.
        """
        ((envelopes, steps, sessions, closed, unused, without_body),) = await self._sessions.read(
            "SELECT envelopes, steps, sessions, sessions_closed, sessions_unused, refused_without_body FROM totals"
        )
        ((contributors, points),) = await self._ledger.read("SELECT contributors, points FROM totals")
        return Summary(
            total_envelopes=envelopes,
            total_steps=steps,
            total_sessions=sessions,
            active_sessions=sessions - closed,
            unique_contributors=contributors,
            storage_size_mb=_megabytes(storage_bytes + refused.stored_bytes),
            total_points_awarded=points,
            unused_sessions=unused,
            refused_size_mb=_megabytes(refused.stored_bytes),
            refused_quota_mb=_megabytes(refused.quota_bytes),
            refused_without_body=without_body,
            refused_days_dropped=refused.days_dropped,
        )

    async def daily(self, days: int, today: date) -> list[DayReport]:
        """The last `days` (at least 1) UTC days, `today` included, oldest first, days without traffic as zeros."""
        first = today - timedelta(days=days - 1)
        rows = await self._sessions.read(
            "SELECT date, envelopes, steps, sessions, points FROM daily WHERE date BETWEEN ? AND ?",
            (first.isoformat(), today.isoformat()),
        )
        found = {
            day: DayReport(date=day, envelopes=envelopes, steps=steps, sessions=sessions, points=points)
            for day, envelopes, steps, sessions, points in rows
        }
        dates = [(first + timedelta(days=index)).isoformat() for index in range(days)]
        return [found.get(day) or DayReport(date=day, envelopes=0, steps=0, sessions=0, points=0) for day in dates]

    async def models(self) -> dict[str, ModelReport]:
        """The 100 models with most steps, most first, and the rest summed under "other"."""
        sums, steps_total = await self._named("models")
        return {
            name: ModelReport(
                sessions=each.sessions,
                steps=each.steps,
                points=each.points,
                percentage=round(100 * each.steps / steps_total, 1) if steps_total else 0,
            )
            for name, each in sums.items()
        }

    async def providers(self) -> dict[str, ProviderReport]:
        """The providers, likewise."""
        sums, _ = await self._named("providers")
        return {
            name: ProviderReport(sessions=each.sessions, steps=each.steps, points=each.points)
            for name, each in sums.items()
        }

    async def _named(self, table: str) -> tuple[dict[str, _Sums], int]:
        rows = await self._sessions.read(SELECT_NAMED[table])
        if not rows:
            return {}, 0
        sessions, steps, points = rows[0][4:]
        by_name = {name: _Sums(*each) for name, *each in (row[:4] for row in rows[:NAMES_MAX])}
        if len(rows) > NAMES_MAX:
            by_name.pop(OTHER, None)  # a model that is really called so is part of the rest
            rest = _Sums(
                sessions - sum(each.sessions for each in by_name.values()),
                steps - sum(each.steps for each in by_name.values()),
                round(points - sum(each.points for each in by_name.values()), POINTS_DECIMALS),
            )
            by_name[OTHER] = rest
        return by_name, steps
