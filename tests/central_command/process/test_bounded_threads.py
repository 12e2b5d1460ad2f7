"""Threads for what blocks: no more at once than may run, no more waiting than may wait, and all in order."""

import threading

import pytest
import trio
import trio.testing

from central_command.process.bounded_threads import BoundedThreads, FullError


class Work:
    """What runs until it may end; notes what has begun, and how much of it ran at once."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun: list[int] = []
        self._running = 0
        self.at_once = 0
        self._lock = threading.Lock()
        self._beginnings = threading.Semaphore(0)

    def number(self, number: int) -> int:
        with self._lock:
            self.begun.append(number)
            self._running += 1
            self.at_once = max(self.at_once, self._running)
        self._beginnings.release()
        self.may_end.wait()
        with self._lock:
            self._running -= 1
        return number

    async def wait_begun(self) -> None:
        """Wait until one more has begun: a thread may take its time."""
        await trio.to_thread.run_sync(self._beginnings.acquire)


async def _asking(threads: BoundedThreads, work: Work, number: int, answers: list[int]) -> None:
    answers.append(await threads.answer(lambda: work.number(number)))


async def test_so_many_run_so_many_wait_and_the_next_is_refused() -> None:
    threads, work, answers = BoundedThreads(2, 3), Work(), list[int]()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(_asking, threads, work, number, answers)
        await trio.testing.wait_all_tasks_blocked()
        assert (threads.statistics().asking, threads.statistics().running) == (5, 2)
        with pytest.raises(FullError):
            await threads.answer(lambda: None)
        assert repr(threads) == "<BoundedThreads 5 of 5 asking>"
        for _ in range(2):
            await work.wait_begun()
        work.may_end.set()
    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert work.at_once == 2
    assert (threads.statistics().asking, threads.statistics().running) == (0, 0)
    assert await threads.answer(lambda: "room again") == "room again"


async def test_who_waits_has_their_turn_in_order() -> None:
    threads, work, answers = BoundedThreads(1, 3), Work(), list[int]()
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(_asking, threads, work, number, answers)
            await trio.testing.wait_all_tasks_blocked()
        work.may_end.set()
    assert work.begun == answers == [0, 1, 2, 3]


async def test_none_may_wait() -> None:
    threads = BoundedThreads(1, 0)
    with threads.asked(), pytest.raises(FullError):
        await threads.answer(lambda: None)
    assert await threads.answer(lambda: 1) == 1


async def test_who_asks_counts_from_before_the_thread_until_all_is_answered() -> None:
    threads = BoundedThreads(1, 1)
    with threads.asked(), threads.asked():
        assert threads.statistics().running == 0
        with pytest.raises(FullError), threads.asked():
            pytest.fail("a third one was let in")
    assert threads.statistics().asking == 0


async def test_who_goes_on_is_never_refused_and_counts_for_those_who_come() -> None:
    threads = BoundedThreads(1, 0)
    with threads.counted(), threads.counted():
        assert threads.statistics().asking == 2
        with pytest.raises(FullError), threads.asked():
            pytest.fail("one was let in past the bound")
        assert await threads.run(lambda: "goes on") == "goes on"
    assert await threads.answer(lambda: "room again") == "room again"


async def test_what_fails_raises_for_whoever_asked_and_leaves_its_place() -> None:
    threads = BoundedThreads(1, 0)

    def fails() -> None:
        raise OSError("the disk is gone")

    for _ in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            await threads.answer(fails)
    assert (threads.statistics().asking, threads.statistics().running) == (0, 0)


async def test_who_has_gone_is_not_waited_for_and_its_thread_is_free_when_it_ends() -> None:
    threads, work, answers = BoundedThreads(1, 1), Work(), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_asking, threads, work, 0, answers)
        await work.wait_begun()
        nursery.cancel_scope.cancel()
    assert (threads.statistics().asking, threads.statistics().running) == (0, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_asking, threads, work, 1, answers)
        await trio.testing.wait_all_tasks_blocked()
        assert work.begun == [0]
        work.may_end.set()
    assert (work.begun, answers, work.at_once) == ([0, 1], [1], 1)


async def test_who_is_waited_for_ends_although_its_caller_was_cancelled() -> None:
    """What a thread may still be in the middle of is nobody else's before."""
    threads, work = BoundedThreads(1, 0), Work()
    gone = trio.CancelScope()

    async def asks() -> None:
        with gone:
            await threads.run(lambda: work.number(0), abandon_on_cancel=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asks)
        await trio.testing.wait_all_tasks_blocked()
        gone.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert threads.statistics().running == 1
        assert nursery.child_tasks
        work.may_end.set()
    assert threads.statistics().running == 0
