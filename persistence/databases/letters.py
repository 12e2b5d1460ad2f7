"""Dead letters as sessions.db knows them: listed with what says whether a later try can take one in."""

from collections.abc import Iterable
from typing import Final

import msgspec

from persistence.databases.database import Database, Row
from persistence.databases.session_index import closed_by_of
from persistence.format import times
from persistence.format.records import ClosedBy, Position

SELECT_LETTERS: Final = """
SELECT r.envelope_id, r.session_id, r.refused_at, r.kind, r.sequence, r.code, r.reason, r.with_body, r.session_hmac,
    r.n, r.day, r."offset", r.length, s.status = 'closed', s.closed_by, s.shared_secret != '',
    s.machine_fingerprint,
    (SELECT e.envelope_id FROM processed_envelopes AS e WHERE e.letter = r.n)
FROM refused_envelopes AS r JOIN sessions AS s USING (session_id)
"""
SELECT_PAGE: Final = f"{SELECT_LETTERS} WHERE r.n < :before_n %s ORDER BY r.n DESC LIMIT :limit"
SELECT_LETTER: Final = f"{SELECT_LETTERS} WHERE r.envelope_id = ?"
SELECT_OF_SESSION: Final = f"{SELECT_LETTERS} WHERE r.session_id = ? ORDER BY r.n"

CONDITIONS: Final = {
    "code": "AND r.code = :code",
    "day": "AND r.day = :day",
    "session": "AND r.session_id = :session",
    "machine": "AND r.session_id IN (SELECT session_id FROM sessions WHERE machine_fingerprint = :machine)",
    "subject": """AND (r.session_id IN (SELECT session_id FROM sessions WHERE subject = :subject AND subject != '')
        OR r.session_id IN (SELECT session_id FROM first_chunks WHERE subject = :subject))""",
}

N_MAX: Final = 2**63 - 1


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused envelope: `envelope_id` is its own, `taken_in_as` that of the line that it was taken in as later.

    `is_closed`, `closed_by`, `has_keys` and `machine` are its session's, which signed it; `machine` is empty where it
    was not opened here. `kind` is what it claimed to be.
    """

    envelope_id: str
    session_id: str
    kind: str
    sequence: int | None
    code: str
    reason: str
    with_body: bool
    is_erased: bool
    position: Position
    is_closed: bool
    closed_by: ClosedBy | None
    has_keys: bool
    machine: str
    taken_in_as: str | None


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters: of a code, a day (of its file), a session, a machine, a contributor's digest; None for any.

    A contributor's are those of sessions whose opening they signed, or whose first accepted chunk names them.
    """

    code: str | None = None
    day: str | None = None
    session: str | None = None
    machine: str | None = None
    subject: str | None = None


class Letters:
    """The dead letters of a sessions.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<Letters {self._database!r}>"

    async def page(self, chosen: LetterFilter, limit: int, *, before_n: int = N_MAX) -> list[Letter]:
        """At most `limit` letters, newest first, of lines before number `before_n`."""
        values = {name: value for name, value in msgspec.structs.asdict(chosen).items() if value is not None}
        query = SELECT_PAGE % " ".join(CONDITIONS[name] for name in values)
        return _letters(await self._database.read(*_numbered(query, {"before_n": before_n, "limit": limit, **values})))

    async def one(self, envelope_id: str) -> Letter | None:
        """A letter by its id; None for one that there is not."""
        return next(iter(_letters(await self._database.read(SELECT_LETTER, (envelope_id,)))), None)

    async def of_session(self, session_id: str) -> list[Letter]:
        """All of a session, in line order; it has no more than envelopes."""
        return _letters(await self._database.read(SELECT_OF_SESSION, (session_id,)))


def _numbered(query: str, values: dict[str, str | int]) -> tuple[str, tuple[str | int, ...]]:
    """The query with numbers for its names, which is what every database takes."""
    for number, name in enumerate(values, start=1):
        query = query.replace(f":{name}", f"?{number}")
    return query, tuple(values.values())


def _letters(rows: Iterable[Row]) -> list[Letter]:
    return [
        Letter(
            envelope_id=row[0],
            session_id=row[1],
            kind=row[3],
            sequence=row[4],
            code=row[5],
            reason=row[6],
            with_body=bool(row[7]),
            is_erased=not row[8],
            position=Position(row[9], row[10], row[11], row[12], times.from_text(row[2])),
            is_closed=bool(row[13]),
            closed_by=closed_by_of(row[14]),
            has_keys=bool(row[15]),
            machine=row[16],
            taken_in_as=row[17],
        )
        for row in rows
    ]
