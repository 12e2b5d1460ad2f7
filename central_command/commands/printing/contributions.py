"""The list of what somebody delivered."""

from collections.abc import Sequence
from pathlib import PurePath

from central_command.client.spool.records import SessionState, StoredSession
from central_command.client.uploading.history import GOES_ON, is_not_opened, state_of
from central_command.terminal.listing import Cell, Column, Listing
from central_command.terminal.short_ids import SESSION_CHARS_MIN, shortened


def contributions_listing(sessions: Sequence[StoredSession]) -> Listing:
    """The sessions of a spool, in the order given; points are what the server answered to the close."""
    found = Listing(
        Column("session"),
        Column("from", may_be_cut=True),
        Column("model", wide_only=True),
        Column("state"),
        Column("steps", is_figure=True),
        Column("delivered", is_figure=True),
        Column("points", is_figure=True),
        Column("problem", wide_only=True),
        empty="nothing was delivered to this server, and nothing waits for it",
    )
    short = shortened((each.session_id for each in sessions), SESSION_CHARS_MIN)
    for each in sessions:
        found.add(
            Cell(each.session_id, short[each.session_id]),
            PurePath(state_of(each).path).name if each.source is not None else "a recording",
            each.opening.model,
            _state(each),
            each.steps,
            each.steps_accepted,
            each.points,
            each.problem,
        )
    return found


def _state(session: StoredSession) -> str:
    if is_not_opened(session):
        return "not opened"
    match session.state:
        case SessionState.RECORDING:
            return "open"
        case SessionState.ENDED:
            return "waits"
        case SessionState.CLOSED if session.problem in {None, *GOES_ON}:
            return "delivered"
        case _:
            return "not whole"
