"""How far an upload is: a bar for each session and one for all on a terminal; elsewhere only what is worth a line."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from central_command.client.delivering.deliverer import Waiting
from central_command.process.steering import escaped

_REFRESHES_PER_S = 4
"""Often enough to be seen to move; drawing costs milliseconds, which the upload itself could use."""
_FIGURES_CHARS = 33
"""What counts, units, times and the room between columns take: they are never cut."""
_BAR_CHARS_MIN, _BAR_CHARS_MAX = 8, 40
_NAME_CHARS_MIN = 10
"""So much of a file's name stands before the reason of a wait, at least."""


class Printing(msgspec.Struct, frozen=True, kw_only=True):
    """How is printed what came of it: with every column, a JSON object a line; or, `quiet`, only what failed.

    `verbose` says of each of many files what is else only counted.
    """

    wide: bool = False
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    @property
    def says_on_stderr(self) -> bool:
        """Whether what people read is on standard error, because standard output is for programs, or for nobody."""
        return self.as_json or self.quiet

    def say(self, line: str) -> None:
        """Print a line that says what failed, or what has to be known."""
        click.echo(line, err=self.says_on_stderr)

    def tell(self, line: str) -> None:
        """Print a line that says anything else."""
        if not self.quiet:
            self.say(line)


class Display:
    """Shows bars on `console` (standard error) when that is a terminal, and prints lines on standard output.

    Of a quiet upload there are no bars, and no waits.
    """

    def __init__(self, console: Console, *, files: int, printing: Printing | None = None) -> None:
        self._printing = printing or Printing()
        self._is_shown = console.is_terminal and not self._printing.quiet
        room = max(0, console.width - _FIGURES_CHARS)
        bar_chars = max(_BAR_CHARS_MIN, min(_BAR_CHARS_MAX, room // 3))
        self._text_chars = max(_NAME_CHARS_MIN, room - bar_chars)
        self._progress = Progress(
            TextColumn("  {task.description}", table_column=Column(no_wrap=True, max_width=self._text_chars + 2)),
            BarColumn(bar_width=bar_chars, table_column=Column(no_wrap=True, min_width=bar_chars)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[unit]}", table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
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
            if self._is_shown and (self._printing.says_on_stderr or sys.stdout.isatty()):
                self._progress.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
            else:
                self._printing.say(line)

    def refresh(self) -> None:
        """Draw the bars now."""
        self._progress.refresh()

    def file_done(self) -> None:
        """One more file is done, well or not."""
        if self._all is not None:
            self._progress.advance(self._all)

    def file(self, name: str, *, size: int) -> "FileBar":
        """A bar for one file of `size` bytes, which is read first; leave it to take it away."""
        return FileBar(
            self._progress,
            escaped(name),
            size=size,
            is_shown=self._is_shown,
            tells_waits=not self._printing.quiet,
            chars=self._text_chars,
        )


class FileBar:
    """The bar of one file: how far it is read, then how many of its steps are delivered. May be used in any thread."""

    def __init__(
        self, progress: Progress, name: str, *, size: int, is_shown: bool, tells_waits: bool, chars: int
    ) -> None:
        self._progress = progress
        self._whole_name, self._chars = name, chars
        self._name = escape(_shortened(name, chars))
        self._is_shown, self._tells_waits = is_shown, tells_waits
        self._read = 0.0
        self._task: TaskID = progress.add_task(self._beside("(reading)"), total=_mb(size), unit="MB")

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
            self._progress.update(self._task, description=self._beside(text), refresh=True)
        elif self._tells_waits:
            click.echo(f"  {text}", err=True)

    def _beside(self, text: str) -> str:
        """The name, as short as `text` needs it to be, and that."""
        name = _shortened(self._whole_name, max(_NAME_CHARS_MIN, self._chars - len(text) - 1))
        return escape(f"{name} {text}")


def _shortened(name: str, chars: int) -> str:
    """A name with its beginning and end; of session files these are the ends that differ."""
    tail = chars // 2
    return name if len(name) <= chars else f"{name[: chars - tail - 1]}…{name[-tail:]}"


def _mb(size: int) -> float:
    return round(size / 1_000_000, 1)
