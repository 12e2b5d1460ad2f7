"""Statistics come from the counters, bounded in size whatever clients name their models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

from persistence.databases.counters import Counters
from persistence.databases.database import Database, Statement
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.reports import DayReport, ModelReport, ProviderReport, Summary
from persistence.journals.dropping import QuotaStatistics
from persistence.settings.storage import StorageSettings


@asynccontextmanager
async def databases() -> AsyncIterator[tuple[Database, Database]]:
    async with (
        open_inline_database(None, SESSIONS_SCHEMA, StorageSettings(), applied_at="") as sessions,
        open_inline_database(None, LEDGER_SCHEMA, StorageSettings(), applied_at="") as ledger,
    ):
        yield sessions, ledger


async def run(database: Database, sql: str, *rows: tuple[str | int | float, ...]) -> None:
    await database.write([Statement(sql, rows or [()])], durable=False)


REFUSED = QuotaStatistics(stored_bytes=1_000_000, quota_bytes=5_000_000, days_dropped=6, dropped_bytes=10)


async def test_the_summary_takes_each_total_from_its_database() -> None:
    async with databases() as (sessions, ledger):
        await run(
            sessions,
            "UPDATE totals SET envelopes = 7, steps = 90, sessions = 5, sessions_closed = 2, sessions_unused = 1, "
            "refused_without_body = 4",
        )
        await run(ledger, "UPDATE totals SET contributors = 3, points = 33.5")
        assert await Counters(sessions, ledger).summary(2_000_000, REFUSED) == Summary(
            total_envelopes=7,
            total_steps=90,
            total_sessions=5,
            active_sessions=3,
            unique_contributors=3,
            storage_size_mb=2.86,
            total_points_awarded=33.5,
            unused_sessions=1,
            refused_size_mb=0.95,
            refused_quota_mb=4.77,
            refused_without_body=4,
            refused_days_dropped=6,
        )


async def test_days_without_traffic_are_zeros_and_the_oldest_comes_first() -> None:
    async with databases() as (sessions, ledger):
        await run(
            sessions, "INSERT INTO daily VALUES (?, 1, 2, 3, 4.5)", ("2026-02-27",), ("2026-03-01",), ("2026-03-02",)
        )
        assert await Counters(sessions, ledger).daily(3, date(2026, 3, 1)) == [
            DayReport(date="2026-02-27", envelopes=1, steps=2, sessions=3, points=4.5),
            DayReport(date="2026-02-28", envelopes=0, steps=0, sessions=0, points=0),
            DayReport(date="2026-03-01", envelopes=1, steps=2, sessions=3, points=4.5),
        ]


async def test_models_have_their_share_of_all_steps() -> None:
    async with databases() as (sessions, ledger):
        counters = Counters(sessions, ledger)
        assert await counters.models() == {}
        await run(sessions, "INSERT INTO models VALUES (?, 1, ?, 2.5)", ("b", 1), ("a", 2))
        await run(sessions, "UPDATE totals SET steps = 3, sessions_with_chunks = 2, points = 5")
        models = await counters.models()
        assert list(models) == ["a", "b"]
        assert models["a"] == ModelReport(sessions=1, steps=2, points=2.5, percentage=66.7)


async def test_beyond_a_hundred_models_the_rest_is_one_even_when_one_is_called_other() -> None:
    async with databases() as (sessions, ledger):
        rows = [(f"m{index:03}" if index else "other", 1_000 - index, 0.1) for index in range(103)]
        await run(sessions, "INSERT INTO models VALUES (?, 1, ?, ?)", *rows)
        await run(
            sessions,
            "UPDATE totals SET sessions_with_chunks = ?, steps = ?, points = ?",
            (103, sum(row[1] for row in rows), sum(row[2] for row in rows)),
        )
        models = await Counters(sessions, ledger).models()
        assert len(models) == 100
        assert list(models)[-1] == "other"
        assert (models["other"].sessions, models["other"].steps, models["other"].points) == (
            4,
            1_000 + 900 + 899 + 898,
            0.4,
        )


async def test_providers_are_reported_likewise() -> None:
    async with databases() as (sessions, ledger):
        await run(sessions, "INSERT INTO providers VALUES (?, 1, ?, 2.5)", ("codex", 1), ("gemini", 2))
        assert await Counters(sessions, ledger).providers() == {
            "gemini": ProviderReport(sessions=1, steps=2, points=2.5),
            "codex": ProviderReport(sessions=1, steps=1, points=2.5),
        }
