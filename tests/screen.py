"""What a person sees of a program on a terminal: a pseudo-terminal, and an emulator of what is written to it."""

import fcntl
import os
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.cells import get_character_cell_size

_TOKEN = re.compile(r"\x1b\[([?]?)([0-9;]*)([A-Za-z])|(.)", re.DOTALL)
_READ_BYTES = 65_536


class Screen:
    """Rows of characters with a cursor; knows what a line that is written over needs, and refuses everything else.

    A character of two columns takes its own and an empty one. As in terminals, the cursor stays at the last column
    until another character comes. What scrolls off stays among `lines`.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        """All rows, without white space at their ends; empty ones at the end are left out."""
        rows = ["".join(row).rstrip() for row in self._rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def write(self, text: str) -> None:
        """Show `text`."""
        for private, number, command, character in _TOKEN.findall(text):
            if character:
                self._put(character)
            elif private:
                assert command in "hl", f"?{number}{command}"
            else:
                self._steer(command, number)

    def _put(self, character: str) -> None:
        match character:
            case "\r":
                self._column = 0
            case "\n":
                self._row += 1
                if self._row == len(self._rows):
                    self._rows.append([])
            case _:
                assert character.isprintable(), ascii(character)
                width = get_character_cell_size(character)
                if self._column + width > self.columns:
                    self._put("\r")
                    self._put("\n")
                row = self._rows[self._row]
                row += " " * (self._column + width - len(row))
                row[self._column : self._column + width] = [character, *[""] * (width - 1)]
                self._column += width

    def _steer(self, command: str, number: str) -> None:
        row = self._rows[self._row]
        match command:
            case "A":
                self._row = max(0, self._row - int(number or 1))
            case "K" if number == "2":
                row.clear()
            case "K" if number in {"", "0"}:
                del row[self._column :]
            case _:
                raise AssertionError(f"{number}{command}")


class Terminal:
    """A pseudo-terminal: `stream` is what a program writes to, `screen` what stands on it."""

    def __init__(self, stream: TextIO, master: int, columns: int) -> None:
        self.stream = stream
        self._master = master
        self._screen = Screen(columns)
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """Make it so wide; what stands there stays as it is."""
        self._screen.columns = columns
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        """What stands there now."""
        self.stream.flush()
        while select.select([self._master], [], [], 0)[0]:
            self._screen.write(os.read(self._master, _READ_BYTES).decode())
        return self._screen.lines


@contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    """A terminal of so many columns."""
    master, slave = os.openpty()
    try:
        with open(slave, "w", encoding="utf-8") as stream:  # noqa: PTH123 -- a descriptor
            yield Terminal(stream, master, columns)
    finally:
        os.close(master)
