"""Consent on this machine: events in a SQLite file, appended and never changed (persistence/format/consent_events.py).

The file has a rollback journal, not a write-ahead log, and that is relied on: a commit waits until nobody reads. So
while `held` reads, nobody can withdraw, and a withdrawal that has returned is one that every later write has seen. Each
call opens the file for itself, which takes a fraction of a sync: nothing is to be closed, threads share nothing, and
a process may fork whenever it likes.
"""

import secrets
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.training.local_user import CONSENT_DB_PATH, withdrawal_note
from central_command.training.notice import NOTICE, Notice
from central_command.training.records import TrainingDataError, plain_metadata
from persistence.files.file_system import OsFileSystem
from persistence.files.regular import check_file
from persistence.format.consent_events import (
    BEFORE_FIRST,
    CURRENT_CONSENT_VERSION,
    ChainCheck,
    ConsentEvent,
    ConsentSource,
    ConsentState,
    Decision,
    check_chain,
    event_sha256,
    new_event,
    state_of,
)

BUSY_TIMEOUT_S: Final = 10.0
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
_EVENTS: Final = (
    "SELECT id, subject, at_us, state, version, purposes, notice_version, notice_sha256, source, previous_sha256,"
    " metadata FROM consent_events"
)


class ConsentRecord(msgspec.Struct, frozen=True):
    """What somebody said once. `timestamp` is seconds since the epoch, UTC; `event_id` names it in receipts."""

    user_id: str
    opted_in: bool
    consent_version: str
    timestamp: float
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    event_id: str = ""


class ConsentManager:
    """Who has opted in (training_pipeline.md, section 2.3), in the file at `db_path`; safe from any thread and process.

    `notice` is what people were shown before they were asked. The file is made with the first event, 0600. Methods
    raise TrainingDataError when it cannot be read or written, or is in use for longer than `busy_timeout_s`.
    """

    def __init__(
        self, db_path: str | Path = CONSENT_DB_PATH, *, notice: Notice = NOTICE, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self._path = Path(db_path).expanduser().absolute()
        self._notice = notice
        self._busy_timeout_s = busy_timeout_s

    def __repr__(self) -> str:
        return f"<ConsentManager {self._path}>"

    def record_consent(
        self,
        user_id: str,
        opted_in: bool,  # noqa: FBT001 (the contract's signature)
        consent_version: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Append that a user opted in to the terms of a version, or out; on disk when this returns.

        Raises ValueError for what no event can hold: an empty id, or metadata that are no JSON.
        """
        noted = plain_metadata(metadata)
        with self._writing() as connection:
            _append(
                connection,
                self._notice,
                user_id,
                Decision.GIVEN if opted_in else Decision.WITHDRAWN,
                consent_version,
                msgspec.json.encode(noted).decode() if noted else "",
            )
            if opted_in:
                self._forget_withdrawal(user_id)
        if not opted_in:
            self._note_withdrawal(user_id)

    def is_opted_in(self, user_id: str) -> bool:
        """Whether the user's last word was to opt in, to the current terms; False for somebody who said nothing."""
        return self.state(user_id) is ConsentState.GIVEN

    def state(self, user_id: str) -> ConsentState:
        """The same with the reason."""
        with self._reading() as connection:
            return state_of(_last_event(connection, user_id), CURRENT_CONSENT_VERSION)

    @contextmanager
    def held(self, user_ids: Collection[str], *, since: float | None = None) -> Iterator[dict[str, str]]:
        """Those of the users who have opted in, with the version of their consent; nobody can withdraw in the block.

        With `since` (seconds since the epoch), nobody who has withdrawn at that time or later, even if they have opted
        in again: what was taken before is not theirs to be used.
        """
        with self._reading() as connection:
            versions = {}
            for user_id in set(user_ids):
                last = _last_event(connection, user_id)
                if last is None or state_of(last, CURRENT_CONSENT_VERSION) is not ConsentState.GIVEN:
                    continue
                if since is None or not _withdrawn_since(connection, user_id, since):
                    versions[user_id] = last.version
            yield versions

    def revoke_consent(self, user_id: str) -> bool:
        """Append that a user opted out, unless they have; False, and nothing is appended, if they never said anything.

        When this returns, nothing more of theirs is written, by any process that uses this file.
        """
        if not self._path.exists():
            return False
        with self._writing() as connection:
            last = _last_event(connection, user_id)
            if last is None:
                return False
            if last.state is not Decision.WITHDRAWN:
                _append(connection, self._notice, user_id, Decision.WITHDRAWN, last.version, "")
        self._note_withdrawal(user_id)
        return True

    def request_deletion(self, user_id: str) -> dict[str, Any]:
        """Note that a user asked for deletion, to be done by `TrainingDataIntake.delete_user`.

        Returns `{"user_id", "consent_records", "status": "pending"}`. Asking again changes nothing.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO deletion_requests (user_id, requested_us) SELECT ?1, ?2 WHERE NOT EXISTS"
                " (SELECT 1 FROM deletion_requests WHERE user_id = ?1 AND done_us IS NULL)",
                (user_id, _now_us()),
            )
            (records,) = connection.execute(
                "SELECT count(*) FROM consent_events WHERE subject = ?", (user_id,)
            ).fetchone()
        return {"user_id": user_id, "consent_records": records, "status": "pending"}

    def pending_deletions(self) -> list[str]:
        """Who asked for deletion and still waits for it, in the order in which they asked."""
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute("SELECT user_id FROM deletion_requests WHERE done_us IS NULL ORDER BY n")
            return [user_id for (user_id,) in rows]

    def deletion_done(self, user_id: str) -> None:
        """Note that a user's data are deleted."""
        if user_id in self.pending_deletions():
            with self._writing() as connection:
                connection.execute(
                    "UPDATE deletion_requests SET done_us = ? WHERE user_id = ? AND done_us IS NULL",
                    (_now_us(), user_id),
                )

    def get_opted_in_count(self) -> int:
        """How many users have opted in to the current terms."""
        with self._reading() as connection:
            if connection is None:
                return 0
            (count,) = connection.execute(
                "SELECT count(*) FROM consent_events WHERE state = 'given' AND version = ?"
                " AND n IN (SELECT max(n) FROM consent_events GROUP BY subject)",
                (CURRENT_CONSENT_VERSION,),
            ).fetchone()
            return int(count)

    def get_consent_history(self, user_id: str) -> list[ConsentRecord]:
        """What a user said, oldest first."""
        return [
            ConsentRecord(
                user_id=event.subject,
                opted_in=event.state is Decision.GIVEN,
                consent_version=event.version,
                timestamp=event.at_us / 1_000_000,
                metadata=msgspec.json.decode(event.metadata) if event.metadata else {},
                event_id=event.id,
            )
            for event in self.events(user_id)
        ]

    def events(self, user_id: str) -> list[ConsentEvent]:
        """The events of a user, oldest first."""
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(f"{_EVENTS} WHERE subject = ? ORDER BY n", (user_id,))
            return [_event(row) for row in rows]

    def check(self) -> ChainCheck:
        """Whether the events of all users are as they were appended."""
        with self._reading() as connection:
            if connection is None:
                return check_chain([])
            rows = connection.execute(f"{_EVENTS} ORDER BY n")
            return check_chain(map(_event, rows), head_sha256=_head(connection))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A snapshot that no commit gets past while it is held; None while there is no event of anybody."""
        with self._errors_said():
            if not self._path.exists():
                yield None
                return
            with closing(self._connected()) as connection:
                connection.execute("BEGIN")
                yield connection if self._schema_version(connection) else None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on stable storage at the end of the block, or undone by what is raised in it."""
        with self._errors_said():
            self._make_file()
            with closing(self._connected()) as connection:
                # EXTRA: the journal's end is synced too, or a loss of power could bring back what was withdrawn.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                if not self._schema_version(connection):
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                yield connection
                connection.execute("COMMIT")

    def _note_withdrawal(self, user_id: str) -> None:
        """Say who has withdrawn in a file that `is_capture_enabled` reads without SQLite; it is only a shorter way."""
        note = withdrawal_note(self._path)
        with self._writing() as connection, suppress(OSError):  # nobody opts in meanwhile
            if state_of(_last_event(connection, user_id)) is ConsentState.WITHDRAWN:
                draft = Path(f"{note}.{secrets.token_hex(8)}")
                file = OsFileSystem().create(draft)
                try:
                    file.write_at([user_id.encode()], 0)
                    draft.replace(note)
                finally:
                    file.close()
                    draft.unlink(missing_ok=True)

    def _forget_withdrawal(self, user_id: str) -> None:
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


def _append(
    connection: sqlite3.Connection, notice: Notice, subject: str, state: Decision, version: str, metadata: str
) -> None:
    event = new_event(
        subject=subject,
        at_us=_now_us(),
        state=state,
        version=version,
        purposes=notice.purposes,
        notice_version=notice.version,
        notice_sha256=notice.sha256,
        source=ConsentSource.CLIENT,
        previous_sha256=_head(connection),
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


def _event(row: tuple[Any, ...]) -> ConsentEvent:
    members = dict(zip(ConsentEvent.__struct_fields__, row, strict=True))
    return msgspec.convert({**members, "purposes": msgspec.json.decode(members["purposes"])}, ConsentEvent)


def _last_event(connection: sqlite3.Connection | None, subject: str) -> ConsentEvent | None:
    if connection is None:
        return None
    row = connection.execute(f"{_EVENTS} WHERE subject = ? ORDER BY n DESC LIMIT 1", (subject,)).fetchone()
    return None if row is None else _event(row)


def _withdrawn_since(connection: sqlite3.Connection | None, subject: str, since: float) -> bool:
    if connection is None:
        return False
    found = connection.execute(
        "SELECT 1 FROM consent_events WHERE subject = ? AND state = 'withdrawn' AND at_us >= ? LIMIT 1",
        (subject, int(since * 1_000_000)),
    ).fetchone()
    return found is not None


def _head(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT sha256 FROM consent_head").fetchone()
    return BEFORE_FIRST if row is None else str(row[0])


def _now_us() -> int:
    return time.time_ns() // 1_000
