"""What an agent reported of the tokens that its model took and gave, and on which step each report stands.

A report stands on one step of the model's own, once, however often the agent's file repeats it. Files tell it in three
ways, and so there are three here: of a message that has an id (`begin` and `report`: it stands on the first step of
that message, and counts as the largest that was told of it), before what the model said (`add_ahead`: on the next step
of the model), and behind it (`add_behind`: on the last one). What no step of the model is left for stands on the last.

Reports are beside the steps and not within them while a file is read, because one may come long after its step. A file
that still grows says from which step on they may yet change (`open_from`).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

OF_MODEL: Final = frozenset({"thought", "action"})
"""Types of steps that the model wrote; a resolution repeats what it wrote last."""
_UNSAID: Final = -1
_MEMBERS: Final = 4
COUNT_MAX: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""


class ReportedUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one message of the model, as its agent reported them; None where it said nothing.

    `input_tokens` are all that the model read, what was read from and written to its cache included.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None

    def counts(self) -> tuple[int | None, ...]:
        """The four, in this order."""
        return (self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens)


class Usages(msgspec.Struct, frozen=True):
    """The reports of a whole file by the places (from 0) of their steps; each takes 40 bytes.

    Reports for the steps from `open_from` on may yet change while the file grows; None when none may.
    """

    places: "array[int]" = array("q")
    counts: "array[int]" = array("q")
    open_from: int | None = None

    def __iter__(self) -> Iterator[tuple[int, ReportedUsage]]:
        return ((place, self._at(index)) for index, place in enumerate(self.places))

    def of(self, place: int) -> ReportedUsage | None:
        """What was reported with a step; None where nothing was."""
        index = bisect_left(self.places, place)
        return self._at(index) if index < len(self.places) and self.places[index] == place else None

    def _at(self, index: int) -> ReportedUsage:
        counts = self.counts[index * _MEMBERS : (index + 1) * _MEMBERS]
        return ReportedUsage(*(None if count == _UNSAID else count for count in counts))


class UsageList:
    """The reports of one file while its steps are added to a `StepList`, which tells of each (`note_step`)."""

    def __init__(self) -> None:
        self._places = array("q")
        """By report, the place of its step; -1 while it has none."""
        self._counts = array("q")
        self._by_key: dict[str, int] = {}
        self._of_others: set[int] = set()
        self._unplaced: list[int] = []
        self._steps = 0
        self._last_of_model = _UNSAID
        self.is_told_behind = False
        """Whether this file tells of a message behind it, so that the last one's may yet come."""
        self._open_from = _UNSAID
        self._open_report: int | None = None

    def note_step(self, kind: str) -> None:
        """Take note of the next step."""
        if kind in OF_MODEL:
            self._last_of_model = self._steps
            for report in self._unplaced:
                self._places[report] = self._steps
            self._unplaced.clear()
            if self.is_told_behind:
                self._open_from = self._steps
        self._steps += 1

    def begin(self, key: str) -> None:
        """A message of the model begins, or goes on: until another one does, what is told of it may change."""
        if key in self._by_key:
            return
        self._by_key[key] = self._open_report = self._new(_UNSAID)

    def settle(self, key: str) -> None:
        """What was told of a message is all that will be."""
        if self._open_report is not None and self._by_key.get(key) == self._open_report:
            self._open_report = None

    def report(self, key: str, usage: ReportedUsage) -> None:
        """Take what is told of a message that has begun: of each count the largest."""
        at = self._by_key[key] * _MEMBERS
        for place, count in enumerate(usage.counts(), start=at):
            if count is not None and count > self._counts[place]:
                self._counts[place] = min(count, COUNT_MAX)

    def report_of_other(self, key: str, usage: ReportedUsage) -> None:
        """Take what is told of a message of another agent, which this one began: it stands where `add_behind` puts it.

        It is not in `total`.
        """
        if key not in self._by_key:
            self._by_key[key] = self._new(self._last_of_model)
            self._of_others.add(self._by_key[key])
        self.report(key, usage)

    def add_ahead(self, usage: ReportedUsage) -> None:
        """Take what is told of the message that follows."""
        self._fill(self._new(_UNSAID), usage)

    def add_behind(self, usage: ReportedUsage) -> None:
        """Take what is told of the message that was read last; before the first one, of that one."""
        self._fill(self._new(self._last_of_model), usage)
        self._open_from = _UNSAID

    def total(self) -> tuple[int, int]:
        """Tokens read and written, of all reports of this agent."""
        own = [report * _MEMBERS for report in range(len(self._places)) if report not in self._of_others]
        return sum(max(0, self._counts[at]) for at in own), sum(max(0, self._counts[at + 1]) for at in own)

    def all(self) -> Usages:
        """The reports of the file, once it is read, in the order of their steps; those of one step are one."""
        rest = self._last_of_model if self._last_of_model != _UNSAID else self._steps - 1
        joined: dict[int, list[int]] = {}
        for report, place in enumerate(self._places):
            if self._steps and self._says_anything(report):
                counts = self._counts[report * _MEMBERS : (report + 1) * _MEMBERS]
                at = rest if place == _UNSAID else place
                joined[at] = list(map(_sum, joined[at], counts)) if at in joined else list(counts)
        places = sorted(joined)
        counts = array("q", (count for place in places for count in joined[place]))
        return Usages(array("q", places), counts, self._first_open())

    def _first_open(self) -> int | None:
        of_message = _UNSAID if self._open_report is None else self._places[self._open_report]
        of_last = self._last_of_model if any(map(self._says_anything, self._unplaced)) else _UNSAID
        return min((place for place in (of_message, self._open_from, of_last) if place >= 0), default=None)

    def _says_anything(self, report: int) -> bool:
        return any(count > 0 for count in self._counts[report * _MEMBERS : (report + 1) * _MEMBERS])

    def _new(self, place: int) -> int:
        report = len(self._places)
        self._places.append(place)
        self._counts.extend([_UNSAID] * _MEMBERS)
        if place == _UNSAID:
            self._unplaced.append(report)
        return report

    def _fill(self, report: int, usage: ReportedUsage) -> None:
        for member, count in enumerate(usage.counts()):
            self._counts[report * _MEMBERS + member] = _UNSAID if count is None else min(count, COUNT_MAX)


def _sum(one: int, other: int) -> int:
    return other if one == _UNSAID else one if other == _UNSAID else min(one + other, COUNT_MAX)
