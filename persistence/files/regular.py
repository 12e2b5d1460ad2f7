"""Files that are files: what else stands where one belongs (a FIFO, a device, a socket) is refused by name.

Opening a FIFO waits for whoever writes to it, reading `/dev/zero` or a terminal does not end, and opening some devices
does something to them. So the kind is asked before anything is opened; and again of what was opened, without waiting,
because someone may have put something else there in between.
"""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
)


class NotAFileError(OSError):
    """Something else than a file stands at the path; `strerror` says what, as part of a sentence."""


def kind_of(mode: int) -> str | None:
    """What a `st_mode` is of, such as "a FIFO"; None for a file."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)


def open_file(path: Path, flags: int = os.O_RDONLY, *, follows_links: bool) -> int:
    """Open a file and return its descriptor, which `exec` closes; with O_CREAT, a new one is 0600.

    Raises NotAFileError for anything that is no file, IsADirectoryError for a folder, else what `os.open` raises.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follows_links else os.O_NOFOLLOW)
    check_file(path, follows_links=follows_links)
    descriptor = os.open(path, flags, 0o600)
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_file(path: Path, *, follows_links: bool = True) -> None:
    """Raise as `open_file` when something that is no file stands at `path`; what is missing passes. Opens nothing.

    For what others open, such as SQLite.
    """
    try:
        status = path.stat(follow_symlinks=follows_links)
    except FileNotFoundError:
        return
    _check_kind(status.st_mode, path)


def _check_kind(mode: int, path: Path) -> None:
    kind = kind_of(mode)
    if kind is None:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    why = ", and symbolic links are not followed" if stat.S_ISLNK(mode) else ""
    raise NotAFileError(errno.EINVAL, f"{kind} stands in its place{why}", str(path))
