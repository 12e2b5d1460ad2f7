"""The databases derived anew from the journals.

Everything in them but the sessions' openings (keys have no line) and the contributors' trust is a function of the
journals. So the openings and the trust are copied, sealed as they are, every journal is read from its beginning, and
the new databases take the old ones' names when they are complete: an interruption at any point leaves either the old or
the new ones, each whole.
"""

import os
import shutil
import sqlite3
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from persistence.corpus import project_lines
from persistence.databases.database import Database, Row, Statement
from persistence.databases.migrations import CORPUS_SCHEMA, LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import project_sessions, set_position
from persistence.databases.projector import Projector
from persistence.databases.reading import open_database_read_only
from persistence.files.failures import StorageDamage
from persistence.files.file_system import OsFileSystem
from persistence.files.lock import single_curation, single_instance
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED, Committed, Dropped, JournalName, Mark, Position, RefusalRecord
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.search_index import open_search_index
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings

OPENING_COLUMNS: Final = (
    "session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider, model, "
    "machine_fingerprint, app_version_hash, groove_version, created_at, subject"
)
REFUSED_COLUMNS: Final = (
    "envelope_id, session_id, refused_at, kind, sequence, session_hmac, gap, code, reason, "
    'n, day, "offset", length, with_body'
)
WITHOUT_SECRETS: Final = OPENING_COLUMNS.replace("server_private_key", "''").replace("shared_secret", "''")
COPY_BATCH_ROWS: Final = 1_000


class RebuildReport(msgspec.Struct, frozen=True):
    """How many lines of each journal were projected, and how many openings were taken over."""

    lines: dict[str, int]
    openings: int
    corpus_lines: int | None = None
    """None where there is no corpus."""
    indexed_lines: int | None = None
    """Of the corpus, for search; None where there was no index."""

    def __str__(self) -> str:
        lines = ", ".join(f"{name} {count}" for name, count in self.lines.items())
        corpus = "" if self.corpus_lines is None else f"; corpus.db from the corpus' lines ({self.corpus_lines})"
        corpus += "" if self.indexed_lines is None else f"; search.db from {self.indexed_lines} of them"
        openings = f"the openings of sessions ({self.openings})"
        return f"rebuilt both databases from the journals' lines ({lines}) and {openings}{corpus}"


class LedgerFacts(msgspec.Struct, frozen=True):
    """What of ledger.db the journals do not hold: the trust that was set by hand, and migration times."""

    trust: list[Row]
    applied_at: list[Row]


def ledger_facts(connection: sqlite3.Connection, schema: str = "main") -> LedgerFacts:
    """Read from an open ledger.db, attached as `schema`."""
    trust = f"SELECT trust_score, contributor_id FROM {schema}.balances WHERE trust_score != 1.0"  # noqa: S608
    applied = f"SELECT applied_at, version FROM {schema}.schema_migrations"  # noqa: S608
    return LedgerFacts(trust=connection.execute(trust).fetchall(), applied_at=connection.execute(applied).fetchall())


async def rebuild(data_directory: Path, settings: StorageSettings, *, applied_at: str) -> RebuildReport:
    """Rebuild both databases; the server must be stopped.

    Raises DataDirectoryLocked, StorageDamage or StorageFailure, each with one sentence.
    """
    layout = DataLayout(data_directory)
    with single_instance(data_directory), single_curation(data_directory):
        for path in (layout.sessions_database, layout.ledger_database):
            _empty_write_ahead_log(path)
        workplace = data_directory / "rebuild"
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir(mode=0o700)
        new = DataLayout(workplace)
        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(
                open_inline_database(new.sessions_database, SESSIONS_SCHEMA, settings, applied_at=applied_at)
            )
            ledger = await stack.enter_async_context(
                open_inline_database(new.ledger_database, LEDGER_SCHEMA, settings, applied_at=applied_at)
            )
            openings = await _copy_from(layout, sessions)
            trusted = _ledger_facts_from(layout)
            await copy_ledger_times(ledger, trusted)
            lines = await project_journals(layout, sessions, ledger, settings)
            await restore_trust(ledger, trusted)
            await sessions.checkpoint()
            await ledger.checkpoint()
        for source, target in (
            (new.sessions_database, layout.sessions_database),
            (new.ledger_database, layout.ledger_database),
        ):
            _take_the_place(source, target)
        corpus_lines = await _rebuild_corpus(layout, new, settings, applied_at=applied_at)
        indexed_lines = await _rebuild_index(layout, new, settings, applied_at=applied_at)
        shutil.rmtree(workplace)
        OsFileSystem().sync_directory(data_directory)
        return RebuildReport(lines=lines, openings=openings, corpus_lines=corpus_lines, indexed_lines=indexed_lines)


async def _rebuild_corpus(
    layout: DataLayout, new: DataLayout, settings: StorageSettings, *, applied_at: str
) -> int | None:
    """Make corpus.db anew from the lines of the corpus, if there is one; return how many lines it has.

    Curation then goes over all trajectories again: those that have their record are passed by, and why others have none
    is found again.
    """
    if not layout.corpus_database.exists() and not layout.journal(JournalName.CORPUS).exists():
        return None
    async with open_inline_database(new.corpus_database, CORPUS_SCHEMA, settings, applied_at=applied_at) as corpus:
        tail = await project_lines(layout, corpus, settings, files=OsFileSystem())
        await corpus.checkpoint()
    _take_the_place(new.corpus_database, layout.corpus_database)
    return tail.n


async def _rebuild_index(
    layout: DataLayout, new: DataLayout, settings: StorageSettings, *, applied_at: str
) -> int | None:
    """Make search.db anew from the lines of the corpus, if there is one; return how many it has taken in.

    The embeddings of sessions come later, by curation: they need the model.
    """
    if not layout.search_database.exists():
        return None
    opening = partial(open_inline_database, settings=settings, applied_at=applied_at)
    lines = StoredJournal.of(layout, JournalName.CORPUS)
    async with open_search_index(new, lines, SearchSettings(), opening) as index:
        while await index.follow():
            pass
    _take_the_place(new.search_database, layout.search_database)
    return index.followed.n


def _empty_write_ahead_log(path: Path) -> None:
    """Move what a crash left in a database's write-ahead log into the database.

    Openings may stand in that log alone, so it must be empty before a new database can take the old one's name.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.DatabaseError as error:
        raise StorageDamage(
            f"{path.name} cannot be read ({error}): restore it from a backup, or move it away to go on without what "
            "only it holds (the keys of open sessions, or contributors' trust)."
        ) from error
    if is_busy:
        raise StorageDamage(f"{path.name} is held by another program: end it first.")


async def _copy_from(layout: DataLayout, sessions: Database) -> int:
    if not layout.sessions_database.exists():
        return 0
    dropped = StoredJournal.of(layout, JournalName.REFUSED).dropped()
    async with open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as old:
        return await copy_facts(old, sessions, dropped)


def _ledger_facts_from(layout: DataLayout) -> LedgerFacts:
    if not layout.ledger_database.exists():
        return LedgerFacts([], [])
    with closing(sqlite3.connect(layout.ledger_database)) as connection:
        return ledger_facts(connection)


async def project_journals(
    layout: DataLayout, sessions: Database, ledger: Database, settings: StorageSettings
) -> dict[str, int]:
    """Project what the databases do not hold of the journals, all of it into new ones; return each journal's last line.

    Raises StorageDamage where a journal contradicts itself or the databases.
    """
    lines: dict[str, int] = {}
    projector = Projector(sessions, ledger, settings)
    await projector.load()
    positions = projector.positions()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(projector.run)
        for name in INGESTED:
            recovery = Recovery(
                name,
                layout.journal(name),
                positions[name],
                files=OsFileSystem(),
                torn_directory=layout.torn,
                batch_bytes_max=settings.recovery_batch_bytes_max,
            )
            for batch in recovery.batches():
                await projector.pass_over(name, recovery.start)
                await projector.submit(name, batch)
            await projector.pass_over(name, recovery.start)
            lines[name] = recovery.tail.n
        await projector.drain()
        nursery.cancel_scope.cancel()
    return lines


async def copy_facts(source: Database, target: Database, dropped: Dropped, *, with_secrets: bool = True) -> int:
    """Copy what has no line in a journal from one sessions.db to a new, empty one; answer how many sessions.

    That is the openings, the check of the master key (both as they are sealed, or, without secrets, empty where they
    are), when the migrations were applied, and what is known of the refused envelopes whose lines were `dropped`. With
    the journals projected on top, `target` holds what `source` held.
    """
    opening = OPENING_COLUMNS if with_secrets else WITHOUT_SECRETS
    check = "id, sealed" if with_secrets else "id, ''"
    for table, columns, selected in (
        ("key_check", "id, sealed", check),
        ("schema_migrations", "version, applied_at", "version, applied_at"),
    ):
        rows = await source.read(f"SELECT {selected} FROM {table}")  # noqa: S608 - all are in this function
        insert = f"INSERT OR REPLACE INTO {table} ({columns}) VALUES (?, ?)"  # noqa: S608
        await target.write([Statement(insert, rows)], durable=False)
    copied, after = 0, ""
    while rows := await source.read(
        f"SELECT {opening} FROM sessions WHERE session_id > ? AND placeholder = 0 "  # noqa: S608
        f"ORDER BY session_id LIMIT {COPY_BATCH_ROWS}",
        (after,),
    ):
        insert = (
            f"INSERT INTO sessions ({OPENING_COLUMNS}, last_activity_at) "  # noqa: S608
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?11)"
        )
        await target.write([Statement(insert, rows)], durable=False)
        copied, after = copied + len(rows), rows[-1][0]
    await _copy_dropped(source, target, dropped)
    return copied


async def _copy_dropped(source: Database, target: Database, dropped: Dropped) -> None:
    """Project the refused envelopes whose lines were dropped anew, from the rows that they left."""
    reached = 0
    while rows := await source.read(
        f"SELECT {REFUSED_COLUMNS} FROM refused_envelopes WHERE n > ? AND n <= ? "  # noqa: S608
        f"ORDER BY n LIMIT {COPY_BATCH_ROWS}",
        (reached, dropped.n),
    ):
        batch = [_dropped_line(row) for row in rows]
        await target.write(project_sessions(JournalName.REFUSED, batch), durable=False)
        reached = batch[-1].position.n
    (seen,) = await source.read("SELECT coalesce(max(n), 0) FROM projection_positions WHERE journal = 'refused'")
    if reached < dropped.n <= seen[0]:  # what the last of them said was lost with an earlier database
        await target.write([set_position(JournalName.REFUSED, Mark(dropped.n, dropped.day, 0))], durable=False)


def _dropped_line(row: Row) -> Committed:
    """What a line said, from the row that it left."""
    envelope_id, session_id, refused_at, kind, sequence, session_hmac, gap, code, reason, *place, with_body = row
    n, day, offset, length = place
    record = RefusalRecord(
        envelope_id=envelope_id,
        session_id=session_id,
        kind=kind,
        sequence=sequence,
        session_hmac=session_hmac,
        gap=gap,
        code=code,
        reason=reason,
        with_body=bool(with_body),
    )
    at = times.from_text(refused_at)
    return Committed(record, Position(n=n, day=day, offset=offset, length=length, at=at))


async def copy_ledger_times(ledger: Database, trusted: LedgerFacts) -> None:
    """Copy when the ledger's migrations were applied; trust comes later, see `restore_trust`."""
    applied = "UPDATE schema_migrations SET applied_at = ? WHERE version = ?"
    await ledger.write([Statement(applied, trusted.applied_at)], durable=False)


async def restore_trust(ledger: Database, trusted: LedgerFacts) -> None:
    """Give contributors back the trust that was set by hand; the ledger knows them only after their credits."""
    update = "UPDATE balances SET trust_score = ? WHERE contributor_id = ?"
    await ledger.write([Statement(update, trusted.trust)], durable=False)


def _take_the_place(source: Path, target: Path) -> None:
    """Rename a complete database over an old one, whose write-ahead log must not outlive it."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    source.replace(target)
    OsFileSystem().sync_directory(target.parent)
