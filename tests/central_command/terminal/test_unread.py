"""Standard output and standard error that lose their readers."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest

from central_command.terminal.unread import going_on_unread, is_unread


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[int]:
    """Make a stream a pipe; gives the descriptor to read it by."""
    reader, writer = os.pipe()
    with io.TextIOWrapper(io.FileIO(writer, "wb"), encoding="utf-8", write_through=True) as stream:  # type: ignore[arg-type]
        monkeypatch.setattr(sys, name, stream)
        yield reader


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_nobody_reads_any_more_is_dropped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before arrives; also what waited in the stream itself."""
    with piped(monkeypatch, name) as reader:
        before = getattr(sys, name)
        before.write("a")
        with going_on_unread():
            click.echo("b", err=name == "stderr")
            assert os.read(reader, 9) == b"ab\n"
            os.close(reader)
            for _ in range(3):
                click.echo("c" * 100_000, err=name == "stderr")
        assert getattr(sys, name) is before
        before.write("d")  # behind it, too, nothing fails


def test_without_it_a_line_that_nobody_reads_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(monkeypatch, "stdout") as reader:
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            click.echo("c")


def test_whether_anybody_reads_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pipes; a stream that is none has its reader."""
    with piped(monkeypatch, "stdout") as reader:
        assert not is_unread(sys.stdout)
        os.close(reader)
        assert is_unread(sys.stdout)
    with open(os.devnull, "w") as stream:  # noqa: PTH123 -- as a stream of the process
        assert not is_unread(stream)
    assert not is_unread(io.StringIO())
    assert not is_unread(None)


def test_streams_of_programs_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are no descriptors, and those that there are not."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    with going_on_unread():
        assert sys.stdout is stream
        sys.stdout.write("x")
    assert stream.getvalue() == "x"
