"""Blocking calls of one caller, in a thread of their own."""

import threading

import pytest
import trio
import trio.testing

from persistence.files.writer_thread import writer_thread


async def test_calls_run_one_after_the_other_in_one_thread() -> None:
    """Not on the loop's thread, and each caller gets its own result."""
    threads: set[threading.Thread] = set()
    results: dict[int, int] = {}

    def square(number: int) -> int:
        threads.add(threading.current_thread())
        return number * number

    async with writer_thread("squares") as offload, trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            results[number] = await offload(square, number)

        for number in range(20):
            nursery.start_soon(ask, number)
    assert results == {number: number * number for number in range(20)}
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert thread.name == "squares"
    thread.join(20)
    assert not thread.is_alive()


async def test_what_a_call_raises_comes_to_its_caller() -> None:
    """The thread goes on."""

    def fail() -> None:
        raise OSError(5, "Input/output error")

    async with writer_thread("failing") as offload:
        with pytest.raises(OSError, match="Input/output"):
            await offload(fail)
        assert await offload(int, "7") == 7


async def test_a_cancelled_caller_still_waits_for_the_end() -> None:
    """A write is on disk or not when its caller goes on, never under way."""
    began, may_end = threading.Event(), threading.Event()
    ended = False

    def write() -> None:
        nonlocal ended
        began.set()
        assert may_end.wait(20)
        ended = True

    async with writer_thread("writing") as offload, trio.open_nursery() as nursery:
        nursery.start_soon(offload, write)
        await trio.to_thread.run_sync(began.wait, 20)
        nursery.cancel_scope.cancel()
        may_end.set()
    assert ended
