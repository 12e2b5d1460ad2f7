"""Logging: the form of the lines, and that neither clients nor a slow stderr can do harm through it."""

import io
import logging
import os
import re
import threading
from collections.abc import Iterator

import pytest

from central_command.process import logs
from central_command.process.logs import ACCESS_LOGGER, LogLevel, LogSettings, logging_to
from tests.server_process import HANGS_AFTER_S

OWN = logging.getLogger("central_command.test")


class StuckStream(io.StringIO):
    """A stream that takes nothing until it is released, as a terminal does after Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then write."""
        self.reached.set()
        self.released.wait()
        return super().write(text)


@pytest.fixture
def stuck() -> Iterator[StuckStream]:
    """A stuck stream, released at the latest when the test ends."""
    stream = StuckStream()
    yield stream
    stream.released.set()


def written(settings: LogSettings, *records: tuple[logging.Logger, int, str]) -> list[str]:
    """The lines that these records become."""
    stream = io.StringIO()
    with logging_to(settings, stream):
        for logger, level, message in records:
            logger.log(level, message)
    return stream.getvalue().splitlines()


def test_a_line_has_time_level_and_logger() -> None:
    """Every line but a request's says when, how bad and from where."""
    (line,) = written(LogSettings(), (OWN, logging.WARNING, "something"))
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] WARNING central_command\.test: something", line)


def test_a_request_line_is_written_as_it_is() -> None:
    """The contract gives its form; nothing is put before it, whatever the level."""
    line = "[2026-11-20T10:12:17.123Z] GET /health 200 1ms"
    access = logging.getLogger(ACCESS_LOGGER)
    assert written(LogSettings(level=LogLevel.ERROR), (access, logging.INFO, line)) == [line]
    assert written(LogSettings(access=False), (access, logging.INFO, line)) == []


def test_the_level_is_for_this_projects_loggers() -> None:
    """At debug, libraries still speak from WARNING up: some log the values they store."""
    library = logging.getLogger("aiosqlite")
    records = ((OWN, logging.DEBUG, "own"), (library, logging.INFO, "secret"), (library, logging.WARNING, "trouble"))
    lines = written(LogSettings(level=LogLevel.DEBUG), *records)
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["own", "trouble"]
    assert written(LogSettings(level=LogLevel.ERROR), *records) == []


def test_a_message_cannot_forge_a_line() -> None:
    """Newlines and escape sequences from outside are written as escapes."""
    (line,) = written(LogSettings(), (OWN, logging.ERROR, "a\n[2026] ERROR b\x1b[31m\u2028c\x9b"))
    assert line.endswith("a\\x0a[2026] ERROR b\\x1b[31m\\u2028c\\x9b")


def test_an_exception_comes_with_its_traceback() -> None:
    """For a bug, the lines of the traceback follow the message."""
    stream = io.StringIO()
    with logging_to(LogSettings(), stream):
        try:
            os.environ["X\x1b"]
        except KeyError:
            OWN.exception("an actor failed")
    first, second, *_, last = stream.getvalue().splitlines()
    assert first.endswith("an actor failed")
    assert second.startswith("Traceback")
    assert last == r"KeyError: 'X\x1b'"


def test_a_text_is_bounded() -> None:
    """No record takes more than its share of memory."""
    (line,) = written(LogSettings(), (OWN, logging.ERROR, "x" * 100_000))
    assert len(line) < logs.TEXT_CHARS_MAX + 100


def test_a_full_queue_drops_lines_and_says_how_many(stuck: StuckStream) -> None:
    """Whoever logs never waits; when the stream takes lines again, the number of those lost is among them."""
    with logging_to(LogSettings(queue_lines_max=16), stuck):
        OWN.warning("first")
        assert stuck.reached.wait(HANGS_AFTER_S)
        for _ in range(20):
            OWN.warning("more")
        stuck.released.set()
    lines = stuck.getvalue().splitlines()
    assert sum(line.endswith("more") for line in lines) == 16
    assert sum("4 log lines dropped" in line for line in lines) == 1


def test_a_stuck_stream_does_not_hold_up_the_end(stuck: StuckStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends although its last lines cannot be written."""
    monkeypatch.setattr(logs, "_STOP_S_MAX", 0.01)
    with logging_to(LogSettings(queue_lines_max=16), stuck):
        for _ in range(100):
            OWN.warning("line")
    assert stuck.getvalue() == ""


def test_a_broken_stream_is_borne() -> None:
    """When whoever read stderr is gone, the server goes on."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with logging_to(LogSettings(), Broken()):
        OWN.warning("line")


def test_logging_is_as_before_afterwards() -> None:
    """Levels and handlers are put back."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers), OWN.getEffectiveLevel())
    with logging_to(LogSettings(level=LogLevel.DEBUG), io.StringIO()):
        assert OWN.getEffectiveLevel() == logging.DEBUG
    assert (root.level, list(root.handlers), OWN.getEffectiveLevel()) == before


def test_arguments_are_fixed_when_logged() -> None:
    """A line shows what was true when it was logged, not when the thread came to it."""
    handler = logs.DroppingHandler(16)
    values = [1]
    handler.handle(logging.LogRecord("central_command.test", logging.INFO, "", 0, "values %s", (values,), None))
    values.append(2)
    line = handler.lines.get_nowait()
    assert isinstance(line, str)
    assert line.endswith("values [1]")


def test_flushing_waits_for_what_was_logged() -> None:
    """A process that ends at once after `logging.shutdown` has written its last words."""
    stream = io.StringIO()
    with logging_to(LogSettings(), stream):
        OWN.error("last words")
        for handler in logging.getLogger().handlers:
            handler.flush()
        assert stream.getvalue().endswith("last words\n")
