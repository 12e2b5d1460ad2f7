"""Whose text is next, without an engine and without a clock."""

from collections import Counter, deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.embedding.batching import HORIZON_INPUTS, BatchBounds, next_batch, text_cost
from actors.embedding.computation import Computation
from actors.embedding.fair_queue import Asking, FairQueue

BOUNDS = BatchBounds(512, 32)
BULKY, ALSO_BULKY, MODEST = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def queue_of(inputs_max: int = 10_000, address_inputs_max: int = 10_000) -> FairQueue:
    """A queue that is not full soon."""
    return FairQueue(inputs_max=inputs_max, address_inputs_max=address_inputs_max)


def tokenised(*lengths: int) -> list[Computation]:
    """New texts of so many tokens."""
    computations = []
    for length in lengths:
        computation = Computation("x" * length, length)
        computation.tokenised([0] * length)
        computations.append(computation)
    return computations


def take(queue: FairQueue) -> list[Computation]:
    """Take the next batch."""
    window = queue.window(BOUNDS)
    batch = next_batch([len(turn.computation.tokens or ()) for turn in window], BOUNDS)
    queue.take([window[position] for position in batch.positions])
    return [window[position].computation for position in batch.positions]


def order(queue: FairQueue) -> list[str]:
    """Whose texts come, in turn."""
    return [turn.asking.lane.address for turn in queue.in_turn()]


def test_a_newcomer_s_text_comes_before_all_that_another_has_queued() -> None:
    """Whether much of it has been computed or nothing."""
    queue = queue_of()
    queue.add(BULKY, tokenised(*[100] * 60))
    queue.add(MODEST, tokenised(12))
    assert order(queue)[0] == MODEST
    for _ in range(5):
        take(queue)
    queue.add(ALSO_BULKY, tokenised(12))
    assert order(queue)[0] == ALSO_BULKY


def test_nobody_saves_up_turns_by_keeping_silent() -> None:
    """Who comes late has what the others have from then on, and no more."""
    queue = queue_of()
    queue.add(BULKY, tokenised(*[100] * 60))
    for _ in range(8):
        take(queue)
    queue.add(MODEST, tokenised(*[100] * 40))
    assert Counter(order(queue)[:20]) == {BULKY: 10, MODEST: 10}


def test_a_long_text_is_not_passed_for_ever() -> None:
    """However many addresses come with short ones, each with a single text of its own."""
    queue = queue_of()
    [long] = tokenised(512)
    queue.add(BULKY, [long])
    for number in range(200):
        queue.add(f"2001:db8:{number}::/64", tokenised(*[12] * 3))
        if long in take(queue):
            break
    assert number <= text_cost(512) / text_cost(12)


def shares(demands: Sequence[tuple[int, int]], batches: int) -> list[float]:
    """The cost that each address was served, each asking without end for requests of so many texts of one length."""
    queue = queue_of()
    underway: dict[str, deque[Asking]] = {str(number): deque() for number in range(len(demands))}
    served = Counter[str]()
    for _ in range(batches):
        for address, (inputs, length) in zip(underway, demands, strict=True):
            while underway[address] and not underway[address][0].waiting:
                queue.leave(underway[address].popleft())
            while len(underway[address]) < 6:
                underway[address].append(queue.add(address, tokenised(*[length] * inputs)))
        waiting = {found: address for address in underway for asking in underway[address] for found in asking.waiting}
        for computation in take(queue):
            served[waiting[computation]] += computation.cost
    return [served[address] for address in underway]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(6, 40), st.integers(2, 512)), min_size=2, max_size=4))
def test_addresses_that_ask_without_end_are_served_alike(demands: list[tuple[int, int]]) -> None:
    """By cost, whatever the number and the length of their texts: at no time by more than some texts' difference."""
    batches = 40
    found = shares(demands, batches)
    slack = 4 * text_cost(512) + batches * 15  # what a batch costs by itself is charged too
    assert max(found) - min(found) <= slack


def test_of_two_loads_with_texts_of_other_lengths_each_has_half() -> None:
    """Six connections with long texts and six with short ones."""
    long, short = shares([(8, 400), (64, 20)], batches=400)
    assert 0.9 <= long / short <= 1.1


def test_within_an_address_a_small_request_does_not_wait_for_a_large_one() -> None:
    """But of two large ones the first comes first, instead of both late."""
    queue = queue_of()
    first, second = (queue.add(MODEST, tokenised(*[100] * 20)) for _ in range(2))
    take(queue)
    small = queue.add(MODEST, tokenised(12))
    assert [turn.asking for turn in queue.in_turn()][:2] == [small, first]
    while first.waiting:
        take(queue)
    assert len(second.waiting) >= 15


def test_a_text_that_others_have_queued_far_behind_does_not_wait_for_their_turn() -> None:
    """It is computed once, for both."""
    queue = queue_of()
    [shared] = tokenised(90)
    bulk = queue.add(BULKY, [*tokenised(*[80] * 60), shared])
    modest = queue.add(MODEST, [shared])
    assert shared in [*take(queue), *take(queue)]
    assert shared not in bulk.waiting
    assert shared not in modest.waiting
    assert queue.leave(modest) == []


def test_what_somebody_else_waits_for_stays_when_one_leaves() -> None:
    """And what nobody else waits for is out of the queue at once."""
    queue = queue_of()
    shared, own = tokenised(10, 20)
    leaving, staying = queue.add(BULKY, [shared, own]), queue.add(MODEST, [shared])
    assert queue.leave(leaving) == [own]
    assert [turn.computation for turn in queue.in_turn()] == [shared]
    assert queue.leave(staying) == [shared]
    assert (len(queue), queue.waiting_addresses) == (0, 0)


def test_a_batch_has_no_more_to_choose_from_than_fits_when_several_wait() -> None:
    """Otherwise those who send the lengths of others' texts would go with each of their batches."""
    queue = queue_of()
    queue.add(BULKY, tokenised(*[20] * 90))
    others = [queue.add(f"198.51.100.{number}", tokenised(20 + number % 3)) for number in range(16)]
    take(queue)
    assert not any(asking.waiting for asking in others)
    alone = queue_of()
    alone.add(BULKY, tokenised(*range(2, 130)))
    assert len(alone.window(BOUNDS)) == HORIZON_INPUTS


def test_an_address_has_its_bound_and_others_have_room_beside_any_number_that_are_full() -> None:
    """Each leaves as much as it holds, and the last quarter is for the first texts of those that have none."""
    queue = queue_of(inputs_max=240, address_inputs_max=50)
    assert queue.has_room(BULKY, [], 50)
    assert not queue.has_room(BULKY, [], 51)
    held = []
    for number in range(20):
        address = f"198.51.100.{number}"
        inputs = 0
        while queue.has_room(address, [], 1):
            queue.add(address, tokenised(2))
            inputs += 1
        held.append(inputs)
    assert held[:6] == [50, 50, 40, 20, 10, 5]
    assert held[-1] == 1
    for number in range(40):
        assert queue.has_room(f"203.0.113.{number}", [], 1)
        queue.add(f"203.0.113.{number}", tokenised(2))
    assert not queue.has_room("another", [], 2)
    while queue.has_room("another", [], 1):
        queue.add("another", tokenised(2))
    assert len(queue) <= 240


def test_what_an_address_waits_for_already_takes_no_more_room_but_each_request_does() -> None:
    """So that nobody waits uncounted."""
    queue = queue_of(inputs_max=64, address_inputs_max=8)
    known = tokenised(*range(1, 9))
    askings = [queue.add(BULKY, known)]
    while queue.has_room(BULKY, known, 0):
        askings.append(queue.add(BULKY, known))
    assert len(askings) == 8
    assert queue.has_room(MODEST, known, 0)
    queue.leave(askings.pop())
    assert queue.has_room(BULKY, known, 0)
    assert not queue.has_room(BULKY, known, 1)


def test_what_comes_before_a_request_is_what_its_lane_owes_it_and_as_much_for_others() -> None:
    """Whatever more the others have queued."""
    queue = queue_of()
    assert queue.cost_until_done(MODEST, 12) == 12
    queue.add(BULKY, tokenised(*[100] * 60))
    queue.add(ALSO_BULKY, tokenised(3))
    assert queue.cost_until_done(MODEST, 12) == pytest.approx(12 + 12 + text_cost(3))
    assert queue.cost_until_done(BULKY, 50) == 50 + text_cost(3)
    assert queue.cost_until_done(BULKY, 10_000) == pytest.approx(10_000 + 60 * text_cost(100) + text_cost(3))
    queue.add(MODEST, tokenised(5))
    assert queue.cost_until_done(MODEST, 12) == pytest.approx((12 + text_cost(5)) * 2 + text_cost(3))


def test_texts_are_tokenised_in_the_order_of_their_turns() -> None:
    """And only those that are near it."""
    queue = queue_of()
    queue.add(BULKY, [Computation("x" * 100, 100) for _ in range(200)])
    modest = Computation("y", 1)
    queue.add(MODEST, [modest])
    assert queue.untokenised(8)[0] is modest
    assert len(queue.untokenised(1_000)) == HORIZON_INPUTS
    assert queue.window(BOUNDS) == []


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "take", "leave", "settle"]), st.integers(0, 3), st.integers(1, 8)),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_whatever_comes_and_goes_each_text_is_taken_once_and_all_room_comes_back(
    steps: list[tuple[str, int, int]],
) -> None:
    """Texts that are shared, requests that leave early, texts that fail before their turn."""
    queue = queue_of(inputs_max=128, address_inputs_max=64)
    texts: dict[int, Computation] = {}
    askings: list[Asking] = []
    taken: list[Computation] = []
    for action, number, size in steps:
        if action == "add":
            wanted = [texts.setdefault(key, tokenised(key + 1)[0]) for key in range(number * 5, number * 5 + size)]
            known = [found for found in wanted if found.is_taken or found.outcome is None]
            if queue.has_room(str(number), known, 0):
                askings.append(queue.add(str(number), wanted))
        elif action == "take" and queue.window(BOUNDS):
            taken += take(queue)
        elif action == "leave" and askings:
            for dropped in queue.leave(askings.pop(number % len(askings))):
                texts = {key: found for key, found in texts.items() if found is not dropped}
        elif action == "settle" and askings and askings[0].waiting:
            settled = askings[0].waiting[0]
            queue.remove(settled)
            texts = {key: found for key, found in texts.items() if found is not settled}
        waiting = {found for asking in askings for found in asking.waiting}
        assert {turn.computation for turn in queue.in_turn()} == waiting
        assert len(queue) == len(waiting)
    assert len(taken) == len(set(taken))
    for asking in askings:
        queue.leave(asking)
    assert (len(queue), repr(queue)) == (0, "<FairQueue of 0 texts for 0 addresses>")
    assert queue.has_room("another", [], 64)


def test_the_state_shows_in_its_repr() -> None:
    """For the debugger."""
    queue = queue_of()
    asking = queue.add(MODEST, tokenised(3, 4))
    assert repr(queue) == "<FairQueue of 2 texts for 1 addresses>"
    assert repr(asking) == "<Asking of 192.0.2.3 for 2 texts, 2 waiting>"
    assert repr(asking.computations[0]) == "<Computation of 3 characters, waiting>"
