"""How long something took, counted in buckets: what is kept does not grow with how often it was done."""

from bisect import bisect_left

import msgspec


class DurationStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Durations since the start: `counts` has one more than `bounds_s`, for what took longer than the last of them.

    A duration is counted at the first bound that is not below it; `sum_s` is all of them together.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


class Durations:
    """Counts durations by `bounds_s`, which ascend. One thread counts; any may ask."""

    __slots__ = ("_bounds_s", "_counts", "_sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def __repr__(self) -> str:
        return f"<Durations {sum(self._counts)} counted, {self._sum_s:.3f} s>"

    def count(self, duration_s: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(self._bounds_s, duration_s)] += 1
        self._sum_s += duration_s

    def statistics(self) -> DurationStatistics:
        """Return the current figures."""
        return DurationStatistics(bounds_s=self._bounds_s, counts=tuple(self._counts), sum_s=self._sum_s)


SYNC_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a disk with a cache that keeps its power to one that is failing."""
