"""Credits and balances in ledger.db, for reading: their rows come from `projection` and its triggers."""

from typing import Final

import msgspec

from persistence.databases.database import Database
from persistence.databases.remembered_rows import RememberedRows
from persistence.databases.reports import LeaderboardEntry
from persistence.format import times
from persistence.format.erased_names import NAME_DIGITS, REQUEST_PREFIX

CONTRIBUTOR_ID_SHOWN_CHARS = 8
"""How much of a contributor's id a leaderboard shows (contract, "CentralStats")."""

ERASED_GLOB: Final = f"{REQUEST_PREFIX}{'[0-9a-f]' * NAME_DIGITS}"
"""Whom the credits of erased contributors stay with: no client's id, which are hexadecimal digits."""


class LedgerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all credits."""

    credits: int
    contributors: int
    points: float


class CreditRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a session was credited with; `created_at` is seconds since the epoch."""

    contributor_id: str
    session_id: str
    points: float
    base_points: int
    multiplier_breakdown: str
    created_at: float


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What a contributor has; `trust_score` is within 0 and 10."""

    contributor_id: str
    total_points: float
    total_sessions: int
    last_credit_at: float | None
    trust_score: float


class Ledger:
    """Credits and balances."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered = RememberedRows(database)

    async def credit(self, session_id: str) -> CreditRow | None:
        """What the session was credited with."""
        rows = await self._database.read(
            "SELECT contributor_id, points, base_points, multiplier_breakdown, created_at FROM credits "
            "WHERE session_id = ?",
            (session_id,),
        )
        for contributor_id, points, base_points, multiplier_breakdown, created_at in rows:
            return CreditRow(
                contributor_id=contributor_id,
                session_id=session_id,
                points=points,
                base_points=base_points,
                multiplier_breakdown=multiplier_breakdown,
                created_at=times.from_text(created_at),
            )
        return None

    async def balance(self, contributor_id: str) -> Balance | None:
        """What the contributor has."""
        rows = await self._database.read(
            "SELECT total_points, total_sessions, last_credit_at, trust_score FROM balances WHERE contributor_id = ?",
            (contributor_id,),
        )
        for total_points, total_sessions, last_credit_at, trust_score in rows:
            return Balance(
                contributor_id=contributor_id,
                total_points=total_points,
                total_sessions=total_sessions,
                last_credit_at=None if last_credit_at is None else times.from_text(last_credit_at),
                trust_score=trust_score,
            )
        return None

    async def leaderboard(self, limit: int) -> list[LeaderboardEntry]:
        """The `limit` contributors with the most points, equal ones by id; ids cut to 8 characters.

        What stays of an erased contributor is an amount, and nobody's.
        """
        rows = await self._remembered.read(
            "SELECT contributor_id, total_points, total_sessions FROM balances WHERE contributor_id NOT GLOB ? "
            "ORDER BY total_points DESC, contributor_id LIMIT ?",
            (ERASED_GLOB, limit),
        )
        return [
            LeaderboardEntry(
                contributor_id=contributor_id[:CONTRIBUTOR_ID_SHOWN_CHARS],
                total_points=total_points,
                total_sessions=total_sessions,
            )
            for contributor_id, total_points, total_sessions in rows
        ]

    async def totals(self) -> LedgerTotals:
        """Sums over all credits."""
        ((credits_count, contributors, points),) = await self._database.read(
            "SELECT credits, contributors, points FROM totals"
        )
        return LedgerTotals(credits=credits_count, contributors=contributors, points=points)
