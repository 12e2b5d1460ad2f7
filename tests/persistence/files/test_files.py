"""The file layer: the operating system's and the one in memory keep the same promises."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence.files.file_system import FileSystem, OsFileSystem, in_thread, inline
from persistence.files.memory import MemoryFileSystem


@pytest.fixture(params=[OsFileSystem, MemoryFileSystem])
def files(request: pytest.FixtureRequest) -> FileSystem:
    return request.param()


@pytest.fixture
def folder(files: FileSystem, tmp_path: Path) -> Path:
    path = tmp_path / "a" / "b"
    files.make_directory(path)
    return path


def test_what_is_written_in_parts_is_read_as_one(files: FileSystem, folder: Path) -> None:
    """Buffers follow each other from the offset on, memoryviews and empty ones included."""
    file = files.create(folder / "x")
    file.write_at([b"ab", memoryview(b"cde"), b"", b"f"], 0)
    file.write_at([b"XY"], 2)
    assert (file.read_at(0, 100), file.read_at(1, 2), file.read_at(6, 5), file.size()) == (b"abXYef", b"bX", b"", 6)
    file.close()


def test_more_buffers_than_one_call_takes(files: FileSystem, folder: Path) -> None:
    """The limit of one system call is nobody's business but the file layer's."""
    file = files.create(folder / "x")
    file.write_at([b"%04d" % i for i in range(2000)], 0)
    assert file.read_at(0, 8000) == b"".join(b"%04d" % i for i in range(2000))
    file.close()


def test_a_file_is_created_once(files: FileSystem, folder: Path) -> None:
    """An existing file is never taken for a new one, and a missing one never created by opening."""
    files.create(folder / "x").close()
    with pytest.raises(FileExistsError):
        files.create(folder / "x")
    with pytest.raises(FileNotFoundError):
        files.open(folder / "y")
    with pytest.raises(FileNotFoundError):
        files.open_read_only(folder / "y")
    assert files.list_names(folder) == ["x"]


def test_cutting_and_syncing(files: FileSystem, folder: Path) -> None:
    """A cut file has the size that it was cut to."""
    file = files.create(folder / "x")
    file.write_at([b"abcdef"], 0)
    file.truncate(2)
    file.sync()
    files.sync_directory(folder)
    file.close()
    reopened = files.open(folder / "x")
    assert reopened.read_at(0, 10) == b"ab"
    assert files.free_bytes(folder) > 0
    reopened.close()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        files = OsFileSystem()
        files.make_directory(tmp_path / "data" / "envelopes")
        files.create(tmp_path / "data" / "envelopes" / "x").close()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) for name in ("", "envelopes", "envelopes/x")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was offered, and end within a buffer."""
    whole = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: whole(fd, [bytes(b"".join(buffers)[:3])], offset))
    file = OsFileSystem().create(tmp_path / "x")
    file.write_at([b"abcd", b"ef", b"ghij"], 0)
    assert file.read_at(0, 20) == b"abcdefghij"
    file.close()


def test_a_crash_forgets_what_was_not_synced() -> None:
    """Bytes since the last sync go, and names since the last sync of their folder."""
    files, folder = MemoryFileSystem(), Path("/d")
    files.make_directory(folder)
    kept, lost = files.create(folder / "kept"), files.create(folder / "lost")
    files.list_names(folder)
    kept.write_at([b"1"], 0)
    kept.sync()
    lost.sync()
    files.crash()
    assert files.list_names(folder) == []
    kept = files.create(folder / "kept")
    files.sync_directory(folder)
    kept.write_at([b"12"], 0)
    kept.sync()
    kept.write_at([b"3"], 2)
    files.crash()
    assert files.open(folder / "kept").read_at(0, 9) == b"12"


def test_room_ends_in_the_middle_of_a_write() -> None:
    """As on a real disk, what fits is written before the error comes."""
    files, folder = MemoryFileSystem(capacity_bytes=4), Path("/d")
    files.make_directory(folder)
    file = files.create(folder / "x")
    with pytest.raises(OSError, match="No space") as caught:
        file.write_at([b"abc", b"def"], 0)
    assert caught.value.errno == errno.ENOSPC
    assert file.read_at(0, 9) == b"abcd"


@pytest.mark.parametrize("offload", [in_thread, inline])
async def test_offloaded_work_answers_and_raises(offload: Callable[..., object]) -> None:
    """Both ways to run blocking work pass on its result and its error."""
    assert await offload(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await offload(divmod, 7, 0)


def test_a_file_in_memory_needs_no_room_for_what_it_has_already() -> None:
    """As on a disk: what is written over takes none, and of what is longer the part that fits is written."""
    files = MemoryFileSystem(capacity_bytes=4)
    files.make_directory(Path("/data"))
    file = files.create(Path("/data/file"))
    file.write_at([b"abcd"], 0)
    file.write_at([b"xy"], 2)
    with pytest.raises(OSError, match="No space"):
        file.write_at([b"123"], 2)
    assert file.read_at(0, 9) == b"ab12"
