"""A copy of a data directory that can be restored, made while its server goes on.

What must hold. The databases of a copy may know less than its journals, because a start projects the rest; they must
never know more, which is damage. A trajectory needs the lines that it was stitched from. A refused line has used up the
sequence number after those of the lines accepted before it. And a line needs the opening of its session, with the key.
So the order is: fix a snapshot of both databases, and directly after that, within milliseconds, note how far each
journal reaches: trajectories, refused, envelopes. Everything is copied from that state, however long it takes.

- Lines are on disk before they are projected, and projected into sessions.db before ledger.db. So a journal whose
  length is noted after the snapshots holds all that they know, with the ledger's taken first.
- A trajectory, or a refusal, is written after the lines before it are on disk, so they are within the length that is
  noted after its own.
- A session's opening is committed before its key is answered, so before its first line. Of a session that is opened and
  sends between the snapshot and the note, the copy may have lines and no key: it is closed and credited as one whose
  client never came back.

- A digest of the ledger is made of trajectories that were on disk, so its journal's length is noted before theirs.

- What the corpus holds was made of trajectories that were on disk. Its snapshot and the length of its journal are taken
  first, so the trajectories in the copy are at least those that it has followed; its line is on disk before its row.

- Of refused envelopes the oldest days may be dropped while they are copied. Before that sessions.db holds what their
  lines say; if the snapshot does not, the copy is refused. Operations are in no database: what is left of them is
  copied, and how far the server has read a file of corrections last, so that it is never ahead of them.

So the copy holds everything that was acknowledged before it was begun, and nothing in it is half.

What it costs the server. Readers of a database in WAL mode take no lock that a writer waits for; while the snapshot is
held, the write-ahead log grows instead of being moved into the database. Journals are read without any lock. Their last
lines may be some that are just being written: in the copy every line is checked, and what is torn is cut off, as a
start would do it. A line that was changed is no part of a backup: a good copy of it may be in an older one. The copy is
synced in small portions, so that the server's own syncs do not wait behind it.

Rejected: `cp` of a database (a page may be half written), steps of SQLite's backup without a transaction around them
(each write of the server begins it anew), and taking the databases at the end (they would know more than the journals).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from persistence.databases.database import SchemaRefused, failure_of
from persistence.databases.key_check import sealed_with
from persistence.databases.migrations import (
    ACCESS_SCHEMA,
    CORPUS_SCHEMA,
    JOBS_SCHEMA,
    LEDGER_SCHEMA,
    SESSIONS_SCHEMA,
    Schema,
    version_of,
)
from persistence.databases.reading import connected_to_read
from persistence.files.file_copies import CopiedFile, checksum_of, copy_file
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Mark
from persistence.journals.erasure_register import ERASURES_NAME
from persistence.journals.parts import Part, copy_part, cut_torn, is_compressed, lines_in, parts_of
from persistence.keys.sealing import KEY_FILE, PSEUDONYM_KEY_FILE
from persistence.settings.storage import StorageSettings
from persistence.upkeep.copying import (
    Progress,
    appearing_whole,
    make_folders,
    no_progress,
    summed,
)
from persistence.upkeep.manifest import (
    KEY_PATH,
    MANIFEST_FILE,
    MANIFEST_VERSION,
    PSEUDONYM_KEY_PATH,
    BackupRefused,
    Manifest,
    encoded,
)

STEP_PAGES = 1_024
"""Pages of a database that are copied between two reports of progress."""

JOURNALS = (
    JournalName.CORPUS,
    JournalName.DIGESTS,
    JournalName.TRAJECTORIES,
    JournalName.REFUSED,
    JournalName.ENVELOPES,
    JournalName.CONSENT,
    JournalName.INTAKE,
    JournalName.AUDIT,
    JournalName.OPERATIONS,
)
"""In the order in which their lengths are noted."""


def back_up(
    data_directory: Path,
    target: Path,
    settings: StorageSettings,
    *,
    created_at: str,
    with_key: bool,
    progress: Progress = no_progress,
) -> Manifest:
    """Copy a data directory, served or not, to `target`, which must be absent or empty; blocking.

    Raises BackupRefused, StorageDamage, DatabaseFailure or OSError, each for one sentence; then there is no `target`.
    """
    layout = DataLayout(data_directory.resolve())
    target = target.resolve()
    _check(layout, target, with_key=with_key)
    with appearing_whole(target) as partial:
        copy = DataLayout(partial)
        with (
            _corpus_snapshot(layout, settings) as corpus,
            _snapshot(layout.ledger_database, LEDGER_SCHEMA, settings) as ledger,
            _snapshot(layout.sessions_database, SESSIONS_SCHEMA, settings) as sessions,
        ):
            databases = {"sessions.db": sessions, "ledger.db": ledger} | ({"corpus.db": corpus} if corpus else {})
            journals = JOURNALS if corpus else JOURNALS[1:]
            parts = [part for journal in journals for part in parts_of(layout, journal)]
            schemas = {name: version_of(connection) for name, connection in databases.items()}
            seen = _positions(sessions)
            if corpus:
                seen[JournalName.CORPUS] = _positions(corpus)[JournalName.CORPUS]
            key_id = _key_id(sessions)
            make_folders(copy, [Path(journal) for journal in journals])
            for name, connection in databases.items():
                _copy_database(connection, partial / name, name, progress)
        for path, schema in ((layout.access_database, ACCESS_SCHEMA), (layout.jobs_database, JOBS_SCHEMA)):
            if path.is_file():
                # Not as long as the others: while it is read, no token can be made or revoked, and no job begins.
                with _snapshot(path, schema, settings) as connection:
                    schemas[schema.name] = version_of(connection)
                    _copy_database(connection, partial / schema.name, schema.name, progress)
        files = [checksum_of(partial, name) for name in schemas]
        files += _checked(copy, _copy_journals(layout, partial, parts, progress), seen)
        files += _copy_keys(layout, partial, with_key=with_key)
        if (layout.root / ERASURES_NAME).is_file():  # last: who was erased while the rest was copied is erased again
            files.append(copy_file(layout.root / ERASURES_NAME, partial, ERASURES_NAME))
        manifest = Manifest(
            version=MANIFEST_VERSION,
            created_at=created_at,
            schemas=schemas,
            key_id=key_id,
            files=files,
            compressed_lines={file.path: lines_in(copy, file.path) for file in files if is_compressed(file.path)},
        )
        _write_manifest(partial, manifest)
    return manifest


def _check(layout: DataLayout, target: Path, *, with_key: bool) -> None:
    for path in (layout.sessions_database, layout.ledger_database):
        if not path.is_file():
            raise BackupRefused(f"{path} does not exist: is {layout.root} a server's data directory?")
    if target.is_relative_to(layout.root):
        raise BackupRefused(f"{target} lies in the data directory: name a folder outside of it, best on another disk")
    if with_key and not (layout.keys / KEY_FILE).is_file():
        raise BackupRefused(
            f"{layout.keys / KEY_FILE} does not exist, so the master key comes from the server's environment: back it "
            "up from there, and leave out --with-key"
        )


@contextmanager
def _corpus_snapshot(layout: DataLayout, settings: StorageSettings) -> Iterator[sqlite3.Connection | None]:
    """The snapshot of corpus.db; None where no corpus was made yet."""
    if not layout.corpus_database.is_file():
        yield None
        return
    with _snapshot(layout.corpus_database, CORPUS_SCHEMA, settings) as corpus:
        yield corpus


@contextmanager
def _snapshot(path: Path, schema: Schema, settings: StorageSettings) -> Iterator[sqlite3.Connection]:
    """Open a database read-only, in a transaction that sees one state of it until it ends."""
    try:
        with connected_to_read(path, busy_timeout_s=settings.database_busy_timeout_s) as connection:
            connection.execute("BEGIN")
            version = version_of(connection)  # the first read: from here on its state is fixed
            if version > len(schema.migrations):
                raise SchemaRefused(
                    f"{schema.name} has schema version {version}, and this version of the program knows only versions "
                    f"up to {len(schema.migrations)}: use the program that the server runs"
                )
            yield connection
    except sqlite3.Error as error:
        raise failure_of(error, schema.name) from error


def _key_id(sessions: sqlite3.Connection) -> str:
    """Return the id of the master key that sealed the sessions; "" when nothing was sealed yet."""
    rows = sessions.execute("SELECT sealed FROM key_check").fetchall()
    return sealed_with(rows[0][0]) if rows else ""


def _positions(sessions: sqlite3.Connection) -> dict[JournalName, Mark]:
    """Return up to where sessions.db has seen each journal."""
    rows = sessions.execute("SELECT journal, n, day, next_offset FROM projection_positions").fetchall()
    return {journal: Mark() for journal in JOURNALS if journal is not JournalName.OPERATIONS} | {
        JournalName(journal): Mark(n, day, next_offset) for journal, n, day, next_offset in rows
    }


def _copy_database(source: sqlite3.Connection, target: Path, name: str, progress: Progress) -> None:
    """Copy the state that the open transaction sees, page by page (sqlite.org/backup.html)."""
    OsFileSystem().create(target).close()
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # A copy that is interrupted is thrown away, so it needs neither a rollback journal nor syncs of its own.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(
            copy, pages=STEP_PAGES, progress=lambda _, left, total: progress(f"{name}, pages", total - left, total)
        )


def _copy_journals(layout: DataLayout, partial: Path, parts: list[Part], progress: Progress) -> list[CopiedFile]:
    add = summed(progress, "journals, bytes", sum(part.size_bytes for part in parts))
    copied = (copy_part(layout, part, partial, add) for part in parts)
    return [file for file in copied if file is not None]


def _checked(copy: DataLayout, files: list[CopiedFile], seen: dict[JournalName, Mark]) -> list[CopiedFile]:
    """Check the copied lines, cut off what is torn, and describe what was cut anew."""
    cut = {path for journal in JOURNALS for path in cut_torn(copy, journal, seen.get(journal))}
    return [checksum_of(copy.root, file.path) if file.path in cut else file for file in files]


def _copy_keys(layout: DataLayout, partial: Path, *, with_key: bool) -> list[CopiedFile]:
    """Copy the master key if that was asked for, and always the key of pseudonyms.

    The ids that this one hides lie in the journals beside it, so it tells a thief nothing; without it, exports of what
    is restored would name everybody anew.
    """
    wanted = [(KEY_FILE, KEY_PATH)] if with_key else []
    if (layout.keys / PSEUDONYM_KEY_FILE).is_file():
        wanted.append((PSEUDONYM_KEY_FILE, PSEUDONYM_KEY_PATH))
    if wanted:
        make_folders(DataLayout(partial), [Path("keys")])
    return [copy_file(layout.keys / name, partial, path) for name, path in wanted]


def _write_manifest(partial: Path, manifest: Manifest) -> None:
    file = OsFileSystem().create(partial / MANIFEST_FILE)
    try:
        file.write_at([encoded(manifest)], 0)
        file.sync()
    finally:
        file.close()
