"""A disk in memory that forgets what was not synced: the file layer for tests and simulations.

It passes the same tests as the operating system's files, and keeps beside each file what a crash would leave of it:
bytes count from the last `sync` of the file, names from the last `sync_directory` of their folder.
"""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from persistence.files.file_system import Buffer

BeforeOperation = Callable[[str, Path], None]
"""Called with each operation's name and path before it happens; raises what the operation is to fail with."""


def _nothing(_operation: str, _path: Path) -> None:
    """Let every operation happen."""


class _Node:
    __slots__ = ("data", "durable")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""


class MemoryFile:
    """An open file of a `MemoryFileSystem`."""

    def __init__(self, system: "MemoryFileSystem", path: Path, node: _Node) -> None:
        self._system = system
        self._path = path
        self._node = node

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers; where room ends, the part that fits is written before the error, as a disk does."""
        self._system.before("write", self._path)
        octets = b"".join(buffers)
        room = self._system.free_bytes(self._path) - max(0, offset + len(octets) - len(self._node.data))
        if room < 0:
            octets = octets[: len(octets) + room]
        self._node.data[offset : offset + len(octets)] = octets
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`."""
        self._system.before("read", self._path)
        return bytes(self._node.data[offset : offset + length])

    def sync(self) -> None:
        """Make the file's bytes survive a crash."""
        self._system.before("sync", self._path)
        self._node.durable = bytes(self._node.data)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        self._system.before("truncate", self._path)
        del self._node.data[size:]

    def size(self) -> int:
        """Return the file's size."""
        return len(self._node.data)

    def close(self) -> None:
        """Do nothing: there is no descriptor."""


class MemoryFileSystem:
    """Folders and files in memory, with room for `capacity_bytes`."""

    def __init__(self, capacity_bytes: int = 2**40, before: BeforeOperation | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.before = before or _nothing
        self._names: dict[Path, dict[str, _Node]] = {}
        self._durable_names: dict[Path, dict[str, _Node]] = {}

    def make_directory(self, path: Path) -> None:
        """Create `path` where missing; folders survive crashes at once."""
        self._names.setdefault(path, {})
        self._durable_names.setdefault(path, {})

    def make_private(self, path: Path) -> None:
        """Do nothing: nobody else is there."""

    def list_names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(self._folder(path))

    def create(self, path: Path) -> MemoryFile:
        """Create a new file."""
        self.before("create", path)
        if path.name in self._folder(path.parent):
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        node = self._folder(path.parent)[path.name] = _Node()
        return MemoryFile(self, path, node)

    def open(self, path: Path) -> MemoryFile:
        """Open an existing file."""
        self.before("open", path)
        try:
            return MemoryFile(self, path, self._folder(path.parent)[path.name])
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from None

    def open_read_only(self, path: Path) -> MemoryFile:
        """Open an existing file."""
        return self.open(path)

    def remove(self, path: Path) -> None:
        """Remove an existing file."""
        self.before("remove", path)
        try:
            del self._folder(path.parent)[path.name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from None

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another's name."""
        self.before("rename", source)
        folder = self._folder(source.parent)
        if source.name not in folder:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))
        folder[target.name] = folder.pop(source.name)

    def sync_directory(self, path: Path) -> None:
        """Make the folder's names survive a crash."""
        self.before("sync_directory", path)
        self._durable_names[path] = dict(self._folder(path))

    def free_bytes(self, path: Path) -> int:
        """Return the room that is left."""
        del path  # one file system has one amount of room
        used = sum(len(node.data) for names in self._names.values() for node in names.values())
        return self.capacity_bytes - used

    def crash(self) -> None:
        """Forget everything that was not synced."""
        for path, names in self._durable_names.items():
            self._names[path] = dict(names)
            for node in names.values():
                node.data = bytearray(node.durable)

    def _folder(self, path: Path) -> dict[str, _Node]:
        try:
            return self._names[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from None
