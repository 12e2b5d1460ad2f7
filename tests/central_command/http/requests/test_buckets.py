"""Token buckets: so many at once, so many in a time, given back exactly, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.http.requests.buckets import Rate, TokenBuckets
from tests.central_command.http.requests.test_limits import ManualClock


def buckets(clock: ManualClock, *rates: tuple[int, float], keys_max: int = 10) -> TokenBuckets:
    """Buckets with these counts in these seconds."""
    return TokenBuckets([Rate(*each) for each in rates], keys_max=keys_max, clock=clock)


def test_a_key_has_its_tokens_at_once_and_then_one_after_the_other() -> None:
    """Two at once and two a minute; three an hour: each answers with the seconds until its next token."""
    clock = ManualClock()
    budget = buckets(clock, (2, 60), (3, 3_600))
    assert [budget.take("a"), budget.take("a"), budget.take("a")] == [None, None, 30]
    assert budget.take("b") is None
    clock.now += 29.5
    assert budget.take("a") == 1
    clock.now += 0.5
    assert budget.take("a") is None
    assert budget.take("a") == 1_170, "the hour's: one comes back in 20 minutes, and 30 s of them are over"
    clock.now += 1_170
    assert budget.take("a") is None


def test_refused_requests_use_nothing_up() -> None:
    """A client that keeps asking finds its token when it was told that it would."""
    clock = ManualClock()
    budget = buckets(clock, (1, 60), (2, 3_600))
    assert budget.take("a") is None
    assert all(budget.take("a") == 60 for _ in range(1_000))
    clock.now += 60
    assert budget.take("a") is None


def test_memory_is_bounded_and_the_least_recent_key_is_forgotten() -> None:
    """However many keys there are."""
    budget = buckets(ManualClock(), (1, 60))
    assert all(budget.take(str(n)) is None for n in range(1_000))
    assert len(budget) == 10
    assert budget.take("999") is not None
    assert budget.take("0") is None


def test_what_is_added_is_full_and_tells_what_was_forgotten_for_it() -> None:
    """A key that is there already stays as it is."""
    budget = buckets(ManualClock(), (1, 60), keys_max=1)
    assert budget.add("a") is None
    assert "a" in budget
    assert budget.take("a") is None
    assert budget.add("a") is None
    assert budget.take("a") == 60
    assert budget.add("b") == "a"
    assert "a" not in budget


def test_what_is_given_back_to_a_key_that_was_forgotten_is_gone() -> None:
    """It is full again anyway, and must not be more."""
    budget = buckets(ManualClock(), (1, 60), keys_max=1)
    budget.take("a")
    budget.add("b")
    budget.give_back("a")
    assert "a" not in budget


@given(
    st.lists(
        st.one_of(st.just("take"), st.just("give back"), st.floats(min_value=0, max_value=100)), min_size=1, max_size=60
    )
)
def test_more_is_never_let_in_than_was_there_came_and_was_given_back(events: list[str | float]) -> None:
    """Whatever the order: taken and kept is at most the bucket and what has flowed in since."""
    clock = ManualClock()
    budget = buckets(clock, (5, 60))
    taken = passed_s = 0.0
    for event in events:
        match event:
            case "take":
                taken += budget.take("a") is None
            case "give back":
                if taken:
                    budget.give_back("a")
                    taken -= 1
            case float(seconds):
                clock.now += seconds
                passed_s += seconds
        assert taken <= 5 + passed_s * 5 / 60 + 1e-6


@pytest.mark.parametrize("count", [1, 3, 7, 60, 100, 1_000])
def test_the_seconds_that_are_told_are_enough(count: int) -> None:
    """Rounding never makes a client that waits as long as it was told come too early."""
    clock = ManualClock()
    budget = buckets(clock, (count, 60))
    for _ in range(3 * count):
        wait_s = budget.take("a")
        if wait_s is not None:
            clock.now += wait_s
            assert budget.take("a") is None


def test_what_is_given_back_can_be_taken_again_and_nobody_gains_by_it() -> None:
    """In the minute and in the hour; a bucket is never more than full."""
    clock = ManualClock()
    budget = buckets(clock, (2, 60), (3, 3_600))
    for _ in range(10):
        assert budget.take("a") is None
        budget.give_back("a")
    budget.give_back("a")
    assert [budget.take("a") for _ in range(3)] == [None, None, 30]
    clock.now += 60
    budget.give_back("a")
    assert [budget.take("a") for _ in range(3)] == [None, None, 1_140]
