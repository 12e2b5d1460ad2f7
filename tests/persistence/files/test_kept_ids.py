"""Ids that are made once, whoever comes second."""

import re
import stat
from pathlib import Path

import pytest

from persistence.files.kept_ids import keep_new_id


def test_the_one_that_comes_second_takes_the_firsts_id(tmp_path: Path) -> None:
    """Two programs that both find no file end with the same id, and no draft is left."""
    path = tmp_path / "new" / "id"
    keep_new_id(path)
    first = path.read_text()
    keep_new_id(path)
    assert path.read_text() == first
    assert re.fullmatch(r"[0-9a-f]{32}\n", first)
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_id_that_cannot_be_kept_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with pytest.raises(PermissionError):
        keep_new_id(tmp_path / "id")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
