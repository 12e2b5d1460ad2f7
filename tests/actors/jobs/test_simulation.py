"""Each job ends once, whatever happens: in many lives that chance makes, and in one that dies at each place in turn.

`make simulate-jobs` runs more of the first kind.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import trio
from trio._core import _run
from trio.testing import MockClock

from actors.jobs import engine as engine_module
from actors.jobs.engine import Jobs
from actors.jobs.queue import Run
from actors.jobs.runs import Living
from actors.jobs.schedule import Step
from persistence.databases import jobs_running
from persistence.databases.jobs_changing import Added
from persistence.databases.jobs_database import JobStatus
from persistence.databases.jobs_listing import JobHistory
from persistence.databases.jobs_running import JobEnd
from tests.actors.jobs.engine_in_memory import Payload, World, run_engine
from tests.actors.jobs.simulated import TROUBLES, Died, Mortal, Simulation, lived

SEEDS = 100
SEEDS_WITH_ALL_TURNS = 8
SABOTAGE_SEEDS = 50


def test_each_job_ends_once_whatever_happens() -> None:
    """And everything that a seed may meet was met."""
    met = Counter[str]()
    for seed in range(1, SEEDS + 1):
        met += lived(seed).met
    assert {*TROUBLES, "deaths", "two engines", "poisoned", "runs begun again", "turns left out"} <= {*met}


def histories(seed: int, *, takes_all_turns: bool) -> tuple[list[JobHistory], Counter[str]]:
    """What became of all jobs of a seed, and what it met."""
    simulation = Simulation(seed, takes_all_turns=takes_all_turns)
    trio.run(simulation.run, clock=MockClock(autojump_threshold=0))
    lists = simulation.world.lists
    found = [lists.history(job.queue, job.job_id) for job in lists.page(limit=1_000).jobs]
    del simulation.met["turns left out"]
    return [each for each in found if each is not None], simulation.met


@pytest.mark.parametrize("seed", range(1, SEEDS_WITH_ALL_TURNS + 1))
def test_turns_that_are_left_out_change_nothing(seed: int) -> None:
    """Each job has the same events at the same microseconds, whether or not the turns that find nothing are taken."""
    in_order = mock.Mock(shuffle=lambda _batch: None, uniform=lambda _low, _high: 0.0)  # one and the same, not drawn
    with mock.patch.multiple(_run, _ALLOW_DETERMINISTIC_SCHEDULING=True, _r=in_order):
        assert histories(seed, takes_all_turns=False) == histories(seed, takes_all_turns=True)


def test_a_seed_comes_to_the_same_end_each_time() -> None:
    jobs = [lived(5).world.lists.page(limit=1_000).jobs for _ in range(2)]
    assert jobs[0] == jobs[1]


def _never_due(original: Callable[[str, float, float], Step | None]) -> Callable[[str, float, float], Step | None]:
    def step_from(cron: str, reached: float, now: float) -> Step | None:
        step = original(cron, reached, now)
        return None if step is None else Step(step.to, is_due=False)

    return step_from


def _as_completed(_jobs: Jobs, living: Living) -> JobEnd:
    return JobEnd(run=living.said(), status=JobStatus.COMPLETED, result="null")


OF_ANY_RUN = jobs_running.END.replace("run_id = ?9", "job_id = (SELECT max(job_id) FROM jobs WHERE ?9 != '')")
DELAYED_ONLY = "SELECT min(due_at) FROM jobs WHERE status = 'delayed'"
SABOTAGES: dict[str, Sequence[tuple[object, str, Any]]] = {
    "a lapsed lease is kept": (
        (jobs_running, "_given_up", lambda *_: []),
        (jobs_running, "SELECT_NEXT", DELAYED_ONLY),
    ),
    "an end is not fenced": ((jobs_running, "END", OF_ANY_RUN),),
    "what is cut off counts as completed": ((Jobs, "_given_back", _as_completed),),
    "what was missed of a schedule is not made up for": (
        (engine_module, "step_from", _never_due(engine_module.step_from)),
    ),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_guarantee_taken_away_is_noticed(name: str) -> None:
    with ExitStack() as stack:
        for owner, attribute, replacement in SABOTAGES[name]:
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        assert any(is_noticed(seed) for seed in range(1, SABOTAGE_SEEDS + 1))


def is_noticed(seed: int) -> bool:
    """Whether something does not hold in a seed."""
    noticed = False
    try:
        lived(seed)
    except* AssertionError:
        noticed = True
    return noticed


async def one_life(place: int, *, dies_after: bool) -> bool:
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
        if not trio.run(lambda: one_life(place, dies_after=dies_after), clock=clock):  # noqa: B023 (called at once)
            break
    assert place > 15
