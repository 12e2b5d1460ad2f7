"""`python -m tests.actors.jobs`: many seeds of the engine of jobs, or one again; says what failed and what was met."""

import argparse
import gc
import json
import logging
import math
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.actors.jobs.simulated import lived
from tests.time_of_day import next_time_of_day

SEEDS_AT_ONCE = 50
SEEDS_SAID = 1_000
"""After how many it says how far it is."""
GC_THRESHOLDS = (50_000, 20, 50)
"""Seldom: a seed makes many objects, and hardly any cycles."""


def some(until: float, first: int) -> tuple[int, Counter[str], dict[int, str]]:
    """Run some seeds from one on, as long as there is time: how many, what was met, and what failed by seed."""
    met, failed, count = Counter[str](), dict[int, str](), 0
    for seed in range(first, first + SEEDS_AT_ONCE):
        if time.time() > until:
            break
        count += 1
        try:
            met += lived(seed).met
        except BaseException as error:  # noqa: BLE001 (a group of whatever did not hold)
            failed[seed] = repr(error)[:2_000]
    return count, met, failed


def _begin() -> None:
    logging.disable(logging.CRITICAL)  # each failure that is drawn would be a traceback
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.actors.jobs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed (1)")
    parser.add_argument("--seed", type=int, help="only this one, with what it raises")
    parser.add_argument("--until", type=next_time_of_day, default=math.inf, help="begin none after this time, HH:MM")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, again and again")
    return parser.parse_args()


def main() -> int:
    """Run what the arguments ask for; 1 when something did not hold."""
    arguments = _arguments()
    if arguments.seed is not None:
        sys.stdout.write(f"{dict(lived(arguments.seed).met)}\n")
        return 0
    began_at = time.monotonic()
    met, failed, count = Counter[str](), dict[int, str](), 0
    firsts = range(arguments.first, arguments.first + arguments.seeds, SEEDS_AT_ONCE)
    with ProcessPoolExecutor(arguments.jobs, initializer=_begin) as pool:
        for ran, found, broken in pool.map(partial(some, arguments.until), firsts):
            count, met, failed = count + ran, met + found, failed | broken
            if arguments.json is not None:
                figures = {"seeds": count, "failed": failed, "met": dict(sorted(met.items()))}
                arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
            if count % SEEDS_SAID < ran:
                sys.stderr.write(f"{count} seeds in {time.monotonic() - began_at:.0f} s, {len(failed)} failed\n")
    for seed, error in [*failed.items()][:5]:
        sys.stdout.write(f"seed {seed}: {error}\nrepeat it with: python -m tests.actors.jobs --seed {seed}\n")
    sys.stdout.write("".join(f"{name}: {number}\n" for name, number in sorted(met.items())))
    sys.stdout.write(f"{count} seeds in {time.monotonic() - began_at:.0f} s, {len(failed)} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
