"""The simulated disk keeps what was synced, and only that for sure."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence.files.file_system import FileSystem, OsFileSystem
from tests.simulation.randomness import stream
from tests.simulation.simulated_disk import SECTOR_BYTES, Crashed, Node, SimulatedDisk, When

FOLDER = Path("/data/envelopes")
FILE = FOLDER / "2026-11-20.jsonl"


class OpenGate:
    """Lets everything happen, but for what a test says."""

    def __init__(self) -> None:
        self.is_over = False
        self.room = 2**30
        self.ends: tuple[str, When] | None = None
        self.fails = ""

    def enter(self, operation: str, path: Path) -> When | None:
        if self.is_over:
            raise Crashed
        if operation == self.fails:
            raise OSError(errno.EIO, "injected")
        return self.ends[1] if self.ends is not None and self.ends[0] == operation else None

    def end(self) -> None:
        self.is_over = True
        raise Crashed

    def room_bytes(self) -> int:
        return self.room


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
def disk(gate: OpenGate) -> SimulatedDisk:
    made = SimulatedDisk(gate)
    made.make_directory(FOLDER)
    return made


def written(disk: SimulatedDisk, data: bytes = b"synced", *, named: bool = True) -> None:
    file = disk.create(FILE)
    file.write_at([data], 0)
    file.sync()
    if named:
        disk.sync_directory(FOLDER)


@pytest.mark.parametrize("make", [OsFileSystem, lambda: SimulatedDisk(OpenGate())], ids=["real", "simulated"])
def test_it_does_what_real_files_do(make: Callable[[], FileSystem], tmp_path: Path) -> None:
    files, folder = make(), tmp_path / "journal"
    files.make_directory(folder)
    file = files.create(folder / "one")
    file.write_at([b"abc", memoryview(b"def")], 0)
    file.write_at([b"XY"], 8)
    assert file.read_at(0, 100) == b"abcdef\0\0XY"
    assert file.read_at(4, 2) == b"ef"
    file.truncate(4)
    assert (file.size(), file.read_at(2, 9)) == (4, b"cd")
    file.sync()
    files.sync_directory(folder)
    assert files.list_names(folder) == ["one"]
    assert files.open_read_only(folder / "one").read_at(0, 4) == b"abcd"
    with pytest.raises(FileExistsError):
        files.create(folder / "one")
    with pytest.raises(FileNotFoundError):
        files.open(folder / "two")


def test_what_was_synced_stays(disk: SimulatedDisk) -> None:
    """After a power failure a file begins with its synced bytes, whatever became of the others."""
    synced = bytes(range(1, 251)) * 5
    written(disk, synced)
    disk.open(FILE).write_at([b"n" * 3_000], len(synced))
    image = disk.image()
    for seed in range(200):
        disk.restore(image)
        disk.lose_power(stream(seed, "power"))
        content = disk.contents()[FILE]
        assert content[: len(synced)] == synced
        assert len(content) <= len(synced) + 3_000


def test_what_was_not_synced_may_come_out_in_every_way() -> None:
    """Lost, whole, cut anywhere, in sectors, and with garbage: some seed shows each."""
    seen: set[str] = set()
    for seed in range(200):
        node = Node(b"a" * 700 + b"n" * 3_000, b"a" * 700)
        node.settle(stream(seed, "power"))
        new = node.durable[700:]
        assert node.data == node.durable
        first = 2 * SECTOR_BYTES - 700
        sectors = [new[:first], *(new[at : at + SECTOR_BYTES] for at in range(first, len(new), SECTOR_BYTES))]
        if not new:
            seen.add("lost")
        elif set(new) == {ord("n")}:
            seen.add("whole" if len(new) == 3_000 else "prefix")
        elif set(new) <= {0, ord("n")}:
            assert all(len(set(sector)) == 1 for sector in sectors), "sectors come through whole or not at all"
            seen.add("sectors")
        else:
            seen.add("garbage")
    assert seen == {"lost", "whole", "prefix", "sectors", "garbage"}


def test_a_name_that_was_not_synced_may_be_lost_and_a_synced_one_never() -> None:
    kept = set()
    for seed in range(50):
        disk = SimulatedDisk(OpenGate())
        disk.make_directory(FOLDER)
        written(disk)
        disk.create(FOLDER / "unnamed").sync()
        disk.lose_power(stream(seed, "power"))
        assert FILE.name in disk.list_names(FOLDER)
        kept.add("unnamed" in disk.list_names(FOLDER))
    assert kept == {True, False}


def test_a_cut_that_was_not_synced_may_be_undone() -> None:
    sizes = set()
    for seed in range(50):
        node = Node(b"abc", b"abcdef")
        node.settle(stream(seed, "power"))
        sizes.add(node.durable)
    assert sizes == {b"abc", b"abcdef"}


@pytest.mark.parametrize(("when", "content"), [(When.BEFORE, b""), (When.HALFWAY, b"abc"), (When.AFTER, b"abcdef")])
def test_a_process_can_end_before_within_and_after_a_write(
    disk: SimulatedDisk, gate: OpenGate, when: When, content: bytes
) -> None:
    file = disk.create(FILE)
    gate.ends = ("write", when)
    with pytest.raises(Crashed):
        file.write_at([b"abcdef"], 0)
    assert disk.contents()[FILE] == content


def test_nothing_happens_after_the_end(disk: SimulatedDisk, gate: OpenGate) -> None:
    written(disk)
    file = disk.open(FILE)
    gate.is_over = True
    operations: list[Callable[[], object]] = [
        lambda: file.write_at([b"x"], 0),
        lambda: file.truncate(0),
        file.sync,
        lambda: file.read_at(0, 1),
        lambda: disk.create(FOLDER / "new"),
        lambda: disk.open(FILE),
        lambda: disk.sync_directory(FOLDER),
    ]
    for operation in operations:
        with pytest.raises(Crashed):
            operation()
    assert disk.contents() == {FILE: b"synced"}


def test_a_failing_operation_changes_nothing(disk: SimulatedDisk, gate: OpenGate) -> None:
    written(disk)
    gate.fails = "sync"
    file = disk.open(FILE)
    file.write_at([b"unsynced"], 0)
    with pytest.raises(OSError, match="injected"):
        file.sync()
    assert disk.folders[FOLDER][FILE.name].durable == b"synced"


def test_what_fits_is_written_before_the_disk_is_full(disk: SimulatedDisk, gate: OpenGate) -> None:
    file = disk.create(FILE)
    gate.room = 4
    with pytest.raises(OSError, match="No space left") as error:
        file.write_at([b"abcdef"], 0)
    assert error.value.errno == errno.ENOSPC
    assert disk.contents()[FILE] == b"abcd"


def test_it_tells_when_a_line_is_durable_with_its_name(gate: OpenGate) -> None:
    """A file counts once both its content and its name are synced, in whichever order."""
    told: list[bytes] = []
    disk = SimulatedDisk(gate, lambda _path, content: told.append(content))
    disk.make_directory(FOLDER)
    written(disk, b"one", named=False)
    assert told == []
    disk.sync_directory(FOLDER)
    assert told == [b"one"]
    file = disk.open(FILE)
    file.write_at([b"two"], 3)
    file.sync()
    assert told == [b"one", b"onetwo"]


def test_an_image_brings_everything_back_as_often_as_asked(disk: SimulatedDisk) -> None:
    written(disk, named=False)
    image = disk.image()
    for seed in range(4):
        disk.open(FILE).write_at([b"changed"], 0)
        disk.restore(image)
        assert disk.contents() == {FILE: b"synced"}
        disk.lose_power(stream(seed, "power"))
        disk.restore(image)
        assert disk.durable_folders[FOLDER] == {}
