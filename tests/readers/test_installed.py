"""Says so where the readers are not there."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("datasets", "duckdb", "harbor", "llamafactory", "pandas", "polars", "pyarrow", "transformers", "trl")


def test_the_readers_are_installed() -> None:
    if not (Path(sys.prefix) / "readers").is_dir():
        pytest.skip("exports are not read by the real libraries: make test-readers")
    missing = [name for name in NEEDED if find_spec(name) is None]
    assert missing == []
