"""Paths of a command line: what is there must be what belongs there."""

import os
from pathlib import Path

import click
import pytest

from central_command.process.paths import PathTo

FOLDER, FILE = PathTo("folder", must_exist=True), PathTo("file", must_exist=False)


def test_what_belongs_there_is_taken(tmp_path: Path) -> None:
    """Of a file that need not exist, also what is missing."""
    (tmp_path / "file").touch()
    assert FOLDER.convert(str(tmp_path), None, None) == tmp_path
    assert FILE.convert(str(tmp_path / "file"), None, None) == tmp_path / "file"
    assert FILE.convert(str(tmp_path / "missing"), None, None) == tmp_path / "missing"


def test_anything_else_is_refused_by_its_name(tmp_path: Path) -> None:
    """Escaped where it is no text."""
    os.mkfifo(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for kind, name, sentence in (
        (FOLDER, "\udcff", r"\\xff' is a FIFO\."),
        (FILE, "\udcff", r"\\xff' is a FIFO\."),
        (FOLDER, "file", r"Name a folder: '.*/file' is a file\."),
        (FILE, ".", r"' is a folder\."),
        (FOLDER, "missing", r"missing' does not exist\."),
        (FILE, "loop", r"loop' cannot be used: Too many levels"),
        (FILE, "n" * 300, r"n' cannot be used: File name too long"),
    ):
        with pytest.raises(click.BadParameter, match=sentence):
            kind.convert(str(tmp_path / name), None, None)
