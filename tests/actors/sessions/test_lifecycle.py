"""The table of states and transitions, pair by pair."""

import pytest

from actors.envelopes.refusals import RefusalCode
from actors.sessions.lifecycle import TRANSITIONS, Event, ImpossibleTransitionError, State, after, refusal_for

ALLOWED = {
    (State.ABSENT, Event.OPENED): State.ACTIVE,
    (State.ACTIVE, Event.CLOSE_RECORDED): State.CLOSING,
    (State.CLOSING, Event.TRAJECTORY_RECORDED): State.CLOSED,
    (State.CLOSING, Event.NOTHING_TO_STITCH): State.CLOSED,
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_pair_of_state_and_event_moves_on_or_is_impossible(state: State, event: Event) -> None:
    if (state, event) in ALLOWED:
        assert after(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(ImpossibleTransitionError, match=f"{event.name} cannot happen .* {state.name}"):
            after(state, event)


def test_no_state_is_reached_twice_without_the_way_through_the_others() -> None:
    """States only move forward: nothing reopens a session."""
    assert all(before.value < then.value for (before, _), then in TRANSITIONS.items())


@pytest.mark.parametrize(
    ("state", "feedback", "code"),
    [
        (State.ABSENT, False, RefusalCode.UNKNOWN_SESSION),
        (State.ABSENT, True, RefusalCode.UNKNOWN_SESSION),
        (State.ACTIVE, False, None),
        (State.ACTIVE, True, None),
        (State.CLOSING, False, RefusalCode.SESSION_CLOSED),
        (State.CLOSING, True, None),
        (State.CLOSED, False, RefusalCode.SESSION_CLOSED),
        (State.CLOSED, True, None),
    ],
)
def test_a_session_takes_chunks_while_active_and_feedback_for_good(
    state: State, *, feedback: bool, code: RefusalCode | None
) -> None:
    assert refusal_for(state, feedback=feedback) is code
