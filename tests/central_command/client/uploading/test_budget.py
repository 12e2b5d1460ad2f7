"""Memory is let in by its size."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from central_command.client.uploading.budget import ByteBudget


async def test_only_so_many_bytes_are_held_at_once(autojump_clock: MockClock) -> None:
    """What is larger than all of it comes in alone; what is cancelled while it waits holds nothing."""
    budget = ByteBudget(10)
    held: set[int] = set()

    async def hold(number: int, size: int) -> None:
        async with budget.hold(size):
            held.add(number)
            await trio.sleep(10)
            held.discard(number)

    async with trio.open_nursery() as nursery:
        for number, size in enumerate((4, 6, 100)):
            nursery.start_soon(hold, number, size)
            await wait_all_tasks_blocked()
        assert held == {0, 1}
        with trio.move_on_after(1):
            await hold(9, 1)
        await trio.sleep(10.5)
        assert held == {2}
        await trio.sleep(10)
        assert held == set()
