"""In which order tests run: files that take long come first, since one process runs a file, and the last one alone."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent

LONG = (
    "simulation/test_simulation.py",
    "crash/",
    "e2e/",
    "operations/",
    "fuzz/",
    "hostile/",
    "security/",
    "readers/",
    "bad_input/",
    "differential/",
    "format/",
)
"""Files and folders whose tests start servers, or many processes, the longest first; what else there is comes after."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move them to the front, in their own order otherwise."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(HERE).as_posix()
    return next((place for place, beginning in enumerate(LONG) if path.startswith(beginning)), len(LONG))
