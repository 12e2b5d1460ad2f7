"""Sessions and the places of their steps, read from search.db beside the process that writes it. Blocking.

A page of sessions is found by the index that it is sorted by, so it costs the same wherever it begins; and a step by
its block, so it costs the same however many there are.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, get_args

from persistence.databases.search_reading import (
    PROGRESS_STEPS,
    SELECT_CONTRIBUTORS,
    SessionFilters,
    index_connection,
)
from persistence.databases.search_rows import COLUMNS, IndexedSession, indexed_session
from persistence.format.layout import DataLayout
from persistence.format.step_places import BLOCK_STEPS, StepBlock

SortKey = Literal["started_at", "step_count", "tokens", "quality", "points", "failed"]
SORT_KEYS: Final[tuple[SortKey, ...]] = get_args(SortKey)

SELECT_PAGE: Final = """
SELECT {columns} FROM sessions WHERE TRUE {filters} {behind} ORDER BY {key} {order}, n {order} LIMIT ?
"""
BEHIND: Final = "AND ({key}, n) {sign} (?, ?)"
SELECT_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE TRUE {filters} LIMIT ?)"
SELECT_ONE: Final = f"SELECT {COLUMNS} FROM sessions WHERE session_id = ?"  # noqa: S608
SELECT_NEAR: Final = f"""
SELECT {COLUMNS} FROM sessions WHERE contributor_id = ? AND {{condition}} ORDER BY started_at, n LIMIT ?
"""  # noqa: S608
SELECT_BLOCKS: Final = """
SELECT first, steps, turns, failed, CAST(counts AS BLOB), places FROM step_blocks WHERE n = ? AND first >= ?
ORDER BY first LIMIT ?
"""
SELECT_SUMMARIES: Final = """
SELECT first, steps, turns, failed, CAST(counts AS BLOB), x'' FROM step_blocks WHERE n = ? ORDER BY first
"""
SELECT_VALUES: Final = "SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT ?"
FACETS: Final = {
    "provider": "sessions",
    "model": "sessions",
    "domain": "sessions",
    "tier": "sessions",
    "outcome": "sessions",
    "tool": "tools",
}
"""Columns whose values can be listed, by their tables."""


class SessionReader:
    """One state of the index."""

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        connection.set_progress_handler(lambda: time.monotonic() > deadline, PROGRESS_STEPS)

    def __repr__(self) -> str:
        return "<SessionReader>"

    def page(
        self,
        filters: SessionFilters,
        key: SortKey,
        *,
        descending: bool,
        behind: tuple[Any, int] | None,
        limit: int,
    ) -> list[IndexedSession]:
        """Sessions in an order, at most `limit`; `behind` is the value of the key and the number of the one before."""
        assert key in SORT_KEYS, key
        condition, values = filters.condition()
        # A session without a start is sorted before all others, whichever way; so the key is never NULL.
        column = "coalesce(started_at, '')" if key == "started_at" else key
        after = "" if behind is None else BEHIND.format(key=column, sign="<" if descending else ">")
        sql = SELECT_PAGE.format(
            columns=COLUMNS, filters=condition, behind=after, key=column, order="DESC" if descending else "ASC"
        )
        return [indexed_session(row) for row in self._rows(sql, (*values, *(behind or ()), limit))]

    def count(self, filters: SessionFilters, limit: int) -> int:
        """How many sessions the filters leave; no more than `limit` are counted."""
        condition, values = filters.condition()
        ((count,),) = self._rows(SELECT_COUNT.format(filters=condition), (*values, limit))
        return int(count)

    def session(self, session_id: str) -> IndexedSession | None:
        """One session; None where the corpus has none, as far as the index has come."""
        return next((indexed_session(row) for row in self._rows(SELECT_ONE, (session_id,))), None)

    def sub_agents(self, session: IndexedSession, limit: int) -> list[IndexedSession]:
        """Sessions that this one began."""
        return self._near(session, "parent_lineage = ?", session.lineage, limit)

    def parents(self, session: IndexedSession, limit: int) -> list[IndexedSession]:
        """The session that began this one."""
        return self._near(session, "lineage = ?", session.parent_lineage, limit)

    def continued_by(self, session: IndexedSession, limit: int) -> list[IndexedSession]:
        """Sessions that go on from this one."""
        return self._near(session, "continues_session = ?", session.session_id, limit)

    def continues(self, session: IndexedSession) -> list[IndexedSession]:
        """The session that this one goes on from."""
        return self._near(session, "session_id = ?", session.continues_session, 1)

    def summaries(self, n: int) -> list[StepBlock]:
        """All blocks of a session's steps, without the places: for what is counted."""
        return self._blocks(SELECT_SUMMARIES, (n,))

    def blocks(self, n: int, place: int, limit: int = 1) -> list[StepBlock]:
        """Blocks from the one on that a step is in, at most `limit`."""
        first = (max(place, 1) - 1) // BLOCK_STEPS * BLOCK_STEPS + 1
        return self._blocks(SELECT_BLOCKS, (n, first, limit))

    def values(self, column: str, limit: int) -> list[str]:
        """What a column of FACETS holds, each value once, at most `limit`."""
        return [text for (text,) in self._rows(SELECT_VALUES.format(column=column, table=FACETS[column]), (limit,))]

    def contributors(self) -> list[str]:
        """Everybody of whom there is a session."""
        return [contributor_id for (contributor_id,) in self._rows(SELECT_CONTRIBUTORS, ())]

    def _near(self, session: IndexedSession, condition: str, value: str | None, limit: int) -> list[IndexedSession]:
        """Sessions of the same contributor: what joins them is their own word, and no word about anybody else's."""
        if value is None:
            return []
        rows = self._rows(SELECT_NEAR.format(condition=condition), (session.contributor_id, value, limit))
        return [each for each in map(indexed_session, rows) if each.n != session.n]

    def _blocks(self, sql: str, parameters: Sequence[Any]) -> list[StepBlock]:
        return [StepBlock(*row) for row in self._rows(sql, parameters)]

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()


@contextmanager
def session_reader(layout: DataLayout, timeout_s: float) -> Iterator[SessionReader]:
    """Open the index of a data directory as it is now; raises as `index_connection`."""
    with index_connection(layout, timeout_s) as (connection, deadline):
        yield SessionReader(connection, deadline)
