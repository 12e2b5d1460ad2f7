"""Rows under headings: on a terminal a table that fits 80 columns, elsewhere lines of tab-separated whole values.

A terminal gets short values and only the columns that one looks for most, unless asked for all (`wide`). A pipe always
gets all columns and whole values, without padding, separators of thousands or colours: what is cut there would be cut
for good. Texts come from outside: characters that steer a terminal, and tabs and line ends, are shown as escapes.
"""

import sys
from collections.abc import Iterator

import msgspec
from rich import box
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from central_command.process.steering import escaped

_FIGURE_DIGITS = 10
_GAP = 2
"""Columns of a terminal between two of a table."""
_CUT_CHARS_MIN = 12
"""To which a text is cut at most."""
_WIDE_CHARS_MAX = 10_000
"""Columns of a terminal that a wide table may take; lines beyond the real ones are broken by the terminal."""


class Column(msgspec.Struct, frozen=True):
    """A heading. `wide_only`: left out on a terminal unless asked for. `may_be_cut`: where the terminal is narrow."""

    name: str
    is_figure: bool = False
    wide_only: bool = False
    may_be_cut: bool = False


class Cell(msgspec.Struct, frozen=True):
    """A text with a short form for terminals, or a style there."""

    whole: str
    short: str | None = None
    style: str = ""


Value = Cell | str | int | float | None


class Listing:
    """Rows to be printed; `empty` is what people read when there are none."""

    def __init__(self, *columns: Column, empty: str = "") -> None:
        self._columns = columns
        self._empty = empty
        self._rows: list[tuple[Value, ...]] = []
        self._sums: tuple[Value, ...] | None = None

    def __repr__(self) -> str:
        return f"<Listing of {len(self._rows)} rows>"

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *values: Value) -> None:
        """Add a row, a value for each column."""
        assert len(values) == len(self._columns)
        self._rows.append(values)

    def sums(self, *values: Value) -> None:
        """Set the last row, which stands apart from the others on a terminal."""
        assert len(values) == len(self._columns)
        self._sums = values

    def table(self, *, width: int, wide: bool = False) -> Table | Text:
        """For a terminal of `width` columns; a wide one is as wide as it must be."""
        if not self._rows:
            return Text(self._empty)
        shown = [n for n, column in enumerate(self._columns) if wide or not column.wide_only]
        rows = [[_shown(row[n], wide=wide) for n in shown] for row in self._rows]
        sums = [Text() if self._sums is None else _shown(self._sums[n], wide=wide) for n in shown]
        columns = [self._columns[n] for n in shown]
        widths = [max(len(columns[n].name), *(row[n].cell_len for row in (sums, *rows))) for n in range(len(shown))]
        excess = 0 if wide else sum(widths) + _GAP * (len(widths) - 1) - width
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            collapse_padding=True,
            show_footer=self._sums is not None,
        )
        for column, widest, footer in zip(columns, widths, sums, strict=True):
            taken = min(max(0, excess), max(0, widest - _CUT_CHARS_MIN)) if column.may_be_cut else 0
            excess -= taken
            table.add_column(
                column.name,
                footer=footer,
                justify="right" if column.is_figure else "left",
                no_wrap=True,
                overflow="ellipsis",
                width=widest - taken,
            )
        for cells in rows:
            table.add_row(*cells)
        return table

    def lines(self) -> Iterator[str]:
        """For a program: headings, rows and, where there are some, sums."""
        yield "\t".join(column.name for column in self._columns)
        for row in (*self._rows, *(() if self._sums is None else (self._sums,))):
            yield "\t".join(map(_whole, row))


def print_listing(listing: Listing, *, wide: bool = False) -> None:
    """On standard output, as it suits what that is; a wide table is as wide as it must be, whatever the terminal is."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{line}\n" for line in listing.lines())
        sys.stdout.flush()  # so that what is said on standard error behind it stands behind it
        return
    console = Console(highlight=False, markup=False, emoji=False)
    table = listing.table(width=console.width, wide=wide)
    if wide:
        console.size = ConsoleDimensions(_WIDE_CHARS_MAX, console.height)
    console.print(table)


def _shown(value: Value, *, wide: bool) -> Text:
    match value:
        case None:
            return Text()
        case int():
            return Text(f"{value:,}")
        case float():
            return Text(f"{value:,.{_FIGURE_DIGITS}g}")
        case str():
            return Text(escaped(value))
        case Cell(whole=whole, short=short, style=style):
            return Text(escaped(whole if wide or short is None else short), style)


def _whole(value: Value) -> str:
    match value:
        case None:
            return ""
        case int():
            return str(value)
        case float():
            return f"{value:.{_FIGURE_DIGITS}g}"
        case str():
            return escaped(value)
        case Cell(whole=whole):
            return escaped(whole)
