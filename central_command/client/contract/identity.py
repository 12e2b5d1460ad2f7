"""Who uploads: ids made once at random and kept in the user's own configuration directory, nothing of the hardware.

A contributor id that is made here gets a key with it, which every session is opened with. An id that came from
elsewhere, or was made before there were keys, gets none by itself: other machines may use it without one, and from the
first signed opening on the server would credit those no more (docs/decisions.md, "Consent").
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.contributor_keys import (
    CONTRIBUTOR_ID,
    ContributorKey,
    ContributorKeyError,
    key_of,
    key_path,
    make_key,
)
from persistence.files.kept_ids import keep_new_id, new_id
from persistence.files.regular import open_file

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
    directory: Path | None = None
    """Where contributors' keys are kept; None where there are none."""

    def key_of(self, contributor_id: str) -> ContributorKey | None:
        """The key of a contributor, this one or another, as it is kept now. Raises ContributorKeyError."""
        return None if self.directory is None else key_of(self.directory, contributor_id)


def config_directory(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/central-command`, or `~/.config/central-command` (XDG Base Directory Specification)."""
    base = environment.get("XDG_CONFIG_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".config"
    return home / "central-command"


def load_identity(directory: Path, *, source_file: Path, contributor_id: str | None = None) -> Identity:
    """The kept identity, made on first use; `contributor_id` takes the place of the kept one for this run.

    Raises IdentityError when `contributor_id` is no id, or a kept one cannot be read or written.
    """
    if contributor_id is not None and not CONTRIBUTOR_ID.fullmatch(contributor_id.lower()):
        raise IdentityError("A contributor id is 32 hexadecimal digits.")
    machine_id = _kept_id(directory / "machine_id", keep_new_id)
    return Identity(
        contributor_id=contributor_id.lower() if contributor_id else own_contributor_id(directory),
        machine_fingerprint=hashlib.sha256(machine_id.encode()).hexdigest(),
        app_version_hash=hashlib.sha256(source_file.read_bytes()).hexdigest(),
        client_version=_client_version()[: SchemaSettings().groove_version_chars_max],
        directory=directory,
    )


def own_contributor_id(directory: Path) -> str:
    """The kept contributor id, made on first use together with its key. Raises IdentityError."""
    return _kept_id(contributor_id_path(directory), _keep_new_contributor)


def kept_contributor_id(directory: Path) -> str | None:
    """The same, None where there is none yet."""
    path = contributor_id_path(directory)
    return _kept_id(path, _keep_new_contributor) if path.exists() else None


def contributor_id_path(directory: Path) -> Path:
    """Where the contributor id is kept in the configuration directory."""
    return directory / "contributor_id"


def _client_version() -> str:
    try:
        return metadata.version("central-command")
    except metadata.PackageNotFoundError:
        return "0"


def _keep_new_contributor(path: Path) -> None:
    """Its key first: whoever finds an id that was made here finds its key, too, however many programs start at once."""
    contributor_id = new_id()
    make_key(path.parent, contributor_id)
    if not keep_new_id(path, contributor_id):
        key_path(path.parent, contributor_id).unlink(missing_ok=True)


def _kept_id(path: Path, keep: Callable[[Path], object]) -> str:
    try:
        if not path.exists():
            keep(path)
        with os.fdopen(open_file(path, follows_links=True), encoding="ascii", errors="replace") as file:
            kept = file.read(_FILE_CHARS_MAX).strip()
    except OSError as error:
        raise IdentityError(f"Cannot keep an id in {path}: {error.strerror or error}.") from error
    except ContributorKeyError as error:
        raise IdentityError(str(error)) from error
    if not CONTRIBUTOR_ID.fullmatch(kept):
        raise IdentityError(f"{path} does not hold 32 lower-case hexadecimal digits; correct it or delete it.")
    return kept
