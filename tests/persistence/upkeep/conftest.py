"""A data directory that a real service wrote."""

from pathlib import Path

import pytest

from tests.persistence.upkeep.one_of_everything import fill
from tests.running_service import running, settings_with


@pytest.fixture
async def stored(tmp_path: Path) -> Path:
    """A data directory of a service that stopped in order."""
    root = tmp_path / "data"
    async with running(root, settings=settings_with(sessions={"sequence_gaps": "accept"})) as service:
        await fill(service)
    return root
