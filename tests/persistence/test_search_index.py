"""The index follows the corpus: each line once, what is replaced or taken back gone, and nothing erased left in it."""

import json
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from persistence.databases import connection, search_rows
from persistence.databases.database import DatabaseFull, Statement
from persistence.databases.opening import open_inline_database
from persistence.databases.search_rows import PUT_STEPS
from persistence.files.lock import single_curation
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.stored import StoredJournal
from persistence.search_index import SearchIndex, _Ahead, open_search_index
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import call, prompt, thought
from tests.corpus_maker import put_sessions, session, take_back
from tests.indexed import STORAGE, found, index, put

OPENING = partial(open_inline_database, settings=STORAGE, applied_at="now")
WORDS = ("quokkazebra", "xylophoneyak", "wombatviolin")


def said(number: int, word: str, **members: Any) -> dict[str, Any]:
    steps = [prompt(f"say {word}"), *call(f"tool_{word}", f"{word} answered", arg=f"with {word}"), thought("done")]
    return session(number, steps, **members)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put(root, *(said(number, word, contributor=number) for number, word in enumerate(WORDS)))
    return root


def rows(root: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(root / "search.db")) as connection:
        return connection.execute(sql).fetchall()


def raw(root: Path) -> bytes:
    """All bytes of the index's files."""
    return b"".join(path.read_bytes() for path in sorted(root.glob("search.db*")))


def removed(root: Path, session_ids: list[str], contributors: list[str]) -> None:
    async def remove() -> None:
        layout = DataLayout(root)
        async with open_search_index(
            layout, StoredJournal.of(layout, JournalName.CORPUS), SearchSettings(), OPENING
        ) as opened:
            await opened.remove(session_ids, contributors)
            await opened.merge()

    with single_curation(root):
        trio.run(remove)


def test_each_step_that_says_anything_is_a_row_and_taken_in_once(root: Path) -> None:
    index(root)
    index(root)
    assert rows(root, "SELECT session_id, rows FROM sessions ORDER BY n") == [(f"sess_{n}", 4) for n in range(3)]
    assert rows(root, "SELECT count(*) FROM steps_docsize") == [(12,)]
    assert rows(root, "SELECT journal, n FROM projection_positions") == [("corpus", 3)]
    assert {step for _, step in found(root, "quokkazebra")} == {1, 2, 3}


def test_a_replaced_record_is_found_by_what_it_says_now(root: Path) -> None:
    put(root, said(0, "newword", contributor=0))
    assert found(root, "quokkazebra") == []
    assert {step for _, step in found(root, "newword")} == {1, 2, 3}
    assert rows(root, "SELECT count(*) FROM sessions") == [(3,)]
    assert rows(root, "SELECT tool FROM tools ORDER BY tool")[0] == ("tool_newword",)


def test_several_lines_of_one_session_in_one_batch_count_as_the_last(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, said(0, "first"), said(1, "other"), said(0, "second"))
    assert found(root, "first") == []
    assert {each for each, _ in found(root, "second OR other")} == {"sess_0", "sess_1"}


def test_a_record_that_is_taken_back_is_gone(root: Path) -> None:
    trio.run(take_back, root, 1)
    index(root)
    assert found(root, "xylophoneyak") == []
    assert rows(root, "SELECT count(*) FROM sessions") == [(2,)]
    assert rows(root, "SELECT count(*) FROM steps_docsize") == [(8,)]


@pytest.mark.parametrize("by", ["session", "contributor"])
def test_what_was_removed_is_in_no_byte_of_the_files(root: Path, by: str) -> None:
    assert b"xylophoneyak" in raw(root)
    session_ids, contributors = (["sess_1"], []) if by == "session" else ([], [f"{1:032x}"])
    removed(root, session_ids, contributors)
    left = raw(root)
    for gone in (b"xylophoneyak", b"ylophoneyak", b"sess_1", f"{1:032x}".encode()):
        assert gone not in left
    assert found(root, "xylophoneyak") == []
    assert {each for each, _ in found(root, "answered")} == {"sess_0", "sess_2"}
    with closing(sqlite3.connect(root / "search.db")) as connection:
        connection.execute("INSERT INTO steps (steps) VALUES ('integrity-check')")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_nothing_of_many_small_parts_is_left_either(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(12):  # each a part of its own
        put(root, said(number, f"word{number:03d}zebra"))
    put(root, said(3, "somethingelse"))
    removed(root, ["sess_7"], [])
    left = raw(root)
    assert b"007zebra" not in left
    assert b"003zebra" not in left
    assert found(root, "word008zebra") != []


def test_taking_out_what_is_not_there_changes_nothing(root: Path) -> None:
    removed(root, ["sess_9"], ["f" * 32])
    assert rows(root, "SELECT count(*) FROM sessions") == [(3,)]


def test_an_index_that_is_missing_is_made_anew(root: Path) -> None:
    for path in root.glob("search.db*"):
        path.unlink()
    index(root)
    assert found(root, "wombatviolin") != []


@pytest.mark.parametrize("damage", ["not_a_database", "newer", "lost_table", "lost_line"])
def test_an_index_that_cannot_be_used_is_made_anew(root: Path, damage: str) -> None:
    match damage:
        case "not_a_database":
            (root / "search.db").write_bytes(b"no database " * 1_000)
        case "newer":
            with closing(sqlite3.connect(root / "search.db")) as connection:
                connection.execute("INSERT INTO schema_migrations VALUES (9, 'later')")
                connection.commit()
        case "lost_table":
            with closing(sqlite3.connect(root / "search.db")) as connection:
                connection.execute("DROP TABLE tools")
                connection.commit()
        case _:
            with closing(sqlite3.connect(root / "search.db")) as connection:
                connection.execute('UPDATE sessions SET "offset" = 1')
                connection.commit()
    put(root, said(0, "newword"))
    assert found(root, "wombatviolin") != []
    assert found(root, "quokkazebra") == []
    assert rows(root, "SELECT count(*) FROM sessions") == [(3,)]


def test_a_position_without_its_rows_or_rows_without_their_position_cannot_be(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio.run(put_sessions, root, [said(4, "later")])

    def dies(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("persistence.search_index.set_position", dies)
        with pytest.raises(KeyboardInterrupt):
            index(root)
    assert found(root, "later") == []
    index(root)
    assert found(root, "later") != []


def test_small_batches_end_in_the_same_rows(tmp_path: Path) -> None:
    counts = []
    for bytes_max in (1, 10**9):
        root = tmp_path / str(bytes_max)
        sessions = [said(number, f"word{number}") for number in range(6)]
        put(root, *sessions, said(2, "again"), batch_bytes_max=bytes_max)
        counts.append((rows(root, "SELECT * FROM sessions"), rows(root, "SELECT id, sz FROM steps_docsize")))
    assert counts[0] == counts[1]


@pytest.fixture
def line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of the journal is a line, so that there are as many batches as lines."""
    monkeypatch.setattr("persistence.journals.scanning.READ_BYTES", 256)


async def followed(root: Path, **settings: Any) -> list[int]:
    """Follow to the end; how far each step came."""
    layout, came_to = DataLayout(root), list[int]()
    lines = StoredJournal.of(layout, JournalName.CORPUS)
    async with open_search_index(layout, lines, SearchSettings(**settings), OPENING) as opened:
        while await opened.follow():
            came_to.append(opened.followed.n)
    return came_to


@pytest.mark.usefixtures("line_by_line")
async def test_lines_that_are_read_while_others_are_written_end_in_the_same_rows(tmp_path: Path) -> None:
    """Also where a session comes again in the next batch."""
    tables = ("sessions", "tools", "step_blocks", "tool_calls", "findings", "steps_docsize", "projection_positions")
    found = []
    for bytes_max in (1, 10**9):
        root = tmp_path / str(bytes_max)
        await put_sessions(root, [said(number % 4, f"word{number}") for number in range(6)])
        came_to = await followed(root, batch_bytes_max=bytes_max)
        assert came_to == ([1, 2, 3, 4, 5, 6] if bytes_max == 1 else [6])
        found.append([rows(root, f"SELECT * FROM {table}") for table in tables])
    assert found[0] == found[1]


@pytest.mark.usefixtures("line_by_line")
async def test_lines_ahead_are_read_before_the_steps_behind_them_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or neither would wait for the other, and both would take as long as one after the other."""
    read, seen = threading.Event(), list[bool]()
    read_ahead, run = _Ahead._read, connection._run_many

    def reads(self: _Ahead, *arguments: Any) -> None:
        read_ahead(self, *arguments)
        read.set()

    def runs(statement: Statement, *arguments: Any) -> int:
        if statement.sql == PUT_STEPS and not seen:
            seen.append(read.wait(10))
        return run(statement, *arguments)

    monkeypatch.setattr(_Ahead, "_read", reads)
    monkeypatch.setattr(connection, "_run_many", runs)
    await put_sessions(tmp_path / "data", [said(number, f"word{number}") for number in range(3)])
    await followed(tmp_path / "data", batch_bytes_max=1)
    assert seen == [True]


@pytest.mark.usefixtures("line_by_line")
async def test_a_write_that_fails_while_lines_ahead_are_read_is_said_as_it_is(root: Path) -> None:
    await put_sessions(root, [said(number, "later") for number in range(3, 6)])
    layout = DataLayout(root)
    lines = StoredJournal.of(layout, JournalName.CORPUS)
    async with open_search_index(layout, lines, SearchSettings(batch_bytes_max=1), OPENING) as opened:
        write = opened._database.write

        async def full(statements: Iterable[Statement], *, durable: bool) -> list[int]:
            await write([*statements][:-1], durable=durable)
            raise DatabaseFull("no space is left on the disk for search.db")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opened._database, "write", full)
            with pytest.raises(DatabaseFull):
                await opened.follow()
        assert opened.followed.n == 3


@pytest.mark.usefixtures("line_by_line")
async def test_what_is_damaged_ahead_keeps_nothing_before_it_from_being_found(root: Path) -> None:
    await put_sessions(root, [said(number, f"later{number}") for number in range(3, 6)])
    [path] = (root / "corpus").iterdir()
    path.write_bytes(path.read_bytes().replace(b"later4", b"later9"))
    await followed(root, batch_bytes_max=1)
    for word, is_found in (("quokkazebra", True), ("later3", True), ("later4", False), ("later9", False)):
        assert bool(found(root, word)) is is_found, word


def test_odd_steps_are_taken_in_as_far_as_they_say_something(tmp_path: Path) -> None:
    root = tmp_path / "data"
    odd: list[dict[str, Any]] = [
        {"type": "action", "tool": 7, "arguments": ["listed", {"deep": ["deeper", 42, None, True]}], "content": None},
        {"type": "thought", "content": "half \ud800 of a pair"},
        {"type": "observation", "content": "nul\u0000byte"},
        {"type": "thought", "content": ""},
    ]

    put(root, session(0, [prompt("begin")]))
    trio.run(put_sessions, root, [json.dumps(session(1, odd)).encode()])
    index(root)
    assert found(root, '"deeper 42"') == [("sess_1", 1)]
    assert found(root, "half pair") == [("sess_1", 2)]
    assert found(root, "byte") == [("sess_1", 3)]


def test_texts_are_told_apart_whatever_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters of several bytes, texts that are empty, and more of them than one statement takes."""
    root = tmp_path
    steps = [prompt("naïve 漢字 first"), *call("werkzeug_größe", "🦓 answered", arg="über arguments"), thought("")]
    steps.append({"type": "action", "tool": "", "content": "last", "arguments": {"only": "ärger"}})
    for name, bytes_max in (("one", search_rows.STEPS_BYTES_MAX), ("many", 1)):
        monkeypatch.setattr(search_rows, "STEPS_BYTES_MAX", bytes_max)
        put(root / name, session(0, steps), session(1, [*steps, prompt("another")]))
    for name in ("one", "many"):
        for q, step in (("漢字", 1), ("über", 2), ("werkzeug_größe", 2), ("answered", 3), ("ärger", 5)):
            assert ("sess_1", step) in found(root / name, q), (name, q)
        assert found(root / name, "another") == [("sess_1", 6)]
    sizes = "SELECT id, sz FROM steps_docsize"
    assert rows(root / "one", sizes) == rows(root / "many", sizes)


def test_the_repr_says_how_far_it_is(root: Path) -> None:
    layout = DataLayout(root)

    async def opened() -> str:
        async with open_search_index(
            layout, StoredJournal.of(layout, JournalName.CORPUS), SearchSettings(), OPENING
        ) as index:
            assert isinstance(index, SearchIndex)
            return repr(index)

    assert trio.run(opened) == "<SearchIndex followed=3>"


class NoDatabase:
    """Takes in whatever is written, at a checkpoint."""

    async def write(self, statements: Iterable[Statement], *, durable: bool) -> None:
        assert not durable
        list(statements)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("checkpoints", range(8))
def test_whoever_is_cancelled_between_two_batches_ends(checkpoints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the moment in which the thread that reads ahead has begun, and waits to be told that it may."""
    index = SearchIndex.__new__(SearchIndex)
    monkeypatch.setattr(index, "_database", NoDatabase(), raising=False)

    async def nothing() -> None:
        return None

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(index._write, [], [], _Ahead(nothing))
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    running = threading.Thread(target=trio.run, args=(run,), daemon=True)
    running.start()
    running.join(60.0)
    assert not running.is_alive()
