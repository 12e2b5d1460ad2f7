"""The texts of the intake, read beside the server that writes them or at rest; only what is acknowledged."""

from typing import Final

import msgspec

from persistence.databases.database import Database
from persistence.databases.projector import projected
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import IntakeRecord, JournalName, Mark, Position
from persistence.journals.reading import Scan
from persistence.journals.stored import StoredJournal

SELECT_OF_SUBJECT: Final = """
SELECT record_id, session_id, content_type, n, day, "offset", length, received_at FROM intake_records
WHERE subject = ? AND n > ? AND n <= ? ORDER BY n LIMIT ?
"""


class TextPlace(msgspec.Struct, frozen=True):
    """A text of the intake, and where its line is."""

    record: IntakeRecord
    position: Position


class IntakeTexts:
    """The lines of a data directory's intake journal, and which of them are whose."""

    def __init__(self, layout: DataLayout, sessions: Database) -> None:
        self._sessions = sessions
        self._acknowledged = Mark()
        self._journal = StoredJournal(
            JournalName.INTAKE, layout.journal(JournalName.INTAKE), acknowledged=lambda: self._acknowledged
        )

    async def reached(self) -> Mark:
        """Up to where the journal is acknowledged, and in sessions.db."""
        self._acknowledged = (await projected(self._sessions)).get(JournalName.INTAKE, Mark())
        return self._acknowledged

    def scan(self, start: Mark) -> Scan:
        """Read the lines behind a mark, in order, up to where they were acknowledged when last asked."""
        return self._journal.scan(start)

    async def of_subject(self, subject: str, after_n: int, up_to_n: int, limit: int) -> list[TextPlace]:
        """The texts of a user, behind one line number and up to another, in line order, at most `limit`."""
        rows = await self._sessions.read(SELECT_OF_SUBJECT, (subject, after_n, up_to_n, limit))
        return [
            TextPlace(
                IntakeRecord(record_id=record_id, subject=subject, session_id=session_id, content_type=content_type),
                Position(n, day, offset, length, times.from_text(at)),
            )
            for record_id, session_id, content_type, n, day, offset, length, at in rows
        ]

    async def line_at(self, place: TextPlace) -> bytes:
        """The line of a text, without its newline; raises JournalDamage where it is changed or missing."""
        (text,) = await self._journal.read([place.position])
        return text
