"""What contributors said of their data, as the consent journal says it: states, places of events, registered keys."""

from collections.abc import Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database, Row
from persistence.format import times
from persistence.format.consent_events import BEFORE_FIRST, ConsentState, Decision, state_after
from persistence.format.records import Position

PAGE_ROWS: Final = 1_000

SELECT_STANDING: Final = """
SELECT state, version, source, changed_at, first_chunk_at FROM consents WHERE subject = ?
"""
SELECT_EVENTS: Final = """
SELECT n, day, "offset", length, received_at FROM consent_events WHERE subject = ? ORDER BY n DESC LIMIT ?
"""
SELECT_HEAD: Final = "SELECT sha256 FROM consent_events ORDER BY n DESC LIMIT 1"
SELECT_WITHDRAWN: Final = """
SELECT subject FROM consents WHERE state = 'withdrawn' AND subject > ? ORDER BY subject LIMIT ?
"""
SELECT_MISSING: Final = "SELECT subject FROM consents WHERE state IS NULL ORDER BY subject LIMIT ?"
SELECT_CHANGES: Final = """
SELECT n, subject FROM consent_events WHERE n > ? AND n <= ? ORDER BY n LIMIT ?
"""
SELECT_SESSIONS: Final = """
SELECT session_id FROM first_chunks WHERE subject = ? AND session_id > ? ORDER BY session_id LIMIT ?
"""
SELECT_KEYS: Final = "SELECT subject, public_key FROM contributor_keys WHERE subject > ? ORDER BY subject LIMIT ?"
SELECT_OPEN_OF_WITHDRAWN: Final = """
SELECT session_id FROM consents CROSS JOIN first_chunks ON first_chunks.subject = consents.subject
    CROSS JOIN sessions USING (session_id)
WHERE consents.state = 'withdrawn' AND status = 'active' LIMIT ?
"""
SELECT_HELD: Final = """
SELECT session_id FROM consents CROSS JOIN first_chunks ON first_chunks.subject = consents.subject
    CROSS JOIN sessions USING (session_id)
WHERE consents.state IS NULL AND last_activity_at < ? LIMIT ?
"""


SELECT_COUNTS: Final = "SELECT state, version, count(*) FROM consents GROUP BY state, version"
SELECT_EVENT_COUNT: Final = "SELECT count(*) FROM consent_events"
SELECT_KEY_COUNT: Final = "SELECT count(*) FROM contributor_keys"


class ConsentStanding(msgspec.Struct, frozen=True):
    """What a contributor said last; times are seconds since the epoch, UTC.

    `decision` is None without an event, and `version`, `source` and `changed_at` with it. `first_chunk_at` is when the
    first chunk of theirs came, None before.
    """

    decision: Decision | None = None
    version: str | None = None
    source: str | None = None
    changed_at: float | None = None
    first_chunk_at: float | None = None


class Consents:
    """The consents of a sessions.db, for reading; subjects are digests (`consent_events.subject_digest`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, subject: str) -> ConsentStanding:
        """What a contributor said last, as far as the journal has been projected."""
        rows = await self._database.read(SELECT_STANDING, (subject,))
        return _standing(rows[0]) if rows else ConsentStanding()

    async def events(self, subject: str, limit: int) -> list[Position]:
        """Where the last `limit` events of a contributor stand in the consent journal, in their order."""
        rows = await self._database.read(SELECT_EVENTS, (subject, limit))
        return [Position(n, day, offset, length, times.from_text(at)) for n, day, offset, length, at in reversed(rows)]

    async def head_sha256(self) -> str:
        """The hash of the last event of all; that before the first when there is none."""
        rows = await self._database.read(SELECT_HEAD)
        return rows[0][0] if rows else BEFORE_FIRST

    async def withdrawn(self, after: str = "") -> list[str]:
        """Subjects that have withdrawn, in their order, behind `after`: a page of at most `PAGE_ROWS`."""
        return [subject for (subject,) in await self._database.read(SELECT_WITHDRAWN, (after, PAGE_ROWS))]

    async def without_event(self, limit: int) -> list[str]:
        """Subjects of whom there are chunks and no event, in their order, at most `limit`."""
        return [subject for (subject,) in await self._database.read(SELECT_MISSING, (limit,))]

    async def keys(self, after: str = "") -> Sequence[tuple[str, str]]:
        """Subjects with the keys that they registered (base64), in their order, behind `after`: a page."""
        return [(subject, key) for subject, key in await self._database.read(SELECT_KEYS, (after, PAGE_ROWS))]

    async def changes(self, after_n: int, up_to_n: int, limit: int) -> list[tuple[int, str]]:
        """The lines of the consent journal with events, each its number and its subject; at most `limit`."""
        rows = await self._database.read(SELECT_CHANGES, (after_n, up_to_n, limit))
        return [(n, subject) for n, subject in rows]

    async def sessions(self, subject: str, after: str, limit: int) -> list[str]:
        """Sessions of which the first chunk names the subject, in the order of their ids, behind `after`: a page."""
        return [session_id for (session_id,) in await self._database.read(SELECT_SESSIONS, (subject, after, limit))]

    async def counts(self, current_version: str) -> dict[ConsentState, int]:
        """How many contributors are in each state, as the current terms have it."""
        counts = dict.fromkeys(ConsentState, 0)
        for decision, version, count in await self._database.read(SELECT_COUNTS):
            state = state_after(None if decision is None else Decision(decision), version, current_version)
            counts[state] += count
        return counts

    async def event_count(self) -> int:
        """How many events there are."""
        return int((await self._database.read(SELECT_EVENT_COUNT))[0][0])

    async def key_count(self) -> int:
        """How many contributors have registered a key."""
        return int((await self._database.read(SELECT_KEY_COUNT))[0][0])

    async def open_of_withdrawn(self) -> list[str]:
        """Some open sessions of all who have withdrawn: a session is that of whom its first chunk names."""
        rows = await self._database.read(SELECT_OPEN_OF_WITHDRAWN, (PAGE_ROWS,))
        return [session_id for (session_id,) in rows]

    async def held(self, before: float, limit: int) -> list[str]:
        """Some sessions of those of whom there is no event, to which nothing has come since a time."""
        rows = await self._database.read(SELECT_HELD, (times.to_text(before), limit))
        return [session_id for (session_id,) in rows]


def _standing(row: Row) -> ConsentStanding:
    state, version, source, changed_at, first_chunk_at = row
    return ConsentStanding(
        None if state is None else Decision(state),
        version,
        source,
        None if changed_at is None else times.from_text(changed_at),
        None if first_chunk_at is None else times.from_text(first_chunk_at),
    )
