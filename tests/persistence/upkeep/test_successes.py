"""When a command last went well: noted as a whole, and never more than a note."""

from pathlib import Path

import pytest

from persistence.files.file_system import OsFileSystem
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.upkeep.successes import Upkeep, last_successes, note_success

FILES = OsFileSystem()


def test_the_last_success_is_read_back(tmp_path: Path) -> None:
    """Each command's by itself, in a file for the owner alone."""
    layout = DataLayout(tmp_path)
    assert last_successes(layout, FILES) == {}
    for at in (1_795_176_000.0, 1_795_176_737.125):
        assert note_success(layout, FILES, Upkeep.BACKUP, times.to_text(at))
    assert last_successes(layout, FILES) == {"backup": 1_795_176_737.125}
    path = tmp_path / "last_backup.json"
    assert path.read_bytes() == b'{"at":"2026-11-20T12:12:17.125000Z"}\n'
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [b"", b"{}", b'{"at":1}', b'{"at":"then"}', b'{"at":"2026-11-20"}', b"\xff"])
def test_what_is_no_note_counts_for_nothing(tmp_path: Path, text: bytes) -> None:
    """A hand, or a disk."""
    (tmp_path / "last_verify.json").write_bytes(text)
    assert last_successes(DataLayout(tmp_path), FILES) == {}


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    """The backup is complete all the same."""
    assert not note_success(DataLayout(tmp_path / "none"), FILES, Upkeep.BACKUP, times.to_text(0.0))
