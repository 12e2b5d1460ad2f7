"""Whether anything of what was erased is left in a data directory: a search of every file, byte by byte.

What is looked for is looked for as it is, in files that were compressed by gzip or zstd unpacked, also in what is
archived. Blocking; raises OSError.

A name of hexadecimal digits alone, as a contributor's is, may also stand within a longer run of such digits: a digest,
a machine's fingerprint. That is another name, and whoever asks for the erasure of one that they have chosen so must not
be able to keep it from ever ending. In a text the digits beside it tell: a name has quotes or words around it. Within a
file of SQLite they tell nothing, since a value follows upon the one before without anything between. There the values
themselves are asked, column by column: where one is the name, or has it as a word, it is left; where values only have
it within a longer run, these are what was seen; and where no value has it at all, what was seen is of a row that is
gone, and left until the file is written anew.
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


def remains(
    layout: DataLayout, names: Mapping[str, str], samples: Mapping[str, str], *, leave: Collection[Path]
) -> dict[str, list[str]]:
    """Return the paths, below the data directory, of the files that hold any of these texts, by whose text it is.

    Samples of content are not looked for in the journals: somebody else may have written the same there, in lines that
    say whose they are. `leave` are files that are not looked at. Nor are exports: those with something of it are named.
    """
    names = {name: whose for name, whose in names.items() if len(name) >= NEEDLE_BYTES_MIN}
    found: dict[str, list[str]] = {}
    for below, path in _files(layout, but=layout.exports):
        wanted = names if lies_among_parts(below) else {**names, **samples}
        if path not in leave and wanted:
            for whose in sorted(_held(path, wanted)):
                found.setdefault(whose, []).append(below)
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


def is_database(path: str) -> bool:
    """Whether a path that `remains` has returned is of a database, which can be written anew."""
    return _name_of_database(path).endswith(".db")


def _name_of_database(name: str) -> str:
    """The name of the database to which a file belongs; of any other file its own."""
    ending = next((each for each in SQLITE_JOURNALS if name.endswith(each)), "")
    return name.removesuffix(ending)


def _held(path: Path, wanted: Mapping[str, str]) -> set[str]:
    """Whose texts a file holds."""
    whole, within = _found(path, [text.encode() for text in wanted])
    owners = {text.encode(): whose for text, whose in wanted.items()}
    if (database := _database_of(path)) is not None:
        whole |= {needle for needle in within - whole if not _is_within_values(database, needle)}
    return {owners[needle] for needle in whole}


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
