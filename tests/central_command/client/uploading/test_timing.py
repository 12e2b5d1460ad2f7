"""Moving sessions in time: distances are kept, and nothing lies outside what the server takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.steps import Step
from central_command.client.uploading.timing import MARGIN_S, WINDOW_S, shift_to_now

NOW_S = 1_795_000_000.0
DAY_S = 86_400.0


def steps_at(*times: float) -> tuple[Step, ...]:
    return tuple(
        Step(step=number, type="thought", timestamp=at, content="x", token_count=1)
        for number, at in enumerate(times, start=1)
    )


def test_a_recent_session_stays_as_it_is() -> None:
    """Nothing is said either."""
    steps = steps_at(NOW_S - DAY_S, NOW_S - 1)
    assert shift_to_now(steps, now_s=NOW_S) == (steps, None)


@pytest.mark.parametrize("offset_s", [-300 * DAY_S, -7 * DAY_S, 5.0, 100 * DAY_S])
def test_an_old_or_a_future_session_ends_now_with_its_distances_kept(offset_s: float) -> None:
    """Also where only some of its steps are too old or ahead, and where the latest is not the last."""
    moved, shift = shift_to_now(steps_at(*(NOW_S + offset_s + at for at in (-100.25, 0.0, -40.5))), now_s=NOW_S)
    assert shift is not None
    assert (shift.seconds, shift.span_factor) == (-offset_s, 1.0)
    assert [step.timestamp for step in moved] == [NOW_S - 100.25, NOW_S, NOW_S - 40.5]


def test_a_session_longer_than_the_window_is_compressed_no_more_than_needed() -> None:
    """Its first step then stands at the window's edge."""
    moved, shift = shift_to_now(steps_at(0.0, 10 * DAY_S, 20 * DAY_S), now_s=NOW_S)
    room = WINDOW_S - MARGIN_S
    assert shift is not None
    assert shift.span_factor == room / (20 * DAY_S)
    assert [NOW_S - step.timestamp for step in moved] == pytest.approx([room, room / 2, 0.0], abs=0.002)


@given(st.lists(st.floats(min_value=-1e9, max_value=1e11), min_size=1, max_size=20))
def test_after_a_shift_every_step_is_one_that_the_server_takes(times: list[float]) -> None:
    """Never older than the window, never ahead of now, and in the same order."""
    before = steps_at(*times)
    after, _ = shift_to_now(before, now_s=NOW_S)
    assert all(NOW_S - WINDOW_S <= step.timestamp <= NOW_S for step in after)
    by_time = sorted(range(len(before)), key=lambda index: before[index].timestamp)
    moved = [after[index].timestamp for index in by_time]
    assert moved == sorted(moved)


def test_nothing_is_nothing() -> None:
    """A file without steps needs no shift."""
    assert shift_to_now((), now_s=NOW_S) == ((), None)
