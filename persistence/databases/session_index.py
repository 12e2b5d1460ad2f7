"""What can be read of sessions without their keys: lists, places of lines, what is left to do."""

from collections.abc import Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database, Row, Value
from persistence.format import times
from persistence.format.records import ClosedBy, EnvelopeKind, Position, SequenceGap


class TrajectorySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session's trajectory: where its line is and what it was worth.

    `copied_steps` are those that earned nothing, `copied_from` is the session that most of them were first seen in.
    """

    trajectory_id: str
    contributor_id: str
    model: str
    points: float
    steps: int
    copied_steps: int = 0
    copied_from: str | None = None
    closed_by: ClosedBy
    position: Position


class LinePosition(msgspec.Struct, frozen=True):
    """Where one of a session's lines is in the envelopes journal."""

    kind: EnvelopeKind
    position: Position


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session as listed by a command: no keys."""

    session_id: str
    provider: str
    model: str
    closed: bool
    closed_by: ClosedBy | None
    envelopes: int
    chunks: int
    steps: int
    points: float | None
    copied_steps: int = 0
    copied_from: str | None = None
    created_at: float
    last_activity_at: float
    contributor_id: str | None = None
    """Who is credited; None before there is a trajectory."""
    machine: str = ""
    """The fingerprint of the machine that opened it, as its client says; empty where it is not kept."""


SELECT_TRAJECTORY: Final = """
SELECT trajectory_id, contributor_id, model, points, steps, copied_steps, copied_from, closed_by, n, day, "offset",
    length, created_at
FROM trajectories WHERE session_id = ?
"""
SELECT_POSITIONS: Final = """
SELECT kind, n, day, "offset", length, processed_at FROM processed_envelopes WHERE session_id = ? ORDER BY n
"""
SELECT_GAPS: Final = "SELECT before, missing FROM sequence_gaps WHERE session_id = ? ORDER BY before"
SELECT_IDLE: Final = """
SELECT last_activity_at, session_id FROM sessions
WHERE status = 'active' AND last_activity_at < ? AND (last_activity_at, session_id) > (?, ?)
ORDER BY last_activity_at, session_id LIMIT ?
"""
SELECT_UNUSED: Final = """
SELECT session_id FROM sessions
WHERE envelope_count = 0 AND status = 'active' AND placeholder = 0 AND created_at < ?
ORDER BY created_at, session_id LIMIT ?
"""
SELECT_UNFINISHED: Final = """
SELECT session_id FROM sessions
WHERE status = 'closed' AND chunk_count > 0 AND trajectory_id IS NULL AND closed_by != 'withdrawn' AND session_id > ?
    AND NOT (placeholder = 1 AND substr(session_id, 1, 7) = 'erased_')
ORDER BY session_id LIMIT ?
"""
SELECT_ROW: Final = """
SELECT sessions.session_id, sessions.provider, sessions.model, status = 'closed', sessions.closed_by, envelope_count,
    chunk_count, step_count, points, coalesce(copied_steps, 0), copied_from, sessions.created_at, last_activity_at,
    contributor_id, machine_fingerprint
FROM sessions LEFT JOIN trajectories USING (session_id)
"""
SELECT_ONE: Final = f"{SELECT_ROW} WHERE sessions.session_id = ?"
SELECT_BEGINNING: Final = """
SELECT session_id FROM sessions WHERE session_id >= ?1 AND session_id < ?2 ORDER BY session_id LIMIT ?3
"""
SELECT_MACHINE: Final = """
SELECT min(machine_fingerprint) FROM sessions WHERE machine_fingerprint >= ?1 AND machine_fingerprint < ?2
"""
SELECT_NEXT_MACHINE: Final = """
SELECT min(machine_fingerprint) FROM sessions WHERE machine_fingerprint > ?1 AND machine_fingerprint < ?2
"""
SELECT_PAGE: Final = f"""
{SELECT_ROW}
WHERE (sessions.created_at, sessions.session_id) < (?1, ?2) AND (?4 IS NULL OR status = ?4)
    AND (?5 IS NULL OR substr(contributor_id, 1, length(?5)) = ?5)
ORDER BY sessions.created_at DESC, sessions.session_id DESC LIMIT ?3
"""


_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class SessionIndex:
    """The sessions of a sessions.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def line_positions(self, session_id: str) -> list[LinePosition]:
        """Where the session's lines of every kind are, in line order."""
        rows = await self._database.read(SELECT_POSITIONS, (session_id,))
        return [LinePosition(EnvelopeKind(kind), _position(place)) for kind, *place in rows]

    async def gaps(self, session_id: str) -> list[SequenceGap]:
        """Where sequence numbers of the session were skipped, in their order."""
        return [SequenceGap(*row) for row in await self._database.read(SELECT_GAPS, (session_id,))]

    async def trajectory(self, session_id: str) -> TrajectorySummary | None:
        """The session's trajectory, if it has one."""
        return trajectory_of(await self._database.read(SELECT_TRAJECTORY, (session_id,)))

    async def idle_since(
        self, before_s: float, limit: int, *, after: tuple[str, str] = ("", "")
    ) -> list[tuple[str, str]]:
        """Active sessions without activity since `before_s`, longest idle first: the last one's time, and the id.

        At most `limit`, behind the item `after` of the page before.
        """
        return [
            (last_activity_at, session_id)
            for last_activity_at, session_id in await self._database.read(
                SELECT_IDLE, (times.to_text(before_s), *after, limit)
            )
        ]

    async def unused_since(self, before_s: float, limit: int) -> list[str]:
        """Sessions that were opened before `before_s` and never used, oldest first, at most `limit`."""
        return [
            session_id for (session_id,) in await self._database.read(SELECT_UNUSED, (times.to_text(before_s), limit))
        ]

    async def unfinished(self, limit: int, *, after: str = "") -> list[str]:
        """Closed sessions with chunks but without a trajectory, by id, after the id `after`, at most `limit`."""
        return [session_id for (session_id,) in await self._database.read(SELECT_UNFINISHED, (after, limit))]

    async def sessions_page(
        self,
        limit: int,
        *,
        older_than: tuple[float, str] | None = None,
        closed: bool | None = None,
        contributor: str | None = None,
    ) -> list[SessionRow]:
        """Sessions, newest first: all, or those that are closed or not, or credited to who begins with `contributor`.

        `older_than` is the `(created_at, session_id)` of the previous page's last row.
        """
        cursor = ("9999", "") if older_than is None else (times.to_text(older_than[0]), older_than[1])
        status = None if closed is None else "closed" if closed else "active"
        rows = await self._database.read(SELECT_PAGE, (*cursor, limit, status, contributor))
        return [_session_row(row) for row in rows]

    async def one(self, session_id: str) -> SessionRow | None:
        """Return one session, None when there is no such one."""
        return next((_session_row(row) for row in await self._database.read(SELECT_ONE, (session_id,))), None)

    async def beginning_with(self, text: str, limit: int) -> list[str]:
        """The ids that begin with `text`, in their order, at most `limit`."""
        return [
            session_id for (session_id,) in await self._database.read(SELECT_BEGINNING, (text, text + _LAST, limit))
        ]

    async def machines(self, text: str) -> list[str]:
        """The fingerprints that begin with `text` of machines that opened sessions, in order, the first two at most."""
        found: list[str] = []
        query, above = SELECT_MACHINE, text or "\0"  # what is not kept is empty, and no machine
        for _ in range(2):
            ((machine,),) = await self._database.read(query, (above, text + _LAST))
            if machine is None:
                break
            found.append(machine)
            query, above = SELECT_NEXT_MACHINE, machine
        return found


def _session_row(row: Row) -> SessionRow:
    return SessionRow(
        session_id=row[0],
        provider=row[1],
        model=row[2],
        closed=bool(row[3]),
        closed_by=closed_by_of(row[4]),
        envelopes=row[5],
        chunks=row[6],
        steps=row[7],
        points=row[8],
        copied_steps=row[9],
        copied_from=row[10],
        created_at=times.from_text(row[11]),
        last_activity_at=times.from_text(row[12]),
        contributor_id=row[13],
        machine=row[14],
    )


def closed_by_of(text: str | None) -> ClosedBy | None:
    """Return what a row says ended its session."""
    return None if text is None else ClosedBy(text)


def _position(row: Sequence[Value]) -> Position:
    n, day, offset, length, at = row
    return msgspec.convert(
        {"n": n, "day": day, "offset": offset, "length": length, "at": times.from_text(str(at))}, Position
    )


def trajectory_of(rows: Sequence[Row]) -> TrajectorySummary | None:
    """Return the trajectory that the rows of SELECT_TRAJECTORY hold, if any."""
    for trajectory_id, contributor_id, model, points, steps, copied_steps, copied_from, closed_by, *place in rows:
        return TrajectorySummary(
            trajectory_id=trajectory_id,
            contributor_id=contributor_id,
            model=model,
            points=points,
            steps=steps,
            copied_steps=copied_steps,
            copied_from=copied_from,
            closed_by=ClosedBy(closed_by),
            position=_position(place),
        )
    return None
