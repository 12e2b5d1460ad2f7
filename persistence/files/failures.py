"""What ends a server or keeps it from starting: each message is one sentence for its operator."""

import errno
from pathlib import Path


class StorageFailure(Exception):  # noqa: N818  (a failure of the world, not an error in a call)
    """The disk did something that leaves unknown what is on it; the process must end, and a restart decides."""


class StorageDamage(Exception):  # noqa: N818
    """What is stored contradicts itself; the server must not start on it."""


class NoDataDirectory(Exception):  # noqa: N818
    """A folder that was named as a data directory is none: nothing of a server is in it."""


def none_of_a_corpus(root: Path, what: str) -> NoDataDirectory:
    """That a data directory holds no such thing of a corpus, and what to do: where there is no folder, name another."""
    if root.exists():
        return NoDataDirectory(f"{root} holds no {what}: `central-command curate` makes one.")
    return NoDataDirectory(f"{root} holds no {what}: there is no such folder; name the server's with --data-dir.")


class DataDirectoryLocked(Exception):  # noqa: N818
    """Another process serves this data directory."""


class UnreadableFile(OSError):  # noqa: N818
    """A file that is there for good and cannot be read: it was changed, or, where it `is_away`, is out of reach now."""

    def __init__(self, sentence: str, *, is_away: bool) -> None:
        super().__init__(errno.EIO, sentence)
        self.said = sentence
        self.is_away = is_away
