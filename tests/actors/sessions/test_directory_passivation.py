"""Passivation by the directory's one task, again and again, with times that cannot be written exactly."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from actors.sessions.directory import Directory
from actors.sessions.mailbox import Mailbox
from actors.sessions.messages import Finish
from actors.sessions.outcomes import Closed
from actors.sessions.settings import SessionSettings

DONE = Closed(already_closed=True, credit=None)


class QuickActor:
    """Answers at once, and ends when it is asked to."""

    async def run(self, mailbox: Mailbox, retire: Callable[[], bool]) -> None:
        with suppress(trio.EndOfChannel):
            while True:
                request = await mailbox.receive()
                if request is not None:
                    request.fill(DONE)
                elif retire():
                    return

    async def settled(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_actors_end_again_after_there_were_none(autojump_clock: MockClock) -> None:
    """The task that ends idle actors stops with the last of them, and begins anew with the next."""
    async with trio.open_nursery() as nursery:
        directory = Directory(nursery, lambda _session_id: QuickActor(), SessionSettings(passivate_after_s=1.0))
        for round_ in range(1, 4):
            assert await directory.ask("sess_1", Finish()) is DONE
            await trio.sleep(5)
            assert directory.statistics().active == 0
            assert directory.statistics().activated == round_
        await directory.drain()


@pytest.mark.parametrize("asked_at", [0.12, 0.953, 1.976, 15.964])
async def test_an_actor_ends_at_the_very_time_that_was_slept_until(autojump_clock: MockClock, asked_at: float) -> None:
    """However the sum of both times is rounded, the look that follows finds the actor idle: nothing spins."""
    idle_s = 0.05
    assert asked_at + idle_s - idle_s < asked_at, "a sum that is rounded"
    async with trio.open_nursery() as nursery:
        directory = Directory(nursery, lambda _session_id: QuickActor(), SessionSettings(passivate_after_s=idle_s))
        await trio.sleep_until(asked_at)
        await directory.ask("sess_1", Finish())
        await trio.sleep_until(asked_at + idle_s)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert directory.statistics().active == 0
        await directory.drain()


async def test_what_ends_for_being_idle_is_not_counted_as_evicted(autojump_clock: MockClock) -> None:
    """Evictions say that `active_actors_max` is too small; idleness says nothing."""
    async with trio.open_nursery() as nursery:
        directory = Directory(nursery, lambda _session_id: QuickActor(), SessionSettings(passivate_after_s=1.0))
        await directory.ask("sess_1", Finish())
        await trio.sleep(5)
        found = directory.statistics()
        assert (found.active, found.passivated, found.evicted) == (0, 1, 0)
        await directory.drain()


class BusyActor(QuickActor):
    """Takes three seconds for its first request."""

    async def run(self, mailbox: Mailbox, retire: Callable[[], bool]) -> None:
        await trio.sleep(3)
        await super().run(mailbox, retire)


async def test_one_that_is_at_work_when_it_is_due_keeps_no_other_from_ending_in_time(autojump_clock: MockClock) -> None:
    """It is looked at again later; those asked after it are due before that."""
    async with trio.open_nursery() as nursery:
        directory = Directory(
            nursery,
            lambda session_id: BusyActor() if session_id == "sess_busy" else QuickActor(),
            SessionSettings(passivate_after_s=2.0),
        )
        nursery.start_soon(directory.ask, "sess_busy", Finish())
        await trio.sleep(0.5)
        await directory.ask("sess_1", Finish())
        await trio.sleep(2.1)  # 2.6: the first was looked at at 2.0, and this one is due at 2.5
        assert list(directory._entries) == ["sess_busy"]
        await trio.sleep(5)
        assert directory.statistics().active == 0
        await directory.drain()
