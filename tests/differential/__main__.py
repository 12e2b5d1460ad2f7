"""`python -m tests.differential`: many sequences, or one again; what differs is made small and shown."""

import argparse
import sys
import time

from tests.differential.comparison import differences
from tests.differential.sabotage import SABOTAGES, sabotaged
from tests.differential.target import Target

SHOWN_MAX = 5
PROGRESS_EVERY = 1_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--sequences", type=int, default=500, help="how many (500)")
    parser.add_argument("--seed", type=int, default=1, help="the first one's seed (1)")
    parser.add_argument("--sabotage", choices=sorted(SABOTAGES), help="plant a difference")
    return parser.parse_args()


def main() -> int:
    """Run what the arguments ask for; 1 when something differs."""
    arguments = _arguments()
    began_at = time.monotonic()

    def progress(count: int) -> None:
        if count % PROGRESS_EVERY == 0:
            sys.stderr.write(f"{count} sequences, {time.monotonic() - began_at:.0f} s\n")

    with sabotaged(arguments.sabotage):
        target = Target()
        seeds = range(arguments.seed, arguments.seed + arguments.sequences)
        found, comparison = differences(target, seeds, progress)
    for difference in found[:SHOWN_MAX]:
        sys.stdout.write(f"{difference}\n")
        sys.stdout.write(f"repeat it with: python -m tests.differential --sequences 1 --seed {difference.seed}\n\n")
    sys.stdout.write(
        f"{len(seeds)} sequences with {comparison.answers} answers in {time.monotonic() - began_at:.0f} s; "
        f"{target.answered_in_place} answered in place in two of three ways; {len(found)} differ\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
