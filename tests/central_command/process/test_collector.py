"""The collector: garbage is found soon, what is in use is looked at once, and memory is bounded all the same."""

import gc
import sys
import weakref
from collections.abc import Iterator

import msgspec
import pytest
import trio
import trio.testing

from central_command.process.collector import SELDOM, Collector, CollectorSettings, collecting_seldom

SETTINGS = CollectorSettings(interval_s=0.1, uncollected_blocks_max=100_000)
CYCLES = 5_000


class Cycle:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self
        self.room = [None] * 8


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    """Whatever a test does to the collector of the whole process is undone."""
    gc.collect()
    yield
    gc.unfreeze()
    gc.enable()
    gc.collect()


def recent() -> int:
    """How many objects the next look goes through."""
    return len(gc.get_objects(0)) + len(gc.get_objects(1))


async def test_the_interpreter_collects_nothing_by_itself_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """And does so again afterwards."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Collector(SETTINGS).run)
        await trio.testing.wait_all_tasks_blocked()
        assert not gc.isenabled()
        nursery.cancel_scope.cancel()
    assert gc.isenabled()


async def test_a_cycle_is_freed_at_the_next_look(autojump_clock: trio.testing.MockClock) -> None:
    """Within the interval, and no earlier."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Collector(SETTINGS).run)
        await trio.testing.wait_all_tasks_blocked()
        freed = weakref.ref(Cycle())
        await trio.sleep(SETTINGS.interval_s / 2)
        assert freed() is not None
        await trio.sleep(SETTINGS.interval_s)
        assert freed() is None
        nursery.cancel_scope.cancel()


def test_what_is_in_use_is_looked_at_once() -> None:
    """However much there is of it, the look after the next one goes through what is new and nothing else."""
    gc.disable()
    collector = Collector(SETTINGS)
    in_use = [Cycle() for _ in range(CYCLES)]
    assert recent() > CYCLES
    collector.collect()
    in_use.append(Cycle())
    assert recent() < CYCLES / 10
    assert len(in_use) == CYCLES + 1


def test_what_starting_made_is_never_looked_at_again() -> None:
    """Not even with all objects, and garbage of before is gone."""
    gc.disable()
    in_use, freed = [Cycle() for _ in range(CYCLES)], weakref.ref(Cycle())
    Collector(SETTINGS).settle()
    assert freed() is None
    assert len(gc.get_objects()) < CYCLES / 10
    assert gc.get_freeze_count() > len(in_use)


def test_memory_is_bounded_where_cycles_live_for_longer() -> None:
    """What was in use at a look and then ended as a cycle waits for a full collection, which comes at the bound."""
    gc.disable()
    collector = Collector(SETTINGS)
    before = sys.getallocatedblocks()
    most = 0
    for _ in range(40):
        in_use = [Cycle() for _ in range(CYCLES)]
        collector.collect()
        in_use.clear()
        most = max(most, sys.getallocatedblocks() - before)
    one_round = CYCLES * 4 + 100  # and what this loop itself has made
    assert most < SETTINGS.uncollected_blocks_max + one_round
    assert collector.statistics().full_collections > 1
    assert collector.statistics().uncollected_blocks <= SETTINGS.uncollected_blocks_max


def test_no_full_collection_while_nothing_is_left_behind() -> None:
    """Objects that end without a cycle never add up to one."""
    gc.disable()
    collector = Collector(SETTINGS)
    for _ in range(40):
        in_use = [[number] for number in range(CYCLES)]
        collector.collect()
        del in_use
    assert collector.statistics().full_collections == 0


def test_it_shows_what_it_did() -> None:
    """In its repr and its statistics."""
    collector = Collector(msgspec.structs.replace(SETTINGS, uncollected_blocks_max=100_000))
    assert repr(collector) == "<Collector full_collections=0>"


def test_for_as_long_as_a_block_lasts_garbage_is_looked_for_seldom_and_not_in_what_was_there_before() -> None:
    """It is found all the same, and afterwards everything is as it was."""
    before = gc.get_threshold()
    with collecting_seldom():
        assert gc.get_threshold() == (SELDOM, *before[1:])
        assert gc.get_freeze_count() > 0
        first = weakref.ref(Cycle())
        made: list[list[int]] = [[] for _ in range(SELDOM + 1)]
        assert first() is None
        del made
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
