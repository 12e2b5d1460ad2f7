"""Says so where the readers are not there."""

import sys
from pathlib import Path

import pytest


def test_the_readers_are_installed() -> None:
    if not (Path(sys.prefix) / "readers").is_dir():
        pytest.skip("exports are not read by the real libraries: make test-readers")
