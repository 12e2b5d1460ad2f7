"""The statistics: what the server's `/v1/stats` endpoints answer, as tables."""

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from central_command.commands.printing.terminal import clean, table, words
from persistence.databases.reports import Statistics


def statistics(stats: Statistics) -> RenderableType:
    """Summary, models, providers, days and leaderboard, one below the other."""
    summary = Table.grid(padding=(0, 2))
    summary.add_column(style="bold")
    summary.add_column(justify="right")
    for name, value in msgspec.structs.asdict(stats.summary).items():
        summary.add_row(words(name).removesuffix(" mb") + (" (MB)" if name.endswith("_mb") else ""), f"{value:,.10g}")
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
    found = table(names[0])
    for name in names[1:]:
        found.add_column(name, justify="right")
    for first, *figures in rows:
        found.add_row(
            Text(clean(str(first))), *(each if isinstance(each, str) else f"{each:,.10g}" for each in figures)
        )
    return Group(Text(), found)
