"""Log lines for programs: one JSON object each, whatever is logged."""

import io
import json
import logging
import os
from typing import Any

import pytest

from central_command.process import logs
from central_command.process.logs import ACCESS_LOGGER, REQUEST_ID, LogFormat, LogSettings, logging_to

OWN = logging.getLogger("central_command.test")
JSON = LogSettings(format=LogFormat.JSON)


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def written(message: str, logger: logging.Logger = OWN, level: int = logging.WARNING) -> dict[str, Any]:
    stream = io.StringIO()
    with logging_to(JSON, stream):
        logger.log(level, message)
    (found,) = objects(stream)
    return found


def test_a_line_has_time_level_logger_and_message() -> None:
    """And no member that says nothing."""
    found = written("something")
    assert list(found) == ["time", "level", "logger", "message"]
    assert found["time"].endswith("Z")
    assert (found["level"], found["logger"], found["message"]) == ("warning", OWN.name, "something")


def test_a_request_line_is_split_from_its_time() -> None:
    """The rest stays in the contract's form."""
    line = "[2026-11-20T10:12:17.123Z] GET /health 200 1ms"
    found = written(line, logging.getLogger(ACCESS_LOGGER), logging.INFO)
    assert (found["time"], found["message"]) == ("2026-11-20T10:12:17.123Z", "GET /health 200 1ms")


@pytest.mark.parametrize(
    "hostile", ['"}\n{"level":"x', "\x1b[31m", "a\u2028b\x9b", "caf\xe9 \u202e", "\ud800 \udcff"], ids=ascii
)
def test_a_message_is_one_line_that_steers_nothing(hostile: str) -> None:
    """And is the same when it is read."""
    # Not logged: a test's report, which has what was logged, cannot hold surrogates.
    text = logs.JsonFormatter().format(logging.makeLogRecord({"name": OWN.name, "msg": hostile}))
    assert text.isprintable()
    assert json.loads(text)["message"] == hostile


def test_an_exception_is_one_member() -> None:
    """Its traceback, in one text."""
    stream = io.StringIO()
    with logging_to(JSON, stream):
        try:
            os.environ["X\x1b"]
        except KeyError:
            OWN.exception("an actor failed")
    (found,) = objects(stream)
    assert found["message"] == "an actor failed"
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith(r"KeyError: 'X\x1b'")


def test_texts_are_bounded() -> None:
    """As in lines for people."""
    found = written("x" * 100_000)
    assert len(found["message"]) < logs.TEXT_CHARS_MAX + 100


def test_the_id_of_the_request_is_there_while_it_is_answered() -> None:
    """And not behind it."""
    stream = io.StringIO()
    with logging_to(JSON, stream):
        token = REQUEST_ID.set(b"abc")
        OWN.warning("within")
        REQUEST_ID.reset(token)
        OWN.warning("behind")
    assert [found.get("request_id") for found in objects(stream)] == ["abc", None]


def test_what_was_dropped_is_said_in_the_same_form() -> None:
    """Whoever reads objects reads nothing else."""
    handler = logs.DroppingHandler(0, logs.JsonFormatter())
    stream = io.StringIO()
    writer = logs.LineWriter(handler, stream)
    handler.handle(logging.makeLogRecord({"name": OWN.name, "msg": "lost"}))
    writer.start()
    writer.stop()
    (found,) = objects(stream)
    assert found["message"].startswith("1 log lines dropped")
