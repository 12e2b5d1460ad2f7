"""A database that several processes write, commands beside the server: how access.db and jobs.db are opened.

It has no write-ahead log, which in SQLite before 3.51.3 can lose a commit when two write at once, but a rollback
journal, with locks that make one wait for the other. What one has committed, the other's next look sees. Blocking.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from persistence.databases.database import SQLITE_ERRORS, DatabaseFailure, failure_of
from persistence.files.regular import check_file

BUSY_TIMEOUT_S: Final = 5.0
"""How long one waits for another."""


def is_there(path: Path, *, create: bool) -> bool:
    """Whether there is such a file, made 0600 and empty where it is missing and `create`d; raises DatabaseFailure."""
    try:
        check_file(path)
        if create and not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseFailure(f"{path.name} cannot be opened: {error.strerror}") from error
    return path.exists()


def connect(path: Path | None, *, any_thread: bool = False) -> sqlite3.Connection:
    """Connect to the file, or to one in memory; `any_thread` may use the connection, one at a time."""
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=not any_thread
    )
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")  # the folder, too, once the rollback journal is gone
    except BaseException:
        connection.close()
        raise
    return connection


def write_anew(path: Path) -> None:
    """Write the file anew, if it is there: what was deleted is in no page of it any more. Raises DatabaseFailure."""
    if not is_there(path, create=False):
        return
    try:
        with closing(connect(path)) as connection:
            connection.execute("VACUUM")
    except SQLITE_ERRORS as error:
        raise failure_of(error, path.name) from error
