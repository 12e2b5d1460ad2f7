"""`python -m tests.actors.jobs`: many seeds of the engine of jobs, or one again; says what failed and what was met."""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import trio
from trio.testing import MockClock

from tests.actors.jobs.simulated import Simulation

SEEDS_AT_ONCE = 50


def _lived(seed: int) -> Counter[str]:
    simulation = Simulation(seed)
    trio.run(simulation.run, clock=MockClock(autojump_threshold=0))
    return simulation.met


def some(until: float, first: int) -> tuple[int, Counter[str], dict[int, str]]:
    """Run some seeds from one on, as long as there is time: how many, what was met, and what failed by seed."""
    logging.disable(logging.CRITICAL)  # each failure that is drawn would be a traceback
    met, failed, count = Counter[str](), dict[int, str](), 0
    for seed in range(first, first + SEEDS_AT_ONCE):
        if time.monotonic() > until:
            break
        count += 1
        try:
            met += _lived(seed)
        except BaseException as error:  # noqa: BLE001 (a group of whatever did not hold)
            failed[seed] = repr(error)[:2_000]
    return count, met, failed


def main() -> int:
    """Run what the arguments ask for; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.actors.jobs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed (1)")
    parser.add_argument("--seed", type=int, help="only this one, with what it raises")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin none after so long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        sys.stdout.write(f"{dict(_lived(arguments.seed))}\n")
        return 0
    began_at = time.monotonic()
    met, failed, count = Counter[str](), dict[int, str](), 0
    firsts = range(arguments.first, arguments.first + arguments.seeds, SEEDS_AT_ONCE)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for ran, found, broken in pool.map(partial(some, began_at + 60 * arguments.minutes), firsts):
            count, met, failed = count + ran, met + found, failed | broken
    for seed, error in [*failed.items()][:5]:
        sys.stdout.write(f"seed {seed}: {error}\nrepeat it with: python -m tests.actors.jobs --seed {seed}\n")
    sys.stdout.write("".join(f"{name}: {number}\n" for name, number in sorted(met.items())))
    sys.stdout.write(f"{count} seeds in {time.monotonic() - began_at:.0f} s, {len(failed)} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
