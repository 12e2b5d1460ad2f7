"""One value for one task that waits."""

import pytest
import trio
import trio.testing

from persistence.journals.slot import Slot


async def test_whoever_waits_gets_what_is_filled_in() -> None:
    slot: Slot[str] = Slot()
    found: list[str] = []

    async def wait() -> None:
        found.append(await slot.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not slot.is_filled
        slot.fill("value")
    assert found == ["value"]
    assert slot.is_filled


async def test_the_first_value_counts() -> None:
    slot: Slot[int | None] = Slot()
    slot.fill(None)
    slot.fill(2)
    with trio.testing.assert_checkpoints():
        assert await slot.wait() is None


async def test_who_was_cancelled_is_not_woken() -> None:
    """The value is there for whoever asks later."""
    slot: Slot[int] = Slot()
    with trio.move_on_after(0):
        await slot.wait()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slot.wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    slot.fill(1)
    assert await slot.wait() == 1


async def test_only_one_task_waits() -> None:
    slot: Slot[int] = Slot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="one task"):
            await slot.wait()
        slot.fill(1)
