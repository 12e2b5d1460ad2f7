"""One actor a session at most, whatever comes at once; bounds, eviction, failure and draining, with actors of straw."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.sessions.directory import Directory, DirectoryStatistics
from actors.sessions.mailbox import Mailbox
from actors.sessions.messages import Finish
from actors.sessions.outcomes import ActorFailed, Busy, BusyReason, Closed, CloseOutcome
from actors.sessions.settings import SessionSettings
from tests.stored_state import at_once

DONE = Closed(already_closed=True, credit=None)


class StrawActor:
    """Answers each request when told so, and notes what happens to it."""

    def __init__(self, world: "World", session_id: str) -> None:
        self.world = world
        self.session_id = session_id

    async def run(self, mailbox: Mailbox, retire: Callable[[], bool]) -> None:
        assert self.session_id not in self.world.alive, "two actors of one session"
        self.world.alive.add(self.session_id)
        self.world.activations.append(self.session_id)
        try:
            await trio.lowlevel.checkpoint()  # as loading does
            while True:
                request = await mailbox.receive()
                if request is None:
                    if retire():
                        return
                    continue
                await self.world.gate.wait()
                if self.session_id in self.world.failing:
                    request.fill(ActorFailed())
                    raise RuntimeError("a bug")
                request.fill(DONE)
        except trio.EndOfChannel:
            return
        finally:
            self.world.alive.discard(self.session_id)

    async def settled(self) -> None:
        self.world.settling.append(self.session_id)
        await self.world.projected.wait()


class World:
    """A directory of straw actors, and the levers that move them."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.activations: list[str] = []
        self.settling: list[str] = []
        self.failing: set[str] = set()
        self.gate = trio.Event()
        self.gate.set()
        self.projected = trio.Event()
        self.projected.set()
        self.directory: Directory

    async def ask(self, session_id: str) -> CloseOutcome:
        return await self.directory.ask(session_id, Finish())


@asynccontextmanager
async def directory_of(**settings: Any) -> AsyncIterator[World]:
    world = World()
    async with trio.open_nursery() as nursery:
        new_actor = partial(StrawActor, world)
        world.directory = Directory(nursery, new_actor, SessionSettings(**settings))
        yield world
        world.gate.set()
        world.projected.set()
        await world.directory.drain()
        assert world.directory._ending == 0
        assert world.directory._awaited == {}
        assert not world.alive


async def test_a_session_is_activated_once_however_many_ask() -> None:
    async with directory_of() as world:
        outcomes = await at_once([partial(world.ask, f"sess_{number % 3}") for number in range(60)])
        assert outcomes == [DONE] * 60
        assert sorted(world.activations) == ["sess_0", "sess_1", "sess_2"]


async def test_a_mailbox_at_its_bound_answers_busy_and_the_others_get_theirs() -> None:
    async with directory_of(mailbox_messages_max=2) as world:
        world.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ask, "sess_1")
            await wait_all_tasks_blocked()
            outcomes: list[CloseOutcome] = []

            async def ask() -> None:
                outcomes.append(await world.ask("sess_1"))

            for _ in range(4):
                nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert outcomes == [Busy(BusyReason.MAILBOX_FULL)] * 2
            world.gate.set()
        assert outcomes[2:] == [DONE, DONE]


async def test_an_actor_that_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for it is told, the others go on, and the next message activates it afresh."""
    async with directory_of() as world:
        world.gate = trio.Event()
        world.failing.add("sess_1")

        async def open_the_gate() -> CloseOutcome:
            await wait_all_tasks_blocked()
            world.gate.set()
            return DONE

        calls: list[Callable[[], Awaitable[CloseOutcome]]] = [partial(world.ask, "sess_1")] * 3
        calls += [partial(world.ask, "sess_2"), open_the_gate]
        assert await at_once(calls) == [ActorFailed(), ActorFailed(), ActorFailed(), DONE, DONE]
        world.failing.clear()
        assert await world.ask("sess_1") == DONE
        assert world.activations.count("sess_1") == 2
        assert world.directory.statistics().failed == 1
    assert "the actor of session sess_1 failed and was ended" in caplog.text


async def test_a_session_comes_back_only_after_all_that_it_wrote_is_projected() -> None:
    """Else it would be restored without its last lines."""
    async with directory_of(active_actors_max=1) as world:
        await world.ask("sess_1")
        world.projected = trio.Event()
        outcomes: list[str] = []

        async def ask(session_id: str) -> None:
            await world.ask(session_id)
            outcomes.append(session_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "sess_2")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, "sess_1")
            await wait_all_tasks_blocked()
            assert world.settling == ["sess_1"]
            assert world.activations == ["sess_1"]
            assert world.directory.statistics().retiring == 1
            world.projected.set()
        assert sorted(outcomes) == ["sess_1", "sess_2"]


async def test_the_least_recently_used_actor_makes_room() -> None:
    async with directory_of(active_actors_max=3) as world:
        for session_id in ("sess_1", "sess_2", "sess_3", "sess_1", "sess_4"):
            assert await world.ask(session_id) == DONE
        assert list(world.directory._entries) == ["sess_3", "sess_1", "sess_4"]
        assert world.settling == ["sess_2"]


async def test_without_room_in_time_the_answer_is_busy(autojump_clock: MockClock) -> None:
    async with directory_of(active_actors_max=1, activation_wait_s=2.0) as world:
        world.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ask, "sess_1")
            await wait_all_tasks_blocked()
            started_at = trio.current_time()
            outcomes = await at_once([partial(world.ask, "sess_2")] * 3 + [partial(world.ask, "sess_3")] * 3)
            assert outcomes == [Busy(BusyReason.SESSIONS_FULL)] * 6
            assert trio.current_time() - started_at == 2.0
            world.gate.set()
        assert await world.ask("sess_2") == DONE


async def test_one_whose_mailbox_is_full_is_not_asked_to_end(autojump_clock: MockClock) -> None:
    """It could not take the question; whoever needs its place waits, and the busiest is not the one that goes."""
    async with directory_of(active_actors_max=2, mailbox_messages_max=2, activation_wait_s=2.0) as world:
        world.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            for session_id in ("sess_1", "sess_2"):
                for _ in range(3):
                    nursery.start_soon(world.ask, session_id)
                    await wait_all_tasks_blocked()
            assert await world.ask("sess_3") == Busy(BusyReason.SESSIONS_FULL)
            assert world.directory._ending == 0
            world.gate.set()
        assert await world.ask("sess_3") == DONE
        assert world.activations == ["sess_1", "sess_2", "sess_3"]


@pytest.mark.parametrize("room", [1, 2, 3])
async def test_all_who_wait_for_room_get_it_in_turn(autojump_clock: MockClock, room: int) -> None:
    """Ten requests for each of ten sessions: no wake-up is lost, and no time passes."""
    async with directory_of(active_actors_max=room) as world:
        started_at = trio.current_time()
        outcomes = await at_once([partial(world.ask, f"sess_{number % 10}") for number in range(100)])
        assert outcomes == [DONE] * 100
        assert trio.current_time() == started_at
        assert len(world.directory._entries) <= room


@pytest.mark.parametrize("steps", range(12))
async def test_one_who_waits_for_room_may_go_away(autojump_clock: MockClock, steps: int) -> None:
    """The others who wait for the same session, or for the same place, are served all the same."""
    async with directory_of(active_actors_max=1) as world:
        world.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ask, "sess_1")
            await wait_all_tasks_blocked()
            with trio.CancelScope() as gone:
                async with trio.open_nursery() as leaving:
                    leaving.start_soon(world.ask, "sess_2")
                    await wait_all_tasks_blocked()
                    outcomes: list[CloseOutcome] = []

                    async def ask(session_id: str) -> None:
                        outcomes.append(await world.ask(session_id))

                    for session_id in ("sess_2", "sess_3"):
                        nursery.start_soon(ask, session_id)
                    await wait_all_tasks_blocked()
                    world.gate.set()
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    gone.cancel()
        assert outcomes == [DONE, DONE]


async def test_draining_answers_what_waits_and_takes_nothing_more() -> None:
    async with directory_of(active_actors_max=2) as world:
        world.gate = trio.Event()
        outcomes: list[CloseOutcome] = []

        async def ask(session_id: str) -> None:
            outcomes.append(await world.ask(session_id))

        async with trio.open_nursery() as nursery:
            for session_id in ("sess_1", "sess_2", "sess_1", "sess_3", "sess_3", "sess_4"):
                nursery.start_soon(ask, session_id)
                await wait_all_tasks_blocked()
            nursery.start_soon(world.directory.drain)
            await wait_all_tasks_blocked()
            assert outcomes == [Busy(BusyReason.SHUTTING_DOWN)] * 3
            assert await world.ask("sess_1") == Busy(BusyReason.SHUTTING_DOWN)
            assert repr(world.directory) == "<Directory active=2 draining>"
            world.gate.set()
        assert outcomes[3:] == [DONE] * 3
        assert world.directory.statistics().active == 0


async def test_an_entry_is_removed_only_by_its_own_actor() -> None:
    """A late ending cannot evict a successor."""
    async with directory_of() as world:
        await world.ask("sess_1")
        first = world.directory._entries.pop("sess_1")
        world.projected = trio.Event()
        first.mailbox.close()
        await wait_all_tasks_blocked()
        assert await world.ask("sess_1") == DONE
        second = world.directory._entries["sess_1"]
        assert second is not first
        world.projected.set()
        await first.gone.wait()
        assert world.directory._entries["sess_1"] is second
        world.directory._ending = 0


async def test_statistics_and_repr() -> None:
    async with directory_of(active_actors_max=2) as world:
        assert repr(world.directory) == "<Directory active=0>"
        for session_id in ("sess_1", "sess_2", "sess_3"):
            await world.ask(session_id)
        assert repr(world.directory) == "<Directory active=2>"
        assert world.directory.statistics() == DirectoryStatistics(
            active=2, retiring=0, activated=3, passivated=1, evicted=1, failed=0, draining=False
        )
