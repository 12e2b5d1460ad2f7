"""The SQLite file that events of consent are kept in, and what is read and written in one transaction of it.

The file has a rollback journal, not a write-ahead log, and that is relied on: a commit waits until nobody reads. So
while somebody reads, nobody can withdraw, and a withdrawal that has returned is one that every later read sees. Each
transaction opens the file for itself, which takes a fraction of a sync: nothing is to be closed, threads share nothing,
and a process may fork whenever it likes.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.training.local_user import withdrawal_note
from central_command.training.notice import Notice
from central_command.training.records import TrainingDataError
from persistence.files.file_system import OsFileSystem
from persistence.files.regular import check_file
from persistence.format.consent_events import (
    BEFORE_FIRST,
    ConsentEvent,
    ConsentSource,
    Decision,
    event_sha256,
    new_event,
)

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE consent_events (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        subject TEXT NOT NULL,
        at_us INTEGER NOT NULL,
        state TEXT NOT NULL,
        version TEXT NOT NULL,
        purposes TEXT NOT NULL,
        notice_version TEXT NOT NULL,
        notice_sha256 TEXT NOT NULL,
        source TEXT NOT NULL,
        previous_sha256 TEXT NOT NULL,
        metadata TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX consent_events_of_subject ON consent_events (subject)",
    """CREATE TRIGGER consent_events_are_not_changed BEFORE UPDATE ON consent_events
    BEGIN SELECT RAISE(ABORT, 'events of consent are never changed'); END""",
    """CREATE TRIGGER consent_events_are_not_deleted BEFORE DELETE ON consent_events
    BEGIN SELECT RAISE(ABORT, 'events of consent are never deleted'); END""",
    "CREATE TABLE consent_head (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), sha256 TEXT NOT NULL) STRICT",
    """CREATE TABLE deletion_requests (
        n INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        requested_us INTEGER NOT NULL,
        done_us INTEGER
    ) STRICT""",
)
EVENTS: Final = (
    "SELECT id, subject, at_us, state, version, purposes, notice_version, notice_sha256, source, previous_sha256,"
    " metadata FROM consent_events"
)


class ConsentFile:
    """The file at `path`, made with the first event, 0600.

    What it raises for a file that cannot be read or written, or is in use for longer than `busy_timeout_s`, is
    TrainingDataError.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s

    def __repr__(self) -> str:
        return f"<ConsentFile {self._path}>"

    def exists(self) -> bool:
        """Whether anybody has said anything yet."""
        return self._path.exists()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """A snapshot that no commit gets past while it is held; None while there is no event of anybody."""
        with self._errors_said():
            if not self._path.exists():
                yield None
                return
            with closing(self._connected()) as connection:
                connection.execute("BEGIN")
                yield connection if self._schema_version(connection) else None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on stable storage at the end of the block, or undone by what is raised in it."""
        with self._errors_said():
            self._make_file()
            with closing(self._connected()) as connection:
                # EXTRA: the journal's end is synced too, or a loss of power could bring back what was withdrawn.
                connection.execute("PRAGMA synchronous = EXTRA")
                (journal,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                if journal != "delete":
                    raise TrainingDataError(f"{self._path} has a {journal} journal, and another process uses it.")
                connection.execute("BEGIN IMMEDIATE")
                if not self._schema_version(connection):
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                yield connection
                connection.execute("COMMIT")

    def note_withdrawal(self, user_id: str) -> None:
        """Say who has withdrawn in a file that `is_capture_enabled` reads without SQLite.

        It is only a shorter way, so nothing is raised: the withdrawal itself is on disk.
        """
        note = withdrawal_note(self._path)
        with suppress(OSError, TrainingDataError), self.writing() as connection:  # nobody opts in meanwhile
            last = last_event(connection, user_id)
            if last is None or last.state is not Decision.WITHDRAWN:
                return
            draft = Path(f"{note}.{secrets.token_hex(8)}")
            file = OsFileSystem().create(draft)
            try:
                file.write_at([user_id.encode()], 0)
                draft.replace(note)
            finally:
                file.close()
                draft.unlink(missing_ok=True)

    def forget_withdrawal(self, user_id: str) -> None:
        """Before the commit that makes it untrue, and for good: it would keep capture off."""
        note = Path(withdrawal_note(self._path))
        try:
            if note.read_bytes() == user_id.encode():
                note.unlink()
                OsFileSystem().sync_directory(note.parent)
        except FileNotFoundError:
            return

    def _make_file(self) -> None:
        if self._path.exists():
            return
        files = OsFileSystem()
        files.make_directory(self._path.parent)
        with suppress(FileExistsError):
            files.create(self._path).close()
        files.sync_directory(self._path.parent)

    def _connected(self) -> sqlite3.Connection:
        check_file(self._path)
        return sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None)

    def _schema_version(self, connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise TrainingDataError(f"{self._path} is of a later version of this program.")
        return int(version)

    @contextmanager
    def _errors_said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TrainingDataError(f"{self._path} cannot be used: {error}.") from error
        except msgspec.DecodeError as error:
            raise TrainingDataError(f"{self._path} holds what is no event of consent: {error}.") from error


def append(
    connection: sqlite3.Connection, notice: Notice, subject: str, state: Decision, version: str, metadata: str
) -> None:
    """Append an event behind the last one, after which `notice` was shown. Raises ConsentEventError."""
    event = new_event(
        subject=subject,
        at_us=now_us(),
        state=state,
        version=version,
        purposes=notice.purposes,
        notice_version=notice.version,
        notice_sha256=notice.sha256,
        source=ConsentSource.CLIENT,
        previous_sha256=head(connection),
        metadata=metadata,
    )
    members = {**msgspec.structs.asdict(event), "purposes": msgspec.json.encode(event.purposes).decode()}
    connection.execute(
        "INSERT INTO consent_events (id, subject, at_us, state, version, purposes, notice_version, notice_sha256,"
        " source, previous_sha256, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        tuple(members[name] for name in ConsentEvent.__struct_fields__),
    )
    connection.execute(
        "INSERT INTO consent_head (only_row, sha256) VALUES (1, ?) ON CONFLICT DO UPDATE SET sha256 = excluded.sha256",
        (event_sha256(event),),
    )


def event_of(row: tuple[Any, ...]) -> ConsentEvent:
    """The event of a row of `EVENTS`."""
    members = dict(zip(ConsentEvent.__struct_fields__, row, strict=True))
    return msgspec.convert({**members, "purposes": msgspec.json.decode(members["purposes"])}, ConsentEvent)


def last_event(connection: sqlite3.Connection | None, subject: str) -> ConsentEvent | None:
    """The last event of a subject; None if there is none."""
    if connection is None:
        return None
    row = connection.execute(f"{EVENTS} WHERE subject = ? ORDER BY n DESC LIMIT 1", (subject,)).fetchone()
    return None if row is None else event_of(row)


def withdrawn_since(connection: sqlite3.Connection | None, subject: str, since: float) -> bool:
    """Whether a subject has withdrawn at that time (seconds since the epoch) or later."""
    if connection is None:
        return False
    found = connection.execute(
        "SELECT 1 FROM consent_events WHERE subject = ? AND state = 'withdrawn' AND at_us >= ? LIMIT 1",
        (subject, int(since * 1_000_000)),
    ).fetchone()
    return found is not None


def head(connection: sqlite3.Connection) -> str:
    """The hash of the last event."""
    row = connection.execute("SELECT sha256 FROM consent_head").fetchone()
    return BEFORE_FIRST if row is None else str(row[0])


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000
