"""A place for one value that one task waits for: a `trio.Event` with a field beside it, at a third of the cost."""

from typing import Generic, TypeVar, cast

import trio

T = TypeVar("T")


class Slot(Generic[T]):
    """Filled once; at most one task waits. Whoever waits may be cancelled: the value then stays where it is."""

    __slots__ = ("_task", "_value", "is_filled")

    def __init__(self) -> None:
        self.is_filled = False
        self._value: T | None = None
        self._task: trio.lowlevel.Task | None = None

    def __repr__(self) -> str:
        return f"<Slot {'filled' if self.is_filled else 'awaited' if self._task else 'empty'}>"

    @property
    def value(self) -> T:
        """The value; only once it is there."""
        assert self.is_filled
        return cast("T", self._value)

    def fill(self, value: T) -> None:
        """Put the value, and wake whoever waits; the first one counts."""
        if self.is_filled:
            return
        self.is_filled = True
        self._value = value
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> T:
        """Return the value, once it is there; a checkpoint in any case."""
        if self.is_filled:
            await trio.lowlevel.checkpoint()
        else:
            assert self._task is None, "only one task waits"
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return cast("T", self._value)

    def _abort(self, _raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
