"""A disk that fails as disks do: what was not synced may be lost, in part, or come back as garbage.

Each file has two contents: what the process sees (the page cache) and what is on stable storage. Each folder has two
sets of names. `sync` and `sync_directory` carry the first over to the second. A power failure settles, file by file and
sector by sector, what became of the rest; what was synced always stays. A killed process loses nothing of the cache.

Every operation passes a gate first, which counts it, may fail it, and may end the process before, within or after it.
"""

import errno
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from persistence.files.file_system import Buffer
from tests.simulation.randomness import Stream

SECTOR_BYTES = 512


class When(StrEnum):
    """Where in an operation a process ends."""

    BEFORE = "before"
    HALFWAY = "halfway"
    AFTER = "after"


class Crashed(BaseException):
    """The process is over: nothing that it still tries to do happens."""


class Gate(Protocol):
    """What stands before every operation."""

    is_over: bool
    """Whether the process has ended."""

    def enter(self, operation: str, path: Path) -> When | None:
        """Count it; raise what it fails with; or say where in it the process ends (then call `end`)."""
        ...

    def end(self) -> None:
        """End the process here; raises Crashed."""
        ...

    def room_bytes(self) -> int:
        """How much more can be written."""
        ...


class Node:
    """A file's two contents."""

    __slots__ = ("data", "durable")

    def __init__(self, data: bytes = b"", durable: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = durable

    def copy(self) -> "Node":
        """The same contents, apart."""
        return Node(bytes(self.data), self.durable)

    def settle(self, chance: Stream) -> str:
        """Lose power: decide what is on the disk, which is all that is left; answer in one word how it came out."""
        if self.data == self.durable:
            return "whole"
        how = chance.any_of(("lost", "kept", "prefix", "sectors", "garbage"))
        self.durable = _survivor(how, self.durable, bytes(self.data), chance)
        self.data = bytearray(self.durable)
        return how


def _survivor(how: str, durable: bytes, data: bytes, chance: Stream) -> bytes:
    """What a disk holds after a power failure between the content `durable` and the newer content `data`."""
    if how == "lost":
        return durable
    if how == "kept":
        return data
    if len(data) < len(durable):
        return durable if chance.one_in(2) else data  # a cut that was not synced happened, or did not
    same = next((i for i, (old, new) in enumerate(zip(durable, data, strict=False)) if old != new), len(durable))
    if how == "prefix":
        return data[: chance.randint(same, len(data))]
    # The size has grown; each sector beyond what is the same came through, or is as it was, or is anything.
    result = bytearray(durable + bytes(len(data) - len(durable)))
    for start in range(same - same % SECTOR_BYTES, len(data), SECTOR_BYTES):
        first, end = max(start, same), min(start + SECTOR_BYTES, len(data))
        match chance.randrange(3 if how == "garbage" else 2):
            case 0:
                result[first:end] = data[first:end]
            case 2:
                result[first:end] = chance.randbytes(end - first)
    return bytes(result)


class SimulatedFile:
    """An open file."""

    def __init__(self, disk: "SimulatedDisk", path: Path, node: Node) -> None:
        self._disk = disk
        self._path = path
        self.node = node

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write; where room ends, what fits is written before the error."""
        octets = b"".join(buffers)
        gate = self._disk.gate
        when = gate.enter("write", self._path)
        if when is When.BEFORE:
            gate.end()
        room = max(0, gate.room_bytes())
        written = len(octets) // 2 if when is When.HALFWAY else min(len(octets), room + len(self.node.data) - offset)
        if offset > len(self.node.data):
            self.node.data.extend(bytes(offset - len(self.node.data)))
        self.node.data[offset : offset + written] = octets[:written]
        if when is not None:
            gate.end()
        if written < len(octets):
            raise OSError(errno.ENOSPC, "No space left on device")

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`."""
        self._disk.pass_gate("read", self._path, lambda: None)
        return bytes(self.node.data[offset : offset + length])

    def sync(self) -> None:
        """Make the content durable."""
        self._disk.pass_gate("sync", self._path, self._sync)

    def _sync(self) -> None:
        self.node.durable = bytes(self.node.data)
        self._disk.synced(self._path, self.node)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        self._disk.pass_gate("truncate", self._path, lambda: self.node.data.__delitem__(slice(size, None)))

    def size(self) -> int:
        """Return the file's size."""
        return len(self.node.data)

    def close(self) -> None:
        """Do nothing: there is no descriptor."""


class SimulatedDisk:
    """The folders and files of one data directory, through all lives of a process; `gate` changes with each."""

    def __init__(self, gate: Gate, synced: Callable[[Path, bytes], None] = lambda _path, _durable: None) -> None:
        self.gate = gate
        self._on_durable = synced
        self.folders: dict[Path, dict[str, Node]] = {}
        self.durable_folders: dict[Path, dict[str, Node]] = {}
        self.removed: dict[Path, bytes] = {}
        """What was in files when they were removed; some may be back."""

    # The file layer

    def make_directory(self, path: Path) -> None:
        """Create `path` where missing, durably: the real layer syncs its parent."""
        if path not in self.folders:
            self.pass_gate("make_directory", path, lambda: self._make_directory(path))

    def _make_directory(self, path: Path) -> None:
        self.folders[path] = {}
        self.durable_folders[path] = {}

    def make_private(self, path: Path) -> None:
        """Do nothing: nobody else is there."""

    def list_names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(self._folder(path))

    def create(self, path: Path) -> SimulatedFile:
        """Create a new file."""
        if path.name in self._folder(path.parent):
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        node = Node()
        self.pass_gate("create", path, lambda: self._folder(path.parent).__setitem__(path.name, node))
        return SimulatedFile(self, path, node)

    def open(self, path: Path) -> SimulatedFile:
        """Open an existing file."""
        self.pass_gate("open", path, lambda: None)
        try:
            return SimulatedFile(self, path, self._folder(path.parent)[path.name])
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from None

    def open_read_only(self, path: Path) -> SimulatedFile:
        """Open an existing file."""
        return self.open(path)

    def remove(self, path: Path) -> None:
        """Remove an existing file; a power failure may bring it back until the folder is synced."""
        if path.name not in self._folder(path.parent):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        self.pass_gate("remove", path, lambda: self._remove(path))

    def _remove(self, path: Path) -> None:
        self.removed[path] = bytes(self._folder(path.parent).pop(path.name).data)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another's name; a power failure may undo it until the folder is synced."""
        if source.name not in self._folder(source.parent):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))
        self.pass_gate("rename", source, lambda: self._rename(source, target))

    def _rename(self, source: Path, target: Path) -> None:
        folder = self._folder(source.parent)
        folder[target.name] = folder.pop(source.name)

    def sync_directory(self, path: Path) -> None:
        """Make the folder's names durable."""
        self.pass_gate("sync_directory", path, lambda: self._sync_directory(path))

    def _sync_directory(self, path: Path) -> None:
        names = self.durable_folders[path] = dict(self._folder(path))
        for name, node in names.items():
            self._on_durable(path / name, node.durable)

    def free_bytes(self, path: Path) -> int:
        """Return the room that is left."""
        return self.gate.room_bytes()

    # What the simulation does with it

    def pass_gate(self, operation: str, path: Path, happen: Callable[[], object]) -> None:
        """Do one operation that happens wholly or not at all."""
        when = self.gate.enter(operation, path)
        if when is When.BEFORE or when is When.HALFWAY:
            self.gate.end()
        happen()
        if when is When.AFTER:
            self.gate.end()

    def synced(self, path: Path, node: Node) -> None:
        """A file's content is durable; it counts once its name is, too."""
        if self.durable_folders.get(path.parent, {}).get(path.name) is node:
            self._on_durable(path, node.durable)

    def lose_power(self, chance: Stream) -> list[str]:
        """Settle what every file and folder holds; answer what became of each that was not wholly synced."""
        outcomes: list[str] = []
        for folder in sorted(self.folders):
            names, durable = self.folders[folder], self.durable_folders[folder]
            for name in sorted(durable.keys() - names.keys()):
                if chance.one_in(2):
                    outcomes.append(f"{folder.name}/{name} is back")
                    names[name] = durable[name]
            for name in sorted(names):
                if durable.get(name) is not names[name] and chance.one_in(2):
                    outcomes.append(f"{folder.name}/{name} name lost")
                    if name in durable:  # the file that had it before is back
                        names[name] = durable[name]
                    else:
                        del names[name]
                        continue
                how = names[name].settle(chance)
                if how != "whole":
                    outcomes.append(f"{folder.name}/{name} {how}")
            self.durable_folders[folder] = dict(names)
        return outcomes

    def image(self) -> "DiskImage":
        """A copy of everything, to go back to."""
        copies: dict[int, Node] = {}

        def copied(folders: dict[Path, dict[str, Node]]) -> dict[Path, dict[str, Node]]:
            return {
                path: {name: copies.setdefault(id(node), node.copy()) for name, node in names.items()}
                for path, names in folders.items()
            }

        return DiskImage(copied(self.folders), copied(self.durable_folders))

    def restore(self, image: "DiskImage") -> None:
        """Go back to an image, which stays as it is."""
        self.folders, self.durable_folders = image.folders, image.durable_folders
        again = self.image()
        self.folders, self.durable_folders = again.folders, again.durable_folders

    def contents(self) -> dict[Path, bytes]:
        """Every file's content as the process sees it."""
        return {
            folder / name: bytes(node.data) for folder, names in self.folders.items() for name, node in names.items()
        }

    def _folder(self, path: Path) -> dict[str, Node]:
        try:
            return self.folders[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from None


class DiskImage:
    """A copy of a disk."""

    def __init__(self, folders: dict[Path, dict[str, Node]], durable_folders: dict[Path, dict[str, Node]]) -> None:
        self.folders = folders
        self.durable_folders = durable_folders
