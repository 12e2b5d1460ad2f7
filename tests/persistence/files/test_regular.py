"""Files that are files: the rest is refused by its kind before anything waits for it."""

import os
from pathlib import Path

import pytest

from persistence.files.regular import NotAFileError, check_file, open_file


def test_a_file_is_opened_for_itself_alone(tmp_path: Path) -> None:
    """Not for the programs that this one starts; a new one for its owner alone."""
    path = tmp_path / "file"
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT, follows_links=False)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert path.stat().st_mode & 0o777 == 0o600
    os.close(open_file(path, follows_links=False))


@pytest.mark.parametrize("follows_links", [True, False])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT])
def test_a_fifo_is_never_waited_for(tmp_path: Path, flags: int, *, follows_links: bool) -> None:
    """Its other end is open nowhere."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotAFileError, match="a FIFO stands in its place") as raised:
        open_file(tmp_path / "fifo", flags, follows_links=follows_links)
    assert raised.value.filename == str(tmp_path / "fifo")


def test_a_link_is_followed_only_when_asked_for(tmp_path: Path) -> None:
    """And what it leads to must be a file, too."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.close(open_file(tmp_path / "link", follows_links=True))
    with pytest.raises(NotAFileError, match="a symbolic link stands in its place, and symbolic links are not followed"):
        open_file(tmp_path / "link", follows_links=False)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(NotAFileError, match="a character device"):
        open_file(tmp_path / "zero", follows_links=True)


def test_what_took_the_place_of_a_file_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening; no descriptor is left open."""
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("persistence.files.regular.check_file", lambda _path, *, follows_links: follows_links)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotAFileError, match="a FIFO"):
        open_file(tmp_path / "fifo", follows_links=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_folders_and_missing_files_are_what_they_are_for_the_system(tmp_path: Path) -> None:
    """What is missing can be created by whoever asks."""
    with pytest.raises(IsADirectoryError):
        check_file(tmp_path)
    check_file(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "missing", follows_links=True)
