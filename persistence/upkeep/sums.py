"""What must hold within the databases, whatever the journals say: sums are sums, and facts have their counterparts."""

import sqlite3
from typing import Final

ROUNDING_POINTS: Final = 1e-6
"""Sums of points are of floating-point numbers, added in another order here than there."""

FINISHED_CLOSES: Final = "each closed session with chunks has a trajectory"

SUMS: Final = {
    "balances are the sums of credits": """
        SELECT contributor_id, total_points, total_sessions, (SELECT sum(points) FROM ledger.credits AS c
            WHERE c.contributor_id = b.contributor_id) AS points, (SELECT count(*) FROM ledger.credits AS c
            WHERE c.contributor_id = b.contributor_id) AS sessions
        FROM ledger.balances AS b
        WHERE abs(total_points - coalesce(points, 0)) > :rounding OR total_sessions != sessions
    """,
    "each credit has its trajectory and each trajectory its credit": """
        SELECT session_id, points FROM ledger.credits
            WHERE session_id NOT IN (SELECT session_id FROM main.trajectories)
        UNION ALL SELECT session_id, points FROM main.trajectories
            WHERE session_id NOT IN (SELECT session_id FROM ledger.credits)
    """,
    "credits are what trajectories were scored": """
        SELECT session_id, c.points, t.points FROM ledger.credits AS c JOIN main.trajectories AS t USING (session_id)
        WHERE c.points != t.points OR c.contributor_id != t.contributor_id
    """,
    "a trajectory holds all steps of its session": """
        SELECT session_id, t.steps, s.step_count FROM main.trajectories AS t JOIN main.sessions AS s USING (session_id)
        WHERE t.steps != s.step_count
    """,
    FINISHED_CLOSES: """
        SELECT session_id, closed_by, closed_at FROM main.sessions
        WHERE status = 'closed' AND chunk_count > 0 AND trajectory_id IS NULL
    """,
    "days, models, providers and totals agree": """
        SELECT totals.envelopes, totals.steps, totals.points, d.envelopes, d.steps, m.steps, p.steps, d.points
        FROM main.totals, (SELECT coalesce(sum(envelopes), 0) AS envelopes, coalesce(sum(steps), 0) AS steps,
            coalesce(sum(points), 0) AS points FROM main.daily) AS d,
            (SELECT coalesce(sum(steps), 0) AS steps FROM main.models) AS m,
            (SELECT coalesce(sum(steps), 0) AS steps FROM main.providers) AS p
        WHERE totals.envelopes != d.envelopes OR totals.steps != d.steps OR totals.steps != m.steps
            OR totals.steps != p.steps OR abs(totals.points - d.points) > :rounding * (1 + abs(d.points))
    """,
    "sessions are counted": """
        SELECT sessions, sessions_closed FROM main.totals WHERE sessions != (SELECT count(*) FROM main.sessions)
            OR sessions_closed != (SELECT count(*) FROM main.sessions WHERE status = 'closed')
    """,
    "envelopes are counted": """
        SELECT envelopes FROM main.totals
        WHERE envelopes != (SELECT count(*) FROM main.processed_envelopes WHERE kind != 'SERVER_CLOSE')
    """,
}
"""Each query finds the rows for which it does not."""


def wrong_sums(databases: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return what is wrong with the sums, by the check and the session or contributor (or "") that it is wrong for."""
    wrong: dict[tuple[str, str], str] = {}
    for name, query in SUMS.items():
        for row in databases.execute(query, {"rounding": ROUNDING_POINTS} if ":rounding" in query else {}):
            key = name, row[0] if isinstance(row[0], str) else ""
            wrong[key] = f"databases: it does not hold that {name}: {row}"
    return wrong
