"""What is counted of an export's records, for its manifest and its card."""

from collections import Counter
from collections.abc import Callable, Iterable
from math import floor, log10
from operator import attrgetter
from typing import Final

import msgspec

from central_command.exporting.contents import Entry

DIGITS: Final = 3
"""Lengths are counted to so many significant digits, so that counting them takes bounded memory."""

NAMES_MAX: Final = 10_000
"""Different names that are counted of one kind; guards memory against names that clients make up."""
OTHERS: Final = "(others)"


class Lengths(msgspec.Struct, frozen=True):
    """Of a length: the sum, half and 95 of 100 have at most so much, and the most."""

    total: int = 0
    p50: int = 0
    p95: int = 0
    most: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of what an export holds; `tokens` is None where no tokeniser counted."""

    splits: dict[str, int]
    providers: dict[str, int]
    models: dict[str, int]
    domains: dict[str, int]
    cognitive_targets: dict[str, int]
    tiers: dict[str, int]
    outcomes: dict[str, int]
    feedback: dict[str, int]
    consent_versions: dict[str, int]
    rules: dict[str, int]
    findings: dict[str, int]
    steps: Lengths
    chars: Lengths
    tokens: Lengths | None
    cut_steps: int
    mended_numbers: int
    mended_surrogates: int


def facts_of(entries: Iterable[Entry]) -> Facts:
    """Count what records hold; reads each once."""
    names: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
    alike: Counter[tuple[str | None, ...]] = Counter()
    lengths: dict[str, Counter[int]] = {kind: Counter() for kind in ("steps", "chars", "tokens")}
    totals: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    for entry in entries:
        alike[_named(entry)] += 1
        if len(alike) == NAMES_MAX:
            _count_names(names, alike)
        for kind, counts in lengths.items():
            length = getattr(entry, kind)
            if length is not None:
                counts[_rounded(length)] += 1
                totals[kind] += length
        for kind in ("cut_steps", "mended_numbers", "mended_surrogates"):
            totals[kind] += getattr(entry, kind)
        if entry.findings:
            findings.update(entry.findings)
    _count_names(names, alike)
    return Facts(
        **{kind: dict(sorted(counts.items())) for kind, counts in names.items()},
        findings=dict(sorted(findings.items())),
        steps=_lengths(lengths["steps"], totals["steps"]),
        chars=_lengths(lengths["chars"], totals["chars"]),
        tokens=_lengths(lengths["tokens"], totals["tokens"]) if lengths["tokens"] else None,
        cut_steps=totals["cut_steps"],
        mended_numbers=totals["mended_numbers"],
        mended_surrogates=totals["mended_surrogates"],
    )


_KINDS: Final = {
    "splits": "split",
    "providers": "provider",
    "models": "model",
    "domains": "domain",
    "cognitive_targets": "cognitive_target",
    "tiers": "tier",
    "outcomes": "outcome",
    "feedback": "feedback",
    "consent_versions": "consent_version",
    "rules": "rules",
}


_named: Final[Callable[[Entry], tuple[str | None, ...]]] = attrgetter(*_KINDS.values())


def _count_names(names: dict[str, Counter[str]], alike: Counter[tuple[str | None, ...]]) -> None:
    """Count the names of records, as many as are alike at once, in the order in which they came; none is left."""
    for values, count in alike.items():
        for counted, value in zip(names.values(), values, strict=True):
            name = str(value or "none")
            counted[name if name in counted or len(counted) < NAMES_MAX else OTHERS] += count
    alike.clear()


def _rounded(length: int) -> int:
    if length < 10**DIGITS:
        return length
    unit: int = 10 ** (floor(log10(length)) - DIGITS + 1)
    return length // unit * unit


def _lengths(counts: Counter[int], total: int) -> Lengths:
    if not counts:
        return Lengths()
    ordered = sorted(counts)
    return Lengths(total, _at(counts, ordered, 0.5), _at(counts, ordered, 0.95), ordered[-1])


def _at(counts: Counter[int], ordered: list[int], share: float) -> int:
    wanted = share * counts.total()
    reached = 0
    for length in ordered:
        reached += counts[length]
        if reached >= wanted:
            return length
    return ordered[-1]
