"""A session's states and transitions, in one table.

        opened            close recorded          trajectory recorded
ABSENT ────────► ACTIVE ──────────────► CLOSING ──────────────────────► CLOSED
                                           └── nothing to stitch ────────► CLOSED

- ABSENT: no such session. Opening is the only thing that can happen to it.
- ACTIVE: takes every kind of envelope. If none ever came, all of it is forgotten when it is abandoned.
- CLOSING: the fact that it ended is on disk (the client's SESSION_CLOSE, or the server's own line for a close by HTTP
  or an abandonment); its trajectory is not yet. A crash here leaves work that the restart finishes.
- CLOSED: its trajectory is on disk, or it never held a chunk. Only feedback is still taken. Dead letters that are taken
  in late (`retrying`) reopen nothing: those of a session that never held a chunk are on disk behind its end, so whoever
  loads it finds it CLOSING.

Every durable step is one line in a journal, so each state can be told from the journals alone.
"""

from enum import Enum, auto

from actors.envelopes.refusals import RefusalCode


class State(Enum):
    """Where a session stands."""

    ABSENT = auto()
    ACTIVE = auto()
    CLOSING = auto()
    CLOSED = auto()


class Event(Enum):
    """What moves a session on; each is durable before it happens here."""

    OPENED = auto()
    CLOSE_RECORDED = auto()
    TRAJECTORY_RECORDED = auto()
    NOTHING_TO_STITCH = auto()


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.ABSENT, Event.OPENED): State.ACTIVE,
    (State.ACTIVE, Event.CLOSE_RECORDED): State.CLOSING,
    (State.CLOSING, Event.TRAJECTORY_RECORDED): State.CLOSED,
    (State.CLOSING, Event.NOTHING_TO_STITCH): State.CLOSED,
}

REFUSED_FEEDBACK: dict[State, RefusalCode] = {State.ABSENT: RefusalCode.UNKNOWN_SESSION}

REFUSED_SEQUENCED: dict[State, RefusalCode] = {
    State.ABSENT: RefusalCode.UNKNOWN_SESSION,
    State.CLOSING: RefusalCode.SESSION_CLOSED,
    State.CLOSED: RefusalCode.SESSION_CLOSED,
}


class ImpossibleTransitionError(Exception):
    """A programmer's error: the event cannot happen in that state."""


def after(state: State, event: Event) -> State:
    """Return the state that follows; ImpossibleTransitionError for a pair that the table does not hold."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransitionError(f"{event.name} cannot happen to a session that is {state.name}") from None


def refusal_for(state: State, *, feedback: bool) -> RefusalCode | None:
    """Say why an envelope is refused in this state, None when it is not; feedback may come after the close."""
    return (REFUSED_FEEDBACK if feedback else REFUSED_SEQUENCED).get(state)
