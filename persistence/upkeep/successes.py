"""When a backup, or a verification, of a data directory last went well: a small file for each, for whoever watches."""

from enum import StrEnum

import msgspec

from persistence.files.file_system import FileSystem
from persistence.files.whole_file import read_file, replace_file
from persistence.format import times
from persistence.format.layout import DataLayout


class Upkeep(StrEnum):
    """What is noted."""

    BACKUP = "backup"
    VERIFY = "verify"


class _Success(msgspec.Struct):
    at: str


_SUCCESS = msgspec.json.Decoder(_Success)


def note_success(layout: DataLayout, files: FileSystem, which: Upkeep, at: str) -> bool:
    """Note that it went well; False where the data directory cannot be written, which is no failure of it."""
    try:
        replace_file(files, layout.last_success(which), msgspec.json.encode(_Success(at)) + b"\n")
    except OSError:
        return False
    return True


def last_successes(layout: DataLayout, files: FileSystem) -> dict[str, float]:
    """When each last went well, in seconds since the epoch; without those that it is not known of."""
    found: dict[str, float] = {}
    for which in Upkeep:
        try:
            text = read_file(files, layout.last_success(which))
            if text is not None:
                found[which.value] = times.from_text(_SUCCESS.decode(text).at)
        except (OSError, TypeError, ValueError):  # as good as none, and the next one mends it
            continue
    return found
