"""One process a data directory: two writers would each be right about a journal's end and both be wrong."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from persistence.files.failures import DataDirectoryLocked
from persistence.files.regular import open_file


@contextmanager
def single_instance(data_directory: Path) -> Iterator[None]:
    """Hold the data directory's lock; DataDirectoryLocked when another process does.

    The kernel lets go of it when the process ends, however it ends, so there is never a stale lock to remove. The file
    names the process that holds it, for people.
    """
    # What a link points at would be emptied.
    descriptor = open_file(data_directory / "lock", os.O_RDWR | os.O_CREAT, follows_links=False)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise DataDirectoryLocked(
                f"the data directory {data_directory} is in use by process {holder or 'unknown'}: stop it first."
            ) from error
        with suppress(OSError):  # a disk may have no room for the name, and the lock is held without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
