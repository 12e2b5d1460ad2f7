"""Copies of files: whole, and synced now and then, so that the sync at the end is not of all of it."""

import hashlib
from pathlib import Path

import pytest

from persistence.files import file_copies
from persistence.files.file_copies import copy_file
from persistence.files.file_system import OsFile


def test_a_copy_is_synced_whenever_so_much_of_it_is_written_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every piece, which would cost a turn of the disk each."""
    monkeypatch.setattr(file_copies, "COPY_BYTES", 10)
    monkeypatch.setattr(file_copies, "SYNC_BYTES", 30)
    synced: list[int] = []
    sync = OsFile.sync

    def noted(file: OsFile) -> None:
        synced.append(file.size())
        sync(file)

    monkeypatch.setattr(OsFile, "sync", noted)
    text = b"line\n" * 20
    (tmp_path / "file").write_bytes(text)
    pieces: list[int] = []
    copied = copy_file(tmp_path / "file", tmp_path, "copy", size_bytes=75, progress=pieces.append)
    assert (tmp_path / "copy").read_bytes() == text[:75]
    assert (copied.path, copied.size_bytes, copied.lines) == ("copy", 75, 15)
    assert copied.sha256 == hashlib.sha256(text[:75]).hexdigest()
    assert pieces == [10] * 7 + [5]
    assert synced == [30, 60, 75]
