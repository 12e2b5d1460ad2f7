"""What waits for an actor: in order, bounded, to its end, and nothing lost to whoever stops waiting."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.sessions.mailbox import Mailbox
from actors.sessions.messages import Finish, Request


def requests(count: int) -> list[Request[object]]:
    return [Request(Finish()) for _ in range(count)]


async def test_requests_come_in_their_order_and_without_a_suspension_while_some_wait() -> None:
    mailbox, sent = Mailbox(3), requests(3)
    assert all(mailbox.put(request) for request in sent)
    assert len(mailbox) == 3
    with trio.CancelScope() as scope:
        scope.cancel()  # a suspension would raise
        assert [await mailbox.receive() for _ in sent] == sent
    assert len(mailbox) == 0


async def test_past_its_bound_nothing_is_added() -> None:
    mailbox, sent = Mailbox(2), requests(3)
    assert [mailbox.put(request) for request in sent] == [True, True, False]
    assert [await mailbox.receive(), await mailbox.receive()] == sent[:2]
    assert mailbox.is_idle


async def test_what_is_handed_to_a_waiting_receiver_takes_no_place() -> None:
    """The bound is of what waits beside the one that is being served."""
    mailbox, sent = Mailbox(1), requests(3)
    received: list[object] = []

    async def receive() -> None:
        received.append(await mailbox.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert [mailbox.put(request) for request in sent] == [True, True, False]
    assert received == sent[:1]
    assert await mailbox.receive() is sent[1]


async def test_a_receiver_that_is_cancelled_takes_nothing_along() -> None:
    mailbox, (request,) = Mailbox(1), requests(1)
    with trio.move_on_after(0) as scope:
        await mailbox.receive()
    assert scope.cancelled_caught
    assert mailbox.put(request)
    assert await mailbox.receive() is request


async def test_after_its_close_what_waits_is_received_and_then_it_ends() -> None:
    mailbox, (request,) = Mailbox(1), requests(1)
    mailbox.put(request)
    mailbox.close()
    assert not mailbox.is_idle
    with pytest.raises(trio.ClosedResourceError):
        mailbox.put(request)
    assert await mailbox.receive() is request
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive()


async def test_its_close_ends_the_wait_of_whoever_receives() -> None:
    mailbox = Mailbox(1)
    ended: list[bool] = []

    async def receive() -> None:
        with pytest.raises(trio.EndOfChannel):
            await mailbox.receive()
        ended.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        mailbox.close()
        mailbox.close()
    assert ended == [True]


async def test_draining_takes_the_requests_and_leaves_the_wish_to_end() -> None:
    mailbox, (request,) = Mailbox(3), requests(1)
    mailbox.put(None)
    mailbox.put(request)
    assert repr(mailbox) == "<Mailbox 2 of 3>"
    assert mailbox.drain() == [request]
    assert len(mailbox) == 0
