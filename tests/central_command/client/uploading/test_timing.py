"""Moving sessions in time: distances are kept, and nothing lies outside what the server takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.placing import MARGIN_S, WINDOW_S, Placing, placing_for
from central_command.client.uploading.timing import timeline_of
from central_command.corpus.trajectory import real_time_s

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


MINUTES = [NOW_S - 3_600 + 60 * n for n in range(9)]


@pytest.mark.parametrize("wrong_s", [2_147_483_647.0, -62_135_596_800.0, 0.0, 1_000_000.0, 1.8e11, NOW_S - 400 * DAY_S])
@pytest.mark.parametrize("place", [0, 4, 8])
def test_a_wrong_time_is_put_between_its_neighbours_and_no_other_is_changed(wrong_s: float, place: int) -> None:
    """Of another clock, another zero, another unit: wherever it stands."""
    timeline = timeline_of([*MINUTES[:place], wrong_s, *MINUTES[place + 1 :]], now_s=NOW_S)
    neighbours = {0: MINUTES[1], 4: MINUTES[4], 8: MINUTES[7]}
    assert list(timeline.times) == [*MINUTES[:place], neighbours[place], *MINUTES[place + 1 :]]
    assert timeline.adjusted == {place}


def test_several_wrong_times_in_a_row_are_spread_between_their_neighbours() -> None:
    """In order, evenly."""
    timeline = timeline_of([NOW_S - 400, 0.0, 0.0, 0.0, NOW_S], now_s=NOW_S)
    assert list(timeline.times) == [NOW_S - 400, NOW_S - 300, NOW_S - 200, NOW_S - 100, NOW_S]
    assert timeline.adjusted == {1, 2, 3}


@pytest.mark.parametrize(
    "times",
    [
        [],
        [0.0, 0.0, 0.0],
        [5.0, 65.0, 125.0],
        [NOW_S - 300, NOW_S - 310, NOW_S - 290, NOW_S - 600],
        [NOW_S - 300 * DAY_S, NOW_S - 299 * DAY_S, NOW_S - 1, NOW_S],
        [NOW_S - 50, NOW_S - 40, NOW_S - 9_000, NOW_S - 8_990, NOW_S - 8_980],
    ],
)
def test_times_that_may_be_right_stay(times: list[float]) -> None:
    """All of one clock, however wrong; a little out of order; a session that was resumed; two halves in any order."""
    timeline = timeline_of(times, now_s=NOW_S)
    assert (list(timeline.times), timeline.adjusted) == (times, frozenset())


@given(st.lists(st.floats(min_value=-1e11, max_value=1e12), max_size=30))
def test_every_step_keeps_a_time_and_those_that_are_not_marked_keep_theirs(times: list[float]) -> None:
    """Whatever stands in the file."""
    timeline = timeline_of(times, now_s=NOW_S)
    assert len(timeline.times) == len(times)
    assert all(at == times[place] for place, at in enumerate(timeline.times) if place not in timeline.adjusted)
    assert not times or len(timeline.adjusted) < len(times)


@given(
    st.integers(1_600_000_000_000_000, 1_790_000_000_000_000),
    st.lists(st.integers(0, 5 * 86_400_000_000), max_size=5),
    st.floats(1_795_000_000, 1_795_000_001),
)
def test_a_moved_time_less_the_shift_is_the_time_that_it_was(first_us: int, distances: list[int], now_s: float) -> None:
    """To the microsecond, whatever fraction of a second it is moved at; and nothing lies ahead of that."""
    times = [(first_us + distance) / 1e6 for distance in (0, *distances)]
    placing = placing_for(min(times), max(times), now_s=now_s)
    moved = [placing.place(at) for at in times]
    assert [real_time_s(at, placing.shift_s) for at in moved] == times
    assert max(moved) <= now_s


def test_the_last_step_keeps_its_time_where_distances_shrink() -> None:
    """A session of more than seven days."""
    times = [1_700_000_000.123, 1_700_000_000.5, 1_700_000_000.25 + 30 * DAY_S]
    placing = placing_for(times[0], times[-1], now_s=NOW_S + 0.9876)
    moved = [placing.place(at) for at in times]
    assert placing.factor < 1
    assert real_time_s(moved[-1], placing.shift_s) == times[-1]
    assert moved == sorted(moved)
    assert moved[-1] <= NOW_S + 0.9876
