"""What curation follows: trajectories, what was said of their sessions later, and texts of the intake.

It is read beside the server or at rest.

Only what is acknowledged: the journals are read up to the positions that sessions.db has, because what stands behind
them may still be taken back by the server that writes it.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.consents import Consents
from persistence.databases.database import Database
from persistence.databases.migrations import SESSIONS_SCHEMA
from persistence.databases.projector import projected
from persistence.databases.reading import open_database_read_only
from persistence.databases.session_index import SessionIndex, TrajectorySummary
from persistence.files.failures import NoDataDirectory
from persistence.files.file_system import OsFileSystem
from persistence.format import json_text
from persistence.format.layout import DataLayout
from persistence.format.records import EnvelopeKind, JournalName, Mark
from persistence.intake import IntakeTexts
from persistence.journals.erased_lines import is_erased
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.journals.reading import Scan
from persistence.journals.stored import StoredJournal

# Not by an index: the table is read as a whole, which is why it is done now and then only.
SELECT_LATE: Final = "SELECT n, session_id FROM feedback WHERE late = 1 AND n > ? AND n <= ? ORDER BY n LIMIT ?"


class _Feedback(msgspec.Struct, frozen=True):
    feedback: msgspec.Raw


_FEEDBACK: Final = msgspec.json.Decoder(_Feedback)


class ClosedSessions:
    """The trajectories of a data directory, and the feedback of their sessions."""

    def __init__(self, layout: DataLayout, sessions: Database) -> None:
        self._sessions = sessions
        self._index = SessionIndex(sessions)
        self.consents = Consents(sessions)
        """What the contributors of the trajectories said."""
        self.texts = IntakeTexts(layout, sessions)
        """What applications handed over for their users."""
        self._acknowledged = Mark()
        self._trajectories = StoredJournal(
            JournalName.TRAJECTORIES,
            layout.journal(JournalName.TRAJECTORIES),
            acknowledged=lambda: self._acknowledged,
        )
        self._erasures = ErasureRegister(register_path(layout), OsFileSystem(), time.time)
        self._envelopes = StoredJournal.of(layout, JournalName.ENVELOPES)

    async def reached(self, journal: JournalName) -> Mark:
        """Up to where a journal is acknowledged, and in sessions.db."""
        found = (await projected(self._sessions)).get(journal, Mark())
        if journal is JournalName.TRAJECTORIES:
            self._acknowledged = found
        return found

    def is_to_be_erased(self, contributor_id: str, session_id: str) -> bool:
        """Whether somebody has asked for a contributor, or for a session, to be erased; now, or whenever before."""
        self._erasures.read_on()
        return self._erasures.names(contributor_id, session_id)

    def is_user_to_be_erased(self, subject: str) -> bool:
        """Whether somebody has asked for a user, known by a digest, to be erased; now, or whenever before."""
        self._erasures.read_on()
        return self._erasures.names_user(subject)

    def scan(self, start: Mark) -> Scan:
        """Read the trajectories behind a mark, in order, up to where they were acknowledged when last asked."""
        return self._trajectories.scan(start)

    async def trajectory(self, session_id: str) -> TrajectorySummary | None:
        """A session's trajectory; None where it has none, or is not known yet."""
        return await self._index.trajectory(session_id)

    async def line_of(self, trajectory: TrajectorySummary) -> bytes:
        """The line of a trajectory."""
        (text,) = await self._trajectories.read([trajectory.position])
        return text

    async def feedback(self, session_id: str) -> list[bytes]:
        """All that was said of a session so far, in line order, each the JSON text of the member `feedback`."""
        lines = await self._index.line_positions(session_id)
        places = [line.position for line in lines if line.kind is EnvelopeKind.USER_FEEDBACK]
        texts = await self._envelopes.read(places)
        return [bytes(json_text.decode(_FEEDBACK, text).feedback) for text in texts if not is_erased(text)]

    async def late_feedback(self, after_n: int, up_to_n: int, limit: int) -> list[tuple[int, str]]:
        """The lines with feedback that came after the close, each its number and its session; at most `limit`."""
        rows = await self._sessions.read(SELECT_LATE, (after_n, up_to_n, limit))
        return [(n, session_id) for n, session_id in rows]


@asynccontextmanager
async def open_closed_sessions(data_directory: Path) -> AsyncIterator[ClosedSessions]:
    """Open a data directory's trajectories for reading, in place; nothing is created.

    Raises NoDataDirectory, or DatabaseFailure when its sessions.db is of another version of the program.
    """
    layout = DataLayout(data_directory)
    if not layout.sessions_database.exists():
        raise NoDataDirectory(f"{layout.root} is not a server's data directory: name that with --data-dir.")
    async with open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions:
        yield ClosedSessions(layout, sessions)
