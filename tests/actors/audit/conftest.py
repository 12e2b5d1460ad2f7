"""A data directory that a real service wrote, with all that is rare and right in it, and copies of it to be changed."""

import shutil
from pathlib import Path

import pytest
import trio

from tests.persistence.upkeep.one_of_everything import fill, fill_with_oddities, leave


@pytest.fixture(scope="session")
def _odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "data"
    trio.run(leave, root, fill, fill_with_oddities)
    return root


@pytest.fixture
def odd(_odd: Path, tmp_path: Path) -> Path:
    """A data directory of a service that stopped in order."""
    return Path(shutil.copytree(_odd, tmp_path / "data"))
