"""The ledger answers what trajectories were credited with."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from persistence.databases.database import Database
from persistence.databases.ledger import Balance, CreditRow, Ledger, LedgerTotals
from persistence.databases.migrations import LEDGER_SCHEMA, Schema
from persistence.databases.projection import project_ledger
from persistence.databases.reports import LeaderboardEntry
from persistence.format import times
from persistence.format.records import ClosedBy, Committed, Position, TrajectoryRecord


class OpenDatabase(Protocol):
    """One of the ways to open a database (conftest.py)."""

    def __call__(self, path: Path, schema: Schema) -> AbstractAsyncContextManager[Database]: ...


NOON = times.from_text("2026-11-20T12:00:00.000000Z")


async def credit(database: Database, *earned: tuple[str, float]) -> None:
    batch = [
        Committed(
            TrajectoryRecord(
                trajectory_id=f"traj_{n}",
                session_id=f"sess_{n}",
                contributor_id=contributor_id,
                provider="codex",
                model="gpt-5.5",
                steps=1,
                tokens=1,
                chunks=1,
                base_points=6,
                total_points=points,
                multiplier_breakdown='{"basePoints":6}',
                closed_by=ClosedBy.SESSION_CLOSE,
            ),
            Position(n=n, day="2026-11-20", offset=0, length=1, at=NOON + n),
        )
        for n, (contributor_id, points) in enumerate(earned, start=1)
    ]
    await database.write(project_ledger(batch), durable=False)


async def test_a_credit_and_its_balance_are_read_back(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        ledger = Ledger(database)
        await credit(database, ("c0ffee", 33.5), ("c0ffee", 6.5))
        assert await ledger.credit("sess_1") == CreditRow(
            contributor_id="c0ffee",
            session_id="sess_1",
            points=33.5,
            base_points=6,
            multiplier_breakdown='{"basePoints":6}',
            created_at=NOON + 1,
        )
        assert await ledger.balance("c0ffee") == Balance(
            contributor_id="c0ffee", total_points=40, total_sessions=2, last_credit_at=NOON + 2, trust_score=1
        )
        assert await ledger.totals() == LedgerTotals(credits=2, contributors=1, points=40)


async def test_an_empty_ledger_has_nothing_and_says_so(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        ledger = Ledger(database)
        assert await ledger.credit("sess_1") is None
        assert await ledger.balance("c0ffee") is None
        assert await ledger.leaderboard(10) == []
        assert await ledger.totals() == LedgerTotals(credits=0, contributors=0, points=0)


async def test_the_leaderboard_has_most_points_first_equal_ones_by_id_and_short_ids(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        await credit(database, ("b" * 32, 5), ("a" * 32, 5), ("c" * 32, 9), ("d" * 32, 1))
        assert await Ledger(database).leaderboard(3) == [
            LeaderboardEntry(contributor_id="cccccccc", total_points=9, total_sessions=1),
            LeaderboardEntry(contributor_id="aaaaaaaa", total_points=5, total_sessions=1),
            LeaderboardEntry(contributor_id="bbbbbbbb", total_points=5, total_sessions=1),
        ]


async def test_the_leaderboard_has_nobody_who_was_erased(open_any: OpenDatabase, tmp_path: Path) -> None:
    """Their credits stay with a name that is nobody's, so that sums agree; who only looks like it stays."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        await credit(database, ("er_0123456789abcdef", 9), ("er_mine", 5), ("a" * 32, 1))
        ledger = Ledger(database)
        assert [each.contributor_id for each in await ledger.leaderboard(10)] == ["er_mine", "aaaaaaaa"]
        assert (await ledger.totals()).points == 15
