"""Work that may end the process is noted before it begins, and known to the next process."""

import errno
from pathlib import Path

import pytest

from persistence.files.attempts import Attempts
from persistence.files.file_system import FileSystem, OsFileSystem
from persistence.files.memory import MemoryFileSystem


@pytest.fixture(params=[OsFileSystem, MemoryFileSystem])
def files(request: pytest.FixtureRequest) -> FileSystem:
    return request.param()


@pytest.fixture
def path(files: FileSystem, tmp_path: Path) -> Path:
    files.make_directory(tmp_path / "data")
    return tmp_path / "data" / "closing.json"


def test_what_was_begun_and_not_ended_is_counted_over_all_processes(files: FileSystem, path: Path) -> None:
    """Each `Attempts` is another process."""
    Attempts(path, files).begin("a")
    second = Attempts(path, files)
    second.begin("a")
    second.begin("b")
    third = Attempts(path, files)
    assert (third.count("a"), third.count("b"), third.count("c")) == (2, 1, 0)
    assert third.begun_often(2) == ["a"]
    assert third.begun_often(1) == ["a", "b"]


def test_what_ended_is_forgotten(files: FileSystem, path: Path) -> None:
    """However it ended, the process lived; the file holds no more than what is under way."""
    attempts = Attempts(path, files)
    attempts.begin("a" * 128)
    attempts.begin("b")
    attempts.end("a" * 128)
    attempts.end("never begun")
    assert (attempts.count("a" * 128), Attempts(path, files).begun_often(1)) == (0, ["b"])
    attempts.end("b")
    assert files.open_read_only(path).read_at(0, 100) == b"{}\n"


def test_it_is_on_disk_before_the_work_begins(tmp_path: Path) -> None:
    """The name of the file, too: a crash right after `begin` has lost nothing of it."""
    operations: list[str] = []
    files = MemoryFileSystem(2**20, lambda operation, _: operations.append(operation))
    files.make_directory(tmp_path)
    attempts = Attempts(tmp_path / "closing.json", files)
    operations.clear()
    attempts.begin("a")
    assert operations.index("create") < operations.index("sync_directory") < operations.index("write")
    assert operations[-1] == "sync"


@pytest.mark.parametrize("text", [b"", b'{"a":2', b"[]", b"\x00" * 10], ids=["empty", "cut", "other", "zeros"])
def test_a_text_that_a_crash_tore_puts_nothing_aside(files: FileSystem, path: Path, text: bytes) -> None:
    """Rather one attempt more than a session that nobody tries again."""
    files.create(path).write_at([text], 0)
    attempts = Attempts(path, files)
    assert attempts.begun_often(1) == []
    attempts.begin("a")
    assert Attempts(path, files).count("a") == 1


@pytest.mark.parametrize("operation", ["create", "write", "sync"])
def test_a_disk_that_takes_no_note_keeps_nothing_from_being_done(
    tmp_path: Path, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said; on a full disk the work itself is refused, and has an answer for that."""
    failing = {operation}

    def fail(name: str, _: Path) -> None:
        if name in failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    files = MemoryFileSystem(2**20, fail)
    files.make_directory(tmp_path)
    attempts = Attempts(tmp_path / "closing.json", files)
    attempts.begin("a")
    assert attempts.count("a") == 1
    attempts.end("a")
    assert attempts.count("a") == 0
    assert caplog.text.count("No space left on device") == 2
    failing.clear()
    attempts.begin("b")
    assert Attempts(tmp_path / "closing.json", files).begun_often(1) == ["b"]
