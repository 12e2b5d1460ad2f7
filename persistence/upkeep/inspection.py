"""Looking into a data directory, also beside its server: one session's trajectory, the sessions, the statistics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from persistence.databases.counters import Counters
from persistence.databases.database import Database
from persistence.databases.ledger import Ledger
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.reading import open_database_read_only
from persistence.databases.reports import Statistics
from persistence.databases.session_index import SessionIndex, SessionRow
from persistence.files.attempts import Attempts
from persistence.files.failures import StorageDamage
from persistence.files.file_system import OsFileSystem
from persistence.files.lock import single_instance
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings


@asynccontextmanager
async def _databases(layout: DataLayout) -> AsyncIterator[tuple[Database, Database]]:
    for path in (layout.sessions_database, layout.ledger_database):
        if not path.exists():
            raise StorageDamage(f"{path} does not exist: is {layout.root} a server's data directory?")
    async with (
        open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions,
        open_database_read_only(layout.ledger_database, LEDGER_SCHEMA) as ledger,
    ):
        yield sessions, ledger


async def trajectory_line(data_directory: Path, settings: StorageSettings, session_id: str) -> bytes | str:
    """Return the line of a session's trajectory, or a sentence saying why there is none."""
    del settings  # the index knows where the line is
    layout = DataLayout(data_directory)
    async with _databases(layout) as (sessions, _):
        index = SessionIndex(sessions)
        row = await index.one(session_id)
        if row is None:
            return f"There is no session {session_id!r} in {data_directory}."
        summary = await index.trajectory(session_id)
    if summary is None:
        if not row.closed:
            return f"Session {session_id} is still open; its trajectory is written when it closes."
        if row.chunks:
            return f"Session {session_id} is closed, but its trajectory is not written yet."
        return f"Session {session_id} was closed without a chunk, so it has no trajectory."
    (line,) = await StoredJournal.of(layout, JournalName.TRAJECTORIES).read([summary.position])
    return line + b"\n"


async def list_sessions(
    data_directory: Path, settings: StorageSettings, *, closed: bool | None, limit: int
) -> list[SessionRow]:
    """Return at most `limit` sessions, newest first; only closed or only open ones when `closed` is given."""
    del settings  # a database that is only read needs none
    async with _databases(DataLayout(data_directory)) as (sessions, _):
        return await SessionIndex(sessions).sessions_page(limit, closed=closed)


def set_aside(data_directory: Path, attempts: int) -> list[str]:
    """Return the sessions whose close has ended the server so often (blocking)."""
    return Attempts(DataLayout(data_directory).closing, OsFileSystem()).begun_often(attempts)


def retry(data_directory: Path, session_id: str) -> bool:
    """Let the next start close a session that was put aside; False when it is not (blocking).

    Raises DataDirectoryLocked while a server runs.
    """
    layout = DataLayout(data_directory)
    with single_instance(layout.root):
        attempts = Attempts(layout.closing, OsFileSystem())
        if not attempts.count(session_id):
            return False
        attempts.end(session_id)
        return True


async def read_statistics(data_directory: Path, settings: StorageSettings, *, days: int, leaders: int) -> Statistics:
    """Return what the server's `/v1/stats` endpoints answer."""
    del settings
    layout = DataLayout(data_directory)
    held = sum(StoredJournal.of(layout, name).statistics().stored_bytes for name in JournalName)
    async with _databases(layout) as (sessions, ledger):
        counters = Counters(sessions, ledger)
        return Statistics(
            summary=await counters.summary(held),
            daily=await counters.daily(days, datetime.now(UTC).date()),
            models=await counters.models(),
            providers=await counters.providers(),
            leaderboard=await Ledger(ledger).leaderboard(leaders),
        )
