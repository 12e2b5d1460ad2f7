"""A time of a schedule makes one job, whatever the clock does, and missed times make one for all of them."""

from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.jobs.schedule import Step, latest_until, next_after, step_from, wrong_cron
from persistence.databases.jobs_schedule import AlreadyThere, JobSchedule, NoneOfThatName
from tests.actors.jobs.engine_in_memory import BEGAN_S, Payload, World, noting, run_engine

HOUR_S, DAY_S = 3_600.0, 86_400.0
DAILY, HOURLY = "0 4 * * *", "0 * * * *"


def at(text: str) -> float:
    """Seconds since the epoch of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("cron", ["", "* * * *", "0 0 * * * *", "61 * * * *", "0 0 30 2 *", "a b c d e"])
def test_what_is_no_schedule_is_said(cron: str) -> None:
    assert wrong_cron(cron)


@pytest.mark.parametrize("cron", [DAILY, HOURLY, "*/5 * * * *", "0 3 * * 0", "0 0 29 2 *", "30 2 L * *"])
def test_a_schedule_has_a_next_time_and_a_last_one(cron: str) -> None:
    assert wrong_cron(cron) is None
    following = next_after(cron, BEGAN_S)
    assert following > BEGAN_S
    assert latest_until(cron, following) == following
    assert latest_until(cron, following - 0.5) <= BEGAN_S


@pytest.mark.parametrize(
    ("reached", "now", "step"),
    [
        ("2026-03-10T04:00", "2026-03-11T03:59:59", None),
        ("2026-03-10T04:00", "2026-03-11T04:00:00", Step(at("2026-03-11T04:00"), is_due=True)),
        ("2026-03-10T04:00", "2026-03-20T12:00:00", Step(at("2026-03-20T04:00"), is_due=True)),
        # Set back by less than from one time to the next: it comes past the mark again, and does nothing.
        ("2026-03-10T04:00", "2026-03-09T05:00:00", None),
        # By more: the days until the mark are not silent.
        ("2027-03-10T04:00", "2026-03-09T05:00:00", Step(at("2026-03-09T04:00"), is_due=False)),
        # A mark that is no time of the schedule, as of a job that is new.
        ("2026-03-10T12:00", "2026-03-10T12:00:00", None),
        ("2026-03-10T12:00", "2026-03-11T05:00:00", Step(at("2026-03-11T04:00"), is_due=True)),
    ],
)
def test_where_the_mark_goes(reached: str, now: str, step: Step | None) -> None:
    assert step_from(DAILY, at(reached), at(now)) == step


@given(st.lists(st.floats(-40 * DAY_S, 40 * DAY_S), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_clock_that_is_set_to_and_fro_keeps_the_mark_near(jumps: list[float]) -> None:
    reached = now = BEGAN_S
    for jump_s in jumps:
        now += jump_s
        step = step_from(DAILY, reached, now)
        reached = reached if step is None else step.to
        assert step_from(DAILY, reached, now) is None, "one look is enough"
        assert next_after(DAILY, now) >= reached or latest_until(DAILY, reached - 1) <= now
        assert latest_until(DAILY, now) <= reached, "nothing that has come is left to do"


async def _runs(world: World, hours: float, *jumps: tuple[float, float], cron: str = HOURLY) -> list[str]:
    """The times of the schedule that have had a job, after so many hours with jumps at some of them."""
    jobs, done = world.engine(poll_s=60.0), list[str]()
    jobs.register("work", Payload, noting(done))
    jobs.add_repeatable("work", "do", Payload("x"), cron)
    async with run_engine(jobs):
        for after_h, by_h in jumps:
            await trio.sleep(after_h * HOUR_S)
            world.clock.set_by_s += by_h * HOUR_S
        await trio.sleep((hours - sum(after_h for after_h, _ in jumps)) * HOUR_S)
    scheduled = [str(job.scheduled_at)[8:16] for job in reversed(world.lists.page(limit=100).jobs)]
    assert len(done) == len(scheduled) == len(set(scheduled))
    return scheduled


async def test_each_time_of_a_schedule_makes_a_job(autojump_clock: MockClock) -> None:
    assert await _runs(World(), 3.5) == ["15T09:00", "15T10:00", "15T11:00"]


async def test_a_clock_that_is_set_back_repeats_nothing_and_loses_nothing(autojump_clock: MockClock) -> None:
    scheduled = await _runs(World(), 3.5, (1.5, -0.75))
    assert scheduled == ["15T09:00", "15T10:00"]


async def test_a_clock_that_is_set_far_back_runs_what_comes_but_nothing_again(autojump_clock: MockClock) -> None:
    scheduled = await _runs(World(), 6.5, (1.5, -3))
    assert scheduled == ["15T09:00", "15T07:00", "15T08:00", "15T10:00", "15T11:00"]


async def test_a_clock_that_was_set_ahead_by_mistake_silences_nothing(autojump_clock: MockClock) -> None:
    scheduled = await _runs(World(), 4.6, (0.5, 24.0 * 365), (0.1, -24.0 * 365))
    assert scheduled == ["15T08:00", "15T09:00", "15T10:00", "15T11:00", "15T12:00"]


async def test_what_was_missed_is_made_up_for_once(autojump_clock: MockClock) -> None:
    world = World()
    assert await _runs(world, 1.5) == ["15T09:00"]
    world.clock.set_by_s += 10 * HOUR_S
    assert await _runs_more(world) == ["15T09:00", "15T19:00"]


async def _runs_more(world: World) -> list[str]:
    jobs = world.engine()
    jobs.register("work", Payload, noting([]))
    jobs.add_repeatable("work", "do", Payload("x"), HOURLY)
    async with run_engine(jobs):
        await trio.sleep(60)
    return [str(job.scheduled_at)[8:16] for job in reversed(world.lists.page(limit=100).jobs)]


async def test_a_paused_queue_has_one_job_of_a_schedule_not_one_for_each_time(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine(poll_s=60.0)
    jobs.register("work", Payload, noting(done))
    jobs.add_repeatable("work", "do", Payload("x"), HOURLY)
    async with run_engine(jobs):
        assert await jobs.pause("work")
        await trio.sleep(10 * HOUR_S)
        [queue] = world.lists.queues()
        assert (queue.waiting, done) == (1, [])
        await jobs.resume("work")
        await trio.sleep(60)
    assert done == ["x"]


async def test_the_same_key_again_changes_the_schedule_and_what_is_not_named_goes(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    for cron, name in ((DAILY, "do"), (HOURLY, "do"), (HOURLY, "other")):
        jobs = world.engine(poll_s=60.0)
        jobs.register("work", Payload, noting(done))
        jobs.add_repeatable("work", name, Payload(cron), cron)
        jobs.add_repeatable("work", name, Payload(cron), cron)
        async with run_engine(jobs):
            await trio.sleep(1.4 * HOUR_S)
    assert done == [HOURLY] * 4
    assert [job.name for job in reversed(world.lists.page(limit=9).jobs)] == ["do", "do", "other", "other"]


async def test_a_repeatable_job_is_run_now_beside_its_schedule(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs, schedule = world.engine(), JobSchedule(world.database)
    jobs.register("work", Payload, noting(done))
    jobs.add_repeatable("work", "do", Payload("x"), DAILY)
    async with run_engine(jobs):
        assert schedule.run_now("else", now=world.clock()) == NoneOfThatName(("do",))
        schedule.run_now("do", now=world.clock())
        assert schedule.run_now("do", now=world.clock()) == AlreadyThere()
        await trio.sleep(3)
    assert done == ["x"]
