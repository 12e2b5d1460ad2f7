"""A line at the end of a terminal's output that is written over again and again, and touches nothing above it.

It is cut to one row of the width that the terminal has at that moment, so that taking it away is clearing the row where
the cursor stands. Going up is never needed; a terminal that was made narrower may therefore keep a part of what stood
there, and loses nothing else.
"""

import os
from typing import TextIO

from rich.cells import cell_len
from rich.text import Text

from central_command.process.steering import escaped

_CLEAR = "\r\x1b[K"
_COLUMNS_UNKNOWN = 80


def takes_live_lines(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can clear a row."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class LiveLine:
    """One line on `stream`, a terminal; the cursor stands behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""

    def __repr__(self) -> str:
        return f"<LiveLine {self._text!r}>"

    def show(self, text: str) -> None:
        """Show `text`, or as much of it as one row takes, in place of what is shown."""
        self._text = text
        self._write(_CLEAR + _fitting(escaped(text), self._columns() - 1))

    def hide(self) -> None:
        """Take the line away: what is printed next begins in its place."""
        self._write(_CLEAR)

    def again(self) -> None:
        """Show what was shown last."""
        self.show(self._text)

    def _columns(self) -> int:
        """How wide the terminal is now."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS_UNKNOWN
        except OSError:
            return _COLUMNS_UNKNOWN

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _fitting(text: str, columns: int) -> str:
    """A beginning of `text` that takes at most so many columns, some characters two of them."""
    if cell_len(text) <= columns:
        return text
    cut = Text(text)
    cut.truncate(max(0, columns), overflow="ellipsis")
    return cut.plain
