"""A database that is only read is read in its place, and otherwise only where nobody can write to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from persistence.databases import reading
from persistence.databases.reading import connected_to_read, readable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one row, and no write-ahead log."""
    path = tmp_path / "rows.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE rows (number INTEGER)")
        connection.execute("INSERT INTO rows VALUES (1)")
    return path


@pytest.fixture
def unwritable(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SQLite refuses to open the database but where it is said that it does not change; what was opened."""
    opened: list[str] = []
    connect = reading._connect

    def refusing(uri: str, busy_timeout_s: float) -> sqlite3.Connection:
        opened.append(uri)
        if str(path) not in uri or uri.endswith("&immutable=1"):
            return connect(uri, busy_timeout_s)
        return connect("file:/nowhere/rows.db?mode=ro", busy_timeout_s)

    monkeypatch.setattr(reading, "_connect", refusing)
    return opened


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM rows ORDER BY number")]


def test_where_nothing_can_be_written_it_is_read_as_it_lies_there(path: Path, unwritable: list[str]) -> None:
    with connected_to_read(path) as connection:
        assert numbers(connection) == [1]
    assert unwritable[-1] == f"{path.as_uri()}?mode=ro&immutable=1"
    path.with_name("rows.db-wal").touch()
    with readable(path) as uri:
        assert uri == f"{path.as_uri()}?mode=ro&immutable=1"


def test_what_a_crash_left_in_its_log_is_read_in_a_copy(path: Path, unwritable: list[str]) -> None:
    """A private one, of both files, that is gone afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("INSERT INTO rows VALUES (2)")
        with connected_to_read(path) as connection:
            assert numbers(connection) == [1, 2]
            ((_, _, name),) = connection.execute("PRAGMA database_list").fetchall()
            assert Path(name).parent.stat().st_mode & 0o777 == 0o700
    assert not Path(name).parent.exists()
    assert str(path) not in unwritable[-1]


def test_a_database_that_another_program_holds_is_not_read_as_if_it_did_not_change(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), readable(path, busy_timeout_s=0):
            pytest.fail("it was opened")


def test_a_database_that_is_not_there_is_not_made(path: Path) -> None:
    path.unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"), readable(path):
        pytest.fail("it was opened")
    assert not path.exists()
