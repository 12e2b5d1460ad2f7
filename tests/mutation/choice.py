"""Which tests are run for a mutant: those that came by its line, the quickest of its own room first. Pure."""

from collections.abc import Mapping, Sequence

from tests.mutation.mutants import Mutant
from tests.mutation.watching import WatchedTest

SECONDS_MAX = 90.0
"""No more tests than took this long together when they were watched, in seconds."""


def chosen(
    mutant: Mutant, source: bytes, watched: Mapping[str, WatchedTest], rooms: Sequence[str]
) -> tuple[list[str], float]:
    """The tests that came by the mutant's lines, in the order to run them, and how long they took, in seconds.

    Where none did (a line within an expression is not always passed by itself), those of the nearest line above.
    """
    passing: list[str] = []
    last = source.count(b"\n", 0, mutant.end) + 1
    first = source.count(b"\n", 0, mutant.start) + 1
    while not passing and first > 0:
        lines = range(first, last + 1)
        passing = [
            name for name, test in watched.items() if not test.lines.get(mutant.path, frozenset()).isdisjoint(lines)
        ]
        last = first = first - 1
    passing.sort(key=lambda name: (not name.startswith(tuple(rooms)), watched[name].seconds))
    names: list[str] = []
    seconds = 0.0
    for name in passing:
        if names and seconds + watched[name].seconds > SECONDS_MAX:
            continue
        names.append(name)
        seconds += watched[name].seconds
    return names, seconds
