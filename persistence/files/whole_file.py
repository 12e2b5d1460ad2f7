"""A small file that is replaced as a whole: after a crash it is the old one or the new one, never half."""

from pathlib import Path
from typing import Final

from persistence.files.file_system import FileSystem

UNFINISHED_ENDING: Final = ".partial"


def replace_file(files: FileSystem, path: Path, content: bytes) -> None:
    """Put content in a file's place, durably; its folder must be there. Blocking; raises OSError."""
    unfinished = path.with_name(f"{path.name}{UNFINISHED_ENDING}")
    if unfinished.name in files.list_names(path.parent):
        files.remove(unfinished)
    file = files.create(unfinished)
    try:
        file.write_at([content], 0)
        file.sync()
    finally:
        file.close()
    files.rename(unfinished, path)
    files.sync_directory(path.parent)


def read_file(files: FileSystem, path: Path) -> bytes | None:
    """Return a file's content; None when there is none. Blocking; raises OSError."""
    try:
        file = files.open_read_only(path)
    except FileNotFoundError:
        return None
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()


def remove_file(files: FileSystem, path: Path) -> None:
    """Remove a file and what an interrupted replacement left of it, durably, if they are there."""
    for name in (path.name, f"{path.name}{UNFINISHED_ENDING}"):
        if name in files.list_names(path.parent):
            files.remove(path.with_name(name))
    files.sync_directory(path.parent)
