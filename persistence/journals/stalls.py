"""Whether the journals' writers move: a disk that hangs says nothing, and whoever waits for it waits for ever.

Looked at from outside, by the figures that the journals have anyway, so that no line pays for it.
"""

from collections.abc import Callable, Mapping

import trio

from persistence.format.records import JournalName
from persistence.journals.journal import Journal

LOOK_S = 1.0
"""Seconds between two looks, and so how much less may be known of a stall than it has lasted."""


class Stalls:
    """Looks at the journals while `run` runs."""

    def __init__(
        self, journals: Mapping[JournalName, Journal], *, monotonic: Callable[[], float] = trio.current_time
    ) -> None:
        self._journals = journals
        self._monotonic = monotonic
        self._seen: dict[JournalName, tuple[int, float]] = {}
        """Of journals that lines wait in: how many had an answer when that last grew, and when that was seen."""

    def __repr__(self) -> str:
        return f"<Stalls {self.stalled_s()}>"

    async def run(self) -> None:
        """Look every `LOOK_S` until cancelled."""
        while True:
            self.look()
            await trio.sleep(LOOK_S)

    def look(self) -> None:
        """Note which writers have moved, or have nothing to do."""
        now = self._monotonic()
        for name, journal in self._journals.items():
            if not journal.has_waiting_lines:
                self._seen.pop(name, None)
                continue
            figures = journal.statistics()
            answered = figures.lines + figures.refused_for_room
            if name not in self._seen or self._seen[name][0] != answered:
                self._seen[name] = (answered, now)

    def stalled_s(self) -> dict[str, float]:
        """Return for how long each journal's writer has not moved although lines wait for it; 0 of those that move."""
        self.look()
        now = self._monotonic()
        return {name.value: now - self._seen[name][1] if name in self._seen else 0.0 for name in self._journals}
