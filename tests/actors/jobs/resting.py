"""Turns of an engine that would find nothing, left out of a simulation: they are counted, and not taken.

An engine looks at its database every `poll_s`. Where a look has changed nothing, and nothing runs here, the next one
finds the same, until a row changes, something else does that the simulation does (the clock is set, the disk fills up,
the engine stands still: `Rests.changed`), somebody wakes the engine, or a time comes that the database or the schedule
names. Until then the engine rests over its ticks, and goes on at the tick that it would have had anyway. Each tick that
it rests over counts as the transaction that it would have been, because lives end at transactions.

That a seed comes to the same rows at the same times with all of its turns is a test (`test_simulation.py`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from actors.jobs.engine import Jobs

TICKS_MAX = 1_000
EARLY = 1e-6
"""Of a tick: where the clock's rounding has it a little early, it is there."""


class Waking:
    """The event that wakes an engine, and whether it was the engine's own."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self.is_set = False

    def set(self) -> None:
        """Have the engine take a turn at once."""
        self.is_set = True
        self._event.set()

    def end_rest(self) -> None:
        """Have the engine take its turn at its next tick."""
        self._event.set()

    async def wait(self) -> None:
        """Return when it was woken, or its rest has ended."""
        await self._event.wait()


class Rest:
    """An engine at rest since now, and how many of its ticks were counted."""

    def __init__(self, waking: Waking, poll_s: float) -> None:
        self.waking = waking
        self._poll_s = poll_s
        self._began_at = trio.current_time()
        self._counted = 0

    def passed(self) -> int:
        """How many ticks have passed that were not counted yet."""
        ticks = math.floor(self._elapsed_s() / self._poll_s + EARLY)
        self._counted, new = ticks, ticks - self._counted
        return new

    def next_tick_s(self) -> float:
        """In how many seconds the next tick is that was not counted."""
        return max(0.0, (self._counted + 1) * self._poll_s - self._elapsed_s())

    def _elapsed_s(self) -> float:
        return trio.current_time() - self._began_at


class Rests:
    """The engines of a simulation that are at rest; `pass_ticks` is told how many ticks went by."""

    def __init__(self, pass_ticks: Callable[[int], None]) -> None:
        self.changes = 0
        """How often something has changed."""
        self._pass_ticks = pass_ticks
        self._changed_rows = 0
        self._resting: set[Rest] = set()

    def changed(self) -> None:
        """Something that a look may find has changed: no engine rests beyond its next tick."""
        self.changes += 1
        for rest in self._resting:
            rest.waking.end_rest()

    def committing(self, changed_rows: int) -> None:
        """A transaction is about to end; so many rows were ever changed. The ticks before it come before it."""
        self._count()
        if changed_rows != self._changed_rows:
            self._changed_rows = changed_rows
            self.changed()

    @contextmanager
    def resting(self, waking: Waking, poll_s: float) -> Iterator[Rest]:
        """Note that an engine rests."""
        rest = Rest(waking, poll_s)
        self._resting.add(rest)
        try:
            yield rest
        finally:
            self._count()
            self._resting.discard(rest)

    def _count(self) -> None:
        for rest in self._resting:
            self._pass_ticks(rest.passed())


class RestingJobs(Jobs):
    """An engine that rests over its turns while it would find nothing; a simulation sets what it needs to know."""

    rests: Rests | None = None
    """None to take every turn."""
    next_due_at: Callable[[], float | None]
    """The time that the last look has found for what is due next."""
    ticks_max: Callable[[], int]
    """How many ticks may go by before a transaction that is to be a real one."""

    async def _turn(self, nursery: trio.Nursery) -> float:
        """Take a turn; then rest for as many ticks as would find nothing, and return when the next one is."""
        if self.rests is None:
            return await super()._turn(nursery)
        waking = Waking()
        self._woken = waking  # type: ignore[assignment] # the engine sets it, and waits for it
        changes, poll_s = self.rests.changes, self._settings.poll_s
        rest_s = await super()._turn(nursery)
        if waking.is_set or len(self._live) or self.rests.changes != changes or rest_s < poll_s:
            return rest_s
        ticks = min(self._ticks_without_anything(poll_s), self.ticks_max(), TICKS_MAX)
        if ticks < 1:
            return rest_s
        with self.rests.resting(waking, poll_s) as rest, trio.move_on_after(ticks * poll_s):
            await waking.wait()
        if not waking.is_set:
            self._woken = Waking()  # type: ignore[assignment]
        return rest.next_tick_s()

    def _ticks_without_anything(self, poll_s: float) -> int:
        """How many ticks come before the last one that is not after what is due next."""
        due_at = self.next_due_at()
        times = [until for _, until in self._next.values()] + ([] if due_at is None else [due_at])
        return int((min(times) - self._clock()) // poll_s) - 1 if times else TICKS_MAX
