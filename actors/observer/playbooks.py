"""How an endpoint is used when it goes well: of what the ring holds, an entry for each endpoint. Pure."""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from actors.observer.messages import normalised
from actors.observer.operation import CORRECTION
from actors.observer.ring import Observed
from persistence.format import times

SUCCESSES_MIN: Final = 5
"""Successes in all below which nothing is said."""
OF_ENDPOINT_MIN: Final = 3
LAST_INPUTS: Final = 10
"""Inputs of which the common pattern is said."""
GAP: Final = "…"


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """What successes of an endpoint have in common. `pattern` has a gap where the last inputs differ."""

    endpoint: str
    count: int
    average_ms: float
    p95_ms: float
    pattern: str
    first: str
    last: str


def playbooks(observed: Iterable[Observed], *, playbooks_max: int) -> list[Playbook]:
    """The entries of what went well, the endpoint with most of it first."""
    by_endpoint: dict[str, list[Observed]] = {}
    for each in observed:
        if each.operation.success and each.operation.source != CORRECTION:
            by_endpoint.setdefault(each.operation.endpoint, []).append(each)
    if sum(map(len, by_endpoint.values())) < SUCCESSES_MIN:
        return []
    enough = {name: found for name, found in by_endpoint.items() if len(found) >= OF_ENDPOINT_MIN}
    most = sorted(enough, key=lambda name: (-len(enough[name]), name))[:playbooks_max]
    return [_playbook(name, enough[name]) for name in most]


def _playbook(endpoint: str, found: list[Observed]) -> Playbook:
    durations = sorted(each.operation.duration_ms for each in found)
    return Playbook(
        endpoint=endpoint,
        count=len(found),
        average_ms=round(sum(durations) / len(durations), 3),
        p95_ms=durations[math.ceil(0.95 * len(durations)) - 1],
        pattern=common_pattern([each.operation.input_summary for each in found[-LAST_INPUTS:]]),
        first=times.to_text(found[0].at),
        last=times.to_text(found[-1].at),
    )


def common_pattern(inputs: list[str]) -> str:
    """The words that all inputs have, in the order of the last one, with a gap where others stand between them."""
    words = [normalised(each).split() for each in inputs]
    in_all = set(words[0]).intersection(*words[1:])
    pattern: list[str] = []
    for word in words[-1]:
        shown = word if word in in_all else GAP
        if shown != GAP or pattern[-1:] != [GAP]:
            pattern.append(shown)
    return " ".join(pattern)
