"""What the index takes from a record's line: what is searched, where its steps are, and what is counted. Pure.

Three modules say what each of these is, and can each read any line (`searched_steps`, `step_places`,
`session_figures`). Nearly all lines are as curation writes them: compact, and each member of the type that it should
have. Those are decoded once, and their steps walked once, which takes a third of the time; with anything else the three
read the line one after the other. Both ways give the same.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from persistence.format.searched_steps import (
    NOTHING,
    PLAIN_BYTES_MAX,
    Facets,
    PlainStep,
    SearchedLine,
    SearchedStep,
    arguments_of,
    facets_of,
)
from persistence.format.session_figures import (
    NAME_CHARS_MAX,
    NO_FIGURES,
    ScrubReport,
    SessionFigures,
    figures_of,
    session_figures,
)
from persistence.format.step_places import LogPlace, StepBlock, StepsInOrder, blocks, log_among, log_place, step_places


class IndexedLine(msgspec.Struct, frozen=True):
    """All of it. `log` is 0 to 0, without blocks, where the steps of the line cannot be told apart."""

    facets: Facets
    steps: list[SearchedStep]
    log: LogPlace
    blocks: list[StepBlock]
    figures: SessionFigures


class _Step(PlainStep, frozen=True, gc=False):
    """A step with all members that anything here looks at."""

    timestamp: float = 0.0
    call_id: msgspec.Raw = NOTHING
    source: str | None = None
    is_error: bool | None = None

    @property
    def tool_name(self) -> str:
        return (self.tool or "")[:NAME_CHARS_MAX]

    @property
    def has_failed(self) -> bool:
        return self.type == "error" or self.is_error is True


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STEPS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_STEP: Final = msgspec.json.Decoder(_Step)
_REPORT: Final = msgspec.json.Decoder(ScrubReport)


class _UnusualError(ValueError):
    """The line has something that takes another way to be read."""


def indexed_line(line: bytes) -> IndexedLine:
    """Read a record's line. Raises msgspec.DecodeError for what is no such line."""
    if len(line) <= PLAIN_BYTES_MAX:
        try:
            return _read_once(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _UnusualError):
            pass
    return read_one_by_one(line)


def read_one_by_one(line: bytes) -> IndexedLine:
    """Read any line, in more time."""
    searched = SearchedLine(line)
    log, found = _blocks(line)
    return IndexedLine(searched.facets, list(searched.steps()), log, found, _figures(line))


def _read_once(line: bytes) -> IndexedLine:
    members = _MEMBERS.decode(line)
    log, order = log_among(line, members), StepsInOrder()
    steps, said = list[_Step](), list[SearchedStep]()
    for place, (raw, offset) in enumerate(_placed(members["trajectory_log"], log), start=1):
        step = _STEP.decode(raw)
        steps.append(step)
        order.note(step, _id(step), raw, offset)
        arguments = arguments_of(step.arguments)
        if step.content or step.tool or arguments:
            said.append(SearchedStep(place, step.type, step.content or "", step.tool or "", arguments))
    of = members.get
    return IndexedLine(
        facets_of(*(of(name, NOTHING) for name in ("metadata", "outcome", "ended_at", "score"))),
        said,
        log,
        list(blocks(order.places())),
        figures_of(steps, _REPORT.decode(of("scrubbed", b"{}"))),
    )


def _placed(log: msgspec.Raw, place: LogPlace) -> Iterator[tuple[memoryview, int]]:
    """The JSON text of each step, and where it begins in the line, if nothing but commas stands between them."""
    raws = [memoryview(raw) for raw in _STEPS.decode(log)]
    if sum(map(len, raws)) + max(len(raws) - 1, 0) + len("[]") != place.end - place.start:
        raise _UnusualError("white space between steps")
    offset = place.start + 1
    for raw in raws:
        yield raw, offset
        offset += len(raw) + 1


def _id(step: _Step) -> bytes | None:
    """The id of a call, as it stands there: spelled in one way only, or `_UnusualError`."""
    text = bytes(step.call_id)
    if not text:
        return None
    if not text.startswith(b'"') or b"\\" in text:
        raise _UnusualError("an id that can be spelled in several ways")
    return text if len(text) > len('""') else None


def _blocks(line: bytes) -> tuple[LogPlace, list[StepBlock]]:
    """Where a line has its steps, and each of them; nowhere, where they cannot be told apart."""
    try:
        log, steps = log_place(line)
        return log, list(blocks(step_places(log, steps)))
    except msgspec.DecodeError:
        return LogPlace(0, 0), []


def _figures(line: bytes) -> SessionFigures:
    try:
        return session_figures(line)
    except msgspec.DecodeError:
        return NO_FIGURES
