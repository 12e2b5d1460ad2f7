"""Jobs are run once each, in order, as often as they may be, and told of; nothing that goes wrong loses one."""

import sqlite3
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.jobs.events import JobEvent
from actors.jobs.queue import NotDone, NotRetried, Run
from persistence.databases.database import DatabaseFull
from persistence.databases.jobs_changing import Added, NoSuchJob, NotPossible, QueueIsFull
from persistence.databases.jobs_database import JobsDatabase, JobStatus, StoredJob
from tests.actors.jobs.engine_in_memory import BEGAN_S, Payload, World, noting, run_engine, settled


async def added(jobs: Any, what: str = "", queue: str = "work", **options: Any) -> StoredJob:
    outcome = await jobs.add(queue, "do", Payload(what), **options)
    assert isinstance(outcome, Added)
    return outcome.job


async def test_a_job_is_run_once_and_told_of(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done))
    async with run_engine(jobs):
        job = await added(jobs, "this")
        await trio.sleep(100)
    assert done == ["this"]
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts, found.result, found.error) == ("completed", 1, '{"did":"this"}', None)
    assert world.events("work", job.job_id) == ["added", "started", "completed"]
    assert [(told.event, told.job_id, told.attempts) for told in world.told] == [
        ("added", "work__1", 0),
        ("started", "work__1", 1),
        ("completed", "work__1", 1),
    ]


async def test_the_higher_priority_goes_first_and_then_the_earlier(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done))
    for what, priority in (("a", 0), ("b", 0), ("c", 5), ("d", -1)):
        await added(jobs, what, priority=priority)
    async with run_engine(jobs):
        await trio.sleep(100)
    assert done == ["c", "a", "b", "d"]


async def test_no_more_run_at_once_than_the_queue_lets_and_queues_do_not_wait_for_each_other(
    autojump_clock: MockClock,
) -> None:
    world, done, at_once = World(), list[str](), [0, 0]

    async def handler(run: Run[Payload]) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await trio.sleep(10)
        at_once[0] -= 1

    jobs = world.engine()
    jobs.register("work", Payload, handler, concurrency=3)
    jobs.register("other", Payload, noting(done))
    for _ in range(7):
        await added(jobs)
    async with run_engine(jobs):
        await added(jobs, "other", queue="other")
        await trio.sleep(1)
        assert (at_once, done) == ([3, 3], ["other"])
        assert jobs.statistics().running == 3
        await trio.sleep(30)
    assert at_once == [0, 3]


async def test_what_the_world_hinders_is_one_sentence_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A traceback is for a bug: a folder that is missing is none, and would be one at each attempt."""

    async def handler(run: Run[Payload]) -> None:
        await trio.lowlevel.checkpoint()
        raise NotDone("the folder /backup does not exist: make it first (mkdir -p)")

    world = World()
    jobs = world.engine(poll_s=0.5)
    jobs.register("work", Payload, handler, attempts=2)
    async with run_engine(jobs):
        job = await added(jobs)
        await trio.sleep(100)
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts) == ("failed", 2)
    why = "the folder /backup does not exist: make it first (mkdir -p)"
    assert [record.getMessage() for record in caplog.records] == [
        f"job work__1 {came}: {why}" for came in ("retried", "failed")
    ]
    assert not any(record.exc_info for record in caplog.records)


async def test_what_fails_is_tried_again_later_each_time_and_kept_in_the_end(autojump_clock: MockClock) -> None:
    world, tried_at = World(), list[float]()

    async def handler(run: Run[Payload]) -> None:
        tried_at.append(trio.current_time())
        raise OSError("no luck")

    jobs = world.engine(poll_s=0.5)
    jobs.register("work", Payload, handler, attempts=6)
    async with run_engine(jobs):
        job = await added(jobs)
        await trio.sleep(1_000)
    waited = [later - sooner for sooner, later in pairwise(tried_at)]
    assert waited == pytest.approx([5, 10, 20, 40, 60], abs=0.1)
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts, found.error) == ("failed", 6, "no luck")
    assert world.told[-1].error == "no luck"
    async with run_engine(jobs):
        assert isinstance(await jobs.retry("work", job.job_id), StoredJob)
        await trio.sleep(1)
        assert len(tried_at) == 7
        assert world.job("work", job.job_id).attempts == 1


async def test_what_is_not_to_be_tried_again_is_not(autojump_clock: MockClock) -> None:
    world = World()

    async def handler(run: Run[Payload]) -> None:
        raise NotRetried("This comes to the same each time.")

    jobs = world.engine()
    jobs.register("work", Payload, handler)
    async with run_engine(jobs):
        job = await added(jobs)
        await trio.sleep(1_000)
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts, found.error) == ("failed", 1, "This comes to the same each time.")


async def test_what_takes_too_long_is_cancelled_and_tried_again(autojump_clock: MockClock) -> None:
    world = World()
    jobs = world.engine()
    jobs.register("work", Payload, noting([], takes_s=1_000), timeout_s=30, attempts=2)
    async with run_engine(jobs):
        job = await added(jobs)
        await trio.sleep(100)
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts) == ("failed", 2)
    assert found.error == "It took longer than its time-out of 30 s."


async def test_a_payload_of_another_version_fails_at_once_with_the_reason(autojump_clock: MockClock) -> None:
    class Former(msgspec.Struct):
        what: int

    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done))
    await jobs.add("work", "do", Former(7))
    async with run_engine(jobs):
        await trio.sleep(1_000)
    found = world.job("work", 1)
    assert (found.status, found.attempts, done) == ("failed", 1, [])
    assert found.error is not None
    assert found.error.startswith("Its payload is none that this version of the program reads: Expected `str`")


async def test_one_of_a_deduplication_key_is_unfinished_at_a_time(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=10))
    first = await jobs.add("work", "do", Payload("a"), deduplication_key="k")
    second = await jobs.add("work", "do", Payload("b"), deduplication_key="k")
    assert isinstance(first, Added)
    assert second == Added(first.job, is_new=False)
    async with run_engine(jobs):
        await trio.sleep(5)
        third = await jobs.add("work", "do", Payload("c"), deduplication_key="k")
        assert isinstance(third, Added)
        assert not third.is_new, "it is active"
        await trio.sleep(30)
        fourth = await jobs.add("work", "do", Payload("d"), deduplication_key="k")
        assert isinstance(fourth, Added)
        assert fourth.is_new
        await trio.sleep(30)
    assert done == ["a", "d"]


async def test_a_full_queue_takes_nothing_more() -> None:
    world = World()
    jobs = world.engine(waiting_max=2)
    jobs.register("work", Payload, noting([]))
    for _ in range(2):
        await added(jobs, delay_s=1)
    assert await jobs.add("work", "do", Payload()) == QueueIsFull()


async def test_a_delayed_job_waits_for_its_time_or_is_promoted(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done))
    async with run_engine(jobs):
        await added(jobs, "later", delay_s=60)
        sooner = await added(jobs, "sooner", delay_s=3_600)
        await trio.sleep(59)
        assert done == []
        assert isinstance(await jobs.promote("work", sooner.job_id), StoredJob)
        await settled()
        assert done == ["sooner"]
        assert isinstance(await jobs.promote("work", sooner.job_id), NotPossible)
        await trio.sleep(2)
    assert done == ["sooner", "later"]


async def test_a_paused_queue_starts_nothing_and_ends_what_it_runs(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=10))
    async with run_engine(jobs):
        for what in "ab":
            await added(jobs, what)
        await settled()
        assert await jobs.pause("work")
        assert not await jobs.pause("nothing")
        await trio.sleep(100)
        assert done == ["a"]
        assert [queue.paused for queue in jobs.statistics().queues] == [True]
        assert await jobs.resume("work")
        await trio.sleep(11)
    assert done == ["a", "b"]


async def test_a_pause_lasts_over_restarts(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    for pauses in (True, False):
        jobs = world.engine()
        jobs.register("work", Payload, noting(done))
        async with run_engine(jobs):
            assert not pauses or await jobs.pause("work")
            await added(jobs, "a")
            await trio.sleep(100)
    assert done == []


async def test_a_cancelled_job_fails_and_its_run_ends_without_effect(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=1_000))
    async with run_engine(jobs):
        active, waiting = await added(jobs, "a"), await added(jobs, "b")
        await settled()
        for job in (active, waiting):
            assert isinstance(await jobs.cancel("work", job.job_id), StoredJob)
            assert isinstance(await jobs.cancel("work", job.job_id), NotPossible)
        await settled()
        assert jobs.statistics().running == 0
        assert await jobs.cancel("work", 77) == NoSuchJob()
        assert await jobs.cancel("other", active.job_id) == NoSuchJob()
        await trio.sleep(2_000)
    assert done == []
    assert [world.job("work", job.job_id).error for job in (active, waiting)] == ["It was cancelled."] * 2
    assert world.events("work", active.job_id) == ["added", "started", "failed"]


async def test_an_active_job_is_not_removed_and_another_is_with_all_that_it_said(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=10))
    async with run_engine(jobs):
        job = await added(jobs)
        await settled()
        assert isinstance(await jobs.remove("work", job.job_id), NotPossible)
        await trio.sleep(11)
        assert isinstance(await jobs.remove("work", job.job_id), StoredJob)
        assert await jobs.remove("work", job.job_id) == NoSuchJob()
        assert (await added(jobs)).job_id == job.job_id + 1, "no id is given twice"
    with world.database.snapshot() as connection:
        assert {job_id for (job_id,) in connection.execute("SELECT job_id FROM job_events")} == {job.job_id + 1}


async def test_progress_and_log_are_kept_bounded(autojump_clock: MockClock) -> None:
    world = World()

    async def handler(run: Run[Payload]) -> None:
        for number in range(10):
            run.log(f"line {number}, which is long")
            run.progress(number / 10)
            await trio.sleep(3)

    jobs = world.engine(log_lines_max=4, log_line_chars_max=8)
    jobs.register("work", Payload, handler)
    async with run_engine(jobs):
        job = await added(jobs)
        await trio.sleep(16)
        assert world.job("work", job.job_id).progress == pytest.approx(0.5, abs=0.11)
        await trio.sleep(100)
    assert [line.line for line in world.history("work", job.job_id).log] == [f"line {n}, " for n in (6, 7, 8, 9)]


async def test_a_result_that_is_too_large_is_not_kept(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine(result_bytes_max=100)
    jobs.register("work", Payload, noting(done))
    async with run_engine(jobs):
        job = await added(jobs, "x" * 200)
        await trio.sleep(10)
    found = world.history("work", job.job_id)
    assert (found.job.status, found.job.result) == ("completed", "null")
    assert "is not kept" in found.log[0].line


async def test_a_stopped_engine_gives_its_jobs_back_without_counting_the_attempt(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=10))
    async with run_engine(jobs):
        job = await added(jobs, "a")
        await settled()
    found = world.job("work", job.job_id)
    assert (found.status, found.attempts, found.run_id) == ("waiting", 0, None)
    assert world.events("work", job.job_id) == ["added", "started", "released"]
    async with run_engine(jobs):
        await trio.sleep(11)
    assert done == ["a"]


async def test_the_end_of_a_run_is_told_with_how_long_it_took(autojump_clock: MockClock) -> None:
    world = World()
    jobs = world.engine()
    jobs.register("work", Payload, noting([], takes_s=12))
    async with run_engine(jobs):
        await added(jobs, "a")
        await trio.sleep(60)
    assert [(event.event, event.duration_s) for event in world.told] == [
        ("added", None),
        ("started", None),
        ("completed", 12),
    ]


async def test_who_listens_and_fails_fails_no_job(autojump_clock: MockClock) -> None:
    def fails(event: JobEvent) -> None:
        raise RuntimeError("the log of events is full")

    world, done = World(), list[str]()
    jobs = world.engine(on_event=fails)
    jobs.register("work", Payload, noting(done))
    async with run_engine(jobs):
        await added(jobs, "a")
        await trio.sleep(10)
    assert done == ["a"]
    assert jobs.statistics().events_lost == 3
    assert world.job("work", 1).status is JobStatus.COMPLETED


class FullDisk(JobsDatabase):
    """Has no room for a while."""

    is_full = False

    def _commit(self, connection: sqlite3.Connection) -> None:
        if self.is_full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super()._commit(connection)


async def test_a_full_disk_loses_nothing(autojump_clock: MockClock) -> None:
    database = FullDisk(None, lambda: BEGAN_S)
    world, done = World(database), list[str]()
    jobs = world.engine()
    jobs.register("work", Payload, noting(done, takes_s=10))
    async with run_engine(jobs):
        await added(jobs, "a")
        await added(jobs, "b")
        await settled()
        database.is_full = True
        with pytest.raises(DatabaseFull):
            await jobs.add("work", "do", Payload("c"))
        await trio.sleep(500)
        assert (done, jobs.statistics().is_out_of_order) == (["a"], True)
        database.is_full = False
        await trio.sleep(60)
        assert jobs.statistics().is_out_of_order is False
    assert done == ["a", "b"]
    assert [world.events("work", number) for number in (1, 2)] == [["added", "started", "completed"]] * 2


async def test_only_completed_jobs_are_pruned_by_their_days_and_their_number(autojump_clock: MockClock) -> None:
    world, done = World(), list[str]()
    jobs = world.engine(completed_max=3, prune_at_once_max=2, completed_days=1)
    jobs.register("work", Payload, noting(done))

    async def fails(run: Run[Payload]) -> None:
        raise NotRetried("no")

    jobs.register("failing", Payload, fails)
    async with run_engine(jobs):
        await added(jobs, queue="failing")
        for number in range(8):
            await added(jobs, str(number))
        await trio.sleep(10)
        assert await jobs.prune() == 5
        assert [job.job_id for job in world.lists.page(status=JobStatus.COMPLETED, limit=10).jobs] == [9, 8, 7]
        world.clock.set_by_s = 86_400.0
        assert await jobs.prune() == 3
        assert await jobs.prune() == 0
    assert [job.queue for job in world.lists.page(limit=10).jobs] == ["failing"]
