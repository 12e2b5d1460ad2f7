"""Questions to search.db, beside the process that writes it. Blocking; each ends by a time.

Rows of `steps` are numbered by the lines that they come from, so going from the highest number down is going from what
came last to what came first. Matches are looked for so, in windows that grow: whoever wants twenty has them after a
small part of the index, however common a word is, and at the end of its time a question keeps what it has found.

Ranking needs all matches, and how many rows hold each word (bm25: sqlite.org/fts5.html). So it is done only where no
word is in more rows than may be ranked.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from persistence.databases.database import SQLITE_ERRORS, failure_of
from persistence.databases.migrations import SEARCH_SCHEMA
from persistence.databases.reading import check_version, connected_to_read
from persistence.databases.search_rows import COLUMNS, PLACE_BITS, IndexedSession, indexed_session, row_of
from persistence.files.failures import none_of_a_corpus
from persistence.format.json_text import array_of
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName

NONE: Final = "none"
"""Stands for a domain, or an outcome, that nobody named."""

WINDOW_LINES: Final = 1_024
"""Lines of the corpus that the first window has; each one behind it has twice as many."""

FEW_SESSIONS: Final = 400
"""Where the filters leave no more sessions than these, the steps of each are looked through by themselves."""

PROGRESS_STEPS: Final = 10_000
"""Steps of SQLite's machine between two looks at the clock: some hundred microseconds."""

ROW_MAX: Final = 2**62

SELECT_STEPS: Final = """
SELECT steps.rowid FROM steps CROSS JOIN sessions ON sessions.n = steps.rowid >> 24
WHERE steps MATCH ? AND steps.rowid BETWEEN ? AND ? {filters} ORDER BY steps.rowid DESC LIMIT ?
"""
SELECT_RANKED: Final = """
SELECT bm25(steps) AS score, steps.rowid AS row FROM steps CROSS JOIN sessions ON sessions.n = steps.rowid >> 24
WHERE steps MATCH ? {filters} ORDER BY score, row DESC LIMIT ?
"""
SELECT_MORE_THAN: Final = "SELECT 1 FROM steps WHERE steps MATCH ? LIMIT 1 OFFSET ?"
SELECT_FEW: Final = "SELECT n FROM sessions WHERE n <= ? {filters} ORDER BY n DESC LIMIT ?"
SELECT_RANGE: Final = "SELECT coalesce(min(n), 1), coalesce(max(n), 0) FROM sessions WHERE TRUE {filters}"
SELECT_SESSIONS: Final = f"SELECT {COLUMNS} FROM sessions WHERE n IN (SELECT value FROM json_each(?))"  # noqa: S608
SELECT_PASSING: Final = "SELECT n FROM sessions WHERE TRUE {filters}"
SELECT_CONTRIBUTORS: Final = "SELECT DISTINCT contributor_id FROM sessions"
SELECT_EMBEDDINGS: Final = "SELECT place, n, vector FROM embeddings WHERE place > ? ORDER BY place LIMIT ?"
SELECT_EMBEDDED: Final = "SELECT count(*) FROM embeddings"
SELECT_REACHED: Final = "SELECT n FROM projection_positions WHERE journal = ?"

ANY_OF: Final = "{column} IN (SELECT value FROM json_each(?))"
USES_ANY: Final = """
EXISTS (SELECT 1 FROM tools WHERE tools.n = sessions.n AND tools.tool IN (SELECT value FROM json_each(?)))
"""


class SessionFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are looked through: all of these must hold; of several values of one, any.

    `domains` and `outcomes` may be `none`. `after` and `before` are times of a session's start, or beginnings of such.
    `contributor_ids` None asks for nothing, an empty tuple for sessions that there are none of.
    """

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    contributor_ids: tuple[str, ...] | None = None
    after: str | None = None
    before: str | None = None

    @property
    def leave_all(self) -> bool:
        """Whether they leave out nothing."""
        return self == NO_FILTERS

    def condition(self) -> tuple[str, list[Any]]:
        """Further conditions of a query over `sessions`, and their parameters."""
        parts, values = list[str](), list[Any]()
        for column, wanted in (("provider", self.providers), ("model", self.models), ("tier", self.tiers)):
            if wanted:
                parts.append(ANY_OF.format(column=f"sessions.{column}"))
                values.append(array_of(wanted))
        for column, wanted in (("domain", self.domains), ("outcome", self.outcomes)):
            if wanted:
                or_none = f" OR sessions.{column} IS NULL" if NONE in wanted else ""
                parts.append(f"({ANY_OF.format(column=f'sessions.{column}')}{or_none})")
                values.append(array_of(wanted))
        if self.contributor_ids is not None:
            parts.append(ANY_OF.format(column="sessions.contributor_id"))
            values.append(array_of(self.contributor_ids))
        if self.tools:
            parts.append(USES_ANY)
            values.append(array_of(self.tools))
        for sign, at in ((">=", self.after), ("<", self.before)):
            if at is not None:
                parts.append(f"sessions.started_at {sign} ?")
                values.append(at)
        return "".join(f" AND {part}" for part in parts), values


NO_FILTERS: Final = SessionFilters()


class Matches(msgspec.Struct, frozen=True):
    """Rows of `steps`, the newest first.

    `looked_down_to` is below which row nothing was looked at, because the time ended; None where it did not.
    """

    rows: list[int]
    looked_down_to: int | None = None


class SearchTimedOut(Exception):  # noqa: N818 (a state of the question, not an error in a call)
    """The time ended before anything could be answered."""


class SearchReader:
    """One state of the index, and the time by which its questions end."""

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        connection.set_progress_handler(self._is_over, PROGRESS_STEPS)

    def __repr__(self) -> str:
        return "<SearchReader>"

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def newest(self, expression: str, filters: SessionFilters, *, below: int, limit: int) -> Matches:
        """The newest rows below a number that match an expression of FTS5, at most `limit`."""
        found, looked_down_to = list[int](), below
        try:
            for low, high in self._windows(filters, below):
                found += self._matches(expression, filters, low, high, limit - len(found))
                if len(found) >= limit:
                    break
                looked_down_to = low
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT or not found:
                raise
            return Matches(found, looked_down_to)
        return Matches(found)

    def ranked(
        self, expression: str, words: Sequence[str], filters: SessionFilters, matches_max: int
    ) -> list[tuple[float, int]] | None:
        """All matches with their scores, the best (lowest) first; None where any of the words is in too many rows.

        Words, and not the phrases that they make: how rare a phrase of common words is, only reading all of them tells.
        """
        if any(self._rows(SELECT_MORE_THAN, (word, matches_max)) for word in words):
            return None
        condition, values = filters.condition()
        return self._rows(SELECT_RANKED.format(filters=condition), (expression, *values, matches_max))

    def sessions(self, numbers: Sequence[int]) -> dict[int, IndexedSession]:
        """The records of these lines, as far as they are there, by the numbers of the lines; it takes no time."""
        self._connection.set_progress_handler(None, 0)
        rows = self._rows(SELECT_SESSIONS, (msgspec.json.encode(sorted(set(numbers))).decode(),))
        return {each.n: each for each in map(indexed_session, rows)}

    def passing(self, filters: SessionFilters) -> list[int]:
        """The numbers of the lines of all sessions that the filters leave."""
        condition, values = filters.condition()
        return [n for (n,) in self._rows(SELECT_PASSING.format(filters=condition), values)]

    def contributors(self) -> list[str]:
        """Everybody of whom there is a session."""
        return [contributor_id for (contributor_id,) in self._rows(SELECT_CONTRIBUTORS, ())]

    def embeddings(self, behind: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Embeddings behind a place, in order: place, number of the session's line, vector."""
        return self._rows(SELECT_EMBEDDINGS, (behind, limit))

    def embedded(self) -> int:
        """How many embeddings there are."""
        ((count,),) = self._rows(SELECT_EMBEDDED, ())
        return int(count)

    def reached_n(self) -> int:
        """The number of the last line of the corpus that is in the index."""
        rows = self._rows(SELECT_REACHED, (JournalName.CORPUS,))
        return int(rows[0][0]) if rows else 0

    def _windows(self, filters: SessionFilters, below: int) -> Iterator[tuple[int, int]]:
        """The parts of the index that have to be looked through, from the highest numbers down."""
        few = None if filters.leave_all else self._few(filters, below)
        if few is not None:
            for n in few:
                yield row_of(n, 0), min(row_of(n + 1, 0), below) - 1
            return
        oldest, newest = self._range(filters)
        high_n, lines = min(newest, below >> PLACE_BITS), WINDOW_LINES
        while high_n >= oldest:
            low_n = max(oldest, high_n - lines)
            yield row_of(low_n, 0), min(row_of(high_n + 1, 0), below) - 1
            high_n, lines = low_n - 1, lines * 2

    def _range(self, filters: SessionFilters) -> tuple[int, int]:
        """Between which lines the sessions of a time are: what started together came together, more or less."""
        condition, values = SessionFilters(after=filters.after, before=filters.before).condition()
        ((oldest, newest),) = self._rows(SELECT_RANGE.format(filters=condition), values)
        return int(oldest), int(newest)

    def _few(self, filters: SessionFilters, below: int) -> list[int] | None:
        condition, values = filters.condition()
        parameters = (below >> PLACE_BITS, *values, FEW_SESSIONS + 1)
        found = self._rows(SELECT_FEW.format(filters=condition), parameters)
        return None if len(found) > FEW_SESSIONS else [n for (n,) in found]

    def _matches(self, expression: str, filters: SessionFilters, low: int, high: int, limit: int) -> list[int]:
        condition, values = filters.condition()
        parameters = (expression, low, high, *values, limit)
        return [row for (row,) in self._rows(SELECT_STEPS.format(filters=condition), parameters)]

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()


@contextmanager
def search_reader(layout: DataLayout, timeout_s: float) -> Iterator[SearchReader]:
    """Open the index of a data directory as it is now, for questions that end within `timeout_s`.

    Raises as `index_connection`.
    """
    with index_connection(layout, timeout_s) as (connection, deadline):
        yield SearchReader(connection, deadline)


@contextmanager
def index_connection(layout: DataLayout, timeout_s: float) -> Iterator[tuple[sqlite3.Connection, float]]:
    """A connection to one state of the index, and the time by which its questions are to end (`time.monotonic`).

    Raises NoDataDirectory where there is none, SearchTimedOut, DatabaseFailure when it is of another version of the
    program.
    """
    deadline = time.monotonic() + timeout_s
    if not layout.search_database.exists():
        raise none_of_a_corpus(layout.root, "index of a corpus")
    try:
        with connected_to_read(layout.search_database) as connection:
            connection.execute("BEGIN")
            check_version(connection, SEARCH_SCHEMA)
            yield connection, deadline
    except SQLITE_ERRORS as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise SearchTimedOut from None
        raise failure_of(error, SEARCH_SCHEMA.name) from error
