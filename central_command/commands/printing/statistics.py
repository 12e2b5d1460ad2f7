"""The statistics: what the server's `/v1/stats` endpoints answer, as one listing after the other."""

from collections.abc import Sequence

import msgspec

from central_command.commands.printing.terminal import words
from central_command.terminal.listing import Cell, Column, Listing, Value
from persistence.databases.reports import Statistics


def statistics(stats: Statistics) -> list[Listing]:
    """Summary, models, providers, days and leaderboard; of what there is none, no listing."""
    summary = [
        (words(name).removesuffix(" mb") + (" (MB)" if name.endswith("_mb") else ""), value)
        for name, value in msgspec.structs.asdict(stats.summary).items()
    ]
    by_model = [
        (name, each.sessions, each.steps, each.points, Cell(f"{each.percentage}", f"{each.percentage} %"))
        for name, each in stats.models.items()
    ]
    by_provider = [(name, each.sessions, each.steps, each.points) for name, each in stats.providers.items()]
    by_day = [(day.date, day.envelopes, day.steps, day.sessions, day.points) for day in stats.daily]
    leaders = [(each.contributor_id, each.total_points, each.total_sessions) for each in stats.leaderboard]
    all_of_them = (
        _figures(("summary", ""), summary),
        _figures(("model", "sessions", "steps", "points", "of steps"), by_model),
        _figures(("provider", "sessions", "steps", "points"), by_provider),
        _figures(("day", "envelopes", "steps", "sessions", "points"), by_day),
        _figures(("contributor", "points", "sessions"), leaders),
    )
    return [each for each in all_of_them if each is not None]


def _figures(names: tuple[str, ...], rows: Sequence[tuple[Value, ...]]) -> Listing | None:
    """A name and figures a row; None without rows."""
    found = Listing(Column(names[0], may_be_cut=True), *(Column(name, is_figure=True) for name in names[1:]))
    for row in rows:
        found.add(*row)
    return found if rows else None
