"""Where runs of steps were first seen, in ledger.db: which trajectory, which step.

The rows are projected from the trajectories journal (`persistence.databases.projection`). The keys are chance, so each
that is looked up is on a page of its own: they are asked for in order, and so many at a time that neither a query nor
its answer is large, in the thread of the database's reader.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database

LOOKED_UP_AT_ONCE: Final = 4_096
"""Fingerprints in one query."""

SELECT_SEEN: Final = """
SELECT f.fingerprint, f.n, f.step FROM json_each(?) AS asked CROSS JOIN fingerprints AS f
ON f.fingerprint = asked.value
"""
SELECT_SOURCES: Final = (
    "SELECT n, session_id, trajectory_id FROM fingerprinted WHERE n IN (SELECT value FROM json_each(?))"
)


class FirstSeen(msgspec.Struct, frozen=True):
    """Where a run of steps was first seen: line `n` of the trajectories journal, and its first step's place, from 1."""

    n: int
    step: int
    session_id: str
    trajectory_id: str


class Fingerprints:
    """The fingerprints of a ledger.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<Fingerprints {self._database!r}>"

    async def first_seen(self, fingerprints: Iterable[int], *, before_n: int | None = None) -> dict[int, FirstSeen]:
        """Those that were seen, each with where that was; with `before_n` only in lines before that one."""
        asked = sorted(set(fingerprints))
        found: dict[int, tuple[int, int]] = {}
        for start in range(0, len(asked), LOOKED_UP_AT_ONCE):
            rows = await self._database.read(SELECT_SEEN, (_listed(asked[start : start + LOOKED_UP_AT_ONCE]),))
            found |= {fingerprint: (n, step) for fingerprint, n, step in rows if before_n is None or n < before_n}
        sources = await self._sources(sorted({n for n, _ in found.values()}))
        return {fingerprint: FirstSeen(n, step, *sources[n]) for fingerprint, (n, step) in found.items()}

    async def _sources(self, lines: Sequence[int]) -> dict[int, tuple[str, str]]:
        sources: dict[int, tuple[str, str]] = {}
        for start in range(0, len(lines), LOOKED_UP_AT_ONCE):
            rows = await self._database.read(SELECT_SOURCES, (_listed(lines[start : start + LOOKED_UP_AT_ONCE]),))
            sources |= {n: (session_id, trajectory_id) for n, session_id, trajectory_id in rows}
        return sources


def _listed(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
