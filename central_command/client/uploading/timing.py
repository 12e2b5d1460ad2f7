"""The times of a file's steps, before they are placed where a server takes them (`contract.placing`).

One wrong time among right ones (a clock that jumped, the zero of another program) would bend all of them: such
*outliers* are put between their neighbours first, and marked.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from operator import le

import msgspec

from central_command.client.contract.placing import MARGIN_S, WINDOW_S

EARLIEST_S = 1_577_836_800.0
"""2020-01-01: no agent whose sessions are read is older."""
AHEAD_S = 86_400.0
"""How far ahead of now a time may be: clocks and time zones differ."""
OUT_OF_ORDER_S = 3_600.0
"""Steps of parallel work stand out of order by less; what is out of it by more is wrong, if few are."""
_OUT_OF_ORDER_SHARE = 0.2
FAR_S = WINDOW_S - MARGIN_S
"""A first or a last step that stands alone, further than this from all others, counts as wrong, too.

No session may span more when it is sent: the distances of all others would shrink for this one's.
"""


class Timeline(msgspec.Struct, frozen=True):
    """The times of steps in order, in seconds, with the places of those that were wrong and are adjusted."""

    times: "array[float]"
    adjusted: frozenset[int]


def timeline_of(times: Sequence[float], *, now_s: float) -> Timeline:
    """Put outliers between their neighbours. Times that are all alike wrong (a clock that was never set) stay.

    An outlier is a time before `EARLIEST_S` or more than `AHEAD_S` ahead of now, if any is not; and, where few are, one
    that is out of order by more than `OUT_OF_ORDER_S`, or stands alone at an end, `FAR_S` from all others.
    """
    if not len(times) or (_is_plain(times) and times[0] >= EARLIEST_S and times[-1] <= now_s + AHEAD_S):
        return Timeline(array("d", times), frozenset())
    possible = [place for place, at in enumerate(times) if EARLIEST_S <= at <= now_s + AHEAD_S]
    if not possible:
        possible = list(range(len(times)))
    in_order = set(possible) - _out_of_order([(place, times[place]) for place in possible])
    kept = in_order - _far_ends(sorted(in_order), times)
    if len(kept) == len(times):
        return Timeline(array("d", times), frozenset())
    adjusted = array("d", times)
    places = sorted(kept)
    for before, after in zip([-1, *places], [*places, len(times)], strict=True):
        first_s = times[before] if before >= 0 else times[after]
        last_s = times[after] if after < len(times) else times[before]
        for place in range(before + 1, after):
            share = (place - before) / (after - before)
            adjusted[place] = round(first_s + (last_s - first_s) * share, 3)
    return Timeline(adjusted, frozenset(range(len(times))) - kept)


def _is_plain(times: Sequence[float]) -> bool:
    """Whether times never go back, and no end is far from the rest: so it is nearly always."""
    is_in_order = all(map(le, times, islice(times, 1, None)))
    return is_in_order and not _far_ends(range(len(times)), times)


def _far_ends(places: Sequence[int], times: Sequence[float]) -> set[int]:
    """The first and the last of `places`, where it alone is far from all others, of which there are two at least."""
    if len(places) < 3:
        return set()
    first, second, *_, last_but_one, last = (times[place] for place in (*places[:2], *places[-2:]))
    found = set()
    if abs(second - first) > FAR_S and abs(last - second) <= FAR_S:
        found.add(places[0])
    elif abs(last - last_but_one) > FAR_S and abs(last_but_one - first) <= FAR_S:
        found.add(places[-1])
    return found


def _out_of_order(timed: Sequence[tuple[int, float]]) -> set[int]:
    """The places of few times that are far before, or behind, what stands around them."""
    in_order = _longest_in_order([at for _, at in timed])
    allowed = max(1, int(len(timed) * _OUT_OF_ORDER_SHARE))
    if len(timed) < 3 or len(timed) - len(in_order) == 0:
        return set()
    found = set()
    for index, (place, at) in enumerate(timed):
        here = bisect_right(in_order, index)
        if here and in_order[here - 1] == index:
            continue
        before_s = timed[in_order[here - 1]][1] if here else -math.inf
        after_s = timed[in_order[here]][1] if here < len(in_order) else math.inf
        if at < before_s - OUT_OF_ORDER_S or at > after_s + OUT_OF_ORDER_S:
            found.add(place)
    return found if len(found) <= allowed else set()


def _longest_in_order(times: Sequence[float]) -> list[int]:
    """The places of a longest part of `times` that never goes back."""
    tails: list[float] = []
    ends: list[int] = []
    before: list[int] = []
    for place, at in enumerate(times):
        if not tails or at >= tails[-1]:  # so it is nearly always
            before.append(ends[-1] if ends else -1)
            tails.append(at)
            ends.append(place)
        else:
            length = bisect_right(tails, at)
            before.append(ends[length - 1] if length else -1)
            tails[length], ends[length] = at, place
    found: list[int] = []
    place = ends[-1] if ends else -1
    while place >= 0:
        found.append(place)
        place = before[place]
    return found[::-1]
