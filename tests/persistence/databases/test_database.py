"""A database does whole transactions or none, whoever is cancelled, and says clearly what broke."""

import sqlite3
import stat
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest
import trio

from persistence.databases import opening
from persistence.databases.connection import REST_ROWS, Connection, ThreadedConnection
from persistence.databases.database import (
    Database,
    DatabaseBusy,
    DatabaseFailure,
    DatabaseFull,
    Row,
    Statement,
    failure_of,
)
from persistence.databases.migrations import Schema
from persistence.databases.sqlite_database import SqliteDatabase


class OpenDatabase(Protocol):
    """One of the ways to open a database (conftest.py)."""

    def __call__(self, path: Path, schema: Schema) -> AbstractAsyncContextManager[Database]: ...


SCHEMA = Schema(
    "numbers.db",
    (
        """
CREATE TABLE numbers (number INTEGER PRIMARY KEY CHECK (number < 100));
CREATE TABLE names (number INTEGER NOT NULL REFERENCES numbers (number), name TEXT NOT NULL);
""",
    ),
)
INSERT = "INSERT INTO numbers (number) VALUES (?)"
INSERT_NAME = "INSERT INTO names (number, name) VALUES (?, ?)"
NUMBERS = "SELECT number FROM numbers ORDER BY number"


def failure(match: str) -> pytest.RaisesGroup[DatabaseFailure]:
    """Expect one failure, which the nurseries of `open_loop` may have wrapped."""
    return pytest.RaisesGroup(
        pytest.RaisesExc(DatabaseFailure, match=match), allow_unwrapped=True, flatten_subgroups=True
    )


def opened_within(folder: Path) -> list[Path]:
    """The files and folders there that this process has open."""
    opened = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [path for path in opened if path.is_relative_to(folder)]


def inside(database: Database) -> SqliteDatabase:
    """The database's connections, to see what no caller may."""
    assert isinstance(database, SqliteDatabase)
    return database


async def numbers(database: Database) -> list[int]:
    return [number for (number,) in await database.read(NUMBERS)]


async def test_a_write_answers_how_many_rows_each_statement_changed(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "data" / "numbers.db", SCHEMA) as database:
        counts = await database.write(
            [
                Statement(INSERT, [(1,), (2,)]),
                Statement(INSERT, []),
                Statement("UPDATE numbers SET number = number + 10 WHERE number = ?", [(1,), (7,)]),
            ],
            durable=True,
        )
        assert counts == [2, 0, 1]
        assert await numbers(database) == [2, 11]


async def test_a_failing_statement_undoes_the_whole_transaction_and_the_next_one_works(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    async with open_any(tmp_path / "numbers.db", SCHEMA) as database:
        with pytest.raises(DatabaseFailure, match=r"numbers\.db holds something else"):
            await database.write([Statement(INSERT, [(1,)]), Statement(INSERT, [(500,)])], durable=False)
        assert await numbers(database) == []
        await database.write([Statement(INSERT, [(3,)])], durable=False)
        assert await numbers(database) == [3]


async def test_foreign_keys_are_enforced(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "numbers.db", SCHEMA) as database:
        with pytest.raises(DatabaseFailure):
            await database.write([Statement(INSERT_NAME, [(1, "one")])], durable=False)


async def test_a_snapshot_answers_every_query(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "numbers.db", SCHEMA) as database:
        await database.write([Statement(INSERT, [(1,), (2,)])], durable=False)
        assert await database.read_snapshot(
            [(NUMBERS, ()), ("SELECT count(*) FROM numbers WHERE number > ?", (1,))]
        ) == [
            [(1,), (2,)],
            [(1,)],
        ]
        await database.write([Statement(INSERT, [(3,)])], durable=False)  # the snapshot does not hold it up
        assert await numbers(database) == [1, 2, 3]


async def test_each_read_and_each_checkpoint_is_counted_once(open_one: OpenDatabase, tmp_path: Path) -> None:
    """A snapshot is one read, however many queries it answers."""
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        before = database.statistics()
        await database.read(NUMBERS)
        await database.read_snapshot([(NUMBERS, ()), (NUMBERS, ())])
        await database.checkpoint()
        after = database.statistics()
        assert (after.reads - before.reads, after.checkpoints - before.checkpoints) == (2, 1)


async def test_the_folders_above_a_new_database_are_made(open_one: OpenDatabase, tmp_path: Path) -> None:
    async with open_one(tmp_path / "data" / "here" / "numbers.db", SCHEMA) as database:
        assert await numbers(database) == []


async def test_of_files_and_folders_nothing_stays_open(open_one: OpenDatabase, tmp_path: Path) -> None:
    """Neither of a new database nor of one that is there."""
    for _ in range(2):
        async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
            await database.read(NUMBERS)
        assert opened_within(tmp_path) == []


async def test_the_reading_connection_cannot_write(open_one: OpenDatabase, tmp_path: Path) -> None:
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        with pytest.raises(DatabaseFailure, match="cannot be written"):
            await database.read("INSERT INTO numbers (number) VALUES (5)")
        assert await numbers(database) == []


async def test_contents_survive_closing_and_the_log_is_folded_in(open_one: OpenDatabase, tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    async with open_one(path, SCHEMA) as database:
        await database.write([Statement(INSERT, [(1,)])], durable=True)
    assert [each.name for each in tmp_path.iterdir()] == ["numbers.db"]  # noqa: ASYNC240 - a test may block
    async with open_one(path, SCHEMA) as database:
        assert await numbers(database) == [1]


async def test_files_are_private(open_one: OpenDatabase, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with open_one(folder / "numbers.db", SCHEMA) as database:
        await database.write([Statement(INSERT, [(1,)])], durable=False)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
    assert modes == {"numbers.db": 0o600, "numbers.db-wal": 0o600, "numbers.db-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_checkpoint_empties_the_write_ahead_log(open_one: OpenDatabase, tmp_path: Path) -> None:
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        await database.write([Statement(INSERT, [(1,)])], durable=False)
        assert (tmp_path / "numbers.db-wal").stat().st_size > 0
        await database.checkpoint()
        assert (tmp_path / "numbers.db-wal").stat().st_size == 0
        assert await numbers(database) == [1]


async def test_a_long_transaction_rests_now_and_then_unless_it_is_durable(
    open_one: OpenDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs in place disturbs nobody else, and never rests."""
    rests: list[float] = []
    monkeypatch.setattr("persistence.databases.connection.time.sleep", rests.append)
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        writer = inside(database)._writer
        rows = [(-number,) for number in range(3 * REST_ROWS)]
        assert await database.write([Statement(INSERT, rows[:REST_ROWS])], durable=False) == [REST_ROWS]
        assert rests == []
        assert await database.write([Statement(INSERT, rows[REST_ROWS:])], durable=False) == [2 * REST_ROWS]
        assert rests == ([writer.rest_s] if isinstance(writer, ThreadedConnection) else [])
        assert await database.write([Statement("DELETE FROM numbers WHERE number = ?", rows)], durable=True) == [
            3 * REST_ROWS
        ]
        assert len(rests) <= 1
        assert await numbers(database) == []


async def rows_of(connection: Connection, sql: str) -> list[Row]:
    return await connection.do(lambda opened: opened.execute(sql).fetchall())


async def test_durable_writes_run_with_synchronous_full_and_others_with_normal(
    open_one: OpenDatabase, tmp_path: Path
) -> None:
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        for durable, level in ((False, 1), (True, 2), (True, 2), (False, 1)):
            await database.write([], durable=durable)
            assert await rows_of(inside(database)._writer, "PRAGMA synchronous") == [(level,)]
        assert (await rows_of(inside(database)._reader, "PRAGMA wal_autocheckpoint")) == [(0,)]
        statistics = database.statistics()
        assert (statistics.transactions, statistics.durable_transactions) == (4, 2)


async def test_a_cancelled_caller_leaves_nothing_or_everything_wherever_it_is_cancelled(
    open_one: OpenDatabase, tmp_path: Path
) -> None:
    """A caller is cancelled before its turn, as its turn comes, and after k scheduler rounds of its transaction."""
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        await database.write([Statement(INSERT, [(99,)])], durable=False)
        for rounds in range(40):
            scope = trio.CancelScope()

            async def caller(scope: trio.CancelScope = scope) -> None:
                with scope:
                    await database.write(
                        [Statement(INSERT, [(1,)]), Statement(INSERT_NAME, [(1, "one"), (99, "other")])], durable=False
                    )

            async with trio.open_nursery() as nursery:
                nursery.start_soon(caller)
                for _ in range(rounds):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                scope.cancel()
            assert not await inside(database)._writer.do(lambda connection: connection.in_transaction)
            found = await database.read("SELECT (SELECT count(*) FROM numbers), (SELECT count(*) FROM names)")
            assert found in ([(1, 0)], [(2, 2)])
            await database.write(
                [
                    Statement("DELETE FROM names WHERE ?", [(1,)]),
                    Statement("DELETE FROM numbers WHERE number = ?", [(1,)]),
                ],
                durable=False,
            )


async def test_a_cancelled_reader_leaves_the_connection_usable(open_one: OpenDatabase, tmp_path: Path) -> None:
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        for rounds in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.read_snapshot, [(NUMBERS, ()), (NUMBERS, ())])
                for _ in range(rounds):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                nursery.cancel_scope.cancel()
            assert not await inside(database)._reader.do(lambda connection: connection.in_transaction)
            assert await numbers(database) == []


async def test_closing_twice_is_harmless(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "numbers.db", SCHEMA) as database:
        await database.close()
        await database.close()
        assert "closed" in repr(database)


async def test_a_full_database_is_a_failure_in_one_sentence_and_loses_nothing(
    open_one: OpenDatabase, tmp_path: Path
) -> None:
    """SQLite's page limit stands in for a full disk: the same SQLITE_FULL, from the same place."""
    async with open_one(tmp_path / "numbers.db", SCHEMA) as database:
        await database.write([Statement(INSERT, [(1,)])], durable=False)
        ((pages,),) = await rows_of(inside(database)._writer, "PRAGMA page_count")
        await rows_of(inside(database)._writer, f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseFull, match=r"no space is left on the disk for numbers\.db"):
            await database.write([Statement(INSERT_NAME, [(1, "x" * 9_000)])], durable=False)
        assert await numbers(database) == [1]
        await rows_of(inside(database)._writer, "PRAGMA max_page_count = 1000")
        await database.write([Statement(INSERT, [(2,)])], durable=False)


async def test_a_file_that_is_no_database_is_refused_in_one_sentence(open_one: OpenDatabase, tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    path.write_bytes(b"this is a letter to my aunt, and not a database at all" * 100)
    with failure(r"numbers\.db is not a database"):
        async with open_one(path, SCHEMA):
            pass


async def test_a_failure_of_one_of_its_connections_is_one_sentence_and_leaves_none_open(
    open_one: OpenDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is set up when the first is."""
    monkeypatch.setattr(opening, "READER_PRAGMAS", ("no SQL",))
    with failure(r"numbers\.db .*syntax error"):
        async with open_one(tmp_path / "numbers.db", SCHEMA):
            pass
    assert opened_within(tmp_path) == []


async def test_a_folder_that_cannot_be_made_is_refused_in_one_sentence(open_one: OpenDatabase, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where the folder should be")
    with failure(r"numbers\.db cannot be created"):
        async with open_one(tmp_path / "data" / "numbers.db", SCHEMA):
            pass


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, "the disk failed while x.db was read or written (why)"),
        (sqlite3.SQLITE_CORRUPT, "x.db is damaged; rebuild it from the journals or restore a backup (why)"),
        (sqlite3.SQLITE_ERROR, "x.db failed (why)"),
    ],
)
def test_each_error_has_its_sentence(code: int, sentence: str) -> None:
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    assert str(failure_of(error, "x.db")) == sentence


async def test_what_was_deleted_is_in_none_of_its_files_once_it_is_written_anew(
    open_one: OpenDatabase, tmp_path: Path
) -> None:
    """Also of rows that were moved about; as long as somebody else reads an older state, it says that it is not."""
    path = tmp_path / "x.db"
    words = "the words that are to go"

    def holding() -> list[str]:
        return [each.name for each in tmp_path.iterdir() if words.encode() in each.read_bytes()]

    async with open_one(path, SCHEMA) as database:
        await database.write([Statement("CREATE TABLE said (n INTEGER PRIMARY KEY, words TEXT)", [()])], durable=True)
        rows = [(n, f"{words} {n} " * 40) for n in range(300)]
        await database.write([Statement("INSERT INTO said VALUES (?, ?)", rows)], durable=False)
        await database.checkpoint()
        await database.write([Statement("UPDATE said SET words = 'erased'", [()])], durable=False)
        assert holding()
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM said").fetchall()
        await inside(database)._writer.do(lambda connection: connection.execute("PRAGMA busy_timeout = 50").fetchall())
        with pytest.raises(DatabaseBusy):
            await database.compact()
        reader.execute("ROLLBACK")
        reader.close()
        await database.compact()
        assert holding() == []
        assert await database.read("SELECT count(*) FROM said") == [(300,)]
