"""Looks at open sessions: one at a time, as many wait as may, and a sentence for whoever comes then."""

import threading
from typing import Any

import pytest
import trio
import trio.testing

from central_command.viewing.desk import UnableError
from central_command.viewing.open_sessions import OpenSessions
from central_command.viewing.settings import ViewerSettings


async def test_too_many_looks_are_refused_for_now() -> None:
    """What a thread is in the middle of is not left alone when who asked has gone: it changes what is held."""
    nothing: Any = None
    sessions = OpenSessions(nothing, nothing, ViewerSettings(waiting_max=1), stopping=trio.Event())
    may_end, gone = threading.Event(), [trio.CancelScope(), trio.CancelScope()]

    async def looks(scope: trio.CancelScope) -> None:
        with scope:
            await sessions.look(lambda: may_end.wait(10))

    async with trio.open_nursery() as nursery:
        for scope in gone:
            nursery.start_soon(looks, scope)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UnableError, match="Too many look at sessions just now") as refused:
            await sessions.look(lambda: pytest.fail("it was let in"))
        assert (refused.value.code, refused.value.is_for_now) == ("viewer_busy", True)
        for scope in gone:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        still = sessions._threads.statistics()
        may_end.set()
    assert (still.asking, still.running) == (1, 1)
    assert await sessions.look(lambda: 7) == 7
