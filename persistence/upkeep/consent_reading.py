"""What contributors said of their data, for commands: read in place, also beside the server."""

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
from persistence.files.failures import NoDataDirectory
from persistence.format.consent_events import ConsentEvent, ConsentState
from persistence.format.layout import DataLayout
from persistence.format.records import ConsentRecord, JournalName, Mark
from persistence.journals.lines import parse_consent_line
from persistence.journals.stored import StoredJournal

EVENTS_MAX: Final = 1_000
"""Of one contributor, the last so many are read."""


class ConsentTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How many contributors are in each state, how many events there are, and how many keys."""

    states: dict[ConsentState, int]
    events: int
    keys: int


@asynccontextmanager
async def _sessions(layout: DataLayout) -> AsyncIterator[Database]:
    if not layout.sessions_database.exists():
        raise NoDataDirectory(f"{layout.root} is not a server's data directory: name that with --data-dir.")
    async with open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions:
        yield sessions


async def consent_totals(data_directory: Path, *, current_version: str) -> ConsentTotals:
    """Count what contributors said, as the current terms have it, as far as the databases have it."""
    async with _sessions(DataLayout(data_directory)) as sessions:
        consents = Consents(sessions)
        return ConsentTotals(
            states=await consents.counts(current_version),
            events=await consents.event_count(),
            keys=await consents.key_count(),
        )


async def events_of(data_directory: Path, subject: str) -> list[ConsentEvent]:
    """The last `EVENTS_MAX` events of a contributor, oldest first, also those that the databases do not have yet."""
    layout = DataLayout(data_directory)
    journal = StoredJournal.of(layout, JournalName.CONSENT)
    async with _sessions(layout) as sessions:
        seen = await projected(sessions)  # first, so that a line is there or behind it, or both
        places = await Consents(sessions).events(subject, EVENTS_MAX)
    lines = dict(zip([place.n for place in places], await journal.read(places), strict=True))
    async for found in journal.scan(seen.get(JournalName.CONSENT, Mark())):
        lines |= {line.position.n: line.text for line in found}
    records = (parse_consent_line(lines[n]) for n in sorted(lines))
    events = [each.event for each in records if isinstance(each, ConsentRecord) and each.event.subject == subject]
    return events[-EVENTS_MAX:]
