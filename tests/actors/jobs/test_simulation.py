"""Each job ends once, whatever happens: in many lives that chance makes, and in one that dies at each place in turn.

`make simulate-jobs` runs more of the first kind.
"""

import itertools

import pytest
import trio
from trio.testing import MockClock

from actors.jobs.queue import Run
from persistence.databases.jobs_changing import Added
from tests.actors.jobs.engine_in_memory import Payload, World, run_engine
from tests.actors.jobs.simulated import Died, Mortal, Simulation

SEEDS = 25


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_each_job_ends_once_whatever_happens(autojump_clock: MockClock, seed: int) -> None:
    await Simulation(seed).run()


async def lived(place: int, *, dies_after: bool) -> bool:
    """Some jobs and a schedule, with a death at a transaction and a life after it; whether there was that one."""
    database, done = Mortal(), list[str]()
    world = World(database)

    async def handler(run: Run[Payload]) -> None:
        await trio.sleep(5)
        if run.payload.what == "fails" and run.attempt < 2:
            raise OSError("not yet")
        done.append(run.job_id)

    def engine() -> object:
        jobs = world.engine(poll_s=900.0)
        jobs.register("work", Payload, handler, concurrency=2)
        jobs.add_repeatable("work", "hourly", Payload("hourly"), "0 * * * *")
        return jobs

    asked: list[int] = []
    database.left, database.dies_after = place, dies_after
    try:
        jobs = engine()
        async with run_engine(jobs):  # type: ignore[arg-type]
            for what in ("goes well", "fails"):
                added = await jobs.add("work", what, Payload(what))  # type: ignore[attr-defined]
                assert isinstance(added, Added)
                asked.append(added.job.job_id)
            await trio.sleep(3_900)
    except* Died:
        pass
    is_dead, database.left = database.left == 0, None
    async with run_engine(engine()):  # type: ignore[arg-type]
        await trio.sleep(3_900)
    jobs_there = world.lists.page(limit=100).jobs
    assert {*asked} <= {job.job_id for job in jobs_there}
    for job in jobs_there:
        events = world.events("work", job.job_id)
        assert (events.count("completed"), events.count("failed"), job.status) == (1, 0, "completed")
        assert f"work__{job.job_id}" in done
    scheduled = [job.scheduled_at for job in jobs_there if job.scheduled_at is not None]
    assert len(scheduled) == len({*scheduled})
    return is_dead


@pytest.mark.parametrize("dies_after", [False, True])
def test_a_death_at_each_transaction_in_turn_loses_and_doubles_nothing(dies_after: bool) -> None:  # noqa: FBT001
    for place in itertools.count():
        clock = MockClock(autojump_threshold=0)
        if not trio.run(lambda: lived(place, dies_after=dies_after), clock=clock):  # noqa: B023 (called at once)
            break
    assert place > 15
