"""A pytest plugin that notes which tests run which lines of the core in this process, and for how long.

`WATCHED_ROOMS=persistence/files:… WATCHED_TESTS=file python -m pytest -p tests.mutation.watching …` writes the file.
A test that failed, or was skipped, is left out: it could not tell a changed line from the original.
"""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]


class WatchedTest(msgspec.Struct):
    """A test function with all its parameters: how long it ran, and the lines of the core that it came by."""

    seconds: float = 0.0
    lines: dict[str, set[int]] = {}


class Watch:
    """Traces what runs while a test does, in all threads."""

    def __init__(self, rooms: tuple[str, ...]) -> None:
        self.tests: dict[str, WatchedTest] = {}
        self._rooms = tuple(f"{ROOT / room}{os.sep}" for room in rooms)
        self._paths: dict[CodeType, str | None] = {}
        self._seen: set[tuple[str, int]] = set()
        self._left_out: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self._seen = set()
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if not report.passed:
            self._left_out.add(name)
        test = self.tests.setdefault(name, WatchedTest(lines={}))
        test.seconds += report.duration
        for path, line in self._seen:
            test.lines.setdefault(path, set()).add(line)

    def pytest_sessionfinish(self) -> None:
        for name in self._left_out:
            del self.tests[name]
        Path(os.environ["WATCHED_TESTS"]).write_bytes(msgspec.json.encode(self.tests))

    def _called(self, frame: FrameType, _event: str, _value: object) -> Any:
        code = frame.f_code
        if code not in self._paths:
            inside = code.co_filename.startswith(self._rooms)
            self._paths[code] = os.path.relpath(code.co_filename, ROOT) if inside else None
        path = self._paths[code]
        if path is None:
            return None
        self._seen.add((path, frame.f_lineno))

        def passed(frame: FrameType, _event: str, _value: object) -> Any:
            self._seen.add((path, frame.f_lineno))
            return passed

        return passed


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watch(tuple(os.environ["WATCHED_ROOMS"].split(os.pathsep))))
