"""Ids as short as they can be and still be told apart, as git shortens its own; commands take any such beginning."""

from collections.abc import Iterable
from itertools import pairwise, takewhile

SESSION_CHARS_MIN = 13
"""`sess_` and eight digits."""


def shortened(ids: Iterable[str], chars_min: int) -> dict[str, str]:
    """The shortest beginning of each id that no other of `ids` has, of at least `chars_min` characters."""
    ordered = sorted(set(ids))
    shared = [_shared(*pair) for pair in pairwise(ordered)]
    return {
        each: each[: max(chars_min, 1 + max(before, after))]
        for each, before, after in zip(ordered, [0, *shared], [*shared, 0], strict=False)
    }


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
