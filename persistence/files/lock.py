"""One writer for each journal: two would each be right about its end and both be wrong.

The server holds `lock`, for what it takes in; curation holds `corpus.lock`, for what it makes of that. Whoever notes
something in the audit journal holds `audit.lock` for so long.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from persistence.files.failures import DataDirectoryLocked
from persistence.files.regular import open_file

LOCK: Final = "lock"
CORPUS_LOCK: Final = "corpus.lock"
AUDIT_LOCK: Final = "audit.lock"

TURN_S: Final = 5.0
"""Seconds that somebody waits for their turn at the audit journal; each takes a sync or two."""
TURN_CHECK_S: Final = 0.01

ADDRESS_BYTES_MAX: Final = 512
NOTED: Final = re.compile(rb"([1-9][0-9]{0,9})\n(https?://[\x21-\x7e]+)\n")
"""What `lock` holds while a server that browsers reach has it: its process, and where."""


@contextmanager
def single_instance(data_directory: Path) -> Iterator[None]:
    """Hold the data directory's lock; DataDirectoryLocked when another process does."""
    with _held(data_directory / LOCK, f"the data directory {data_directory} is in use by process {{}}: stop it first."):
        yield


def note_address(data_directory: Path, url: str) -> None:
    """Name, beside the process, where browsers on this machine reach it: for who holds the directory's lock. Blocking.

    Where it cannot be written nothing is named, and nobody minds.
    """
    with suppress(OSError), _opened(data_directory / LOCK, os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, f"{os.getpid()}\n{url}\n".encode(), 0)


def noted_address(data_directory: Path) -> str | None:
    """Where browsers on this machine reach the process that serves the directory; None where it is not known."""
    try:
        with _opened(data_directory / LOCK, os.O_RDONLY) as descriptor:
            noted = NOTED.fullmatch(os.pread(descriptor, ADDRESS_BYTES_MAX, 0))
    except OSError:
        return None
    # The lock itself is not asked for: a start at this moment would find it held.
    return noted[2].decode() if noted is not None and _is_alive(int(noted[1])) else None


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = open_file(path, flags, follows_links=False)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def single_curation(data_directory: Path) -> Iterator[None]:
    """Hold the corpus's lock; DataDirectoryLocked when the server's own curation, or another one, does."""
    sentence = f"the corpus in {data_directory} is being written by process {{}} (a running server does so by itself)."
    with _held(data_directory / CORPUS_LOCK, sentence):
        yield


@contextmanager
def audit_turn(data_directory: Path) -> Iterator[None]:
    """Hold the audit journal's lock, waiting for it as long as `TURN_S`; DataDirectoryLocked past that. Blocking."""
    sentence = f"the audit journal in {data_directory} is being written by process {{}}."
    until = time.monotonic() + TURN_S
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(_held(data_directory / AUDIT_LOCK, sentence))
                break
            except DataDirectoryLocked:
                if time.monotonic() >= until:
                    raise
                time.sleep(TURN_CHECK_S)
        yield


@contextmanager
def _held(path: Path, sentence: str) -> Iterator[None]:
    """Hold a lock; where another process does, say so by the sentence, whose `{}` is that process.

    The kernel lets go of it when the process ends, however it ends, so there is never a stale lock to remove. The file
    names the process that holds it, for people.
    """
    # What a link points at would be emptied.
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT, follows_links=False)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").partition("\n")[0].strip()
            raise DataDirectoryLocked(sentence.format(holder or "unknown")) from error
        with suppress(OSError):  # a disk may have no room for the name, and the lock is held without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
