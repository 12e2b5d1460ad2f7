"""What operators read in a terminal: a trajectory, the sessions, the statistics.

Contents come from outside. They are never read as markup, and characters that steer a terminal (escape sequences,
direction overrides) are replaced, so that a session's text can neither colour nor rewrite what an operator sees.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from persistence.databases.reports import DayReport, LeaderboardEntry, ModelReport, ProviderReport, Summary
from persistence.databases.session_index import SessionRow
from persistence.format import json_text, times

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

_MILLISECONDS_FROM = 10**12
# C0 but tab and newline, DEL and C1, direction overrides and isolates, line and paragraph separators, byte order mark.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")


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


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trajectories journal, as far as it is shown."""

    trajectory_id: str
    session_id: str
    contributor_id: str | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    trajectory_log: list[Step] = []
    outcome: dict[str, msgspec.Raw] | None = None
    total_steps: int = 0
    total_tokens: int = 0
    total_chunks: int = 0
    unique_tools_used: list[str] = []
    step_type_distribution: dict[str, int] = {}
    sequence_gaps: list[dict[str, int]] = []
    coordination_links: list[msgspec.Raw] = []
    feedback: list[msgspec.Raw] = []
    closed_by: str = ""
    score: dict[str, msgspec.Raw] = {}
    received: Received = Received()


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """All that `GET /v1/stats/…` answers, in one value."""

    summary: Summary
    daily: list[DayReport]
    models: dict[str, ModelReport]
    providers: dict[str, ProviderReport]
    leaderboard: list[LeaderboardEntry]


_TRAJECTORY_DECODER = msgspec.json.Decoder(Trajectory)
_MEMBERS = dict[str, msgspec.Raw]
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (str, int, float, _MEMBERS)
}


def read_trajectory(line: bytes) -> Trajectory:
    """Read a line of the trajectories journal; raises msgspec.DecodeError when it is none."""
    return json_text.decode(_TRAJECTORY_DECODER, line)


def clean(text: str) -> str:
    """`text` with every character that steers a terminal replaced by U+FFFD; tabs become spaces."""
    return _STEERING.sub("\ufffd", text.replace("\r\n", "\n").expandtabs(4))


def clean_json(line: str) -> str:
    """JSON text for a terminal: steering characters, which can only stand inside its strings, as escapes."""
    return _STEERING.sub(lambda match: f"\\u{ord(match.group()):04x}", line)


def parse_steps(text: str) -> range:
    """`10-20`, `10-`, `-20` or `10` as a range of step numbers; raises ValueError otherwise."""
    match = re.fullmatch(r"(\d{0,9})(-?)(\d{0,9})", text.strip(), re.ASCII)
    if not match or not (match[1] or match[3]) or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no range of steps, which is written as 10-20, 10-, -20 or 10")
    first = int(match[1] or 0)
    last = (int(match[3]) if match[3] else 10**9) if match[2] else first
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return range(first, last + 1)


def header(trajectory: Trajectory) -> RenderableType:
    """The trajectory in brief: whose it is, what it was worth and why, what it holds, how it ended."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _header_rows(trajectory):
        if value:
            table.add_row(name, Text(clean(value)))
    return Group(table, Text())


def _header_rows(trajectory: Trajectory) -> Iterator[tuple[str, str]]:
    metadata, outcome = trajectory.metadata or {}, trajectory.outcome or {}
    yield "session", trajectory.session_id
    yield "trajectory", trajectory.trajectory_id
    yield "contributor", trajectory.contributor_id or "unknown"
    yield "model", " · ".join(_members(metadata, "model_engine", "provider"))
    yield "agent", " · ".join(_members(metadata, "agent_id", "agent_role", "task_complexity", "groove_version"))
    yield "points", _points(trajectory.score)
    chunks, tokens = trajectory.total_chunks, trajectory.total_tokens
    yield "totals", f"{trajectory.total_steps:,} steps in {chunks:,} chunks, {tokens:,} tokens"
    distribution = sorted(trajectory.step_type_distribution.items(), key=lambda item: -item[1])
    yield "steps", ", ".join(f"{count:,} {name}" for name, count in distribution)
    yield "tools", ", ".join(trajectory.unique_tools_used)
    yield "closed by", f"{trajectory.closed_by}, recorded {trajectory.received.at}".removesuffix(", recorded ")
    yield (
        "gaps",
        "; ".join(f"{gap.get('missing')} missing before {gap.get('before')}" for gap in trajectory.sequence_gaps),
    )
    yield "outcome", ", ".join(f"{_words(name)} {_shown(value)}" for name, value in outcome.items()) or "none reported"
    yield "feedback", ", ".join(_feedback(raw) for raw in trajectory.feedback)
    yield "coordination", f"{len(trajectory.coordination_links)} links" if trajectory.coordination_links else ""


def _points(score: dict[str, msgspec.Raw]) -> str:
    """`1,234 (base points 200, model multiplier 5, …)`: parts that added nothing are left out."""
    total = score.get("total_points", score.get("totalPoints"))
    parts = [
        f"{_words(name)} {_shown(value)}"
        for name, value in score.items()
        if name not in {"total_points", "totalPoints"} and bytes(value) not in {b"0", b"0.0", b"null"}
    ]
    points = _value(total, float) if total is not None else None
    if points is None:
        return "not scored"
    return f"{points:,.10g} ({', '.join(parts)})" if parts else f"{points:,.10g}"


def _feedback(raw: msgspec.Raw) -> str:
    """A feedback's signal, wherever the object keeps it, with its context when it has one."""
    members = _value(raw, _MEMBERS) or {}
    inner = _value(members["feedback"], _MEMBERS) if "feedback" in members else None
    return ": ".join(_members(inner or members, "signal", "context")) or "unknown"


def steps(trajectory: Trajectory, chosen: range | None, lines_max: int | None) -> Iterator[RenderableType]:
    """The chosen steps (all when None), each cut to `lines_max` lines of content (not cut when None)."""
    start = next((step.time_s for step in trajectory.trajectory_log if step.time_s is not None), None)
    for index, step in enumerate(trajectory.trajectory_log, 1):
        number = step.number if step.number is not None else index
        if chosen is None or number in chosen:
            yield _step(step, number, start, lines_max)


def _step(step: Step, number: int, start_s: float | None, lines_max: int | None) -> RenderableType:
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
    content = _shown(step.content)
    if content in {"null", ""}:
        return line
    return Group(line, Padding(Text(_content(clean(content), lines_max)), (0, 0, 0, 8), expand=False))


def _content(text: str, lines_max: int | None) -> str:
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


def sessions_table(rows: Sequence[SessionRow]) -> RenderableType:
    """The sessions, in the order given; points are empty until a session is credited."""
    table = _table("session", "status", "model", "opened (UTC)", "last activity (UTC)")
    table.columns[0].no_wrap = True
    for name in ("envelopes", "steps", "points"):
        table.add_column(name, justify="right")
    for row in rows:
        status = row.closed_by.replace("_", " ") if row.closed_by else "closed" if row.closed else "active"
        table.add_row(
            Text(clean(row.session_id)),
            Text(status, "blue" if row.closed else "green"),
            Text(clean(f"{row.model} · {row.provider}")),
            _short_time(row.created_at),
            _short_time(row.last_activity_at),
            f"{row.envelopes:,}",
            f"{row.steps:,}",
            "" if row.points is None else f"{row.points:,.10g}",
        )
    return table if rows else Text("no sessions")


def statistics(stats: Statistics) -> RenderableType:
    """Summary, models, providers, days and leaderboard, one below the other."""
    summary = Table.grid(padding=(0, 2))
    summary.add_column(style="bold")
    summary.add_column(justify="right")
    for name, value in msgspec.structs.asdict(stats.summary).items():
        summary.add_row(_words(name).removesuffix(" mb") + (" (MB)" if name.endswith("_mb") else ""), f"{value:,.10g}")
    by_model = [
        (name, each.sessions, each.steps, each.points, f"{each.percentage} %") for name, each in stats.models.items()
    ]
    by_provider = [(name, each.sessions, each.steps, each.points) for name, each in stats.providers.items()]
    by_day = [(day.date, day.envelopes, day.steps, day.sessions, day.points) for day in stats.daily]
    leaders = [(each.contributor_id, each.total_points, each.total_sessions) for each in stats.leaderboard]
    return Group(
        summary,
        _figures(("model", "sessions", "steps", "points", "of steps"), by_model),
        _figures(("provider", "sessions", "steps", "points"), by_provider),
        _figures(("day", "envelopes", "steps", "sessions", "points"), by_day),
        _figures(("contributor", "points", "sessions"), leaders),
    )


def _figures(names: tuple[str, ...], rows: Sequence[tuple[str | float, ...]]) -> RenderableType:
    """A table of a name and figures; nothing at all without rows."""
    if not rows:
        return Text()
    table = _table(names[0])
    for name in names[1:]:
        table.add_column(name, justify="right")
    for first, *figures in rows:
        table.add_row(
            Text(clean(str(first))), *(each if isinstance(each, str) else f"{each:,.10g}" for each in figures)
        )
    return Group(Text(), table)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _short_time(seconds: float) -> str:
    return times.to_text(seconds)[:19].replace("T", " ")


def _words(name: str) -> str:
    """`modelMultiplier` or `model_multiplier` as `model multiplier`."""
    return clean(_WORD_START.sub(" ", name).lower())


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
