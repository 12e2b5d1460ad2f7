"""Folders that appear whole or not at all, and what is told of their filling.

A copy is made in `NAME.partial` and takes its name at the end, when everything in it is on disk. The partial folder is
locked while it is written: a second copy to the same place is refused, and what a killed one left is cleared.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.upkeep.manifest import BackupRefused

Progress = Callable[[str, int, int], None]
"""Told what is being copied, how many bytes or pages of it are done, and how many there are."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def summed(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """Return what takes the bytes of one piece after the other, and tells how many it has been."""
    done = 0

    def add(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(what, done, total)

    return add


@contextmanager
def appearing_whole(target: Path) -> Iterator[Path]:
    """Give a new folder (0700) to fill; it becomes `target`, which must be absent or empty, if all goes well.

    Raises BackupRefused when `target` cannot become it. On any exception the new folder is removed.
    """
    files = OsFileSystem()
    target = target.resolve()
    _check_target(target)
    partial = target.with_name(f"{target.name}.partial")
    with _locked(partial):
        _clear(partial)
        try:
            yield partial
            for folder, _, _ in os.walk(partial, topdown=False):
                files.sync_directory(Path(folder))
            partial.rename(target)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(partial)
            raise
        files.sync_directory(target.parent)


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise BackupRefused(f"the folder {target.parent} does not exist: make it first (mkdir -p)")
    if target.is_mount():
        raise BackupRefused(f"{target} is a mount point, which cannot be replaced as a whole: name a folder in it")
    if target.exists() and not target.is_dir():
        raise BackupRefused(f"{target} is not a folder")
    if target.is_dir() and any(target.iterdir()):
        raise BackupRefused(f"the folder {target} is not empty: name a new one, or empty it")


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Hold the lock of the folder `partial`, which is made if it is missing."""
    partial.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRefused(f"another process is writing {partial} now") from None
        # Whoever held it may have given it its name, or removed it, before this had the lock.
        if not partial.exists() or not os.path.samestat(partial.stat(), os.fstat(descriptor)):
            raise BackupRefused(f"another process has just written {partial}: look at what is there now")
        yield
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Empty a folder that an interrupted copy left."""
    folder.chmod(0o700)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def make_folders(layout: DataLayout, folders: list[Path]) -> None:
    """Create folders (0700) in a folder that is laid out like a data directory."""
    for folder in folders:
        OsFileSystem().make_directory(layout.root / folder)
