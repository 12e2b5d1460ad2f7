"""Who owns a session of a spool: a process, for as long as it holds the lock on a file of its own beside the spool.

The system gives the lock back however the process ends, so what a killed process owned can be taken over at once.
"""

import fcntl
import os
import secrets
from pathlib import Path


class Ownership:
    """One owner, new and alive; `owner` is its name in the spool's rows. Raises OSError when it cannot be kept."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self.owner = secrets.token_hex(8)
        self._lock: int | None = os.open(self._path(self.owner), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __repr__(self) -> str:
        return f"<Ownership {self.owner} of {self._spool}>"

    def is_alive(self, owner: str) -> bool:
        """Whether another owner's lock is held; the file of one that is gone is removed."""
        path = self._path(owner)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def give_up(self) -> None:
        """Own nothing any more. May be called again."""
        if self._lock is not None:
            self._path(self.owner).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _path(self, owner: str) -> Path:
        return self._spool.with_name(f"{self._spool.name}.owner-{owner}")
