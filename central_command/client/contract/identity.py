"""Who uploads: ids made once at random and kept in the user's own configuration directory, nothing of the hardware."""

import hashlib
import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from actors.envelopes.settings import SchemaSettings
from persistence.files.kept_ids import keep_new_id
from persistence.files.regular import open_file

_ID = re.compile(r"[0-9a-f]{32}")
_FILE_CHARS_MAX = 100


class IdentityError(Exception):
    """An id cannot be read or kept; the text is one sentence that says which and why."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of itself when it opens a session and in every envelope."""

    contributor_id: str
    """32 lower-case hexadecimal digits: credits are booked under it."""
    machine_fingerprint: str
    """SHA-256 of a random id, 64 hexadecimal digits: the server limits openings by it."""
    app_version_hash: str
    """SHA-256 of the client's own source file, 64 hexadecimal digits."""
    client_version: str
    """The installed package's version, at most 20 characters (`groove_version`)."""


def config_directory(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/central-command`, or `~/.config/central-command` (XDG Base Directory Specification)."""
    base = environment.get("XDG_CONFIG_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".config"
    return home / "central-command"


def load_identity(directory: Path, *, source_file: Path, contributor_id: str | None = None) -> Identity:
    """The kept identity, made on first use; `contributor_id` takes the place of the kept one for this run.

    Raises IdentityError when `contributor_id` is no id, or a kept one cannot be read or written.
    """
    if contributor_id is not None and not _ID.fullmatch(contributor_id.lower()):
        raise IdentityError("A contributor id is 32 hexadecimal digits.")
    machine_id = _kept_id(directory / "machine_id")
    return Identity(
        contributor_id=contributor_id.lower() if contributor_id else _kept_id(directory / "contributor_id"),
        machine_fingerprint=hashlib.sha256(machine_id.encode()).hexdigest(),
        app_version_hash=hashlib.sha256(source_file.read_bytes()).hexdigest(),
        client_version=_client_version()[: SchemaSettings().groove_version_chars_max],
    )


def _client_version() -> str:
    try:
        return metadata.version("central-command")
    except metadata.PackageNotFoundError:
        return "0"


def _kept_id(path: Path) -> str:
    try:
        if not path.exists():
            keep_new_id(path)
        with os.fdopen(open_file(path, follows_links=True), encoding="ascii", errors="replace") as file:
            kept = file.read(_FILE_CHARS_MAX).strip()
    except OSError as error:
        raise IdentityError(f"Cannot keep an id in {path}: {error.strerror or error}.") from error
    if not _ID.fullmatch(kept):
        raise IdentityError(f"{path} does not hold 32 lower-case hexadecimal digits; correct it or delete it.")
    return kept
