"""Work in real threads, which can be left behind."""

import threading

import pytest
import trio

from actors.embedding.jobs import ended_within, start_in_thread
from tests.server_process import HANGS_AFTER_S


async def test_a_job_gives_its_result() -> None:
    """From a thread of its own."""
    job = start_in_thread(threading.get_ident)
    await job.wait()
    assert job.result() != threading.get_ident()


async def test_a_job_that_raised_raises_where_its_result_is_asked_for() -> None:
    """And has ended."""
    job = start_in_thread(lambda: 1 // 0)
    await job.wait()
    with pytest.raises(ZeroDivisionError):
        job.result()


async def test_who_waits_can_go_away_and_the_job_goes_on() -> None:
    """It can be waited for again."""
    release = threading.Event()
    job = start_in_thread(release.wait)
    with trio.CancelScope() as scope:
        scope.cancel()
        await job.wait()
    assert scope.cancelled_caught
    assert repr(job) == "<Job running>"
    release.set()
    await job.wait()
    assert repr(job) == "<Job ended>"


async def test_a_job_told_to_stop_is_waited_for_even_by_who_is_cancelled() -> None:
    """But only within its grace."""
    hangs, stops = threading.Event(), threading.Event()
    hanging, stopping = start_in_thread(hangs.wait), start_in_thread(stops.wait)
    with trio.CancelScope() as scope:
        scope.cancel()
        stops.set()
        assert await ended_within(stopping, 10)
        assert not await ended_within(hanging, 0.01)
    hangs.set()


def test_a_job_may_outlive_the_event_loop() -> None:
    """Its end is nobody's business then, and no error."""
    release, began, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait(HANGS_AFTER_S)
        ended.set()

    async def leave_it_behind() -> None:
        start_in_thread(work)
        await trio.to_thread.run_sync(began.wait)

    trio.run(leave_it_behind)
    release.set()
    assert ended.wait(HANGS_AFTER_S)
