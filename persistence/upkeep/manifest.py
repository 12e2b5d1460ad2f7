"""What a backup says of itself: each file that belongs to it, its bytes and its checksum.

The manifest is written last, so a folder that has one is whole. Its paths are checked against the few that a data
directory has: whoever can change a backup must not be able to make `restore` write anywhere else.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.failures import StorageDamage
from persistence.files.file_copies import CopiedFile
from persistence.files.regular import open_file
from persistence.format.layout import DataLayout
from persistence.journals.erasure_register import ERASURES_NAME
from persistence.journals.parts import holds_lines, is_part
from persistence.keys.sealing import KEY_FILE, PSEUDONYM_KEY_FILE

MANIFEST_FILE: Final = "manifest.json"
MANIFEST_VERSION: Final = 1
MANIFEST_BYTES_MAX: Final = 64_000_000
"""More than a file a day for a thousand years takes."""

KEY_PATH: Final = f"keys/{KEY_FILE}"
PSEUDONYM_KEY_PATH: Final = f"keys/{PSEUDONYM_KEY_FILE}"
"""Is there once something was exported."""
DATABASES: Final = ("sessions.db", "ledger.db")
CORPUS_DATABASE: Final = "corpus.db"
"""Is there once a corpus was made."""
ACCESS_DATABASE: Final = "access.db"
"""Is there once a token was made."""
JOBS_DATABASE: Final = "jobs.db"
"""Is there once a server has run."""


class BackupRefused(Exception):  # noqa: N818  (a state of the world, not an error in a call)
    """Nothing was copied: one sentence says what has to be another way."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup's contents. `created_at` is the moment whose state it holds; `key_id` names the master key it needs.

    `schemas` holds the schema version of each database, `compressed_lines` how many lines each compressed file has.
    """

    version: int
    created_at: str
    schemas: dict[str, int]
    key_id: str
    files: list[CopiedFile]
    compressed_lines: dict[str, int] = {}

    @property
    def with_key(self) -> bool:
        """Whether the master key is part of it."""
        return any(file.path == KEY_PATH for file in self.files)

    @property
    def size_bytes(self) -> int:
        """The bytes of all its files."""
        return sum(file.size_bytes for file in self.files)

    def lines(self, journal: str) -> int:
        """How many lines of a journal it holds."""
        held = [file for file in self.files if file.path.startswith(f"{journal}/") and holds_lines(file.path)]
        return sum(self.compressed_lines.get(file.path, file.lines) for file in held)


class _Head(msgspec.Struct, frozen=True):
    version: int


def encoded(manifest: Manifest) -> bytes:
    """Return the manifest's text: JSON, a line a member."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """Read a backup's manifest.

    Raises BackupRefused for a folder that is no backup or a newer version's, StorageDamage for a changed manifest,
    OSError for one that cannot be read or is no file.
    """
    path = folder / MANIFEST_FILE
    try:
        with os.fdopen(open_file(path, follows_links=False), "rb") as file:
            text = file.read(MANIFEST_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        raise BackupRefused(f"{folder} is not a whole backup: it has no {MANIFEST_FILE}") from None
    try:
        version = msgspec.json.decode(text, type=_Head).version
        if version > MANIFEST_VERSION:
            raise BackupRefused(
                f"{folder} was made by a newer version of this program (manifest version {version}, and this one "
                f"reads up to {MANIFEST_VERSION}): restore it with that version"
            )
        if version < 1:
            raise StorageDamage(f"{path} is damaged (no program gave a manifest version {version}): use another backup")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageDamage(f"{path} is damaged ({error}): use another backup") from error
    paths = [file.path for file in manifest.files]
    known = {*DATABASES, CORPUS_DATABASE, ACCESS_DATABASE, JOBS_DATABASE, KEY_PATH, PSEUDONYM_KEY_PATH, ERASURES_NAME}
    wrong = [each for each in paths if each not in known and not is_part(each)]
    if wrong or len(set(paths)) != len(paths) or not {*DATABASES} <= {*paths}:
        raise StorageDamage(f"{path} is damaged (it does not name the files of a data directory): use another backup")
    return manifest


def path_in(layout: DataLayout, file: CopiedFile) -> Path:
    """Return where a file belongs in a folder that is laid out like a data directory."""
    return layout.root / file.path
