"""A contributor's id and key in one file, to be taken to another machine: a secret for as long as it lies anywhere."""

import os
from pathlib import Path

import msgspec

from central_command.client.contract.contributor_keys import (
    CONTRIBUTOR_ID,
    ContributorKey,
    keep_key,
    key_of,
    key_path,
    private_key_of,
)
from central_command.client.contract.identity import contributor_id_path, kept_contributor_id
from persistence.files.file_system import OsFileSystem
from persistence.files.kept_ids import keep_new, keep_new_id
from persistence.files.regular import open_file

_FILE_BYTES_MAX = 4_096


class ContributorFileError(Exception):
    """A contributor's file cannot be written, read or taken; the text is one sentence that says which and why."""


class Contributor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is credited, and what they sign with: PKCS #8 in PEM, None for a contributor without a key."""

    contributor_id: str
    private_key: str | None

    def __repr__(self) -> str:
        return "<Contributor>"


def export_contributor(directory: Path, contributor_id: str, path: Path) -> ContributorKey | None:
    """Write a contributor's id, and the key that is kept of them, which is returned, to a new file, 0600.

    Raises ContributorFileError, and ContributorKeyError for a key that cannot be read.
    """
    key = key_of(directory, contributor_id)
    content = msgspec.json.encode(Contributor(contributor_id, None if key is None else key.pem))
    try:
        is_new = keep_new(path, content + b"\n")
    except OSError as error:
        raise ContributorFileError(f"Cannot write {path}: {error.strerror or error}.") from error
    if not is_new:
        raise ContributorFileError(f"{path} is there already: name a file that is not.")
    return key


def read_contributor(path: Path) -> Contributor:
    """What `export_contributor` wrote. Raises ContributorFileError for anything else."""
    try:
        with os.fdopen(open_file(path, follows_links=True), "rb") as file:
            content = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ContributorFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        found = msgspec.json.decode(content, type=Contributor)
        if found.private_key is not None:
            private_key_of(found.private_key.encode())
    except (msgspec.DecodeError, ValueError):
        found = Contributor("", None)
    if not CONTRIBUTOR_ID.fullmatch(found.contributor_id):
        raise ContributorFileError(f"{path} is no file that `central-command contributor export` wrote.")
    return found


def take_contributor(directory: Path, contributor: Contributor) -> Path | None:
    """Deliver as this contributor from now on: keep the key, then the id in the place of the one that is kept.

    Returns where the former id is kept then, None where there was none, or the same. Raises ContributorFileError where
    another key of this contributor is kept, ContributorKeyError where none can be, and OSError.
    """
    contributor_id = contributor.contributor_id
    if contributor.private_key is not None:
        key = ContributorKey(contributor_id, private_key_of(contributor.private_key.encode()))
        if keep_key(directory, key).public_key != key.public_key:
            kept_in = key_path(directory, contributor_id)
            raise ContributorFileError(f"Another key of this contributor is kept in {kept_in}: nothing was changed.")
    kept, path = kept_contributor_id(directory), contributor_id_path(directory)
    if kept == contributor_id:
        return None
    if kept is None:
        keep_new_id(path, contributor_id)
        return None
    former, draft = path.with_name(f"{path.name}_{kept[:8]}"), path.with_name(f"{path.name}.new")
    keep_new_id(former, kept)
    draft.unlink(missing_ok=True)
    keep_new_id(draft, contributor_id)
    draft.replace(path)
    OsFileSystem().sync_directory(directory)
    return former
