"""Moving sessions in time: distances are kept, and nothing lies outside what the server takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.uploading.timing import MARGIN_S, WINDOW_S, Placing, placing_for

NOW_S = 1_795_000_000.0
DAY_S = 86_400.0


def placed(*times: float) -> tuple[list[float], Placing]:
    placing = placing_for(min(times), max(times), now_s=NOW_S)
    return [placing.place(at) for at in times], placing


def test_a_recent_session_stays_as_it_is() -> None:
    """Nothing is said either."""
    times = [NOW_S - DAY_S, NOW_S - 1]
    moved, placing = placed(*times)
    assert (moved, placing, placing.moves) == (times, Placing(), False)


@pytest.mark.parametrize("offset_s", [-300 * DAY_S, -7 * DAY_S, 5.0, 100 * DAY_S])
def test_an_old_or_a_future_session_ends_now_with_its_distances_kept(offset_s: float) -> None:
    """Also where only some of its steps are too old or ahead, and where the latest is not the last."""
    moved, placing = placed(*(NOW_S + offset_s + at for at in (-100.25, 0.0, -40.5)))
    assert placing.moves
    assert (placing.to_s - placing.from_s, placing.factor) == (-offset_s, 1.0)
    assert moved == [NOW_S - 100.25, NOW_S, NOW_S - 40.5]


def test_a_session_longer_than_the_window_is_compressed_no_more_than_needed() -> None:
    """Its first step then stands at the window's edge."""
    moved, placing = placed(0.0, 10 * DAY_S, 20 * DAY_S)
    room = WINDOW_S - MARGIN_S
    assert placing.moves
    assert placing.factor == room / (20 * DAY_S)
    assert [NOW_S - at for at in moved] == pytest.approx([room, room / 2, 0.0], abs=0.002)


@given(st.lists(st.floats(min_value=-1e9, max_value=1e11), min_size=1, max_size=20))
def test_after_a_shift_every_step_is_one_that_the_server_takes(times: list[float]) -> None:
    """Never older than the window, never ahead of now, and in the same order."""
    after, _ = placed(*times)
    assert all(NOW_S - WINDOW_S <= at <= NOW_S for at in after)
    by_time = sorted(range(len(times)), key=lambda index: times[index])
    moved = [after[index] for index in by_time]
    assert moved == sorted(moved)
