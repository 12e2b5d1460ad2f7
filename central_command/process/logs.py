"""Log lines on stderr, for people or for programs: written by a thread of their own, so that a slow terminal or pipe
never holds up a request.

Lines wait in a bounded queue. When it is full, lines are dropped and counted, and the count is written as soon as there
is room: a server that answers is worth more than a complete log.

Lines are cleaned: control characters in a message are escaped, so that nothing a client sent can forge a line or move
an operator's cursor, and no text is longer than `TEXT_CHARS_MAX`.
"""

import json
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import StrEnum
from typing import Annotated, TextIO

import msgspec

from central_command.process.steering import STEERING, escaped
from persistence.format import times

ACCESS_LOGGER = "central_command.access"
"""The logger of request lines: its messages are written as they are, without time and level of their own."""

REQUEST_ID: ContextVar[bytes] = ContextVar("request_id", default=b"")
"""The id of the request that the current task answers, or works for; empty where there is none."""

TEXT_CHARS_MAX = 8_192
"""The longest text of one record, traceback included, in characters; the rest is cut off."""

OWN_LOGGERS = ("central_command", "actors", "persistence")
"""The level of the settings is for these. Libraries speak from WARNING up: at lower levels some log what they handle
(aiosqlite every statement with its values), and that includes keys."""

_STOP_S_MAX = 1.0
_GATHER_S = 0.02  # lines gather for so long before they are written: nobody reads a log faster
_WRITTEN_AT_ONCE_MAX = 1_024


class LogLevel(StrEnum):
    """How much is said."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a line is: a text for people, or a JSON object for programs."""

    TEXT = "text"
    JSON = "json"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged to stderr, in which form, and how many lines may wait to be written."""

    level: LogLevel = LogLevel.INFO
    access: bool = True
    queue_lines_max: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 4_096
    format: LogFormat = LogFormat.TEXT


class LineFormatter(logging.Formatter):
    """A request line as it is; any other record as `[ISO timestamp] LEVEL logger: message`, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record` as cleaned text; a traceback follows on lines of its own."""
        message = record.getMessage()
        if not message.isprintable():
            message = escaped(message)
        if record.name != ACCESS_LOGGER:
            message = f"[{iso_time(record.created)}] {record.levelname} {record.name}: {message}"
        if record.exc_info:
            message += "\n" + "\n".join(map(escaped, self.formatException(record.exc_info).split("\n")))
        return _cut(message)


def _cut(text: str) -> str:
    if len(text) <= TEXT_CHARS_MAX:
        return text
    return f"{text[:TEXT_CHARS_MAX]} … ({len(text) - TEXT_CHARS_MAX} characters more)"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message; request id and exception, where there are any.

    Of a request, the message is what its line says behind the time. Characters that steer a terminal are JSON's
    escapes, also those that JSON lets stand.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Render `record` as a line."""
        at, message = iso_time(record.created), record.getMessage()
        if record.name == ACCESS_LOGGER:
            at, _, message = message.removeprefix("[").partition("] ")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": _cut(message)}
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id.decode("latin-1")
        if record.exc_info:
            line["exception"] = _cut(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False)  # msgspec refuses the surrogates that stand for bytes of names
        return text if text.isprintable() else STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def iso_time(seconds: float) -> str:
    """`seconds` since the epoch as `2026-11-20T10:12:17.123Z`."""
    second, milliseconds = divmod(int(seconds * 1_000), 1_000)
    return f"{times.second_text(second)}.{milliseconds:03d}Z"


class DroppingHandler(logging.Handler):
    """Puts finished lines into a bounded queue without ever waiting; counts those for which there was no room.

    Text is fixed here: what a record refers to may have changed when the thread comes to it.
    """

    def __init__(self, lines_max: int, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._lines_max = lines_max
        self._dropped = 0
        self.setFormatter(formatter or LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line, or drop and count it; logging holds the handler's lock around this."""
        if self.lines.qsize() < self._lines_max:
            self.lines.put(self.format(record))
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Wait a second at most until all is written: `logging.shutdown` calls this before a process ends early."""
        written = threading.Event()
        self.lines.put(written)
        written.wait(_STOP_S_MAX)

    def take_dropped(self) -> int:
        """How many records were dropped since the last call."""
        self.acquire()
        try:
            dropped, self._dropped = self._dropped, 0
        finally:
            self.release()
        return dropped


class LineWriter:
    """The thread that writes what waits in the queue, all of it at once: waking up for each line costs more."""

    def __init__(self, source: DroppingHandler, stream: TextIO) -> None:
        self._source = source
        self._stream = stream
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._ending = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and end, within a second or so: a stuck stderr must not hold up the end of the process."""
        self._ending.set()
        self._source.lines.put(None)
        self._thread.join(_STOP_S_MAX)

    def _run(self) -> None:
        lines = self._source.lines
        while True:
            waiting = [lines.get()]
            if isinstance(waiting[0], str):
                self._ending.wait(_GATHER_S)
            with suppress(queue.Empty):
                while len(waiting) < _WRITTEN_AT_ONCE_MAX:
                    waiting.append(lines.get_nowait())
            self._write([each for each in waiting if isinstance(each, str)])
            for each in waiting:
                if isinstance(each, threading.Event):
                    each.set()
            if None in waiting:
                return

    def _write(self, texts: list[str]) -> None:
        """Write lines, and how many were lost, if any were."""
        if dropped := self._source.take_dropped():
            sentence = f"{dropped} log lines dropped, the queue was full"
            texts.append(
                self._source.format(
                    logging.makeLogRecord(
                        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": sentence}
                    )
                )
            )
        # A stream that is gone (a closed pipe) is no reason to say so on that stream.
        with suppress(OSError, ValueError):
            self._stream.write("".join(f"{text}\n" for text in texts))
            self._stream.flush()


def set_levels(settings: LogSettings) -> None:
    """Say as much from now on as the settings want."""
    for name, value in _levels(settings).items():
        logging.getLogger(name).setLevel(value)


def _levels(settings: LogSettings) -> dict[str, int]:
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    levels = {"": max(level, logging.WARNING), **dict.fromkeys(OWN_LOGGERS, level)}
    levels[ACCESS_LOGGER] = logging.INFO if settings.access else logging.CRITICAL + 1
    return levels


@contextmanager
def logging_to(settings: LogSettings, stream: TextIO | None = None) -> Iterator[None]:
    """Send all logging to `stream` (stderr by default) until the block ends, then write what still waits."""
    formatter = JsonFormatter() if settings.format is LogFormat.JSON else LineFormatter()
    handler = DroppingHandler(settings.queue_lines_max, formatter)
    writer = LineWriter(handler, stream if stream is not None else sys.stderr)
    before = {name: logging.getLogger(name).level for name in _levels(settings)}
    root = logging.getLogger()
    set_levels(settings)
    root.addHandler(handler)
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        writer.stop()
        for name, value in before.items():
            logging.getLogger(name).setLevel(value)
