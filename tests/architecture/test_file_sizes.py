"""A file is one thing, short enough to be read at once: by its lines that are not blank."""

from pathlib import Path
from statistics import median

from tests.server_process import REPOSITORY

LINES_MAX = 500
MEDIAN_MAX = 120
TREES = ("central_command", "actors", "persistence", "tests", "bench")
WRITTEN_HERE = ("*.py", "*.js", "*.mjs", "*.css", "*.html")


def sizes(tree: str, pattern: str) -> dict[Path, int]:
    """How many lines of each file of a tree are not blank."""
    files = (REPOSITORY / tree).rglob(pattern)
    return {path: sum(bool(line.strip()) for line in path.read_text().splitlines()) for path in files}


def test_no_file_is_larger_than_one_thing() -> None:
    """Of the program, its tests and benchmarks, its scripts, styles and templates: a larger one is two things."""
    found = {path: lines for tree in TREES for pattern in WRITTEN_HERE for path, lines in sizes(tree, pattern).items()}
    assert len(found) > 1_000
    assert {str(path.relative_to(REPOSITORY)): lines for path, lines in found.items() if lines > LINES_MAX} == {}


def test_half_of_all_files_fit_a_few_screens() -> None:
    """Of the program's modules, and of the tests'; a room's `__init__.py` counts with neither."""
    product = [lines for tree in TREES[:3] for path, lines in sizes(tree, "*.py").items() if path.stem != "__init__"]
    assert median(product) <= MEDIAN_MAX
    assert median(sizes("tests", "*.py").values()) <= MEDIAN_MAX
