"""A message on its way to an actor, with the place where its answer will be put."""

from typing import Generic, TypeVar

from actors.sessions.messages import Message
from persistence.journals.slot import Slot

Outcome = TypeVar("Outcome")


class Request(Generic[Outcome]):
    """One message and its answer. The requester may go away at any time; the actor neither knows nor minds."""

    __slots__ = ("_answer", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._answer: Slot[Outcome] = Slot()

    def __repr__(self) -> str:
        state = "answered" if self.is_answered else "waiting"
        return f"<Request {type(self.message).__name__} {state}>"

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there."""
        return self._answer.is_filled

    def answer(self, outcome: Outcome) -> None:
        """Put the answer; the first one counts."""
        self._answer.fill(outcome)

    async def wait(self) -> Outcome:
        """Return the answer, once it is there."""
        return await self._answer.wait()
