"""A run that dies is found by its lease, whoever comes late changes nothing, and no lease lasts for ever."""

import pytest
import trio
from trio.testing import MockClock

from actors.jobs.engine import Jobs
from actors.jobs.queue import Run
from persistence.databases.jobs_running import JobEnd, JobRuns, LiveRun, Look
from tests.actors.jobs.engine_in_memory import Payload, World, noting, run_engine, settled


def claim(world: World, run_id: str = "gone") -> None:
    """What a process does that then dies: it claims a job."""
    look = Look(now=world.clock(), lease_s=60.0, live=[], free={"work": 1}, concurrency={"work": 1}, log_lines_max=9)
    assert len(JobRuns(world.database).look(look, lambda: run_id).claimed) == 1


async def with_one_job(world: World, done: list[str], *, attempts: int = 5, takes_s: float = 0.0) -> Jobs:
    """An engine with a queue, in which a job waits."""
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=takes_s), attempts=attempts)
    await jobs.add("work", "do", Payload("a"))
    return jobs


async def test_a_run_whose_process_died_is_found_by_its_lease(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done)
    claim(world)
    async with run_engine(jobs):
        await trio.sleep(59)
        assert done == []
        await trio.sleep(4)
    assert done == ["a"]
    assert world.events("work", 1) == ["added", "started", "retried", "started", "completed"]


async def test_a_job_that_ends_its_process_each_time_fails_in_the_end(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done, attempts=1)
    claim(world)
    async with run_engine(jobs):
        await trio.sleep(100)
    assert (done, world.job("work", 1).status) == ([], "failed")
    assert world.job("work", 1).error == "The process that ran it has ended, or did not say that it lives."
    assert world.told[-1].event == "failed"


@pytest.mark.parametrize("by_s", [-40_000_000.0, -3_600.0, -61.0])
async def test_a_clock_that_was_set_back_keeps_no_dead_run_alive(autojump_clock: MockClock, by_s: float) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done)
    claim(world)
    world.clock.set_by_s = by_s
    async with run_engine(jobs):
        await trio.sleep(65)
    assert done == ["a"]


async def test_a_clock_that_is_set_ahead_starts_no_second_run_beside_the_first(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done, takes_s=100)
    async with run_engine(jobs):
        for by_s in (1e6, -2e6, 1e6):
            await trio.sleep(10)
            world.clock.set_by_s += by_s
        await trio.sleep(200)
    assert done == ["a"]
    assert world.events("work", 1) == ["added", "started", "completed"]


async def test_a_clock_that_was_set_back_makes_no_delay_longer(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done))
    await jobs.add("work", "do", Payload("a"), delay_s=60)
    world.clock.set_by_s = -1e6
    async with run_engine(jobs):
        await trio.sleep(58)
        assert done == []
        await trio.sleep(5)
    assert done == ["a"]


async def test_a_run_that_ends_after_its_job_was_given_to_another_changes_nothing(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done, takes_s=10)
    claim(world, "late")
    async with run_engine(jobs):
        await trio.sleep(65)
        late = JobEnd(run=LiveRun(run_id="late", progress=1.0, lines=(("now", "I did it"),)), status="completed")
        before = world.history("work", 1)
        assert before.job.status == "active"
        assert JobRuns(world.database).end(late, now=world.clock(), log_lines_max=9) is None
        assert world.history("work", 1) == before
        await trio.sleep(20)
    assert done == ["a"]
    assert world.events("work", 1).count("completed") == 1


async def test_of_two_processes_one_gets_the_job_and_a_queue_holds_its_bound_across_them(
    autojump_clock: MockClock,
) -> None:
    world, done = World(), list[str]()
    first, second = world.engine(), world.engine()
    for jobs in (first, second):
        jobs.register("work", Payload, noting(done, takes_s=5), concurrency=1)
    for what in "abc":
        await first.add("work", "do", Payload(what))
    async with run_engine(first), run_engine(second):
        await trio.sleep(1)
        assert world.lists.queues()[0].active == 1
        await trio.sleep(60)
    assert done == ["a", "b", "c"]


async def test_a_run_that_cannot_be_cancelled_loses_its_job_and_keeps_its_place(autojump_clock: MockClock) -> None:
    world, may_end = World(), trio.Event()

    async def handler(run: Run[Payload]) -> None:
        with trio.CancelScope(shield=True):
            await may_end.wait()

    jobs = world.engine()
    jobs.register("work", Payload, handler, timeout_s=10, attempts=1)
    await jobs.add("work", "do", Payload())
    await jobs.add("work", "do", Payload())
    async with run_engine(jobs):
        await trio.sleep(300)
        assert [world.job("work", number).status for number in (1, 2)] == ["failed", "waiting"]
        assert jobs.statistics().running == 1
        may_end.set()
        await settled()
        assert world.events("work", 1) == ["added", "started", "failed"]


async def test_a_job_that_was_changed_beside_the_server_is_let_go(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = await with_one_job(world, done, takes_s=1_000)
    beside = world.engine()
    async with run_engine(jobs):
        await beside.cancel("work", 1)
        await trio.sleep(5)
        assert jobs.statistics().running == 0
    assert done == []
