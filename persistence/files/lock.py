"""One writer for each journal: two would each be right about its end and both be wrong.

The server holds `lock`, for what it takes in; curation holds `corpus.lock`, for what it makes of that. Whoever notes
something in the audit journal holds `audit.lock` for so long.
"""

import fcntl
import os
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


@contextmanager
def single_instance(data_directory: Path) -> Iterator[None]:
    """Hold the data directory's lock; DataDirectoryLocked when another process does."""
    with _held(data_directory / LOCK, f"the data directory {data_directory} is in use by process {{}}: stop it first."):
        yield


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
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise DataDirectoryLocked(sentence.format(holder or "unknown")) from error
        with suppress(OSError):  # a disk may have no room for the name, and the lock is held without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
