"""Looking into a data directory, also beside its server: one session's trajectory, the sessions, the statistics."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.counters import Counters
from persistence.databases.database import Database
from persistence.databases.ledger import Ledger
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.projector import projected
from persistence.databases.reading import open_database_read_only
from persistence.databases.reports import Statistics
from persistence.databases.session_index import SessionIndex, SessionRow
from persistence.files.attempts import Attempts
from persistence.files.failures import NoDataDirectory, StorageDamage
from persistence.files.file_system import OsFileSystem
from persistence.files.lock import single_instance
from persistence.format import json_text
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED, EnvelopeKind, JournalName, Mark
from persistence.journals.dropping import QuotaStatistics
from persistence.journals.erased_lines import is_erased, read_erased
from persistence.journals.reading import StoredLine
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings

_ID_PREFIX = "sess_"
_CANDIDATES_MAX = 5
"""Of the sessions that a beginning may mean, so many are named."""


@asynccontextmanager
async def _databases(layout: DataLayout) -> AsyncIterator[tuple[Database, Database]]:
    missing = [path for path in (layout.sessions_database, layout.ledger_database) if not path.exists()]
    if len(missing) > 1:
        raise NoDataDirectory(f"{layout.root} is not a server's data directory: name that with --data-dir.")
    if missing:
        raise StorageDamage(f"{missing[0]} does not exist: run rebuild, or restore it from a backup.")
    async with (
        open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions,
        open_database_read_only(layout.ledger_database, LEDGER_SCHEMA) as ledger,
    ):
        yield sessions, ledger


class _OfSession(msgspec.Struct, frozen=True):
    session_id: str
    type: str | None = None


class _Feedback(msgspec.Struct, frozen=True):
    feedback: msgspec.Raw


class _Trajectory(msgspec.Struct, frozen=True):
    feedback: list[msgspec.Raw]


_OF_SESSION: Final = msgspec.json.Decoder(_OfSession)
_FEEDBACK: Final = msgspec.json.Decoder(_Feedback)
_TRAJECTORY: Final = msgspec.json.Decoder(_Trajectory)
CRC32_BYTES: Final = 20
"""The last member of a line, and the brace that ends it (docs/format.md, "Lines")."""


async def trajectory_line(data_directory: Path, settings: StorageSettings, session_id: str) -> bytes | str:
    """Return the line of a session's trajectory, or a sentence saying why there is none.

    A beginning of an id names the session if no other begins so. Feedback that came after the line was written is put
    to the rest of it, and the checksum left out then. Beside a server the databases may be behind the journals: what is
    behind is looked through, as much as the server lets be there (`storage.projection_lag_lines_max`).
    """
    del settings  # the index knows where the line is
    layout = DataLayout(data_directory)
    trajectories = StoredJournal.of(layout, JournalName.TRAJECTORIES)
    envelopes = StoredJournal.of(layout, JournalName.ENVELOPES)
    async with _databases(layout) as (sessions, _):
        index = SessionIndex(sessions)
        seen = await projected(sessions)  # first, so that a line is there or behind it, or both
        found = await _named(index, session_id)
        if len(found) > 1:
            names = ", ".join(found[:_CANDIDATES_MAX]) + (", …" if len(found) > _CANDIDATES_MAX else "")
            return f"More than one session begins with {session_id!r}: {names}."
        session_id = found[0] if found else session_id
        row, summary = await index.one(session_id), await index.trajectory(session_id)
        places = [
            each.position for each in await index.line_positions(session_id) if each.kind is EnvelopeKind.USER_FEEDBACK
        ]
    if summary is None:
        behind = await _behind(trajectories, seen, session_id)
        if not behind:
            return _why_none(data_directory, session_id, row)
        line = behind[0].text
    else:
        (line,) = await trajectories.read([summary.position])
        if is_erased(line):
            erased = read_erased(line).erased
            if erased.kept is not None:
                return f"What session {session_id} held was kept as long as [retention] says, and is erased."
            return f"Session {session_id} was erased, for the request {erased.request}."
    feedback = dict(zip([place.n for place in places], await envelopes.read(places), strict=True))
    feedback |= {
        each.position.n: each.text
        for each in await _behind(envelopes, seen, session_id)
        if json_text.decode(_OF_SESSION, each.text).type == EnvelopeKind.USER_FEEDBACK
    }
    return _with_feedback(line, [feedback[n] for n in sorted(feedback)]) + b"\n"


async def _behind(journal: StoredJournal, seen: Mapping[JournalName, Mark], session_id: str) -> list[StoredLine]:
    """Return a session's lines that the databases do not hold yet."""
    named = session_id.encode()
    return [
        line
        async for lines in journal.scan(seen.get(journal.name, Mark()))
        for line in lines
        if named in line.text and json_text.decode(_OF_SESSION, line.text).session_id == session_id
    ]


def _with_feedback(line: bytes, feedback: Sequence[bytes]) -> bytes:
    """A trajectory's line with all feedback of its session, the lines of which are given, not only the first ones."""
    held = len(json_text.decode(_TRAJECTORY, line).feedback)
    late = [bytes(json_text.decode(_FEEDBACK, each).feedback) for each in feedback[held:]]
    if not late:
        return line
    # What stands behind it is the server's own, and has no such text in it.
    end = line.rindex(b'],"closed_by":')
    return b"%s%s%s%s}" % (line[:end], b"," if held else b"", b",".join(late), line[end:-CRC32_BYTES])


def _why_none(data_directory: Path, session_id: str, row: SessionRow | None) -> str:
    if row is None:
        return f"There is no session {session_id!r} in {data_directory}."
    if not row.closed:
        return f"Session {session_id} is still open; its trajectory is written when it closes."
    if row.chunks:
        return f"Session {session_id} is closed, but its trajectory is not written yet."
    return f"Session {session_id} was closed without a chunk, so it has no trajectory."


async def _named(index: SessionIndex, text: str) -> list[str]:
    """The session of that id, else those that begin so; `sess_` may be left out."""
    if await index.one(text) is not None:
        return [text]
    found = await index.beginning_with(text, _CANDIDATES_MAX + 1) if text else []
    return found or (await index.beginning_with(f"{_ID_PREFIX}{text}", _CANDIDATES_MAX + 1) if text else [])


async def list_sessions(
    data_directory: Path,
    settings: StorageSettings,
    *,
    closed: bool | None,
    limit: int,
    contributor: str | None = None,
) -> list[SessionRow]:
    """Return at most `limit` sessions, newest first; only closed or only open ones when `closed` is given.

    With `contributor`, only those that are credited to one whose id begins so.
    """
    del settings  # a database that is only read needs none
    async with _databases(DataLayout(data_directory)) as (sessions, _):
        return await SessionIndex(sessions).sessions_page(limit, closed=closed, contributor=contributor)


async def machines(data_directory: Path, beginning: str) -> list[str]:
    """Return the fingerprints that begin so of machines that opened sessions, two at most; none without databases."""
    layout = DataLayout(data_directory)
    if not layout.sessions_database.exists():
        return []
    async with open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions:
        return await SessionIndex(sessions).machines(beginning)


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
    layout = DataLayout(data_directory)
    held = {name: StoredJournal.of(layout, name).statistics().stored_bytes for name in INGESTED}
    dropped = StoredJournal.of(layout, JournalName.REFUSED).dropped()
    refused = QuotaStatistics(
        stored_bytes=held.pop(JournalName.REFUSED),
        quota_bytes=settings.refused_quota_bytes,
        days_dropped=dropped.files,
        dropped_bytes=dropped.size_bytes,
    )
    async with _databases(layout) as (sessions, ledger):
        counters = Counters(sessions, ledger)
        return Statistics(
            summary=await counters.summary(sum(held.values()), refused),
            daily=await counters.daily(days, datetime.now(UTC).date()),
            models=await counters.models(),
            providers=await counters.providers(),
            leaderboard=await Ledger(ledger).leaderboard(leaders),
        )
