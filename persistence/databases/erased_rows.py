"""What an erasure does to rows: they get the names that a projection of the erased lines gives them, and no others.

A session's row is replaced by one without its opening; its lines' rows, its trajectory and its credit are given its new
name. Sums stay what they were, because what is counted stays. Each statement finds nothing when it is run again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from persistence.databases.database import Database, Statement
from persistence.databases.projection import NOTE_CONTRIBUTOR
from persistence.format.erased_names import session_digits, session_name, trajectory_name
from persistence.format.json_text import array_of
from persistence.format.records import JournalName, Position
from persistence.format.times import from_text, to_text

# ?1 is the session's id, ?2 its new one, ?3 the request, ?4 the trajectory's new id.
_TIMES: Final = """
SELECT processed_at AS at FROM processed_envelopes WHERE session_id = ?1
UNION ALL SELECT refused_at FROM refused_envelopes WHERE session_id = ?1
UNION ALL SELECT created_at FROM trajectories WHERE session_id = ?1
"""
INSERT_SESSION: Final = f"""
INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider,
    model, machine_fingerprint, app_version_hash, groove_version, expected_sequence, envelope_count, status,
    created_at, closed_at, closed_by, chunk_count, step_count, bytes_total, last_activity_at, trajectory_id,
    placeholder)
SELECT ?2, '', '', '', '', '', '', '', '', '', expected_sequence, envelope_count, status,
    coalesce((SELECT min(at) FROM ({_TIMES})), created_at), closed_at, closed_by, chunk_count, step_count, bytes_total,
    coalesce((SELECT max(at) FROM ({_TIMES})), last_activity_at), iif(trajectory_id IS NULL, NULL, ?4), 1
FROM sessions WHERE session_id = ?1
"""  # noqa: S608 (both are above)
RENAME_ENVELOPES: Final = """
UPDATE processed_envelopes SET session_id = ?2, envelope_id = 'env_erased_' || n, session_hmac = ''
WHERE session_id = ?1
"""
RENAME_REFUSED: Final = """
UPDATE refused_envelopes SET session_id = ?2, envelope_id = 'env_erased_refused_' || n, session_hmac = '', kind = '',
    reason = ''
WHERE session_id = ?1
"""
RENAME_FEEDBACK: Final = """
UPDATE feedback SET session_id = ?2, envelope_id = 'env_erased_' || n WHERE session_id = ?1
"""
RENAME_TRAJECTORY: Final = """
UPDATE trajectories SET session_id = ?2, trajectory_id = ?4, contributor_id = ?3, copied_from = NULL
WHERE session_id = ?1
"""
RENAMES: Final = (
    INSERT_SESSION,
    RENAME_ENVELOPES,
    RENAME_REFUSED,
    "UPDATE sequence_gaps SET session_id = ?2 WHERE session_id = ?1",
    RENAME_FEEDBACK,
    "UPDATE first_chunks SET session_id = ?2, subject = '' WHERE session_id = ?1",
    RENAME_TRAJECTORY,
    "UPDATE sessions SET placeholder = 2 WHERE session_id = ?1",
    "DELETE FROM sessions WHERE session_id = ?1",
)
LEDGER_RENAMES: Final = (
    "UPDATE credits SET contributor_id = ?3, session_id = ?2 WHERE session_id = ?1",
    "UPDATE fingerprinted SET session_id = ?2, trajectory_id = ?4 WHERE session_id = ?1",
)
# As a projection of erased lines has them.
RENAME_TEXTS: Final = """
UPDATE intake_records SET record_id = 'text_erased_' || n, subject = '', session_id = '', content_type = ''
WHERE subject = ? AND subject != ''
"""
# Of whom there may be chunks that are not erased: `note_contributors` says so, when all lines were looked at.
UNNOTE_CONTRIBUTOR: Final = "UPDATE consents SET first_chunk_at = NULL WHERE subject = ?"
DROP_CONTRIBUTOR: Final = "DELETE FROM consents WHERE subject = ? AND n IS NULL"
SELECT_PRESENT: Final = "SELECT session_id FROM sessions WHERE session_id IN (SELECT value FROM json_each(?))"
SELECT_SIGNED: Final = "SELECT session_id FROM sessions WHERE subject = ? AND subject != '' LIMIT ?"
SELECT_UNFINISHED: Final = """
SELECT session_id FROM sessions WHERE session_id IN (SELECT value FROM json_each(?))
    AND (status != 'closed' OR (chunk_count > 0 AND trajectory_id IS NULL AND closed_by != 'withdrawn'))
"""
SELECT_STITCHED: Final = """
SELECT session_id, created_at FROM trajectories WHERE created_at >= ? AND created_at < ? ORDER BY created_at LIMIT ?
"""
SELECT_HANDED_OVER: Final = """
SELECT record_id, received_at FROM intake_records WHERE received_at >= ? AND received_at < ?
ORDER BY received_at LIMIT ?
"""
SELECT_KNOWN_TRAJECTORIES: Final = """
SELECT trajectory_id FROM trajectories WHERE trajectory_id IN (SELECT value FROM json_each(?))
"""
SELECT_CONTRIBUTORS: Final = """
SELECT DISTINCT contributor_id FROM credits WHERE session_id IN (SELECT value FROM json_each(?))
"""
# The credits are added one by one in their order, as they were: `sum` may add otherwise.
RESUM_BALANCE: Final = """
WITH RECURSIVE
    ordered (k, points, created_at) AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY id), points, created_at FROM credits WHERE contributor_id = ?1),
    added (k, total, last_at) AS (
        SELECT k, points, created_at FROM ordered WHERE k = 1
        UNION ALL SELECT ordered.k, total + points, created_at FROM added JOIN ordered ON ordered.k = added.k + 1)
INSERT INTO balances (contributor_id, total_points, total_sessions, last_credit_at)
SELECT ?1, total, k, last_at FROM added WHERE k = (SELECT max(k) FROM ordered)
ON CONFLICT (contributor_id) DO UPDATE SET total_points = excluded.total_points,
    total_sessions = excluded.total_sessions, last_credit_at = excluded.last_credit_at
"""
DROP_EMPTY_BALANCE: Final = """
DELETE FROM balances WHERE contributor_id = ?1 AND NOT EXISTS (SELECT 1 FROM credits WHERE contributor_id = ?1)
"""
COUNT_BALANCES: Final = "UPDATE totals SET contributors = (SELECT count(*) FROM balances)"

SELECT_PLACES: Final[Mapping[JournalName, str]] = {
    JournalName.ENVELOPES: """
SELECT n, day, "offset", length, processed_at FROM processed_envelopes WHERE session_id IN (?, ?)""",
    JournalName.REFUSED: """
SELECT n, day, "offset", length, refused_at FROM refused_envelopes WHERE session_id IN (?, ?)""",
    JournalName.TRAJECTORIES: """
SELECT n, day, "offset", length, created_at FROM trajectories WHERE session_id IN (?, ?)""",
}


class ErasedRows:
    """Rows of both databases, for erasure."""

    def __init__(self, sessions: Database, ledger: Database) -> None:
        self._sessions = sessions
        self._ledger = ledger

    async def places(self, name: JournalName, request: str, session_ids: Sequence[str]) -> list[Position]:
        """Where lines of sessions stand in a journal, also of those that were given their new names; in order."""
        places: list[Position] = []
        for session_id in session_ids:
            new = session_name(session_digits(request, session_id))
            rows = await self._sessions.read(SELECT_PLACES[name], (session_id, new))
            places += [Position(n, day, offset, length, from_text(at)) for n, day, offset, length, at in rows]
        return sorted(places)

    async def signed(self, subject: str, limit: int) -> list[str]:
        """Some sessions whose opening was signed with the key of a subject."""
        return [session_id for (session_id,) in await self._sessions.read(SELECT_SIGNED, (subject, limit))]

    async def unfinished(self, session_ids: Collection[str]) -> set[str]:
        """Those of these sessions that have not ended, or have no trajectory yet and will have one."""
        rows = await self._sessions.read(SELECT_UNFINISHED, (array_of(session_ids),))
        return {session_id for (session_id,) in rows}

    async def stitched(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        """The sessions whose trajectory was written at a time or later, and before another, each with its time.

        Times are texts; in their order, at most `limit`.
        """
        rows = await self._sessions.read(SELECT_STITCHED, (after, before, limit))
        return [(session_id, at) for session_id, at in rows]

    async def handed_over(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        """The texts of the intake of a time, each by its record's id, as `stitched` has sessions."""
        rows = await self._sessions.read(SELECT_HANDED_OVER, (after, before, limit))
        return [(record_id, at) for record_id, at in rows]

    async def unknown(self, trajectory_ids: Collection[str]) -> list[str]:
        """Those of these trajectories that there are not, or not any more."""
        rows = await self._sessions.read(SELECT_KNOWN_TRAJECTORIES, (array_of(trajectory_ids),))
        known = {trajectory_id for (trajectory_id,) in rows}
        return [each for each in trajectory_ids if each not in known]

    async def rename(self, request: str, session_ids: Sequence[str], subjects: Collection[str]) -> list[str]:
        """Give all rows of these sessions their new names; their lines must all be projected.

        That their chunks name `subjects` is forgotten (`note_contributors`).

        Return the sessions that have rows under both names, which only a rebuild joins: a former one fell into the
        middle of the erasure.
        """
        names = {session_id: _names(request, session_id) for session_id in session_ids}
        twice = await self._present({each[1] for each in names.values()})
        there = await self._present(set(names))
        split = [session_id for session_id in names if session_id in there and names[session_id][1] in twice]
        rows = [each for session_id, each in names.items() if session_id not in split]
        owners = [owner for (owner,) in await self._ledger.read(SELECT_CONTRIBUTORS, (array_of(names),))]
        named = [(subject,) for subject in subjects]
        statements = [
            *(_for_each(sql, rows) for sql in RENAMES),
            Statement(UNNOTE_CONTRIBUTOR, named),
            Statement(DROP_CONTRIBUTOR, named),
        ]
        await self._sessions.write(statements, durable=True)
        affected = [(owner,) for owner in (*owners, request)]
        await self._ledger.write(
            [
                *(_for_each(sql, rows) for sql in LEDGER_RENAMES),
                Statement(RESUM_BALANCE, affected),
                Statement(DROP_EMPTY_BALANCE, affected),
                Statement(COUNT_BALANCES, [()]),
            ],
            durable=True,
        )
        return split

    async def rename_texts(self, subject: str) -> None:
        """Give the rows of a user's texts, whose lines are all erased, their new names."""
        await self._sessions.write([Statement(RENAME_TEXTS, [(subject,)])], durable=True)

    async def note_contributors(self, first_at: Mapping[str, float]) -> None:
        """Note when the first chunk came that names each subject, of those that are not erased."""
        rows = [(subject, to_text(at)) for subject, at in first_at.items()]
        await self._sessions.write([Statement(NOTE_CONTRIBUTOR, rows)], durable=True)

    async def _present(self, session_ids: Collection[str]) -> set[str]:
        rows = await self._sessions.read(SELECT_PRESENT, (array_of(session_ids),))
        return {session_id for (session_id,) in rows}

    async def compact(self) -> None:
        """Write both databases anew, so that nothing of what was in them is left in their files."""
        for database in (self._sessions, self._ledger):
            await database.compact()


def _names(request: str, session_id: str) -> tuple[str, str, str, str]:
    digits = session_digits(request, session_id)
    return session_id, session_name(digits), request, trajectory_name(digits)


def _for_each(sql: str, rows: Sequence[tuple[str, str, str, str]]) -> Statement:
    """One of the statements above; SQLite takes only the parameters that it names."""
    last = max(number for number in range(1, 5) if f"?{number}" in sql)
    return Statement(sql, [row[:last] for row in rows])
