"""Rows under headings: within a terminal's columns for people, whole and unpadded for programs."""

import io

import pytest
from rich.console import Console

from central_command.terminal.listing import Cell, Column, Listing, print_listing
from central_command.terminal.short_ids import shortened

COLUMNS = (
    Column("file", may_be_cut=True),
    Column("session"),
    Column("steps", is_figure=True),
    Column("rest", wide_only=True),
)
ID = "sess_6f1c0f6e-4a50-4a65-a3a5-0e2f1fd8ab11"


@pytest.fixture
def listing() -> Listing:
    """A row that is far too long for a terminal, and a sum."""
    found = Listing(*COLUMNS, empty="nothing")
    found.add("n" * 200, Cell(ID, ID[:13]), 12_345_678_901, "r" * 90)
    found.sums("1 file(s)", "", 12_345_678_901, "")
    return found


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(listing: Listing, monkeypatch: pytest.MonkeyPatch, *, wide: bool) -> list[str]:
    """The lines on a terminal of 80 columns."""
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    print_listing(listing, wide=wide)
    return stream.getvalue().splitlines()


def test_a_terminal_gets_a_line_a_row_within_its_width(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what may be cut is cut; figures have separators, ids are short, and what is wide is left out."""
    lines = printed(listing, monkeypatch, wide=False)
    assert max(map(len, lines)) <= 80
    assert lines[2].split() == [lines[2].split()[0], ID[:13], "12,345,678,901"]
    assert lines[2].split()[0].strip("n") == "…"
    assert lines[-1].split() == ["1", "file(s)", "12,345,678,901"]


def test_a_wide_table_cuts_nothing(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal's width."""
    assert printed(listing, monkeypatch, wide=True)[2].split() == ["n" * 200, ID, "12,345,678,901", "r" * 90]


def test_no_rows_are_a_word_for_people_and_headings_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_listing(Listing(*COLUMNS, empty="nothing"))
    assert capsys.readouterr().out == "file\tsession\tsteps\trest\n"
    assert printed(Listing(*COLUMNS, empty="nothing"), monkeypatch, wide=False) == ["nothing"]


def test_a_pipe_gets_whole_values_between_tabs(listing: Listing, capsys: pytest.CaptureFixture[str]) -> None:
    """No figure loses a digit, and no value can hold a tab or a line's end."""
    listing.add("a\tb\nc", Cell(ID, "short"), 0.1 + 0.2, None)
    print_listing(listing)
    _, first, second, sums = capsys.readouterr().out.splitlines()
    assert first == f"{'n' * 200}\t{ID}\t12345678901\t{'r' * 90}"
    assert second == f"a\\x09b\\x0ac\t{ID}\t0.3\t"
    assert sums == "1 file(s)\t\t12345678901\t"


def test_short_ids_can_be_told_apart() -> None:
    """The shortest beginning that no other has, of at least so many characters."""
    assert shortened(["abcd1", "abce2", "x", "abcd1"], 2) == {"abcd1": "abcd", "abce2": "abce", "x": "x"}
    assert shortened(["ab", "abc"], 1) == {"ab": "ab", "abc": "abc"}
    assert shortened([], 3) == {}


def test_the_report_of_an_upload_fits_a_terminal() -> None:
    """Its longest words beside a long name."""
    found = Listing(*COLUMNS[:3], Column("result"))
    found.add(
        "n" * 90, Cell(ID, ID[:13]), 1_000, Cell("not delivered, continues the one before", "not delivered (goes on)")
    )
    stream = io.StringIO()
    Console(file=stream, width=80).print(found.table(width=80))
    assert "not delivered (goes on)" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80
