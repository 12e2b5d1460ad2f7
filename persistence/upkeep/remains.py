"""Whether anything of what was erased is left in a data directory: a search of every file, byte by byte.

What is looked for is looked for as it is, in files that were compressed by gzip or zstd unpacked, also in what is
archived. Blocking; raises OSError.

A name of hexadecimal digits alone, as a contributor's is, may also stand within a longer run of such digits: a digest,
a machine's fingerprint. That is another name, and whoever asks for the erasure of one that they have chosen so must not
be able to keep it from ever ending. In a text the digits beside it tell: a name has quotes or words around it. Within a
file of SQLite they tell nothing, since a value follows upon the one before without anything between. There the values
themselves are asked, column by column: where one is the name, or has it as a word, it is left; where no value has it at
all, what was seen is of a row that is gone, and left until the file is written anew. Where values only have it within a
longer run, these are what was seen, and what is of a row that is gone may be beside them, in a page that is free or in
the room between the rows of another: such a database is in doubt until it is written anew.
"""

import gzip
import os
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Final, cast

import ahocorasick_rs
import msgspec
import zstandard

from persistence.format.layout import DataLayout
from persistence.journals.parts import archived_files, lies_among_parts

BLOCK_BYTES: Final = 1_048_576
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
SQLITE_MAGIC: Final = b"SQLite format 3\0"
SQLITE_JOURNALS: Final = ("-wal", "-journal")
"""What the names of files end in that hold pages of the database beside them."""

HEX: Final = frozenset(b"0123456789abcdefABCDEF")
ESCAPE_BYTES_MAX: Final = 6
"""How far before a name an escape begins that ends in a hexadecimal digit."""

_ALL_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
_ESCAPE: Final = re.compile(rb"(?:\\[bf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})\Z")
"""What stands for one character before a name, though it ends in a hexadecimal digit: escapes of JSON and of URLs."""

NEEDLE_BYTES_MIN: Final = 16
"""A shorter text stands in many places by chance; what is named so is found by whoever knows where names stand."""


class Remains(msgspec.Struct, frozen=True):
    """Paths below the data directory, by whose texts they are: of files that hold one, and of those in doubt."""

    held: dict[str, list[str]]
    in_doubt: dict[str, list[str]]

    def databases(self) -> dict[str, set[str]]:
        """Return the databases among all of them, which can be written anew, each with whose texts that is for."""
        databases: dict[str, set[str]] = {}
        for whose, paths in (*self.held.items(), *self.in_doubt.items()):
            for name in map(_name_of_database, paths):
                if name.endswith(".db"):
                    databases.setdefault(name, set()).add(whose)
        return databases

    def left(self, written_anew: Collection[str]) -> dict[str, list[str]]:
        """Where something is left, by whose it is, once these databases were written anew before it was looked for."""
        left = {whose: [*paths] for whose, paths in self.held.items()}
        for whose, paths in self.in_doubt.items():
            if doubted := [path for path in paths if _name_of_database(path) not in written_anew]:
                left.setdefault(whose, []).extend(doubted)
        return left


def remains(
    layout: DataLayout, names: Mapping[str, str], samples: Mapping[str, str], *, leave: Collection[Path]
) -> Remains:
    """Return the files that hold any of these texts.

    Samples of content are not looked for in the journals: somebody else may have written the same there, in lines that
    say whose they are. `leave` are files that are not looked at. Nor are exports: those with something of it are named.
    """
    names = {name: whose for name, whose in names.items() if len(name) >= NEEDLE_BYTES_MIN}
    found = Remains({}, {})
    for below, path in _files(layout, but=layout.exports):
        wanted = names if lies_among_parts(below) else {**names, **samples}
        if path not in leave and wanted:
            held, in_doubt = _held(path, wanted)
            for whose in sorted(held):
                found.held.setdefault(whose, []).append(below)
            for whose in sorted(in_doubt):
                found.in_doubt.setdefault(whose, []).append(below)
    return found


def _files(layout: DataLayout, *, but: Path) -> Iterator[tuple[str, Path]]:
    """Every file, with its path below the data directory."""
    yield from archived_files(layout)
    for folder, folders, names in os.walk(layout.root):
        folders[:] = sorted(name for name in folders if Path(folder, name) != but)
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(layout.root).as_posix(), path


def _name_of_database(name: str) -> str:
    """The name of the database to which a file belongs; of any other file its own."""
    ending = next((each for each in SQLITE_JOURNALS if name.endswith(each)), "")
    return name.removesuffix(ending)


def _held(path: Path, wanted: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Whose texts a file holds, and for whose it is in doubt."""
    whole, within = _found(path, [text.encode() for text in wanted])
    owners = {text.encode(): whose for text, whose in wanted.items()}
    in_doubt = set[bytes]()
    if (database := _database_of(path)) is not None:
        in_doubt = {needle for needle in within - whole if _is_within_values(database, needle)}
        whole |= within - in_doubt
    return {owners[needle] for needle in whole}, {owners[needle] for needle in in_doubt}


def _found(path: Path, needles: list[bytes]) -> tuple[set[bytes], set[bytes]]:
    """The needles that a file holds, and those hexadecimal ones that it holds within longer runs of digits."""
    whole, within = set[bytes](), set[bytes]()
    automaton = ahocorasick_rs.BytesAhoCorasick(needles)
    hexadecimal = [_ALL_HEX.fullmatch(needle) is not None for needle in needles]
    overlap = max(map(len, needles)) + ESCAPE_BYTES_MAX
    with (
        suppress(FileNotFoundError, EOFError, gzip.BadGzipFile, zstandard.ZstdError),
        _opened(path) as file,
    ):  # a log goes meanwhile
        text, skipped, block = b"", 0, file.read(BLOCK_BYTES)
        while block:
            text += block
            block = file.read(BLOCK_BYTES)
            for index, start, end in automaton.find_matches_as_indexes(text, overlapping=True):
                if start < skipped or (end == len(text) and block):
                    continue  # it was, or will be, seen with what is beside it
                is_within = hexadecimal[index] and _is_within(text, start, end)
                (within if is_within else whole).add(needles[index])
            skipped = ESCAPE_BYTES_MAX if len(text) > overlap else 0
            text = text[-overlap:]
    return whole, within


def _is_within(text: bytes, start: int, end: int) -> bool:
    """Whether there is a hexadecimal digit beside a place in a text, which is not the end of an escape."""
    if text[end : end + 1] and text[end] in HEX:
        return True
    if start == 0 or text[start - 1] not in HEX:
        return False
    return _ESCAPE.search(text[max(0, start - ESCAPE_BYTES_MAX) : start]) is None


def _database_of(path: Path) -> Path | None:
    """The database whose pages a file holds; None for a file of another kind."""
    path = path.with_name(_name_of_database(path.name))
    try:
        with path.open("rb") as file:
            return path if file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC else None
    except FileNotFoundError:
        return None


def _is_within_values(path: Path, needle: bytes) -> bool:
    """Whether values of a database have it, all of them within longer runs of digits; False where that is not known."""
    name = needle.decode()
    as_word = re.compile(rf"(?<![0-9A-Fa-f]){name}(?![0-9A-Fa-f])")
    is_within = False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            if _is_a_word(connection, name):
                return False
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            ).fetchall()
            for (table,) in tables:
                for _, column, *_ in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (table,)).fetchall():
                    quoted, of = (each.replace('"', '""') for each in (column, table))
                    query = f'SELECT CAST("{quoted}" AS BLOB) FROM "{of}" WHERE instr(CAST("{quoted}" AS BLOB), ?)'  # noqa: S608
                    for (value,) in connection.execute(query, (needle,)):
                        if as_word.search(value.decode("latin-1")):
                            return False
                        is_within = True
    except sqlite3.Error:
        return False
    return is_within


def _is_a_word(connection: sqlite3.Connection, name: str) -> bool:
    """Whether an index of words has it: FTS5 puts a `0` before a word, a digit that is none of a longer run."""
    indexes = connection.execute(
        "SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%USING fts5%'"
    ).fetchall()
    for (index,) in indexes:
        quoted = index.replace("'", "''")
        connection.execute(f"CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', '{quoted}', 'row')")
        is_found = connection.execute("SELECT 1 FROM temp.words WHERE term = ?", (name.lower(),)).fetchone() is not None
        connection.execute("DROP TABLE temp.words")
        if is_found:
            return True
    return False


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        magic = file.read(len(ZSTD_MAGIC))
    if magic == ZSTD_MAGIC:
        reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return cast("IO[bytes]", reader)
    return cast("IO[bytes]", gzip.open(path)) if magic.startswith(GZIP_MAGIC) else path.open("rb")
