"""Where a journal's lines lie is known to `persistence/journals` alone (import-linter holds its inner modules)."""

import ast
import re

from tests.server_process import REPOSITORY

PACKAGES = ("persistence", "actors", "central_command", "bench")
FILE_NAME = re.compile(r"\S*\.jsonl\S*")
AT_HOME = re.compile(
    r"persistence/journals/|central_command/client/(transcripts|uploading)/|central_command/training/day_files"
)
"""Whose file names end so: the journals' own room, the readers of agents' session files, and the local corpus."""


def test_nothing_but_its_room_names_a_journal_s_file() -> None:
    """Whoever says the ending in a sentence, or in a docstring, builds no path of it."""
    found = []
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = str(path.relative_to(REPOSITORY))
            nodes = [] if AT_HOME.match(name) else list(ast.walk(ast.parse(path.read_text(), name)))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            found += [
                f"{name}:{node.lineno}: {node.value!r}"
                for node in nodes
                if isinstance(node, ast.Constant)
                and id(node) not in docstrings
                and FILE_NAME.fullmatch(str(node.value))
            ]
    assert found == []
