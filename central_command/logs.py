"""Log lines on stderr: written by a thread of their own, so that a slow terminal or pipe never holds up a request.

Lines wait in a bounded queue. When it is full, lines are dropped and counted, and the count is written as soon as there
is room: a server that answers is worth more than a complete log.

Lines are cleaned: control characters in a message are escaped, so that nothing a client sent can forge a line or move
an operator's cursor, and no text is longer than `TEXT_CHARS_MAX`.
"""

import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, TextIO

import msgspec

ACCESS_LOGGER = "central_command.access"
"""The logger of request lines: its messages are written as they are, without time and level of their own."""

TEXT_CHARS_MAX = 8_192
"""The longest text of one record, traceback included, in characters; the rest is cut off."""

OWN_LOGGERS = ("central_command", "actors", "persistence")
"""The level of the settings is for these. Libraries speak from WARNING up: at lower levels some log what they handle
(aiosqlite every statement with its values), and that includes keys."""

_STOP_S_MAX = 1.0
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_ESCAPES_BUT_NEWLINES = {code: text for code, text in _ESCAPES.items() if code != 0x0A}


class LogLevel(StrEnum):
    """How much is said."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged to stderr, and how many lines may wait to be written."""

    level: LogLevel = LogLevel.INFO
    access: bool = True
    queue_lines_max: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 4_096


class LineFormatter(logging.Formatter):
    """A request line as it is; any other record as `[ISO timestamp] LEVEL logger: message`, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record` as cleaned text; a traceback follows on lines of its own."""
        message = record.getMessage().translate(_ESCAPES)
        if record.name != ACCESS_LOGGER:
            message = f"[{iso_time(record.created)}] {record.levelname} {record.name}: {message}"
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info).translate(_ESCAPES_BUT_NEWLINES)
        if len(message) > TEXT_CHARS_MAX:
            message = f"{message[:TEXT_CHARS_MAX]} … ({len(message) - TEXT_CHARS_MAX} characters more)"
        return message


def iso_time(seconds: float) -> str:
    """`seconds` since the epoch as `2026-11-20T10:12:17.123Z`."""
    milliseconds = int(seconds * 1_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1_000))
    return f"{whole}.{milliseconds % 1_000:03d}Z"


class DroppingHandler(logging.handlers.QueueHandler):
    """Puts records into a bounded queue without ever waiting; counts those for which there was no room."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]") -> None:
        super().__init__(lines)
        self.lines = lines
        self._dropped = 0
        self.setFormatter(LineFormatter())

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix the text now: what a record refers to may have changed when the thread comes to it."""
        return logging.LogRecord(record.name, record.levelno, "", 0, self.format(record), None, None)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue `record`, or drop and count it."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1  # logging holds the handler's lock around this

    def flush(self) -> None:
        """Wait a second at most until all is written: `logging.shutdown` calls this before a process ends early."""
        with self.lines.all_tasks_done:
            self.lines.all_tasks_done.wait_for(lambda: not self.lines.unfinished_tasks, _STOP_S_MAX)

    def take_dropped(self) -> int:
        """How many records were dropped since the last call."""
        self.acquire()
        try:
            dropped, self._dropped = self._dropped, 0
        finally:
            self.release()
        return dropped


class LineWriter(logging.handlers.QueueListener):
    """The thread that writes what waits in the queue."""

    def __init__(self, source: DroppingHandler, target: logging.Handler) -> None:
        super().__init__(source.queue, target)
        self._lines: queue.Queue[logging.LogRecord | None] = source.lines
        self._source = source

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record, and after it how many were lost, if any were."""
        super().handle(record)
        if dropped := self._source.take_dropped():
            note = f"[{iso_time(time.time())}] WARNING {__name__}: {dropped} log lines dropped, the queue was full"
            super().handle(logging.LogRecord(__name__, logging.WARNING, "", 0, note, None, None))

    def stop(self) -> None:
        """Write what waits and end, within a second or so: a stuck stderr must not hold up the end of the process."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._lines.put(None, timeout=_STOP_S_MAX)
        except queue.Full:
            return
        thread.join(_STOP_S_MAX)


class LineStream(logging.StreamHandler[TextIO]):
    """Writes finished lines; a stream that is gone (a closed pipe) is no reason to say so on that stream."""

    def format(self, record: logging.LogRecord) -> str:
        """The text as it was prepared."""
        return str(record.msg)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """Give the line up."""


@contextmanager
def logging_to(settings: LogSettings, stream: TextIO | None = None) -> Iterator[None]:
    """Send all logging to `stream` (stderr by default) until the block ends, then write what still waits."""
    waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(settings.queue_lines_max)
    handler = DroppingHandler(waiting)
    writer = LineWriter(handler, LineStream(stream if stream is not None else sys.stderr))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    levels = {"": max(level, logging.WARNING), **dict.fromkeys(OWN_LOGGERS, level)}
    levels[ACCESS_LOGGER] = logging.INFO if settings.access else logging.CRITICAL + 1
    before = {name: logging.getLogger(name).level for name in levels}
    root = logging.getLogger()
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)
    root.addHandler(handler)
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        writer.stop()
        for name, value in before.items():
            logging.getLogger(name).setLevel(value)
