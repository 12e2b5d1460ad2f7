"""Durations in buckets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.files.durations import SYNC_BOUNDS_S, Durations


@pytest.mark.parametrize(("duration_s", "bucket"), [(0.0, 0), (0.5, 0), (0.5000001, 1), (1.0, 1), (1.5, 2), (99.0, 2)])
def test_a_duration_counts_at_the_first_bound_that_is_not_below_it(duration_s: float, bucket: int) -> None:
    """As Prometheus has it: `le` is "at most"."""
    durations = Durations((0.5, 1.0))
    durations.count(duration_s)
    assert [index for index, count in enumerate(durations.statistics().counts) if count] == [bucket]


@given(st.lists(st.floats(0, 20), max_size=30))
def test_all_are_counted_once_and_summed(durations_s: list[float]) -> None:
    """However many: the buckets stay as many as they are."""
    durations = Durations(SYNC_BOUNDS_S)
    for each in durations_s:
        durations.count(each)
    found = durations.statistics()
    assert len(found.counts) == len(SYNC_BOUNDS_S) + 1
    assert sum(found.counts) == len(durations_s)
    assert math.isclose(found.sum_s, math.fsum(durations_s), abs_tol=1e-9)
