"""Many seeds, in one process or several, and what they came to: the faults met and survived, by kind."""

import gc
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import msgspec

from tests.simulation.simulate import Outcome, simulate

SEEDS_A_TASK = 25

FAILED_KEPT_MAX = 20

GC_THRESHOLDS = (50_000, 20, 50)
"""Seldom: a simulation makes many objects, and hardly any cycles."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How many seeds ran, what they met, and those that failed (the first of them, with their events)."""

    seeds: int
    counts: dict[str, int]
    failed: list[Outcome]

    def plus(self, other: "Report") -> "Report":
        """Both together."""
        return Report(
            seeds=self.seeds + other.seeds,
            counts=dict(Counter(self.counts) + Counter(other.counts)),
            failed=[*self.failed, *other.failed][:FAILED_KEPT_MAX],
        )

    def survived(self) -> dict[str, int]:
        """What was met by seeds in which nothing was violated."""
        met = Counter(self.counts)
        for outcome in self.failed:
            met.subtract(outcome.counts)
        return dict(met)

    def figures(self) -> dict[str, object]:
        """Everything, for a machine."""
        return {
            "seeds": self.seeds,
            "failed": [outcome.seed for outcome in self.failed],
            "met": dict(sorted(self.counts.items())),
            "survived": dict(sorted(self.survived().items())),
        }


def run_seeds(seeds: Sequence[int], sabotage: str | None = None, until: float = math.inf) -> Report:
    """Run seeds in this process, none begun after a time; the events of the failing ones are kept."""
    total = Report(seeds=0, counts={}, failed=[])
    for seed in seeds:
        if time.time() > until:
            break
        outcome = simulate(seed, sabotage)
        failed = [outcome] if outcome.violations else []
        total = total.plus(Report(seeds=1, counts=outcome.counts, failed=failed))
    return total


def run_in_processes(
    seeds: Sequence[int], jobs: int, sabotage: str | None = None, until: float = math.inf
) -> Iterator[Report]:
    """Run seeds in `jobs` processes; a report for every `SEEDS_A_TASK` of them, in order.

    None is begun after the time `until`, in seconds since the epoch.
    """
    remaining = iter(seeds)
    groups = iter(lambda: list(islice(remaining, SEEDS_A_TASK)), [])
    run = partial(run_seeds, sabotage=sabotage, until=until)
    # Not forked: trio and SQLite are in use here.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_collect_rarely) as pool:
        yield from pool.map(run, groups)


def _collect_rarely() -> None:
    """Let the garbage collector run seldom: a tenth of the time goes there otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def repeat_command(seed: int, sabotage: str | None = None) -> str:
    """The command that repeats a seed."""
    taken = f" --sabotage {sabotage!r}" if sabotage else ""
    return f"python -m tests.simulation --seed {seed}{taken}"


def table(report: Report) -> str:
    """A table (Markdown) of what was met, and of what was met where nothing was violated."""
    survived = report.survived()
    rows = [f"| {'':40} | {'met':>11} | {'survived':>11} |", f"|{'-' * 42}|{'-' * 12}:|{'-' * 12}:|"]
    rows += [f"| {name:40} | {count:>11,} | {survived[name]:>11,} |" for name, count in sorted(report.counts.items())]
    return "\n".join(rows)
