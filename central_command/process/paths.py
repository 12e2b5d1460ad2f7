"""Paths of a command line: a file or a folder, and nothing else of what can stand at a path."""

import os
import stat
from pathlib import Path
from typing import Literal

import click

from central_command.process.steering import escaped
from persistence.files.regular import kind_of


class PathTo(click.Path):
    """A path to a file or a folder; when something else is there, it is refused by its name and never opened."""

    def __init__(self, what: Literal["file", "folder"], *, must_exist: bool, advice: str = "") -> None:
        """`advice` is a sentence that is said after that of a path at which nothing is."""
        super().__init__(path_type=Path, file_okay=what == "file", dir_okay=what == "folder")
        self._is_what = stat.S_ISREG if what == "file" else stat.S_ISDIR
        self._what = what
        self._must_exist = must_exist
        self._advice = advice and f" {advice}"

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, unless something else is there."""
        path = Path(value)
        shown = f"{self._what} '{escaped(str(path))}'"
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            if self._must_exist:
                self.fail(f"The {shown} does not exist.{self._advice}", param, ctx)
        except OSError as error:
            self.fail(f"The {shown} cannot be used: {error.strerror}.", param, ctx)
        else:
            if not self._is_what(mode):
                self.fail(f"Name a {self._what}: '{escaped(str(path))}' is {kind_of(mode) or 'a file'}.", param, ctx)
        return path
