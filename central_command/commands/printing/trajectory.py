"""One trajectory: its header and its steps, read from its line in the journal.

Members that a client sent stay raw until they are shown, so that no odd value keeps the rest from being shown.
"""

from collections.abc import Iterator
from textwrap import indent
from typing import Any, TypeVar

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from central_command.commands.printing.terminal import clean, counted, words
from persistence.format import json_text
from persistence.format.records import CopiedRun

T = TypeVar("T")

ARGUMENTS_CHARS_MAX = 120
"""How much of a tool's arguments is shown without `--full`, in characters."""

LINE_CHARS_MAX = 1_000
"""How much of one line of content is shown without `--full`, in characters."""

STEP_COLOURS = {
    "thought": "cyan",
    "action": "green",
    "observation": "blue",
    "correction": "magenta",
    "resolution": "bold green",
    "error": "bold red",
    "coordination": "yellow",
    "edit": "green",
    "instruction": "bold yellow",
    "clarification": "yellow",
    "approval": "yellow",
    "delegate": "magenta",
    "yield": "magenta",
}

_INDENT = 8
"""Columns by which contents stand to the right of their step."""

_MILLISECONDS_FROM = 10**12


class Received(msgspec.Struct, frozen=True):
    """Where a line stands in its journal, and when it was written."""

    n: int = 0
    at: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step; members of the client stay raw, so that no odd value keeps the rest from being shown."""

    step: msgspec.Raw = msgspec.Raw(b"null")
    type: msgspec.Raw = msgspec.Raw(b"null")
    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    content: msgspec.Raw = msgspec.Raw(b"null")
    tool: msgspec.Raw = msgspec.Raw(b"null")
    arguments: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def number(self) -> int | None:
        """The step's number."""
        return _value(self.step, int)

    @property
    def time_s(self) -> float | None:
        """Seconds since the epoch; from 10^12 on, the client's timestamps are milliseconds (decisions, "Schema")."""
        seconds = _value(self.timestamp, float)
        return seconds / 1_000 if seconds is not None and seconds >= _MILLISECONDS_FROM else seconds


class Scrubbed(msgspec.Struct, frozen=True):
    """What was found in a record of the corpus."""

    by_category: dict[str, int] = {}
    withheld: int = 0


class Judgement(msgspec.Struct, frozen=True):
    """What a judge said of a record of the corpus."""

    model: str
    cognitive_target: str
    quality: int
    outcome: str
    rationale: str


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trajectories journal, or of the corpus, as far as it is shown."""

    trajectory_id: str
    session_id: str
    title: str = ""
    summary: str = ""
    contributor_id: str | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    trajectory_log: list[Step] = []
    outcome: dict[str, msgspec.Raw] | None = None
    total_steps: int = 0
    total_tokens: int = 0
    total_chunks: int = 0
    unique_tools_used: list[str] = []
    copied_from: list[CopiedRun] = []
    started_at: str | None = None
    ended_at: str | None = None
    time_shift_s: float | None = None
    step_type_distribution: dict[str, int] = {}
    sequence_gaps: list[dict[str, int]] = []
    coordination_links: list[msgspec.Raw] = []
    feedback: list[msgspec.Raw] = []
    closed_by: str = ""
    record_id: str = ""
    rules: str = ""
    scrubbed: Scrubbed | None = None
    judgement: Judgement | None = None
    score: dict[str, msgspec.Raw] = {}
    received: Received = Received()


_TRAJECTORY_DECODER = msgspec.json.Decoder(Trajectory)
_MEMBERS = dict[str, msgspec.Raw]
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (str, int, float, _MEMBERS)
}


def read_trajectory(line: bytes) -> Trajectory:
    """Read a line of the trajectories journal; raises msgspec.DecodeError when it is none."""
    return json_text.decode(_TRAJECTORY_DECODER, line)


def header(trajectory: Trajectory) -> RenderableType:
    """The trajectory in brief, for a terminal: whose it is, what it was worth and why, what it holds, how it ended."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _header_rows(trajectory):
        if value:
            table.add_row(name, Text(clean(value)))
    return Group(table, Text())


def plain_lines(trajectory: Trajectory, chosen: range | None, lines_max: int | None) -> Iterator[str]:
    """Header and chosen steps for a program: nothing padded at an end of a line, no line broken."""
    for name, value in _header_rows(trajectory):
        if value:
            yield f"{name}\t{clean(value)}"
    yield ""
    for number, step, start_s in _chosen(trajectory, chosen):
        yield _head(step, number, start_s, lines_max).plain.rstrip()
        if body := _body(step, lines_max):
            yield indent(body, " " * _INDENT)


def has_steps(trajectory: Trajectory, chosen: range) -> bool:
    """Whether a step is among the chosen ones: numbers may leave some out."""
    return any(True for _ in _chosen(trajectory, chosen))


def last_step(trajectory: Trajectory) -> int:
    """The highest number of a step; 0 where there is none."""
    return max((number for number, _, _ in _chosen(trajectory, None)), default=0)


def _header_rows(trajectory: Trajectory) -> Iterator[tuple[str, str]]:
    metadata, outcome = trajectory.metadata or {}, trajectory.outcome or {}
    yield "title", trajectory.title
    yield "summary", trajectory.summary
    yield "session", trajectory.session_id
    yield "trajectory", trajectory.trajectory_id
    yield "record", trajectory.record_id
    # Of a record of the corpus nobody is told whose it is.
    yield "contributor", "" if trajectory.record_id else trajectory.contributor_id or "unknown"
    yield "model", " · ".join(_members(metadata, "model_engine", "provider"))
    yield "agent", " · ".join(_members(metadata, "agent_id", "agent_role", "task_complexity", "groove_version"))
    yield "points", _points(trajectory.score)
    chunks, tokens = trajectory.total_chunks, trajectory.total_tokens
    yield (
        "totals",
        f"{counted(trajectory.total_steps, 'step')} in {counted(chunks, 'chunk')}, {counted(tokens, 'token')}",
    )
    distribution = sorted(trajectory.step_type_distribution.items(), key=lambda item: -item[1])
    yield "steps", ", ".join(f"{count:,} {name}" for name, count in distribution)
    yield "tools", ", ".join(trajectory.unique_tools_used)
    yield (
        "copied",
        "; ".join(
            f"{_steps(run.from_step, run.to_step)} in session {run.session_id}" for run in trajectory.copied_from
        ),
    )
    yield "rules", trajectory.rules
    yield "scrubbed", _scrubbed(trajectory.scrubbed)
    yield "judged", _judged(trajectory.judgement)
    yield "times", _times(trajectory)
    yield "closed by", f"{trajectory.closed_by}, recorded {trajectory.received.at}".removesuffix(", recorded ")
    yield (
        "gaps",
        "; ".join(f"{gap.get('missing')} missing before {gap.get('before')}" for gap in trajectory.sequence_gaps),
    )
    yield "outcome", ", ".join(f"{words(name)} {_shown(value)}" for name, value in outcome.items()) or "none reported"
    yield "feedback", ", ".join(_feedback(raw) for raw in trajectory.feedback)
    yield "coordination", counted(len(trajectory.coordination_links), "link") if trajectory.coordination_links else ""


def _judged(judgement: Judgement | None) -> str:
    if judgement is None:
        return ""
    said = f"{judgement.cognitive_target}, {judgement.quality} of 100, {judgement.outcome}"
    return f"{said}, by {judgement.model}: {judgement.rationale}"


def _times(trajectory: Trajectory) -> str:
    if trajectory.started_at is None or trajectory.ended_at is None:
        return ""
    shift = f", shown moved by {trajectory.time_shift_s:,.14g} s" if trajectory.time_shift_s else ""
    return f"{trajectory.started_at} to {trajectory.ended_at}{shift}"


def _points(score: dict[str, msgspec.Raw]) -> str:
    """`1,234 (base points 200, model multiplier 5, …)`: parts that added nothing are left out."""
    total = score.get("total_points", score.get("totalPoints"))
    parts = [
        f"{words(name)} {_shown(value)}"
        for name, value in score.items()
        if name not in {"total_points", "totalPoints"} and bytes(value) not in {b"0", b"0.0", b"null"}
    ]
    points = _value(total, float) if total is not None else None
    if points is None:
        return "not scored"
    return f"{points:,.10g} ({', '.join(parts)})" if parts else f"{points:,.10g}"


def _scrubbed(found: Scrubbed | None) -> str:
    """`2 [EMAIL], 1 text withheld`: placeholders that were set, most of them first."""
    if found is None:
        return ""
    parts = [f"{count:,} {name}" for name, count in sorted(found.by_category.items(), key=lambda item: -item[1])]
    parts += [f"{found.withheld:,} text(s) withheld"] if found.withheld else []
    return ", ".join(parts) or "nothing found"


def _feedback(raw: msgspec.Raw) -> str:
    """A feedback's signal, wherever the object keeps it, with its context when it has one."""
    members = _value(raw, _MEMBERS) or {}
    inner = _value(members["feedback"], _MEMBERS) if "feedback" in members else None
    return ": ".join(_members(inner or members, "signal", "context")) or "unknown"


def steps(trajectory: Trajectory, chosen: range | None, lines_max: int | None) -> Iterator[RenderableType]:
    """The chosen steps (all when None), each cut to `lines_max` lines of content (not cut when None)."""
    for number, step, start_s in _chosen(trajectory, chosen):
        line, body = _head(step, number, start_s, lines_max), _body(step, lines_max)
        head = _Hanging(line)
        yield Group(head, Padding(Text(body), (0, 0, 0, _INDENT), expand=False)) if body else head


class _Hanging:
    """A line that goes on, where the terminal is narrower, as far in as what stands below it."""

    def __init__(self, line: Text) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._line.cell_len <= options.max_width:
            yield self._line
            return
        first, *others = self._line.wrap(console, max(1, options.max_width - _INDENT), overflow="fold")
        yield first
        for each in others:
            each.pad_left(_INDENT)
            yield each


def _chosen(trajectory: Trajectory, chosen: range | None) -> Iterator[tuple[int, Step, float | None]]:
    """The chosen steps with their numbers, and when the first of all was."""
    start_s = next((step.time_s for step in trajectory.trajectory_log if step.time_s is not None), None)
    for index, step in enumerate(trajectory.trajectory_log, 1):
        number = step.number if step.number is not None else index
        if chosen is None or number in chosen:
            yield number, step, start_s


def _head(step: Step, number: int, start_s: float | None, lines_max: int | None) -> Text:
    """A step's own line."""
    kind = _shown(step.type)
    line = Text.assemble(
        (f"{number:>6}  ", "bold"),
        (f"{_offset(step.time_s, start_s):>10}  ", "dim"),
        (f"{clean(kind):<13}", STEP_COLOURS.get(kind, "white")),
    )
    if (tool := _shown(step.tool)) != "null":
        arguments = _shown(step.arguments)
        if lines_max is not None:
            arguments = _cut(arguments, ARGUMENTS_CHARS_MAX)
        line.append(f" {clean(tool)}", "bold")
        line.append(f" {clean(arguments)}" if arguments != "null" else "", "dim")
    return line


def _body(step: Step, lines_max: int | None) -> str:
    """A step's content; nothing where it has none."""
    content = _shown(step.content)
    return "" if content in {"null", ""} else shortened(clean(content), lines_max)


def shortened(text: str, lines_max: int | None) -> str:
    """A text of which only the first `lines_max` lines are shown, each cut where it is long; all of it when None."""
    if lines_max is None:
        return text
    lines = text.split("\n")
    shown = [_cut(line, LINE_CHARS_MAX) for line in lines[:lines_max]]
    if left := len(lines) - lines_max:
        shown += [f"… {left} more lines (--full shows all)"] if left > 0 else []
    return "\n".join(shown)


def _offset(time_s: float | None, start_s: float | None) -> str:
    """`+0:03:22` since the first step, `-0:00:01` before it."""
    if time_s is None or start_s is None:
        return ""
    seconds = round(time_s - start_s)
    minutes, second = divmod(abs(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{'-' if seconds < 0 else '+'}{hour}:{minute:02d}:{second:02d}"


def _members(members: dict[str, msgspec.Raw], *names: str) -> list[str]:
    return [_shown(members[name]) for name in names if name in members and bytes(members[name]) not in {b"null", b'""'}]


def _shown(raw: msgspec.Raw) -> str:
    """A member's value as text: a string's own text, anything else as its JSON."""
    text = _value(raw, str)
    return text if text is not None else bytes(raw).decode("utf-8", "replace")


def _value(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """The raw value as `kind`, None when it is something else."""
    try:
        value: T = json_text.decode(_DECODERS[kind], bytes(raw))
    except msgspec.DecodeError:
        return None
    return value


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[:chars_max]}… ({len(text) - chars_max:,} characters more)"


def _steps(first: int, last: int) -> str:
    """Which steps stand elsewhere, with their verb."""
    return f"step {first:,} stands" if first == last else f"steps {first:,} to {last:,} stand"
