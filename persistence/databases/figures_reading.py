"""Figures of the corpus and of its contributors, read beside the processes that write the databases. Blocking.

Tools and findings are summed over rows of search.db that hold one session each, so that any time and any model can be
asked for, and what is erased is in no sum. Every question ends by a time.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from persistence.databases.database import SQLITE_ERRORS, failure_of
from persistence.databases.migrations import CORPUS_SCHEMA, LEDGER_SCHEMA, SESSIONS_SCHEMA, Schema
from persistence.databases.reading import check_version, connected_to_read
from persistence.databases.search_reading import (
    NO_FILTERS,
    PROGRESS_STEPS,
    SearchTimedOut,
    SessionFilters,
    index_connection,
)
from persistence.files.failures import NoDataDirectory
from persistence.format.consent_events import subject_digest
from persistence.format.erased_names import REQUEST_PREFIX
from persistence.format.json_text import array_of
from persistence.format.layout import DataLayout

ToolKey = Literal["tool", "calls", "failures", "failed_share", "sessions", "total_ms", "average_ms", "slowest_ms"]
TOOL_KEYS: Final[tuple[ToolKey, ...]] = get_args(ToolKey)
ContributorKey = Literal["points", "sessions", "last", "trust"]
CONTRIBUTOR_KEYS: Final[tuple[ContributorKey, ...]] = get_args(ContributorKey)

LISTED_MAX: Final = 50
"""Categories and domains that are listed."""

SELECT_TOOLS: Final = """
WITH by_tool AS MATERIALIZED (
    SELECT tool, sum(calls) AS calls, sum(failures) AS failures, sum(timed) AS timed, sum(total_ms) AS total_ms,
        max(slowest_ms) AS slowest_ms, n AS slowest_n, slowest_step, count(*) AS sessions
    FROM {tables} GROUP BY tool
), totals AS MATERIALIZED (SELECT count(*), sum(calls), sum(failures) FROM by_tool)
SELECT by_tool.*, totals.* FROM by_tool CROSS JOIN totals ORDER BY {order}, tool LIMIT ? OFFSET ?
"""
FEW_SESSIONS: Final = 5_000
"""Of no more sessions than these, the rows are looked up one by one; of more, all rows are gone over."""

COUNT_CHOSEN: Final = "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE TRUE {filters} LIMIT ?)"
OF_FEW: Final = "sessions CROSS JOIN tool_calls USING (n) WHERE TRUE {filters}"
# With the sign no index is used: in the order of the table the rows of a tool are beside each other.
OF_MANY: Final = "tool_calls WHERE +n IN (SELECT n FROM sessions WHERE TRUE {filters})"
TOOL_ORDERS: Final = {
    "failed_share": "CAST(failures AS REAL) / calls",
    "average_ms": "CAST(total_ms AS REAL) / nullif(timed, 0)",
}
SELECT_SLOWEST: Final = "SELECT n, session_id FROM sessions WHERE n IN (SELECT value FROM json_each(?))"
SELECT_FINDINGS: Final = """
SELECT category, sum(found), count(*) FROM findings GROUP BY category ORDER BY sum(found) DESC, category LIMIT ?
"""
SELECT_DOMAINS: Final = """
SELECT coalesce(domain, 'none'), count(*) FROM sessions GROUP BY domain ORDER BY count(*) DESC, domain LIMIT ?
"""
SELECT_CLUSTERS: Final = """
SELECT cluster, count(*), min(session_id) FROM records GROUP BY cluster HAVING count(*) > 1
ORDER BY count(*) DESC, cluster LIMIT ?
"""
SELECT_BALANCES: Final = """
SELECT contributor_id, total_points, total_sessions, last_credit_at, trust_score FROM balances
WHERE substr(contributor_id, 1, {prefix}) != '{erased}' ORDER BY {key} {order}, contributor_id LIMIT ? OFFSET ?
"""
SELECT_LEDGER: Final = """
SELECT contributors, points, (SELECT count(*) FROM balances WHERE contributor_id GLOB '{erased}*') FROM totals
"""
SELECT_CONSENTS: Final = """
SELECT subject, state, version, changed_at FROM consents WHERE subject IN (SELECT value FROM json_each(?))
"""
SELECT_STATES: Final = """
SELECT coalesce(state, 'none'), count(*) FROM consents
WHERE subject NOT IN (SELECT value FROM json_each(?)) GROUP BY state
"""
SELECT_RECORDS: Final = """
SELECT contributor_id, count(*) FROM records WHERE contributor_id IN (SELECT value FROM json_each(?))
GROUP BY contributor_id
"""
CONTRIBUTOR_ORDERS: Final = {
    "points": "total_points",
    "sessions": "total_sessions",
    "last": "coalesce(last_credit_at, '')",
    "trust": "trust_score",
}


class ToolTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of a tool in all chosen sessions; `slowest_session` and `slowest_step` are where the slowest was."""

    tool: str
    calls: int
    failures: int
    timed: int
    total_ms: int
    slowest_ms: int
    slowest_session: str | None
    slowest_step: int
    sessions: int

    @property
    def average_ms(self) -> float | None:
        """Of the calls whose duration is known; None without any."""
        return self.total_ms / self.timed if self.timed else None


class ToolPage(msgspec.Struct, frozen=True):
    """Tools in an order; `tools_count`, `calls` and `failures` are of all that were chosen."""

    tools: list[ToolTotals]
    tools_count: int
    calls: int
    failures: int
    has_more: bool


class Count(msgspec.Struct, frozen=True):
    """How often something was found, and in how many sessions."""

    name: str
    count: int
    sessions: int


class Cluster(msgspec.Struct, frozen=True):
    """Records that are near copies of each other: how many, and the session of one of them."""

    cluster: str
    records: int
    session_id: str


class IndexTotals(msgspec.Struct, frozen=True):
    """What of the corpus only its index tells: findings by placeholder, and sessions by domain, most first."""

    findings: list[Count]
    domains: list[tuple[str, int]]


class ContributorRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a contributor has. `consent` is None without a word of theirs; times are texts.

    The id is theirs, a secret: who shows rows shows a pseudonym in its place.
    """

    contributor_id: str
    points: float
    sessions: int
    last_credit_at: str | None
    trust: float
    records: int
    consent: str | None
    version: str | None
    changed_at: str | None


class ContributorPage(msgspec.Struct, frozen=True):
    """Contributors in an order; `contributors` and `consents` (by state) are of all but those who were erased.

    `points` are all that were credited, also what stays of whom or what was erased, in the name of `erased` requests.
    """

    rows: list[ContributorRow]
    contributors: int
    points: float
    consents: dict[str, int]
    erased: int
    has_more: bool


def tool_page(
    layout: DataLayout,
    filters: SessionFilters,
    key: ToolKey,
    *,
    descending: bool,
    offset: int,
    limit: int,
    timeout_s: float,
) -> ToolPage:
    """The tools of the chosen sessions behind so many others; raises as `index_connection`."""
    assert key in TOOL_KEYS, key
    condition, values = filters.condition()
    order = f"{TOOL_ORDERS.get(key, key)} {'DESC' if descending else 'ASC'}"
    with index_connection(layout, timeout_s) as (connection, deadline):
        _end_by(connection, deadline)
        tables = "tool_calls"
        if filters != NO_FILTERS:
            count = COUNT_CHOSEN.format(filters=condition)
            ((chosen,),) = connection.execute(count, (*values, FEW_SESSIONS + 1)).fetchall()
            tables = (OF_FEW if chosen <= FEW_SESSIONS else OF_MANY).format(filters=condition)
        sql = SELECT_TOOLS.format(tables=tables, order=order)
        rows = connection.execute(sql, (*values, limit + 1, offset)).fetchall()
        shown = rows[:limit]
        numbers = msgspec.json.encode([row[6] for row in shown if row[7]]).decode()
        slowest = dict(connection.execute(SELECT_SLOWEST, (numbers,)).fetchall())
    tools_count, calls, failures = rows[0][-3:] if rows else (0, 0, 0)
    return ToolPage([_tool(row, slowest) for row in shown], tools_count, calls, failures, len(rows) > limit)


def _tool(row: tuple[Any, ...], slowest: dict[int, str]) -> ToolTotals:
    tool, calls, failures, timed, total_ms, slowest_ms, slowest_n, slowest_step, sessions, *_ = row
    return ToolTotals(
        tool=tool,
        calls=calls,
        failures=failures,
        timed=timed,
        total_ms=total_ms,
        slowest_ms=slowest_ms,
        slowest_session=slowest.get(slowest_n),
        slowest_step=slowest_step,
        sessions=sessions,
    )


def index_totals(layout: DataLayout, timeout_s: float) -> IndexTotals:
    """What the index tells of the whole corpus; raises as `index_connection`."""
    with index_connection(layout, timeout_s) as (connection, deadline):
        _end_by(connection, deadline)
        findings = [Count(*row) for row in connection.execute(SELECT_FINDINGS, (LISTED_MAX,))]
        return IndexTotals(findings, connection.execute(SELECT_DOMAINS, (LISTED_MAX,)).fetchall())


def clusters(layout: DataLayout, limit: int, timeout_s: float) -> list[Cluster]:
    """The largest groups of near copies, at most `limit`; none without a corpus."""
    with _reading(layout.corpus_database, CORPUS_SCHEMA, timeout_s) as connection:
        return [] if connection is None else [Cluster(*row) for row in connection.execute(SELECT_CLUSTERS, (limit,))]


def contributor_page(
    layout: DataLayout,
    key: ContributorKey,
    *,
    descending: bool,
    offset: int,
    limit: int,
    erased: Collection[str],
    timeout_s: float,
) -> ContributorPage:
    """Contributors behind so many others, those that were erased left out. Raises NoDataDirectory, DatabaseFailure.

    `erased` are those of whom nothing is taken any more, as `consents` names them: what they said stays there.
    """
    sql = SELECT_BALANCES.format(
        key=CONTRIBUTOR_ORDERS[key],
        order="DESC" if descending else "ASC",
        prefix=len(REQUEST_PREFIX),
        erased=REQUEST_PREFIX,
    )
    with _reading(layout.ledger_database, LEDGER_SCHEMA, timeout_s) as ledger:
        if ledger is None:
            raise NoDataDirectory(f"{layout.root} holds no ledger.")
        rows = ledger.execute(sql, (limit + 1, offset)).fetchall()
        ((balances, points, requests),) = ledger.execute(SELECT_LEDGER.format(erased=REQUEST_PREFIX)).fetchall()
    shown = rows[:limit]
    subjects = {row[0]: subject_digest(row[0]) for row in shown}
    with _reading(layout.sessions_database, SESSIONS_SCHEMA, timeout_s) as sessions:
        said = {} if sessions is None else _said(sessions, [*subjects.values()])
        states = {} if sessions is None else dict(sessions.execute(SELECT_STATES, (array_of(erased),)).fetchall())
    with _reading(layout.corpus_database, CORPUS_SCHEMA, timeout_s) as corpus:
        ids = array_of([*subjects])
        records = {} if corpus is None else dict(corpus.execute(SELECT_RECORDS, (ids,)).fetchall())
    listed = []
    for contributor_id, total, count, last_credit_at, trust in shown:
        state, version, changed_at = said.get(subjects[contributor_id], (None, None, None))
        listed.append(
            ContributorRow(
                contributor_id=contributor_id,
                points=total,
                sessions=count,
                last_credit_at=last_credit_at,
                trust=trust,
                records=records.get(contributor_id, 0),
                consent=state,
                version=version,
                changed_at=changed_at,
            )
        )
    return ContributorPage(listed, balances - requests, points, states, requests, len(rows) > limit)


def _said(sessions: sqlite3.Connection, subjects: list[str]) -> dict[str, tuple[str | None, str | None, str | None]]:
    rows = sessions.execute(SELECT_CONSENTS, (array_of(subjects),))
    return {subject: (state, version, changed_at) for subject, state, version, changed_at in rows}


@contextmanager
def _reading(path: Path, schema: Schema, timeout_s: float) -> Iterator[sqlite3.Connection | None]:
    """One state of a database, for questions that end within `timeout_s`; None where there is none."""
    if not path.exists():
        yield None
        return
    deadline = time.monotonic() + timeout_s
    try:
        with connected_to_read(path) as connection:
            connection.execute("BEGIN")
            check_version(connection, schema)
            _end_by(connection, deadline)
            yield connection
    except SQLITE_ERRORS as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise SearchTimedOut from None
        raise failure_of(error, schema.name) from error


def _end_by(connection: sqlite3.Connection, deadline: float) -> None:
    connection.set_progress_handler(lambda: time.monotonic() > deadline, PROGRESS_STEPS)
