"""How far an upload is: a bar for each session and one for all on a terminal; elsewhere only what is worth a line."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from central_command.client.delivering.deliverer import Waiting
from central_command.process.steering import escaped

_REFRESHES_PER_S = 4
"""Often enough to be seen to move; drawing costs milliseconds, which the upload itself could use."""


class Display:
    """Shows bars on `console` (standard error) when that is a terminal, and prints lines on standard output."""

    def __init__(self, console: Console, *, files: int, says_on_stderr: bool = False) -> None:
        self._says_on_stderr = says_on_stderr
        self._is_shown = console.is_terminal
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._is_shown,
            refresh_per_second=_REFRESHES_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all = self._progress.add_task("all", total=files, unit="files") if files > 1 else None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, lines: Iterable[str]) -> None:
        """Print lines on standard output (or standard error), above the bars when both are on one terminal."""
        for line in lines:
            if self._is_shown and (self._says_on_stderr or sys.stdout.isatty()):
                self._progress.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
            else:
                click.echo(line, err=self._says_on_stderr)

    def refresh(self) -> None:
        """Draw the bars now."""
        self._progress.refresh()

    def file_done(self) -> None:
        """One more file is done, well or not."""
        if self._all is not None:
            self._progress.advance(self._all)

    def file(self, name: str, *, size: int) -> "FileBar":
        """A bar for one file of `size` bytes, which is read first; leave it to take it away."""
        return FileBar(self._progress, escape(escaped(name)), size=size, is_shown=self._is_shown)


class FileBar:
    """The bar of one file: how far it is read, then how many of its steps are delivered. May be used in any thread."""

    def __init__(self, progress: Progress, name: str, *, size: int, is_shown: bool) -> None:
        self._progress = progress
        self._name = name
        self._is_shown = is_shown
        self._read = 0.0
        self._task: TaskID = progress.add_task(f"{name} (reading)", total=_mb(size), unit="MB")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.remove_task(self._task)

    def read(self, size: int) -> None:
        """So many bytes are read so far."""
        if _mb(size) > self._read:
            self._read = _mb(size)
            self._progress.update(self._task, completed=self._read)

    def begin(self, *, steps: int, done: int) -> None:
        """The file is read: of its steps, `done` were delivered before."""
        self._progress.reset(self._task, total=steps, completed=done, description=self._name, unit="steps")

    def advance(self, steps: int) -> None:
        """So many more steps were accepted."""
        self._progress.update(self._task, advance=steps, description=self._name)

    def waiting(self, waiting: Waiting) -> None:
        """Sending waits; this is said with its reason."""
        text = f"waiting {waiting.seconds:.0f} s: {waiting.reason}"
        if self._is_shown:
            self._progress.update(self._task, description=f"{self._name} ({escape(text)})", refresh=True)
        else:
            click.echo(f"  {text}", err=True)


def _mb(size: int) -> float:
    return round(size / 1_000_000, 1)
