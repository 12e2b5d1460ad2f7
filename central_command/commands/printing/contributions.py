"""The list of what somebody delivered."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from central_command.client.delivering.refusals import REFUSED_OPENING
from central_command.client.spool.records import SessionState, SpoolTotals, StoredSession, WaitingFor
from central_command.client.uploading.history import (
    GOES_ON,
    is_gone,
    is_not_opened,
    state_of,
    steps_waiting,
    was_never_opened,
)
from central_command.client.uploading.names import path_of, shown_path
from central_command.reaching.unreachable import printable
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
        path = _path(each)
        found.add(
            Cell(each.session_id, short[each.session_id]),
            "a recording" if path is None else PurePath(path).name,
            each.opening.model,
            _state(each),
            each.steps,
            each.steps_accepted,
            each.points,
            each.problem,
        )
    return found


def contributions_members(
    sessions: Sequence[StoredSession],
    totals: SpoolTotals,
    elsewhere: Sequence[WaitingFor],
    stuck: Sequence[tuple[str, str]],
) -> dict[str, object]:
    """The same as members of a JSON object, with the sums of all sessions for the server, also of those not listed."""
    return {
        "sessions": [
            {
                "session_id": each.session_id,
                "file": _path(each),
                "model": each.opening.model,
                "state": _state(each),
                "steps": each.steps,
                "delivered": each.steps_accepted,
                "points": each.points,
                "problem": each.problem,
            }
            for each in sessions
        ],
        "totals": totals,
        "stuck": [{"about": name, "says": text} for name, text in stuck],
        "waits_elsewhere": elsewhere,
    }


def _path(session: StoredSession) -> str | None:
    """Where the file lay that a session was read from; None of a recording."""
    return None if session.source is None else shown_path(path_of(state_of(session).path))


def stuck_facts(
    unfinished: Iterable[StoredSession], of_files: Iterable[StoredSession], url: str
) -> Iterator[tuple[str, str]]:
    """What of all that is not done is in no file any more, and what the server opens none of: why, and what ends it.

    Of `of_files` those count that were given up for it.
    """
    unfinished = list(unfinished)
    drops = f"`central-command mine --forget {printable(url)}` drops all that waits for this server"
    if steps := steps_waiting(each for each in unfinished if each.source is not None and is_gone(each)):
        sends = "the next upload of any file to this server, or watch, sends them"
        yield "files gone", f"{steps:,} step(s) of these are in no file any more, and are kept: {sends}; {drops}"
    refused: dict[str, list[StoredSession]] = {}
    for each in unfinished:
        if is_not_opened(each):
            refused.setdefault(each.problem or "", []).append(each)
    yield from _reasons(
        [
            f"{problem.rstrip('.')}. {steps_waiting(sessions):,} step(s) in {len(sessions):,} session(s)"
            f" are kept until it is; {drops}"
            for problem, sessions in refused.items()
        ]
    )
    given_up = Counter(
        each.problem.removeprefix(REFUSED_OPENING).rstrip(".")
        for each in of_files
        if each.state is SessionState.FAILED and each.problem is not None and was_never_opened(each)
    )
    tries = "an upload of their files tries again"
    yield from _reasons([f"{count:,} session(s): {reason}; {tries}" for reason, count in given_up.most_common()])


def _reasons(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Why sessions are not opened, a fact for each reason up to a bound."""
    yield from (("not opened", line) for line in lines[:_REASONS_MAX])
    if len(lines) > _REASONS_MAX:
        yield "not opened", f"for {len(lines) - _REASONS_MAX:,} more reason(s)"


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
