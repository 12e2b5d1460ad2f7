"""`python -m tests.simulation`: many seeds, or one again; says what failed, how to repeat it, and what was met."""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

from tests.simulation.report import Report, repeat_command, run_in_processes, table
from tests.simulation.sabotage import HARMLESS, SABOTAGES
from tests.simulation.simulate import simulate
from tests.time_of_day import next_time_of_day

EVENTS_SHOWN = 60
FAILURES_SHOWN = 5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed (1)")
    parser.add_argument("--seed", type=int, help="only this one, with all its events")
    parser.add_argument("--sabotage", choices=sorted(SABOTAGES | HARMLESS), help="take a guarantee away")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--until", type=next_time_of_day, default=math.inf, help="begin none after this time, HH:MM")
    parser.add_argument("--json", type=Path, help="write the figures to this file, again and again")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """Run what the arguments ask for; 1 when something did not hold."""
    arguments = _arguments()
    began_at = time.monotonic()
    if arguments.seed is not None:
        outcome = simulate(arguments.seed, arguments.sabotage)
        _say("\n".join(outcome.events))
        total = Report(seeds=1, counts=outcome.counts, failed=[outcome] if outcome.violations else [])
    else:
        total = Report(seeds=0, counts={}, failed=[])
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        for report in run_in_processes(seeds, arguments.jobs, arguments.sabotage, arguments.until):
            total = total.plus(report)
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(total.figures(), indent=2) + "\n")
            if total.seeds % 500 < report.seeds:
                took_s = time.monotonic() - began_at
                sys.stderr.write(f"{total.seeds} seeds in {took_s:.0f} s, {len(total.failed)} failed\n")
    for outcome in total.failed[:FAILURES_SHOWN]:
        if arguments.seed is None:
            _say("\n".join(outcome.events[-EVENTS_SHOWN:]))
        _say(f"seed {outcome.seed}: " + "; ".join(outcome.violations[:5]))
        _say(f"repeat it with: {repeat_command(outcome.seed, arguments.sabotage)}\n")
    _say(table(total))
    _say(f"{total.seeds} seeds in {time.monotonic() - began_at:.0f} s, {len(total.failed)} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
