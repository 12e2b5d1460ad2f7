"""The list of sessions."""

from collections.abc import Sequence

from central_command.terminal.listing import Cell, Column, Listing
from central_command.terminal.short_ids import SESSION_CHARS_MIN, shortened
from persistence.databases.session_index import SessionRow
from persistence.format import times

STATES = ("active", "closed")
"""The words for a session's state, in the list as in its filter."""


def sessions_listing(rows: Sequence[SessionRow]) -> Listing:
    """The sessions, in the order given; points are empty until a session is credited."""
    found = Listing(
        Column("session"),
        Column("status"),
        Column("model", may_be_cut=True),
        Column("provider", wide_only=True),
        Column("opened (UTC)"),
        Column("last activity (UTC)", wide_only=True),
        Column("envelopes", is_figure=True, wide_only=True),
        Column("steps", is_figure=True),
        Column("points", is_figure=True),
        Column("closed by", wide_only=True),
        Column("contributor", wide_only=True),
        Column("machine", wide_only=True),
        Column("copied steps", is_figure=True, wide_only=True),
        Column("copied from", wide_only=True),
        empty="no sessions",
    )
    short = shortened((row.session_id for row in rows), SESSION_CHARS_MIN)
    for row in rows:
        opened = _time(row.created_at)
        found.add(
            Cell(row.session_id, short[row.session_id]),
            Cell(STATES[row.closed], style="blue" if row.closed else "green"),
            row.model,
            row.provider,
            Cell(opened, opened[: len("2026-11-20 10:12")]),
            _time(row.last_activity_at),
            row.envelopes,
            row.steps,
            row.points,
            row.closed_by.replace("_", " ") if row.closed_by else None,
            row.contributor_id,
            row.machine or None,
            row.copied_steps or None,
            row.copied_from,
        )
    return found


def _time(seconds: float) -> str:
    return times.to_text(seconds)[:19].replace("T", " ")
