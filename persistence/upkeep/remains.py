"""Whether anything of what was erased is left in a data directory: a search of every file, byte by byte.

What is looked for is looked for as it is, in files that were compressed by gzip or zstd unpacked, also in what is
archived. Blocking; raises OSError.
"""

import gzip
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

import ahocorasick_rs
import zstandard

from persistence.format.layout import DataLayout
from persistence.journals.parts import archived_files, lies_among_parts

BLOCK_BYTES: Final = 1_048_576
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
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


def _held(path: Path, wanted: Mapping[str, str]) -> set[str]:
    """Whose texts a file holds."""
    needles, owners, held = [text.encode() for text in wanted], list(wanted.values()), set[str]()
    automaton = ahocorasick_rs.BytesAhoCorasick(needles)
    overlap = max(map(len, needles)) - 1
    with (
        suppress(FileNotFoundError, EOFError, gzip.BadGzipFile, zstandard.ZstdError),
        _opened(path) as file,
    ):  # a log goes meanwhile
        kept = b""
        while block := file.read(BLOCK_BYTES):
            text = kept + block
            held.update(owners[index] for index, _, _ in automaton.find_matches_as_indexes(text, overlapping=True))
            kept = text[-overlap:] if overlap else b""
    return held


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        magic = file.read(len(ZSTD_MAGIC))
    if magic == ZSTD_MAGIC:
        reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return cast("IO[bytes]", reader)
    return cast("IO[bytes]", gzip.open(path)) if magic.startswith(GZIP_MAGIC) else path.open("rb")
