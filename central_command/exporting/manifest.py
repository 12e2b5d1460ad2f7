"""The manifest of an export: what was asked for, what came of it, and every file with its hash. Written last.

A folder with one is a whole export. It says nothing of the machine or of the time it was made at: the same selection on
the same corpus gives the same manifest.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

import msgspec

from central_command.exporting.contents import WrittenFile
from central_command.exporting.facts import Facts
from central_command.exporting.selection import ExportRefused, Selection

MANIFEST_NAME: Final = "manifest.json"
UNFINISHED: Final = ".unfinished"
"""The folder within an export's own that holds what is being written; it is gone when all is whole."""
MANIFEST_VERSION: Final = 1
MANIFEST_BYTES_MAX: Final = 2_000_000_000
HASH_BYTES_MAX: Final = 128
"""Of the manifest's end, in which its hash stands."""
_HASH: Final = re.compile(rb'(\n "sha256": ")([0-9a-f]{64}|)("\n\}\n)\Z')


class FormatCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the kept trajectories in one format: those in it and those left out are all that were kept."""

    version: str = ""
    trajectories: int = 0
    rows: int = 0
    left_out: dict[str, int] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An export. `seen` records were looked at; `kept` and `left_out` add up to them. `corpus_n` is the last line of
    the corpus that counts for it. `made_with` are versions that the bytes depend on.
    """

    version: int
    made_with: dict[str, str]
    selection: Selection
    corpus_n: int
    seen: int
    kept: int
    left_out: dict[str, int]
    formats: dict[str, FormatCounts]
    facts: Facts
    files: list[WrittenFile]
    sha256: str = ""
    """Of the manifest's own text, with nothing between the quotation marks that this stands in."""


def encoded(manifest: Manifest) -> bytes:
    """The manifest's text: JSON, a line a member, the last of which is its own hash."""
    text = _formatted(msgspec.json.encode(msgspec.structs.replace(manifest, sha256="")))
    return _HASH.sub(lambda found: found[1] + hashlib.sha256(text).hexdigest().encode() + found[3], text)


def is_as_written(text: bytes) -> bool:
    """Whether a manifest's text is what was written: it has the hash that it says, or, without one, the same form."""
    found = _HASH.search(text, max(0, len(text) - HASH_BYTES_MAX))
    if found is None or not found[2]:
        return _formatted(text) == text
    return hashlib.sha256(text[: found.start(2)] + text[found.end(2) :]).hexdigest().encode() == found[2]


def _formatted(text: bytes) -> bytes:
    return msgspec.json.format(text, indent=1).rstrip(b"\n") + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """Read an export's manifest. Raises ExportRefused for a folder that is none, or of a later version; OSError."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise ExportRefused(f"{folder} is no whole export: it has no {MANIFEST_NAME}.")
    with path.open("rb") as file:
        text = file.read(MANIFEST_BYTES_MAX)
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.version > MANIFEST_VERSION:
            raise ExportRefused(f"{path} is of version {head.version}; this program reads {MANIFEST_VERSION}.")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ExportRefused(f"{path} cannot be read: {error}.") from None


class _Head(msgspec.Struct, frozen=True):
    version: int
