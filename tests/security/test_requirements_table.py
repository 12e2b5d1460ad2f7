"""The table in docs/security.md is true: every requirement has a test, and every test that it names exists."""

import ast
import re
from functools import cache

from tests.server_process import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "security.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
REQUIREMENTS_MIN = 25


def rows() -> list[tuple[int, str, list[tuple[str, str]]]]:
    """Each requirement: its number, its sentence, and the tests that hold it, as file and name."""
    return [(int(number), text, TEST.findall(tests)) for number, text, tests in ROW.findall(DOCUMENT.read_text())]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the test functions of a file; none when there is no such file."""
    file = REPOSITORY / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_there_are_enough_requirements_numbered_in_order() -> None:
    """From 1, without a gap, each a sentence."""
    numbers = [number for number, _, _ in rows()]
    assert len(numbers) >= REQUIREMENTS_MIN
    assert numbers == list(range(1, len(numbers) + 1))
    assert [text for _, text, _ in rows() if not text.endswith(".")] == []


def test_every_requirement_is_held_by_tests_that_exist() -> None:
    """At least one each; the name of a test that was renamed is renamed there, too."""
    assert [number for number, _, tests in rows() if not tests] == []
    missing = [f"{path}::{name}" for _, _, tests in rows() for path, name in tests if name not in names_in(path)]
    assert missing == []


def test_no_line_of_the_table_is_left_out() -> None:
    """A row that the pattern above does not read would not be checked."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\|\s*\d+\s*\|", line)]
    assert len(lines) == len(rows())


def test_every_security_test_holds_a_requirement() -> None:
    """The tests of this folder are all in the table, but for those of the table itself and of the tools."""
    own = {"tests/security/test_requirements_table.py"}
    files = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tests" / "security").glob("test_*.py")} - own
    written = {(path, name) for path in files for name in names_in(path) if name.startswith("test_")}
    named = {test for _, _, tests in rows() for test in tests}
    assert sorted(written - named) == []
