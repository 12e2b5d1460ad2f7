"""A folder that appears whole leaves nothing open, whether it appears or not."""

from contextlib import suppress
from pathlib import Path

from persistence.upkeep.copying import appearing_whole


def opened() -> int:
    """How many files and folders this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_its_lock_is_let_go_of(tmp_path: Path) -> None:
    before = opened()
    with suppress(ZeroDivisionError), appearing_whole(tmp_path / "copy"):
        raise ZeroDivisionError
    with appearing_whole(tmp_path / "copy") as partial:
        (partial / "file").touch()
    assert (tmp_path / "copy" / "file").exists()
    assert opened() == before
