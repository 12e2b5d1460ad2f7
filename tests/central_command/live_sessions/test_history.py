"""Conversations that are handed out: no more are looked up and read at once than may be."""

import threading
from collections.abc import Callable

import pytest
import trio
import trio.testing

from central_command.live_sessions.history import HistoryDesk, Messages, NoHistory
from central_command.live_sessions.settings import LiveSettings
from persistence.files.failures import StorageFailure


def conversation() -> Messages:
    return iter([{"role": "user", "content": "x" * 70_000}, {"role": "assistant", "content": "y"}])


async def test_a_lookup_counts_and_so_does_what_is_handed_out() -> None:
    may_end = threading.Event()

    def find(session_id: str) -> Callable[[], Messages] | NoHistory:
        if session_id == "slow":
            may_end.wait(10)
        return conversation

    desk = HistoryDesk(find, LiveSettings(histories_max=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.history, "slow")
        await trio.testing.wait_all_tasks_blocked()
        busy = await desk.history("other")
        assert isinstance(busy, NoHistory)
        assert busy.why == "busy"
        may_end.set()
    pieces = await desk.history("other")
    assert not isinstance(pieces, NoHistory)
    assert len(await anext(aiter(pieces))) > 70_000
    assert isinstance(await desk.history("other"), NoHistory)
    assert [piece async for piece in pieces] == [b',{"role":"assistant","content":"y"}]']
    assert not isinstance(await desk.history("other"), NoHistory)


async def test_one_that_nobody_begins_to_read_holds_nobodys_place() -> None:
    desk = HistoryDesk(lambda _: conversation, LiveSettings(histories_max=1))
    for _ in range(3):
        assert not isinstance(await desk.history("gone"), NoHistory)


async def test_one_that_breaks_off_leaves_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """And its array does not end."""

    def broken() -> Messages:
        yield {"role": "user", "content": "x" * 70_000}
        raise StorageFailure("the archive is out of reach")

    desk = HistoryDesk(lambda _: broken, LiveSettings(histories_max=1))
    pieces = await desk.history("sess_1")
    assert not isinstance(pieces, NoHistory)
    assert not b"".join([piece async for piece in pieces]).endswith(b"]")
    assert "broke off: the archive is out of reach" in caplog.text
    assert not isinstance(await desk.history("sess_1"), NoHistory)
