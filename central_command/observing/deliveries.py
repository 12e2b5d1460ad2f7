"""Deliveries of clients, told to the observer from what was counted of them: an envelope waits for none of it.

They are too many to be an operation each. So from one look to the next those with the same route and status are one,
with how many they were and how long each took on average.
"""

from collections.abc import Callable
from typing import Any, Final

import trio

from central_command.http.requests.replies import BATCH_PATH, INGEST_PATH
from central_command.http.requests.request_figures import RequestKind, RequestStatistics
from central_command.observing.own import delivered

ROUTES: Final = frozenset({INGEST_PATH, BATCH_PATH})


class ObservedDeliveries:
    """Looks at the figures of requests every so often, and tells `note` what has come since."""

    def __init__(self, figures: Callable[[], RequestStatistics], note: Callable[[dict[str, Any]], None]) -> None:
        self._figures = figures
        self._note = note
        self._before: dict[RequestKind, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"<ObservedDeliveries {len(self._before)} kinds>"

    async def run(self, every_s: float) -> None:
        """Look until cancelled."""
        while True:
            await trio.sleep(every_s)
            self.look()

    def look(self) -> None:
        """Tell of what was delivered since the last look."""
        for kind, found in self._figures().durations.items():
            if kind.method != "POST" or kind.route not in ROUTES:
                continue
            count, sum_s = sum(found.counts), found.sum_s
            count_before, sum_before_s = self._before.get(kind, (0, 0.0))
            if count > count_before:
                new = count - count_before
                self._note(delivered(kind.route, kind.status, new, (sum_s - sum_before_s) / new))
            self._before[kind] = (count, sum_s)
