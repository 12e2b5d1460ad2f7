"""A data directory that a real service wrote, once for all tests, and copies of it to be changed."""

import shutil
from pathlib import Path

import pytest
import trio

from tests.persistence.upkeep.one_of_everything import fill, leave


@pytest.fixture(scope="session")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored") / "data"
    trio.run(leave, root, fill)
    return root


@pytest.fixture
def stored(_stored: Path, tmp_path: Path) -> Path:
    """A data directory of a service that stopped in order."""
    return Path(shutil.copytree(_stored, tmp_path / "data"))
