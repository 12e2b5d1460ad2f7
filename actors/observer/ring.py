"""The last operations, in memory: the figures and the lists that are shown are of these."""

from collections import Counter, deque
from itertools import islice
from typing import Any

import msgspec

from actors.observer.operation import SCENARIO, Operation

RECENT_SCENARIOS: int = 10
"""Operations of scenarios that the figures list."""


class Observed(msgspec.Struct, frozen=True):
    """An operation with its line's number and the time that it came, in seconds since the epoch."""

    n: int
    at: float
    operation: Operation


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which operations: of a source, of an endpoint, that went well or not; None for any."""

    source: str | None = None
    endpoint: str | None = None
    success: bool | None = None

    def takes(self, operation: Operation) -> bool:
        """Whether an operation is one of them."""
        return (
            self.source in {None, operation.source}
            and self.endpoint in {None, operation.endpoint}
            and self.success in {None, operation.success}
        )


ANY: Chosen = Chosen()


class Ring:
    """At most so many operations; one more takes the place of the first."""

    def __init__(self, operations_max: int) -> None:
        self._kept: deque[Observed] = deque(maxlen=operations_max)
        self._successes = 0
        self._by_source = Counter[str]()

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"<Ring {len(self)} of {self._kept.maxlen}>"

    def add(self, observed: Observed) -> None:
        """Keep one more."""
        if len(self._kept) == self._kept.maxlen:
            self._count(self._kept[0].operation, -1)
        self._kept.append(observed)
        self._count(observed.operation, 1)

    def _count(self, operation: Operation, by: int) -> None:
        self._successes += by if operation.success else 0
        self._by_source[operation.source] += by
        if not self._by_source[operation.source]:
            del self._by_source[operation.source]

    def all(self) -> list[Observed]:
        """All that are kept, the first first."""
        return list(self._kept)

    def page(self, *, before_n: int | None, limit: int, chosen: Chosen = ANY) -> list[Observed]:
        """The last ones before a line's number, the last first."""
        older = (
            each
            for each in reversed(self._kept)
            if (before_n is None or each.n < before_n) and chosen.takes(each.operation)
        )
        return list(islice(older, limit))

    def figures(self) -> dict[str, Any]:
        """The figures of what is kept, as the original's clients read them."""
        scenarios = (each.operation for each in reversed(self._kept) if each.operation.source == SCENARIO)
        recent = list(islice(scenarios, RECENT_SCENARIOS))
        return {
            "total": len(self),
            "successes": self._successes,
            "failures": len(self) - self._successes,
            "by_source": dict(sorted(self._by_source.items())),
            "recent_scenario_ops": [
                {"ts": each.timestamp, "ok": each.success, "staffer": each.staffer_id}
                | {"kind": each.event_kind, "role": each.role}
                for each in reversed(recent)
            ],
        }
