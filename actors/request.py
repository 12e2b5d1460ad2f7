"""A message on its way to an actor, with the place where its answer will be put."""

from typing import Generic, TypeVar

import trio

from actors.messages import Message

Outcome = TypeVar("Outcome")


class Request(Generic[Outcome]):
    """One message and its answer. The requester may go away at any time; the actor neither knows nor minds."""

    __slots__ = ("_answered", "_outcome", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._answered = trio.Event()
        self._outcome: Outcome | None = None

    def __repr__(self) -> str:
        state = "answered" if self._answered.is_set() else "waiting"
        return f"<Request {type(self.message).__name__} {state}>"

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there."""
        return self._answered.is_set()

    def answer(self, outcome: Outcome) -> None:
        """Put the answer; the first one counts."""
        if not self._answered.is_set():
            self._outcome = outcome
            self._answered.set()

    async def wait(self) -> Outcome:
        """Return the answer, once it is there."""
        await self._answered.wait()
        assert self._outcome is not None
        return self._outcome
