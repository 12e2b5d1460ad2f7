"""Chance from a seed: independent streams by name, so that one more draw in one place does not change all others."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from trio._core import _run

T = TypeVar("T")


class Stream(random.Random):
    """One stream of chance."""

    def one_in(self, n: float) -> bool:
        """Say yes once in `n` times."""
        return self.random() * n < 1

    def any_of(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.randrange(len(items))]


def stream(seed: int, name: str) -> Stream:
    """The stream `name` of a seed; the same on every machine and in every process."""
    return Stream(f"{seed}/{name}")


@contextmanager
def seeded_scheduling(seed: int) -> Iterator[None]:
    """Have trio run the tasks that are ready in an order that the seed alone decides."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    state = _run._r.getstate()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc] # trio's own way, for Hypothesis
    _run._r.seed(f"{seed}/schedule")
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        _run._r.setstate(state)
