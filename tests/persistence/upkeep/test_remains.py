"""A search for an id finds it wherever it stands as an id, and not where its digits are a part of others."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from persistence.format.layout import DataLayout
from persistence.upkeep.remains import BLOCK_BYTES, Remains, remains

NAME = "0123456789abcdef0123456789abcdef"
ZEROS = "0" * 32
LONGER = f"{NAME}{'7' * 32}"


def looked_for(root: Path, name: str = NAME) -> Remains:
    return remains(DataLayout(root), {name: "er_1"}, {}, leave=())


def found(root: Path, name: str = NAME) -> list[str]:
    return looked_for(root, name).held.get("er_1", [])


def in_doubt(root: Path, name: str = NAME) -> list[str]:
    return looked_for(root, name).in_doubt.get("er_1", [])


@pytest.mark.parametrize(
    "text",
    [
        f'{{"contributor_id":"{NAME}"}}',
        f"said by {NAME}.",
        f"g{NAME}z",
        NAME,
        # In JSON an escape ends in a digit that is none of the name's; and so does one of a URL.
        f'"\\u00e9{NAME}"',
        f'"\\b{NAME}"',
        f'"\\f{NAME}"',
        f"/contributors/%20{NAME}",
        f"{LONGER} {NAME}",
    ],
)
def test_an_id_is_found_where_it_stands_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(text.encode()))
    assert found(tmp_path) == ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ZEROS, f'"previous_sha256":"{"0" * 64}"'),
        (NAME, f'"machine_fingerprint":"{LONGER}"'),
        (NAME, f'"{"7" * 32}{NAME}"'),
        (NAME, f'"7{NAME}F"'),
        (NAME, f'"\\u00e97{NAME}"'),
    ],
)
def test_a_part_of_longer_digits_is_another_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert found(tmp_path, name) == []


@pytest.mark.parametrize("shift", range(-40, 8))
@pytest.mark.parametrize(("before", "after", "is_found"), [('"', '"', True), ("\\u00e9", '"', True), ('"', "7", False)])
def test_what_is_beside_it_is_seen_across_blocks(
    tmp_path: Path, shift: int, before: str, after: str, *, is_found: bool
) -> None:
    (tmp_path / "a").write_text("x" * (BLOCK_BYTES + shift - len(before)) + before + NAME + after)
    assert (found(tmp_path) == ["a"]) is is_found


def database(root: Path, *rows: tuple[str, str]) -> Path:
    """A database whose rows have values side by side, as SQLite writes them: without anything between."""
    path = root / "sessions.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE of_sessions (contributor_id TEXT, machine TEXT)")
        connection.executemany("INSERT INTO of_sessions VALUES (?, ?)", rows)
        connection.commit()
    return path


def test_an_id_is_found_in_a_database_whatever_follows_upon_it(tmp_path: Path) -> None:
    path = database(tmp_path, (NAME, "7" * 64), ("x", LONGER))
    assert NAME.encode() + b"7" in path.read_bytes()
    assert found(tmp_path) == ["sessions.db"]


@pytest.mark.parametrize("name", [ZEROS, NAME])
def test_a_part_of_a_value_in_a_database_is_another_name(tmp_path: Path, name: str) -> None:
    database(tmp_path, ("x", name * 2), ("y", f"7{name}"))
    assert found(tmp_path, name) == []
    assert in_doubt(tmp_path, name) == ["sessions.db"]


def test_a_database_is_in_doubt_where_what_is_live_may_hide_a_row_that_is_gone(tmp_path: Path) -> None:
    """It is until it was written anew, and one that nobody writes anew is left."""
    path = database(tmp_path, (NAME, "7" * 64), ("x", LONGER))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM of_sessions WHERE contributor_id = ?", (NAME,))
        connection.commit()
    assert path.read_bytes().count(NAME.encode()) == 2
    remaining = looked_for(tmp_path)
    assert (remaining.held, remaining.in_doubt) == ({}, {"er_1": ["sessions.db"]})
    assert remaining.databases() == {"sessions.db": {"er_1"}}
    assert remaining.left(["sessions.db"]) == {}
    assert remaining.left(["ledger.db"]) == {"er_1": ["sessions.db"]}


def test_a_text_has_no_rows_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LONGER)
    assert looked_for(tmp_path) == Remains({}, {})


def test_what_is_left_of_a_row_that_is_gone_is_found_until_the_file_is_written_anew(tmp_path: Path) -> None:
    path = database(tmp_path, (NAME, "7" * 64), *(("others", "x" * 64) for _ in range(3)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM of_sessions WHERE contributor_id = ?", (NAME,))
        connection.commit()
        assert NAME.encode() + b"7" in path.read_bytes()
        assert found(tmp_path) == ["sessions.db"]
        connection.execute("VACUUM")
    assert found(tmp_path) == []


def test_pages_in_a_write_ahead_log_are_those_of_its_database(tmp_path: Path) -> None:
    path = database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO of_sessions VALUES ('x', ?)", (LONGER,))
        connection.commit()
        assert LONGER.encode() in path.with_name("sessions.db-wal").read_bytes()
        assert found(tmp_path) == []
        connection.execute("INSERT INTO of_sessions VALUES (?, ?)", (NAME, "7" * 64))
        connection.commit()
        (tmp_path / "server.log").write_text(f"somebody named {NAME}")
        remaining = looked_for(tmp_path)
        assert remaining.held == {"er_1": ["server.log", "sessions.db-wal"]}
        assert remaining.databases() == {"sessions.db": {"er_1"}}


def test_a_database_that_cannot_be_asked_hides_nothing(tmp_path: Path) -> None:
    path = database(tmp_path, ("x", LONGER))
    content = path.read_bytes()
    path.write_bytes(content[:16] + b"\xff" * 84 + content[100:])
    assert found(tmp_path) == ["sessions.db"]


def test_a_word_in_an_index_is_found_though_a_digit_is_put_before_it(tmp_path: Path) -> None:
    """And a longer run of digits that begins with it is another word."""
    for name, text, is_found in (("search.db", f"see {NAME.upper()} here", True), ("other.db", f"see {LONGER}", False)):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '')")
            connection.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (text,))
            connection.commit()
        assert b"0" + NAME.encode() in (tmp_path / name).read_bytes()
        assert found(tmp_path) == (["search.db"] if is_found else [])
        (tmp_path / name).unlink()
