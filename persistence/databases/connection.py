"""One connection to SQLite, over aiosqlite or in place, and what is done on it in one go.

aiosqlite opens and closes with asyncio futures, so it runs under the loop of `opening.bridge_to_asyncio`. What is done
on a connection comes back to trio by itself: through asyncio the way took the event loop several times as long. Each
call crosses a thread all the same, whatever it does: so a transaction is one call.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import aiosqlite
import trio
from trio_asyncio import aio_as_trio

from persistence.databases.database import Query, Row, Statement, Value

T = TypeVar("T")

REST_ROWS: Final = 50
"""Rows between two rests of a transaction that is not durable: half a millisecond's work."""


class Connection(Protocol):
    """What a database needs of a connection; errors are `sqlite3.Error`."""

    rest_s: float
    """Seconds to rest after every `REST_ROWS` rows of a transaction that is not durable; 0 for never."""

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` makes of the connection, in one go: nothing else happens on it meanwhile."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class ThreadedConnection:
    """A connection of aiosqlite, called from trio.

    SQLite gives the interpreter's lock away and takes it back with every row. While it does so for a thousand rows on
    end, a journal's thread and the event loop wait for the lock behind it and behind each other, and a group commit
    takes several times as long. So projection rests now and then, and takes a little longer; openings do not.
    """

    rest_s = 0.001

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the connection's thread; once handed over it is not cancelled."""
        # What all methods of aiosqlite's connection are made of. Through them a transaction would be as many trips to
        # the thread as it has statements. Without a future the thread runs what it is given and tells nobody.
        connection = self._connection._conn  # noqa: SLF001
        trip = _Trip(partial(work, connection))
        self._connection._tx.put_nowait((None, trip))  # noqa: SLF001
        return await trip.answer()

    async def close(self) -> None:
        """Close it and end its thread."""
        await aio_as_trio(self._connection.close)()


class _Trip(Generic[T]):
    """What a task has done in another thread, and waits for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._task = trio.lowlevel.current_task()
        self._token = trio.lowlevel.current_trio_token()
        self._answer: list[T] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """Do it, in the other thread."""
        try:
            self._answer.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is the task's
            self._error = error
        self._token.run_sync_soon(trio.lowlevel.reschedule, self._task)

    async def answer(self) -> T:
        """Wait for it, and return or raise what came of it."""
        await trio.lowlevel.wait_task_rescheduled(lambda _raise_cancel: trio.lowlevel.Abort.FAILED)
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # or it would hold this frame, and the frame it
        (answer,) = self._answer
        return answer


class InlineConnection:
    """A connection of sqlite3, called in place."""

    rest_s = 0.0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now."""
        return work(self._connection)

    async def close(self) -> None:
        """Close it."""
        self._connection.close()


def set_up(pragmas: Sequence[str], connection: sqlite3.Connection) -> None:
    """Give a new connection its pragmas."""
    for pragma in pragmas:
        connection.execute(pragma).fetchall()


def transact(
    statements: Iterable[Statement], pragma: str | None, rest_s: float, connection: sqlite3.Connection
) -> list[int]:
    """Run all statements in one transaction; answer how many rows each changed."""
    if pragma is not None:
        # Before BEGIN: within a transaction SQLite ignores it.
        connection.execute(pragma).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        counts = [_run_many(each, rest_s, connection) for each in statements]
        connection.execute("COMMIT")
    except BaseException:
        # After some errors (a full disk) SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return counts


def _run_many(statement: Statement, rest_s: float, connection: sqlite3.Connection) -> int:
    """Run one statement for each of its rows; answer how many rows of the database it changed."""
    rows, changed = statement.rows, 0
    if not rows:
        return 0
    if not rest_s or len(rows) <= REST_ROWS:
        return connection.executemany(statement.sql, rows).rowcount
    for start in range(0, len(rows), REST_ROWS):
        if start:
            time.sleep(rest_s)
        changed += connection.executemany(statement.sql, rows[start : start + REST_ROWS]).rowcount
    return changed


def fetch_all(sql: str, parameters: Sequence[Value], connection: sqlite3.Connection) -> list[Row]:
    """Return all rows of one query."""
    return connection.execute(sql, parameters).fetchall()


def fetch_snapshot(queries: Sequence[Query], connection: sqlite3.Connection) -> list[list[Row]]:
    """Return the rows of several queries, from one state of the database."""
    connection.execute("BEGIN")
    try:
        return [fetch_all(sql, parameters, connection) for sql, parameters in queries]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # nothing was written: this only lets go of the snapshot


def empty_log(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the database, as far as no reader holds it."""
    # Without the wait for whoever reads an older state: what cannot be moved now is moved by a later checkpoint.
    ((waiting_ms,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {waiting_ms}").fetchall()


def written_anew(connection: sqlite3.Connection) -> bool:
    """Write the database anew (sqlite.org/lang_vacuum.html): what was deleted is in no page of it any more.

    False when a reader of an older state has kept it from taking the place of what was there.
    """
    connection.execute("VACUUM")
    ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not is_busy
