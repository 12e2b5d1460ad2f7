"""What must hold within the databases, whatever the journals say: sums are sums, and facts have their counterparts; and
what lines must not say beside each other.
"""

import sqlite3
from typing import Final

from persistence.databases.database import Database
from persistence.format.records import Dropped, JournalName
from persistence.upkeep.findings import FINDINGS_MAX

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
    "a trajectory holds all steps of its session that did not come late": """
        SELECT session_id, t.steps, s.step_count FROM main.trajectories AS t JOIN main.sessions AS s USING (session_id)
        WHERE t.steps > s.step_count OR t.steps < s.step_count - (SELECT coalesce(sum(e.steps), 0)
            FROM main.processed_envelopes AS e WHERE e.session_id = s.session_id AND letter NOTNULL)
    """,
    FINISHED_CLOSES: """
        SELECT session_id, closed_by, closed_at FROM main.sessions
        WHERE status = 'closed' AND chunk_count > 0 AND trajectory_id IS NULL AND closed_by != 'withdrawn'
            AND NOT (placeholder = 1 AND substr(session_id, 1, 7) = 'erased_')
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
    "each session with a chunk is counted for one model and one agent": """
        SELECT totals.sessions_with_chunks, f.sessions, m.sessions, p.sessions
        FROM main.totals, (SELECT count(*) AS sessions FROM main.first_chunks) AS f,
            (SELECT coalesce(sum(sessions), 0) AS sessions FROM main.models) AS m,
            (SELECT coalesce(sum(sessions), 0) AS sessions FROM main.providers) AS p
        WHERE totals.sessions_with_chunks != f.sessions OR f.sessions != m.sessions OR f.sessions != p.sessions
    """,
    "a session is credited under the model and the agent that it is counted for": """
        SELECT session_id, t.model, f.model, t.provider, f.provider
        FROM main.trajectories AS t JOIN main.first_chunks AS f USING (session_id)
        WHERE (t.model != f.model OR t.provider != f.provider) AND EXISTS (SELECT 1 FROM main.processed_envelopes AS e
            WHERE e.session_id = t.session_id AND kind = 'CHUNK' AND letter IS NULL)
    """,
    "each sequence number of a session was accepted, refused or skipped": """
        SELECT session_id, expected_sequence FROM (SELECT session_id, expected_sequence,
            (SELECT count(*) FROM main.processed_envelopes AS e
                WHERE e.session_id = s.session_id AND sequence NOTNULL AND letter IS NULL)
            + (SELECT count(*) FROM main.refused_envelopes AS r WHERE r.session_id = s.session_id AND sequence NOTNULL)
            + (SELECT coalesce(sum(missing), 0) FROM main.sequence_gaps AS g WHERE g.session_id = s.session_id) AS known
            FROM main.sessions AS s)
        WHERE expected_sequence < known OR (expected_sequence > known
            AND (SELECT count(*) FROM main.refused_envelopes WHERE n <= :dropped_n) = :dropped_n)
    """,
    "a session that was opened has its keys": """
        SELECT session_id FROM main.sessions WHERE placeholder = 0 AND (server_private_key = '' OR shared_secret = '')
    """,
    "sessions are counted": """
        SELECT sessions, sessions_closed, sessions_unused FROM main.totals
        WHERE sessions != (SELECT count(*) FROM main.sessions)
            OR sessions_closed != (SELECT count(*) FROM main.sessions WHERE status = 'closed')
            OR sessions_unused != (SELECT count(*) FROM main.sessions
                WHERE status = 'active' AND envelope_count = 0 AND placeholder = 0)
    """,
    "envelopes are counted": """
        SELECT envelopes FROM main.totals
        WHERE envelopes != (SELECT count(*) FROM main.processed_envelopes WHERE kind != 'SERVER_CLOSE')
    """,
}
"""Each query finds the rows for which it does not."""


CONTRADICTIONS: Final = {
    JournalName.REFUSED: {
        "line {} has the id of line {} of the envelopes journal": """
            SELECT r.n, e.n FROM refused_envelopes AS r JOIN processed_envelopes AS e USING (envelope_id)
        """,
        "line {} refuses what line {} of the envelopes journal accepts: sequence {} of session {!r}": """
            SELECT r.n, e.n, sequence, session_id
            FROM refused_envelopes AS r JOIN processed_envelopes AS e USING (session_id, sequence)
            WHERE e.letter IS NOT r.n
        """,
        "line {1} refuses what line {0} refuses: sequence {2} of session {3!r}": """
            SELECT min(n), max(n), sequence, session_id FROM refused_envelopes WHERE sequence NOTNULL
            GROUP BY session_id, sequence HAVING count(*) > 1
        """,
    },
    JournalName.ENVELOPES: {
        "line {1} ends session {2!r}, which line {0} ended": """
            SELECT min(n), max(n), session_id FROM processed_envelopes WHERE kind IN ('SESSION_CLOSE', 'SERVER_CLOSE')
            GROUP BY session_id HAVING count(*) > 1
        """,
        "line {} is a chunk of session {!r}, which line {} ended": """
            SELECT c.n, session_id, e.n FROM processed_envelopes AS e JOIN processed_envelopes AS c USING (session_id)
            WHERE e.kind IN ('SESSION_CLOSE', 'SERVER_CLOSE') AND c.kind = 'CHUNK' AND c.n > e.n
                AND c.letter IS NULL
        """,
        "line {} of session {!r} has sequence {}, and the one before it {}": """
            SELECT n, session_id, sequence, before FROM (
                SELECT n, session_id, sequence, lag(sequence) OVER (PARTITION BY session_id ORDER BY n) AS before
                FROM processed_envelopes WHERE sequence NOTNULL AND letter IS NULL)
            WHERE sequence <= before
        """,
        "line {} says that it is taken in from line {} of the refused journal, which is of another envelope": """
            SELECT e.n, e.letter FROM processed_envelopes AS e JOIN refused_envelopes AS r ON r.n = e.letter
            WHERE e.session_id != r.session_id OR e.sequence IS NOT r.sequence
        """,
        "line {1} is taken in from the letter that line {0} is taken in from": """
            SELECT min(n), max(n) FROM processed_envelopes WHERE letter NOTNULL GROUP BY letter HAVING count(*) > 1
        """,
    },
    JournalName.CONSENT: {
        "line {} does not follow the event before it, in line {}: one of the two was changed, or what was between": """
            SELECT n, coalesce(before_n, 0) FROM (SELECT n, previous_sha256, lag(n) OVER (ORDER BY n) AS before_n,
                lag(sha256, 1, hex(zeroblob(32))) OVER (ORDER BY n) AS before FROM consent_events)
            WHERE previous_sha256 != before
        """,
    },
    JournalName.TRAJECTORIES: {
        "line {} is the trajectory of session {!r}, which has no chunk, or was not closed by {!r}": """
            SELECT n, session_id, t.closed_by FROM trajectories AS t JOIN sessions AS s USING (session_id)
            WHERE s.chunk_count = 0 OR s.closed_by IS NULL OR s.closed_by != t.closed_by
        """,
    },
}
"""Each query finds lines that a journal cannot have beside others: the sentence's parts are its columns."""


async def contradictions(sessions: Database) -> list[str]:
    """Say which lines contradict others, of those that are projected into this sessions.db."""
    return [
        f"{journal}: {sentence.format(*row)}"
        for journal, queries in CONTRADICTIONS.items()
        for sentence, query in queries.items()
        for row in await sessions.read(f"{query} LIMIT {FINDINGS_MAX}")
    ]


def wrong_sums(databases: sqlite3.Connection, dropped: Dropped) -> dict[tuple[str, str], str]:
    """Return what is wrong with the sums, by the check and the session or contributor (or "") that it is wrong for.

    Where refused envelopes were dropped and their rows lost with an earlier database, nobody knows what they used up.
    """
    wrong: dict[tuple[str, str], str] = {}
    parameters = {"rounding": ROUNDING_POINTS, "dropped_n": dropped.n}
    for name, query in SUMS.items():
        used = {parameter: value for parameter, value in parameters.items() if f":{parameter}" in query}
        for row in databases.execute(query, used):
            key = name, row[0] if isinstance(row[0], str) else ""
            wrong[key] = f"databases: it does not hold that {name}: {row}"
    return wrong
