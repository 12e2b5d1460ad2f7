"""The list of sessions."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from central_command.commands.printing.terminal import clean, table
from persistence.databases.session_index import SessionRow
from persistence.format import times


def sessions_table(rows: Sequence[SessionRow]) -> RenderableType:
    """The sessions, in the order given; points are empty until a session is credited."""
    found = table("session", "status", "model", "opened (UTC)", "last activity (UTC)")
    found.columns[0].no_wrap = True
    for name in ("envelopes", "steps", "points"):
        found.add_column(name, justify="right")
    if any(row.copied_from for row in rows):
        found.add_column("copied steps")
    for row in rows:
        status = row.closed_by.replace("_", " ") if row.closed_by else "closed" if row.closed else "active"
        found.add_row(
            Text(clean(row.session_id)),
            Text(status, "blue" if row.closed else "green"),
            Text(clean(f"{row.model} · {row.provider}")),
            _short_time(row.created_at),
            _short_time(row.last_activity_at),
            f"{row.envelopes:,}",
            f"{row.steps:,}",
            "" if row.points is None else f"{row.points:,.10g}",
            f"{row.copied_steps:,} of {clean(row.copied_from)}" if row.copied_from else "",
        )
    return found if rows else Text("no sessions")


def _short_time(seconds: float) -> str:
    return times.to_text(seconds)[:19].replace("T", " ")
