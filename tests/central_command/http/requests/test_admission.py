"""What may be held: in all, by each address, and for as long as anything of it waits."""

import gc
import threading
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from central_command.http.requests.admission import RETURN_CHECK_S, RETURNED_BYTES_MIN, Admission, BodyPermit, Pool


def admission(**settings: Any) -> Admission:
    """Bounds that are far away but for those given."""
    far = {
        "requests_max": 1_000,
        "bodies_bytes_max": 1_000,
        "body_bytes_max": 0,
        "large_bodies_max": 4,
        "large_body_bytes": 100,
        "connections_max": 1_000,
        "share_per_address": 0.25,
    }
    return Admission(**far | settings)


def taken(pool: Pool, key: str) -> int:
    """How many a key gets that asks for all it can get, one at a time."""
    count = 0
    while pool.take(key, 1):
        count += 1
    return count


def test_one_key_gets_its_share_and_leaves_the_rest() -> None:
    """A quarter of all, however often it asks."""
    pool = Pool(total_max=1_000, key_share=0.25, key_min=1)
    assert taken(pool, "a") == 250
    assert taken(pool, "a") == 0
    assert pool.held == 250


def test_several_keys_get_less_each_and_leave_room_for_the_next() -> None:
    """Of four that ask in turn for all they can get each has a seventh, and a fifth one finds room."""
    pool = Pool(total_max=7_000, key_share=0.25, key_min=1)
    took = True
    while took:
        took = max([pool.take(key, 1) for key in "abcd"])
    assert abs(pool.held - 4_000) <= 4
    assert taken(pool, "e") >= 700


def test_a_key_always_has_its_minimum_while_there_is_any_room() -> None:
    """Small settings work, and the total holds all the same."""
    pool = Pool(total_max=3, key_share=0.25, key_min=2)
    assert taken(pool, "a") == 2
    assert taken(pool, "b") == 1
    assert taken(pool, "c") == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(min_value=-50, max_value=50)), max_size=60))
@example([("a", 50), ("b", 1), ("a", 0)])
def test_what_is_held_is_what_was_taken_and_not_given_back(steps: list[tuple[str, int]]) -> None:
    """And never more than there is, nor more than a key's part; nobody who holds nothing is remembered."""
    pool = Pool(total_max=100, key_share=0.5, key_min=5)
    held = dict.fromkeys("abc", 0)
    for key, count in steps:
        if count >= 0:
            others = sum(held.values()) - held[key]
            took = pool.take(key, count)
            if count:  # Nothing may always be taken, also by whoever has more than its part since others came.
                assert not took or held[key] + count <= max(5, 0.5 * (100 - others))
            held[key] += count * took
        elif held[key] + count >= 0:
            pool.give_back(key, -count)
            held[key] += count
        assert pool.held == sum(held.values()) <= 100
        assert pool.keys == sum(count > 0 for count in held.values())


def test_nobody_is_remembered_who_holds_nothing() -> None:
    """However many addresses there were."""
    pool = Pool(total_max=100, key_share=0.5, key_min=1)
    for number in range(1_000):
        assert pool.take(str(number), 1)
        pool.give_back(str(number), 1)
    assert pool.keys == 0


# Permits


def test_a_body_is_counted_until_the_last_one_drops_its_permit() -> None:
    """Whoever that is; without a garbage collection."""
    bounds = admission()
    gc.disable()
    try:
        permit: BodyPermit | None = bounds.permit("a")
        assert permit is not None
        assert permit.hold(60)
        assert permit.hold(40)
        waiting = [permit, permit]
        permit = None
        waiting.pop()
        assert bounds.statistics().bodies_bytes == 100
        waiting.pop()
        assert bounds.statistics().bodies_bytes == 0
        assert bounds.statistics().bodies_addresses == 0
    finally:
        gc.enable()


def test_a_permit_gives_back_once() -> None:
    """Released, and dropped later."""
    bounds = admission()
    permit = bounds.permit("a")
    permit.hold(100)
    permit.release()
    permit.release()
    del permit
    assert bounds.statistics().bodies_bytes == 0


def test_permits_may_be_dropped_in_any_thread() -> None:
    """A verification in a thread may have the last reference."""
    bounds = admission(bodies_bytes_max=1_000_000, share_per_address=1)
    permits = [bounds.permit("a") for _ in range(10_000)]
    assert all(permit.hold(10) for permit in permits)

    def drop() -> None:
        while True:
            try:
                permits.pop()
            except IndexError:
                return

    threads = [threading.Thread(target=drop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bounds.statistics().bodies_bytes == 0


def test_an_address_is_refused_alone() -> None:
    """What it may not hold others may, and it is counted as refused."""
    bounds = admission()
    permit, other = bounds.permit("a"), bounds.permit("b")
    assert permit.hold(250)
    assert not permit.hold(1)
    assert other.hold(100)
    assert bounds.statistics().bodies_refused == 1
    assert "250 bytes" in repr(permit)


def test_a_large_body_has_a_place_instead_of_bytes() -> None:
    """One for each address, so many in all; its bytes are not counted twice."""
    bounds = admission(large_bodies_max=2)
    first, second, third = bounds.permit("a"), bounds.permit("b"), bounds.permit("c")
    first.hold(200)
    assert first.become_large()
    assert first.hold(1_000_000)
    assert bounds.statistics().bodies_bytes == 0
    assert not bounds.permit("a").become_large(), "one address has one"
    assert second.become_large()
    assert not third.become_large()
    assert bounds.statistics().large_bodies_refused == 2
    del first
    assert third.become_large()
    assert bounds.statistics().large_bodies == 2


def test_requests_and_connections_are_bounded_for_each_address() -> None:
    """One address cannot take every place."""
    bounds = admission(requests_max=8, connections_max=8)
    assert [bounds.enter("a") for _ in range(3)] == [True, True, False]
    assert [bounds.connect("a") for _ in range(3)] == [True, True, False]
    assert bounds.enter("b")
    assert bounds.connect("b")
    bounds.leave("a")
    bounds.disconnect("a")
    found = bounds.statistics()
    assert (found.requests_in_flight, found.connections) == (2, 2)
    assert (found.requests_refused, found.connections_refused) == (1, 1)


async def test_memory_is_returned_once_bodies_have_become_much_fewer(autojump_clock: Any) -> None:
    """After they have gone, once, and not for the few that come and go all the time."""
    bounds = admission(bodies_bytes_max=10 * RETURNED_BYTES_MIN, share_per_address=1)
    times, returned = 0, trio.Event()

    def return_free() -> None:
        nonlocal times
        times += 1
        trio.from_thread.run_sync(returned.set)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bounds.return_memory, return_free)
        few = bounds.permit("a")
        few.hold(RETURNED_BYTES_MIN - 1)
        few.release()
        await trio.sleep(2 * RETURN_CHECK_S)
        many = bounds.permit("a")
        many.hold(2 * RETURNED_BYTES_MIN)
        await trio.sleep(2 * RETURN_CHECK_S)
        assert times == 0
        many.release()
        await returned.wait()
        await trio.sleep(4 * RETURN_CHECK_S)
        assert times == 1
        returned = trio.Event()
        bounds._large_body_bytes = RETURNED_BYTES_MIN
        assert many.become_large()
        many.release()
        await returned.wait()
        assert times == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_whoever_is_alone_may_always_send_one_body(share: float) -> None:
    """Whatever the share."""
    bounds = admission(bodies_bytes_max=1_000, body_bytes_max=900, share_per_address=share)
    assert bounds.permit("a").hold(900)
