"""The list of what somebody delivered."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from central_command.client.spool.records import SessionState, StoredSession
from central_command.client.uploading.history import GOES_ON, REFUSED_OPENING, state_of, was_never_opened
from central_command.terminal.listing import Cell, Column, Listing
from central_command.terminal.short_ids import SESSION_CHARS_MIN, shortened

_REASONS_MAX = 3
"""So many reasons are told why sessions are not opened."""


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


def not_opened_facts(sessions: Iterable[StoredSession]) -> Iterator[tuple[str, str]]:
    """Why the server opened none of the sessions that were given up for it, and how many files wait for another try."""
    why = Counter(
        each.problem.removeprefix(REFUSED_OPENING).rstrip(".")
        for each in sessions
        if each.state is SessionState.FAILED and each.problem is not None and was_never_opened(each)
    )
    for reason, count in why.most_common(_REASONS_MAX):
        yield "not opened", f"{count:,} session(s): {reason}; an upload of their files tries again"
    if len(why) > _REASONS_MAX:
        yield "not opened", f"for {len(why) - _REASONS_MAX:,} more reason(s)"


def _state(session: StoredSession) -> str:
    match session.state:
        case _ if was_never_opened(session):
            return "not opened"
        case SessionState.RECORDING if session.opened:
            return "open"
        case SessionState.RECORDING:
            return "waits"
        case SessionState.ENDED:
            return "waits"
        case SessionState.CLOSED if session.problem in {None, *GOES_ON}:
            return "delivered"
        case _:
            return "not whole"
