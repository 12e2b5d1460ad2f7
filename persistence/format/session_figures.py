"""What is counted of a record of the corpus, for the figures of all: the calls of its tools, and what scrubbing found.

A call is a step of the type `action` or `edit` that names a tool. Its result is the first later `observation` or
`error` with the same `call_id`; without one, it is that of the first action without one that waits. How long a call
took is the time between both, by the clock of who sent them: what somebody was asked meanwhile is in it.

Docs/format.md ("search.db") has what follows from it on disk. Another way to count takes a migration of search.db,
which makes it anew.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from persistence.format import json_text

TOOLS_MAX: Final = 1_000
"""Tools of one record that are counted; guards the table."""

NAME_CHARS_MAX: Final = 200
"""Characters of a tool's name, or of a category, that tell it from others."""

MILLISECONDS_FROM: Final = 1_000_000_000_000
"""A time of a step of at least this is in milliseconds, a smaller one in seconds (contract, "Step")."""

_CALLS: Final = frozenset({"action", "edit"})
_RESULTS: Final = frozenset({"observation", "error"})


class ToolCalls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one tool in a record.

    `timed` are those whose duration is known, `total_ms` all of them together. `slowest_step` is the place of the one
    that took longest, from 1; 0 where no duration is known.
    """

    tool: str
    calls: int
    failures: int
    timed: int
    total_ms: int
    slowest_ms: int
    slowest_step: int


class CountedStep(Protocol):
    """What of a step is counted; `tool_name` is "" without a tool."""

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def timestamp(self) -> float:
        """When it was, by the clock of who sent it; 0 without."""
        ...

    @property
    def call_id(self) -> msgspec.Raw:
        """The JSON text of the call's id; empty without one."""
        ...

    @property
    def tool_name(self) -> str:
        """Its tool, cut; "" without one."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether it says that something failed."""
        ...


class _Step(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    timestamp: float = 0.0
    tool: msgspec.Raw = msgspec.Raw()
    call_id: msgspec.Raw = msgspec.Raw()
    is_error: msgspec.Raw = msgspec.Raw()

    @property
    def tool_name(self) -> str:
        return _name(self.tool)

    @property
    def has_failed(self) -> bool:
        return self.type == "error" or bytes(self.is_error) == b"true"


class ScrubReport(msgspec.Struct, frozen=True):
    """What scrubbing found, by placeholder."""

    by_category: dict[str, int] = {}


class _Line(msgspec.Struct, frozen=True):
    trajectory_log: list[_Step] = []
    scrubbed: ScrubReport = ScrubReport()


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    place: int
    tool: str
    at_ms: float


class _Sum:
    __slots__ = ("calls", "failures", "slowest_ms", "slowest_step", "timed", "total_ms")

    def __init__(self) -> None:
        self.calls = self.failures = self.timed = self.total_ms = self.slowest_step = 0
        self.slowest_ms = 0

    def answered(self, call: _Waiting, step: CountedStep) -> None:
        self.failures += step.has_failed
        took_ms = round(_milliseconds(step.timestamp) - call.at_ms)
        if call.at_ms <= 0 or took_ms < 0:  # no time was told, or the clock was set back
            return
        self.timed += 1
        self.total_ms += took_ms
        if took_ms > self.slowest_ms or not self.slowest_step:
            self.slowest_ms, self.slowest_step = took_ms, call.place


_LINE: Final = msgspec.json.Decoder(_Line)
_TEXT: Final = msgspec.json.Decoder(str)


class SessionFigures(msgspec.Struct, frozen=True):
    """What is counted of a record: by tool, and of what scrubbing found by placeholder."""

    tools: tuple[ToolCalls, ...]
    findings: dict[str, int]


NO_FIGURES: Final = SessionFigures((), {})


def session_figures(line: bytes) -> SessionFigures:
    """Count a record's line. Raises msgspec.DecodeError for what is no such line."""
    read = json_text.decode(_LINE, line)
    return figures_of(read.trajectory_log, read.scrubbed)


def figures_of(steps: Iterable[CountedStep], report: ScrubReport) -> SessionFigures:
    """Count a record whose line was read."""
    findings = {name[:NAME_CHARS_MAX]: count for name, count in report.by_category.items() if count > 0}
    return SessionFigures(_tools(steps), findings)


def _tools(steps: Iterable[CountedStep]) -> tuple[ToolCalls, ...]:
    sums = dict[str, _Sum]()
    by_id, without_id = dict[bytes, deque[_Waiting]](), deque[_Waiting]()
    for place, step in enumerate(steps, start=1):
        call_id = bytes(step.call_id)
        has_id = len(call_id) > 2
        if step.type in _CALLS:
            call = _Waiting(place, step.tool_name, _milliseconds(step.timestamp))
            if call.tool and (call.tool in sums or len(sums) < TOOLS_MAX):
                sums.setdefault(call.tool, _Sum()).calls += 1
            if has_id:
                by_id.setdefault(call_id, deque()).append(call)
            elif step.type == "action":
                without_id.append(call)
        elif step.type in _RESULTS:
            waiting = by_id.get(call_id) if has_id else without_id
            if waiting:
                call = waiting.popleft()
                if (found := sums.get(call.tool)) is not None:
                    found.answered(call, step)
    return tuple(
        ToolCalls(
            tool=tool,
            calls=found.calls,
            failures=found.failures,
            timed=found.timed,
            total_ms=found.total_ms,
            slowest_ms=found.slowest_ms,
            slowest_step=found.slowest_step,
        )
        for tool, found in sorted(sums.items())
    )


def _milliseconds(timestamp: float) -> float:
    return timestamp if timestamp >= MILLISECONDS_FROM else timestamp * 1_000


def _name(raw: msgspec.Raw) -> str:
    """The text that a JSON value is, cut; empty for any other."""
    text = bytes(raw)
    try:
        return json_text.decode(_TEXT, text)[:NAME_CHARS_MAX] if text.startswith(b'"') else ""
    except msgspec.DecodeError:
        return ""
