"""A program, not a test: dies at every failpoint and prints, in Markdown, what the restart after each death found.

python -m tests.crash.failpoint_table > table.md
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.crash.failpoint_list import PLACES, Place
from tests.crash.failpoints import Phase
from tests.crash.lives import Found, running_program

COLUMNS = (
    ("died", "deaths"),
    ("torn_bytes", "bytes torn off and kept"),
    ("lines_projected", "lines projected"),
    ("closes_finished", "closes finished"),
    ("unanswered", "unanswered"),
    ("unanswered_stored", "of those, stored"),
)


def row(place: Place, found: Sequence[Found]) -> str:
    """A line of the table: for each number the range over all deaths."""
    operation = place.operation
    moments = ", ".join(place.moments)
    ranges = [_range([getattr(each, name) for each in found]) for name, _ in COLUMNS[1:]]
    return f"| {operation.action} {operation.where} | {moments} | {len(found)} | {' | '.join(ranges)} |"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def lines_of_table() -> Iterator[str]:
    """Die everywhere; AssertionError at the first restart that finds anything wrong."""
    with tempfile.TemporaryDirectory() as folder, running_program(Path(folder)) as runner:
        deaths = 0
        for phase in Phase:
            places = [place for place in PLACES if place.operation.phase is phase]
            yield f"\n### {str(phase).capitalize()}\n"
            yield f"| operation | killed | {' | '.join(heading for _, heading in COLUMNS)} |"
            yield "|---|---" + "|---:" * len(COLUMNS) + "|"
            for place in places:
                lives = (life for moment in place.moments for life in runner.deaths(place, moment))
                found = [runner.restarted_after(life, rebuilt=True) for life in lives]
                deaths += len(found)
                yield row(place, found)
        yield f"\n{deaths} deaths at {len(PLACES)} operations; nothing lost, nothing doubled."


def main() -> None:
    """Print the table as it grows."""
    for line in lines_of_table():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
