"""Each test says what must hold: by an assertion of its own, or by something of these tests that has one."""

import ast
import re
from collections.abc import Iterator

from tests.server_process import REPOSITORY

Function = ast.FunctionDef | ast.AsyncFunctionDef
REFUSES = {"raises", "RaisesGroup", "warns", "fail", "raise_for_status"}


def called(node: ast.AST) -> Iterator[str]:
    """The names of what is called in some code, without what they are members of; of an assertion, its own."""
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                yield name
            case ast.Assert() | ast.Raise():
                yield "assert"


def test_every_test_can_fail() -> None:
    trees = [ast.parse(path.read_text()) for path in (REPOSITORY / "tests").rglob("*.py")]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [node for owner in (*trees, *classes) for node in owner.body if isinstance(node, Function)]
    calls = [(function, {*called(function)}) for function in functions]
    names, known = {"assert", *REFUSES}, 0
    while known < len(names):
        known = len(names)
        names |= {function.name for function, own in calls if own & names and not function.name.startswith("test_")}
    tests = [(function.name, own) for function, own in calls if function.name.startswith("test_")]
    assert len(tests) > 3_000
    assert [name for name, own in tests if not own & names] == []


def test_whatever_is_measured_is_run() -> None:
    """`make test` looks for it in the folders that the Makefile names, and nowhere else."""
    (listed,) = re.findall(r"^MEASURED := (.+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    tests = REPOSITORY / "tests"
    measured = {
        path
        for path in tests.rglob("test_*.py")
        if re.search(r"^(@|pytestmark = )pytest\.mark\.measured", path.read_text(), re.MULTILINE)
    }
    assert len(measured) > 5
    folders = {REPOSITORY / name for name in listed.split()}
    assert [path for path in measured if not folders & {*path.parents}] == []
