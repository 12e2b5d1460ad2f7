"""How far the wall clock was set forward, so that time nobody lived through counts as nobody's silence.

A session's last activity is noted in wall time, which is all that survives a restart. A clock that is set a day ahead
would make every open session look a day idle, and closing them refuses what their clients still send. So within one
process what the monotonic clock did not see is taken off: every step forward counts as long as sessions from before it
can still be open, and steps back are not set off against steps forward, because what was noted between the two looks
older than it is. Both make a session close later than it could, by the size of the step at most, and never earlier.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

STEP_S_MIN: Final = 1.0
"""Less than this is the slow correction that keeps a clock right."""

STEPS_MAX: Final = 100
"""Steps that are kept one by one; of more, the oldest count as one that came with the next."""


class ClockJumps:
    """Compares two clocks, in seconds, whenever it is told to; steps forward count for `window_s`."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float], *, window_s: float) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._window_s = window_s
        self._offset_s = clock() - monotonic()
        self._steps: deque[tuple[float, float]] = deque()

    def __repr__(self) -> str:
        return f"<ClockJumps steps={len(self._steps)}>"

    def observe(self) -> None:
        """Notice whether the wall clock was set since the last time."""
        now = self._monotonic()
        offset_s = self._clock() - now
        step_s = offset_s - self._offset_s
        self._offset_s = offset_s
        if step_s < STEP_S_MIN:
            return
        self._steps.append((now, step_s))
        if len(self._steps) > STEPS_MAX:
            _, oldest_s = self._steps.popleft()
            at, next_s = self._steps[0]
            self._steps[0] = at, oldest_s + next_s

    def forward_s(self) -> float:
        """Return by how many seconds the wall clock was set forward within the last `window_s`."""
        self.observe()
        while self._steps and self._monotonic() - self._steps[0][0] >= self._window_s:
            self._steps.popleft()
        return sum(step_s for _, step_s in self._steps)
