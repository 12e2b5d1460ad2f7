"""The file layer: every byte that the journals write or read goes through it, so that a simulated disk can stand in.

The operations are the few that the durability protocol is made of. They block; callers run them through an `Offload`.
Errors are `OSError` with the errno of the system call.
"""

# ruff: noqa: PLC0415 (imports within functions: programs that only write files need no event loop)

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from persistence.files.regular import open_file

T = TypeVar("T")

Buffer = bytes | memoryview

IOV_BUFFERS_MAX = 512
"""Buffers handed to one system call; Linux allows 1,024 (IOV_MAX)."""


class File(Protocol):
    """An open file. Offsets and sizes are in bytes."""

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers, one after the other, from `offset` on."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer only at the end of the file."""
        ...

    def sync(self) -> None:
        """Return once the file's bytes and size are on stable storage (fdatasync)."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        ...

    def size(self) -> int:
        """Return the file's size."""
        ...

    def close(self) -> None:
        """Close it; nothing is synced."""
        ...


class FileSystem(Protocol):
    """The folders and files of one data directory."""

    def make_directory(self, path: Path) -> None:
        """Create `path` and its parents, 0700, where missing, and sync the parent."""
        ...

    def make_private(self, path: Path) -> None:
        """Let nobody but the owner into an existing folder (0700)."""
        ...

    def list_names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        ...

    def create(self, path: Path) -> File:
        """Create a new file, 0600, for reading and writing; it must not exist."""
        ...

    def open(self, path: Path) -> File:
        """Open an existing file for reading and writing."""
        ...

    def open_read_only(self, path: Path) -> File:
        """Open an existing file for reading."""
        ...

    def remove(self, path: Path) -> None:
        """Remove an existing file; its name is gone for good only after `sync_directory`."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file the name of another in the same folder, which is gone then; for good only after a sync."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return once the folder's entries are on stable storage."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Return how many bytes an unprivileged process can still write to the file system of `path`."""
        ...


class Offload(Protocol):
    """Runs a blocking function without holding up the event loop."""

    def __call__(self, function: Callable[..., T], *args: object) -> Awaitable[T]:
        """Run `function(*args)` to its end, whoever is cancelled meanwhile, and return its result."""
        ...


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run `function(*args)` in a worker thread."""
    import trio

    return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=False)


async def inline(function: Callable[..., T], *args: object) -> T:
    """Run `function(*args)` at once, on the event loop: for commands, simulations and tests of time."""
    import trio

    result = function(*args)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result


class OsFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers, however many system calls that takes."""
        for first in range(0, len(buffers), IOV_BUFFERS_MAX):
            group = list(buffers[first : first + IOV_BUFFERS_MAX])
            while group:
                written = os.pwritev(self._descriptor, group, offset)
                offset += written
                group = _after(group, written)

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`."""
        parts: list[bytes] = []
        while length > 0 and (part := os.pread(self._descriptor, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sync(self) -> None:
        """Call fdatasync, which also makes a grown size durable."""
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """Return the file's size."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


def _after(buffers: Iterable[Buffer], written: int) -> list[Buffer]:
    """Return what is left of `buffers` after their first `written` bytes."""
    rest: list[Buffer] = []
    for buffer in buffers:
        if written >= len(buffer):
            written -= len(buffer)
            continue
        rest.append(memoryview(buffer)[written:] if written else buffer)
        written = 0
    return rest


class OsFileSystem:
    """The operating system's files: 0600 in 0700, never written to through a symbolic link, and nothing but files."""

    def make_directory(self, path: Path) -> None:
        """Create `path` and its parents where missing; a new entry is durable before this returns."""
        if path.is_dir():
            return
        if not path.parent.is_dir():
            self.make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_directory(path.parent)

    def make_private(self, path: Path) -> None:
        """Set the folder's mode to 0700."""
        path.chmod(0o700)

    def list_names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(entry.name for entry in path.iterdir())

    def create(self, path: Path) -> OsFile:
        """Create a new file, 0600."""
        return OsFile(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, follows_links=False))

    def open(self, path: Path) -> OsFile:
        """Open an existing file for reading and writing."""
        return OsFile(open_file(path, os.O_RDWR, follows_links=False))

    def open_read_only(self, path: Path) -> OsFile:
        """Open an existing file for reading."""
        return OsFile(open_file(path, follows_links=True))

    def remove(self, path: Path) -> None:
        """Unlink the file."""
        path.unlink()

    def rename(self, source: Path, target: Path) -> None:
        """Call rename, which takes the old name's place at once."""
        source.rename(target)

    def sync_directory(self, path: Path) -> None:
        """Call fsync on the folder."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, path: Path) -> int:
        """Ask statvfs."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize
