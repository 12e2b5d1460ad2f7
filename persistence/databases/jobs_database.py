"""jobs.db: what is to be done in the background, what is being done, and what became of it.

The server writes it, and so do commands beside it, which pause a queue or retry a job (`shared_file`). Each process
opens it once, at its first use, and works in one short transaction after the other. Blocking.

What is deleted is overwritten (`secure_delete`): what a job said of somebody is in no page once it was erased.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.database import SQLITE_ERRORS, DatabaseUnavailable, Row, failure_of
from persistence.databases.migrations import JOBS_SCHEMA, migrate
from persistence.databases.shared_file import connect, is_there
from persistence.format import times


class JobStatus(StrEnum):
    """What becomes of a job; the first three are unfinished."""

    WAITING = "waiting"
    DELAYED = "delayed"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is kept; times are texts (`persistence.format.times`), payload and result JSON."""

    job_id: int
    queue: str
    name: str
    status: JobStatus
    payload: str
    priority: int
    scheduled_at: str | None
    attempts: int
    attempts_max: int
    created_at: str
    due_at: str | None
    started_at: str | None
    finished_at: str | None
    run_id: str | None
    progress: float | None
    result: str | None
    error: str | None

    @property
    def own_id(self) -> str:
        """What it is called within its queue."""
        return str(self.job_id)


COLUMNS: Final = ", ".join(StoredJob.__struct_fields__)


def stored_job(row: Row) -> StoredJob:
    """The job of a row with `COLUMNS`."""
    members = dict(zip(StoredJob.__struct_fields__, row, strict=True))
    return StoredJob(**{**members, "status": JobStatus(members["status"])})


class JobsDatabase:
    """The database at a path, made where it is missing; None for one in memory. Raises DatabaseFailure.

    `clock` gives seconds since the epoch, for when migrations were applied.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"<JobsDatabase {self._path} {'open' if self._connection else 'closed'}>"

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write: on disk when the block ends, undone when it raises."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._commit(connection)
            except BaseException:
                if connection.in_transaction:  # after some errors (a full disk) SQLite has rolled back by itself
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """One state of the database for several queries."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")  # nothing was written

    def close(self) -> None:
        """Close it; its next use opens it again, unless it was in memory."""
        with self._turn:
            self._let_go()

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = self._opened()
                yield self._connection
            except SQLITE_ERRORS as error:
                failure = failure_of(error, JOBS_SCHEMA.name)
                if not isinstance(failure, DatabaseUnavailable):
                    self._let_go()
                raise failure from error

    def _opened(self) -> sqlite3.Connection:
        """Connect (the file is made 0600, its tables in it); any thread may use the connection, one at a time."""
        if self._path is not None:
            is_there(self._path, create=True)
        connection = connect(self._path, any_thread=True)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            migrate(connection, JOBS_SCHEMA, applied_at=times.to_text(self._clock()))
        except BaseException:
            connection.close()
            raise
        return connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
