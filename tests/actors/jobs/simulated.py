"""Many lives of an engine that dies anywhere, over one database: each job ends once, and no schedule runs twice.

In each life the engine dies at a transaction, before it or after; or its disk is full for a while, or it stands still
for longer than its leases last, or its clock is set, or a queue is paused, or a second engine runs beside it.

Most of a seed's time nothing happens, and its engines look at the database every ten seconds all the same. Such turns
are counted, and not taken (`tests.actors.jobs.resting`): a seed takes a tenth of the time, and comes to the same end.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec
import trio
from trio.testing import MockClock

from actors.jobs.queue import Run
from persistence.databases.jobs_changing import Added, is_unfinished
from persistence.databases.jobs_database import JobsDatabase
from persistence.databases.jobs_running import Found
from persistence.files.file_system import inline
from persistence.format import times
from tests.actors.jobs.engine_in_memory import BEGAN_S, Payload, World, run_engine
from tests.actors.jobs.resting import TICKS_MAX, RestingJobs, Rests
from tests.simulation.randomness import seeded_scheduling

JUMPS_S = (-90_000.0, -7_200.0, -600.0, 600.0, 7_200.0, 90_000.0)
HOURLY = "0 * * * *"
TROUBLES = ("clock set", "disk full", "paused", "stood still", "asked for more")

T = TypeVar("T")


class Died(Exception):  # noqa: N818
    """The process has ended."""


class Mortal(JobsDatabase):
    """Ends its process at a transaction, and is full when it is told to be."""

    def __init__(self) -> None:
        super().__init__(None, lambda: BEGAN_S)
        self.left: int | None = None
        self.dies_after = False
        self.is_full = False
        self.rests: Rests | None = None
        """Told of every commit, before it."""

    def _commit(self, connection: sqlite3.Connection) -> None:
        if self.rests is not None:
            self.rests.committing(connection.total_changes)
        if self.is_full and connection.total_changes:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        dies = self.left == 0
        if self.left is not None:
            self.left = max(0, self.left - 1)
        if dies and not self.dies_after:
            raise Died
        super()._commit(connection)
        if dies:
            raise Died


class Standing:
    """Runs functions in place, but waits while it is told to: an engine whose disk, or whole process, stands still."""

    def __init__(self) -> None:
        self.goes_on = trio.Event()
        self.goes_on.set()
        self.next_due_at: float | None = None
        """What the last look has found to be due next."""

    async def __call__(self, function: Callable[..., T], *args: object) -> T:
        await self.goes_on.wait()
        result = await inline(function, *args)
        if isinstance(result, Found):
            self.next_due_at = result.next_at
        return result

    async def stand_still(self, seconds: float) -> None:
        self.goes_on = trio.Event()
        await trio.sleep(seconds)
        self.goes_on.set()


class Poison(msgspec.Struct, frozen=True):
    """A payload that the queue's type does not read."""

    what: int = 1


class Simulation:
    """One seed: what was asked for, and what was done of it; `takes_all_turns` takes those that find nothing, too."""

    def __init__(self, seed: int, *, takes_all_turns: bool = False) -> None:
        self.chance = random.Random(seed)
        self.database = Mortal()
        self.world = World(self.database, seed)
        self.world.kind = RestingJobs
        self.rests = None if takes_all_turns else Rests(self.pass_ticks)
        self.database.rests = self.rests
        self.done: set[str] = set()
        """What the handlers' effect comes to: each may be done twice, and is then the same."""
        self.asked: dict[int, str] = {}
        self.poisoned: set[int] = set()
        self.latest_s = 0.0
        """The latest time that the wall clock has shown."""
        self.met: Counter[str] = Counter()
        """What has happened in this seed."""
        self.standing: dict[RestingJobs, Standing] = {}

    def pass_ticks(self, ticks: int) -> None:
        """Turns were left out, each of which would have been a transaction."""
        self.met["turns left out"] += ticks
        if self.database.left is not None:
            self.database.left = max(0, self.database.left - ticks)

    def ticks_max(self) -> int:
        """So few that, of two engines which rest at once, the one at whose transaction the process ends takes it."""
        return TICKS_MAX if self.database.left is None else self.database.left // 2

    def changed(self) -> None:
        """Something that is in no row is not as it was."""
        if self.rests is not None:
            self.rests.changed()

    async def handler(self, run: Run[Payload]) -> object:
        assert run.attempt <= 5
        await trio.sleep(self.chance.choice((0.0, 1.0, 30.0)))
        if self.chance.random() < 0.15:
            raise OSError("it went wrong")
        self.done.add(run.job_id)
        run.log("done")
        return None

    def engine(self) -> RestingJobs:
        jobs, standing = self.world.engine(storage_retry_s=5.0, poll_s=10.0), Standing()
        assert isinstance(jobs, RestingJobs)
        jobs._offload = standing
        jobs.rests, jobs.next_due_at, jobs.ticks_max = self.rests, lambda: standing.next_due_at, self.ticks_max
        self.standing[jobs] = standing
        jobs.register("work", Payload, self.handler, concurrency=2, timeout_s=600.0)
        jobs.register("other", Payload, self.handler)
        jobs.add_repeatable("other", "hourly", Payload("hourly"), HOURLY)
        return jobs

    async def life(self) -> None:
        """A life that ends at a transaction, or after a while."""
        self.database.left = self.chance.choice((None, self.chance.randrange(40)))
        self.database.dies_after = self.chance.random() < 0.5
        jobs = self.engine()
        try:
            async with run_engine(jobs):
                await self.ask(jobs)
                if self.chance.random() < 0.3:
                    self.met["two engines"] += 1
                    async with run_engine(self.engine()):
                        await self.trouble(jobs)
                else:
                    await self.trouble(jobs)
        except* Died:
            self.met["deaths"] += 1
        finally:
            self.database.left, self.database.is_full = None, False
            self.latest_s = max(self.latest_s, self.world.clock())

    async def ask(self, jobs: RestingJobs) -> None:
        for _ in range(self.chance.randrange(4)):
            is_poison = self.chance.random() < 0.1
            delay_s = self.chance.choice((0.0, 0.0, 100.0))
            added = await jobs.add("work", "do", Poison() if is_poison else Payload("x"), delay_s=delay_s)
            assert isinstance(added, Added)
            self.asked[added.job.job_id] = "acknowledged"
            if is_poison:
                self.poisoned.add(added.job.job_id)

    async def trouble(self, jobs: RestingJobs) -> None:
        for _ in range(self.chance.randrange(4)):
            await trio.sleep(self.chance.uniform(0.0, 2_000.0))
            what = self.chance.randrange(5)
            self.latest_s = max(self.latest_s, self.world.clock())
            self.met[TROUBLES[what]] += 1
            if what == 0:
                self.world.clock.set_by_s += self.chance.choice(JUMPS_S)
                self.changed()
            elif what == 1:
                self.database.is_full = True
                self.changed()
                await trio.sleep(self.chance.uniform(0.0, 100.0))
                self.database.is_full = False
            elif what == 2:
                await jobs.pause("work")
                await trio.sleep(self.chance.uniform(0.0, 300.0))
                await jobs.resume("work")
            elif what == 3:
                self.changed()
                await self.standing[jobs].stand_still(self.chance.uniform(30.0, 300.0))
            else:
                await self.ask(jobs)

    async def run(self) -> None:
        for _ in range(self.chance.randint(2, 6)):
            await self.life()
        calm = self.engine()
        async with run_engine(calm):
            await calm.resume("work")
            self.world.clock.set_by_s += max(0.0, self.latest_s - self.world.clock())
            self.changed()
            await trio.sleep(2.5 * 3_600.0)
            await trio.sleep((1_800.0 - self.world.clock()) % 3_600.0)  # no job of the schedule is under way then
            self.check()

    def check(self) -> None:
        jobs = self.world.lists.page(limit=1_000).jobs
        assert {*self.asked} <= {job.job_id for job in jobs}, "what was acknowledged is there"
        for job in jobs:
            events = self.world.events(job.queue, job.job_id)
            assert not is_unfinished(job), job
            assert events.count("completed") + events.count("failed") == 1, events
            assert events[-1] == job.status
            assert events.count("started") >= job.attempts
            assert job.attempts <= job.attempts_max
            self.met["runs"] += events.count("started")
            self.met["runs begun again"] += events.count("started") - 1
            public = f"{job.queue}__{job.job_id}"
            self.met[f"jobs {job.status}"] += 1
            if job.job_id in self.poisoned:
                self.met["poisoned"] += 1
                assert (job.status, public in self.done) == ("failed", False)
            if job.status == "completed":
                assert public in self.done
        scheduled = [job.scheduled_at for job in jobs if job.scheduled_at is not None]
        assert len(scheduled) == len({*scheduled}), "a time of the schedule makes one job"
        counts = Counter((job.queue, str(job.status)) for job in jobs)
        for queue in self.world.lists.queues():
            for status in ("waiting", "delayed", "active", "completed", "failed"):
                assert getattr(queue, status) == counts[queue.name, status]
        hours = {f"{times.to_text(self.world.clock() - ago_s)[:13]}:00:00.000000Z" for ago_s in (0.0, 3_600.0)}
        assert hours <= {*scheduled}, "nothing of the schedule is missed once all is well"


def lived(seed: int) -> Simulation:
    """A seed that has come to its end; the same seed comes to the same one. Raises what does not hold."""
    simulation = Simulation(seed)
    with seeded_scheduling(seed):
        trio.run(simulation.run, clock=MockClock(autojump_threshold=0))
    return simulation
