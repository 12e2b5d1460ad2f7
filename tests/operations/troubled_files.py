"""The operating system's files with a word before each operation: what a test wants to happen then, happens."""

from collections.abc import Callable, Sequence
from pathlib import Path

from persistence.files.file_system import Buffer, OsFile, OsFileSystem

Before = Callable[[str, Path], None]
"""Called with each operation's name and path before it happens; raises what the operation is to fail with."""


class TroubledFile(OsFile):
    """A file whose writes and syncs are announced."""

    def __init__(self, file: OsFile, path: Path, system: "TroubledFileSystem") -> None:
        super().__init__(file._descriptor)
        self._path = path
        self._system = system

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write."""
        self._system.before("write", self._path)
        super().write_at(buffers, offset)

    def sync(self) -> None:
        """Sync."""
        self._system.before("sync", self._path)
        super().sync()


class TroubledFileSystem(OsFileSystem):
    """Files that are announced when they are created, opened, written and synced."""

    def __init__(self, before: Before) -> None:
        self.before = before

    def create(self, path: Path) -> TroubledFile:
        """Create a file."""
        self.before("create", path)
        return TroubledFile(super().create(path), path, self)

    def open(self, path: Path) -> TroubledFile:
        """Open a file."""
        self.before("open", path)
        return TroubledFile(super().open(path), path, self)
