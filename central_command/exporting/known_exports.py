"""Which exports were made of a data directory: so that an erasure can name those that hold something of it.

The data directory remembers the folders only (`exports.jsonl`); what is in an export, its own index says.
"""

import errno
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from central_command.corpus.pseudonyms import Pseudonyms
from central_command.exporting.contents import Entry
from central_command.exporting.manifest import UNFINISHED
from central_command.exporting.selection import ExportRefused
from central_command.exporting.verifying import read_index
from central_command.exporting.writing import LINES
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.keys.sealing import MasterKeyError, load_pseudonym_key

NAME: Final = f"exports.{LINES}"
BYTES_MAX: Final = 4_194_304
"""What is read of the file; some ten thousand folders."""


class _Known(msgspec.Struct, frozen=True):
    path: str


_KNOWN: Final = msgspec.json.Decoder(_Known)


def note_export(data_directory: Path, target: Path) -> None:
    """Remember that an export is begun in a folder; it is on disk when this returns. Raises OSError.

    Where nothing can be written nothing can be erased either, and nothing is remembered.
    """
    known = str(target.resolve())
    if known in known_exports(data_directory):
        return
    try:
        _append(data_directory, known)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def _append(data_directory: Path, known: str) -> None:
    files = OsFileSystem()
    path = data_directory / NAME
    file = files.open(path) if path.exists() else files.create(path)
    try:
        text = file.read_at(0, BYTES_MAX)
        whole = text.rfind(b"\n") + 1  # what a crash has torn off goes
        file.truncate(whole)
        file.write_at([msgspec.json.encode(_Known(known)) + b"\n"], whole)
        file.sync()
    finally:
        file.close()
    files.sync_directory(data_directory)


def known_exports(data_directory: Path) -> list[str]:
    """The folders that exports were made in, in the order in which they were begun. Raises OSError."""
    path = data_directory / NAME
    if not path.exists():
        return []
    file = OsFileSystem().open_read_only(path)
    try:
        text = file.read_at(0, BYTES_MAX)
    finally:
        file.close()
    found = []
    for line in text.splitlines():
        try:
            found.append(_KNOWN.decode(line).path)
        except msgspec.DecodeError:
            continue
    return found


def exports_with(
    data_directory: Path, session_ids: Collection[str], users: Collection[str] = (), *, own: Path | None = None
) -> list[str]:
    """The folders of exports that hold records of any of these sessions, or of users by their digests.

    Those that cannot be asked say so; one that is not in the folder `own` any more was deleted by the server. What is
    being added to an export is not in its index yet.
    """
    wanted = frozenset(session_ids)
    found = []
    for path in known_exports(data_directory):
        if own is not None and Path(path).parent == own.resolve() and not Path(path).exists():
            continue
        try:
            of_users = _pseudonyms_of(users, data_directory)
            # Names of a user's sessions are their application's, and may be another user's, too.
            if any(
                (each.contributor in of_users) if each.contributor else _is_any(each, wanted)
                for each in read_index(Path(path))
            ):
                found.append(path)
            elif (Path(path) / UNFINISHED).exists():
                found.append(f"{path} (which is unfinished)")
        except (ExportRefused, OSError, MasterKeyError):
            found.append(f"{path} (which cannot be looked into)")
    return found


def _is_any(entry: Entry, session_ids: Collection[str]) -> bool:
    return entry.session_id in session_ids or any(each.session_id in session_ids for each in entry.embedded)


def _pseudonyms_of(users: Collection[str], data_directory: Path) -> frozenset[str]:
    if not users:
        return frozenset()
    pseudonyms = Pseudonyms(load_pseudonym_key(DataLayout(data_directory).keys))
    return frozenset(map(pseudonyms.of, users))
