"""What waits for an actor: a bounded queue with one receiver, without an exception or an object for each message.

It is a channel of trio's reduced to what a directory and its actors need of one. Every envelope goes through it, and
through that channel it took several times as long. Whoever puts never waits: at the bound the answer is "busy".
"""

from collections import deque
from typing import Any

import outcome
import trio

from actors.sessions.messages import Request


class Mailbox:
    """Requests in their order, at most `messages_max` beside the one that is being served.

    None in the place of a request asks the actor to end if nothing else waits.
    """

    __slots__ = ("_handed_over", "_is_closed", "_messages_max", "_receiver", "_waiting")

    def __init__(self, messages_max: int) -> None:
        self._messages_max = messages_max
        self._waiting: deque[Request[Any] | None] = deque()
        self._receiver: trio.lowlevel.Task | None = None
        self._handed_over: Request[Any] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Mailbox {len(self._waiting)} of {self._messages_max}{', closed' if self._is_closed else ''}>"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and something may still come."""
        return not self._waiting and not self._is_closed

    def put(self, request: Request[Any] | None) -> bool:
        """Add a request, or say that there are too many; raises ClosedResourceError once it is closed."""
        if self._is_closed:
            raise trio.ClosedResourceError
        receiver = self._receiver
        if receiver is not None:
            self._receiver, self._handed_over = None, request
            trio.lowlevel.reschedule(receiver)
            return True
        if len(self._waiting) >= self._messages_max:
            return False
        self._waiting.append(request)
        return True

    def close(self) -> None:
        """Take nothing more; what waits is still there to be received."""
        self._is_closed = True
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            trio.lowlevel.reschedule(receiver, outcome.Error(trio.EndOfChannel()))

    async def receive(self) -> Request[Any] | None:
        """Return the next request, without a suspension if one waits; EndOfChannel when it is closed and empty."""
        if self._waiting:
            return self._waiting.popleft()
        if self._is_closed:
            raise trio.EndOfChannel
        assert self._receiver is None, "only one task receives"
        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        request, self._handed_over = self._handed_over, None
        return request

    def _abort(self, _raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    def drain(self) -> list[Request[Any]]:
        """Take out all that waits, without those that ask to end."""
        requests = [request for request in self._waiting if request is not None]
        self._waiting.clear()
        return requests
