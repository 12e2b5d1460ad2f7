"""What a session is worth, written down a second time from the contract ("TrajectoryScorer") and from docs/decisions.md
("Copies"), for the checker.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

TIERS = {
    "claude-opus-4-6": 5,
    "claude-opus-4-7": 5,
    "claude-sonnet-4-6": 3,
    "gpt-4.5": 5,
    "gpt-5.5": 5,
    "o3": 5,
    "o4-mini": 2,
    "gemini-2.5-pro": 3,
    "gemini-2.5-flash": 1.5,
}


Text = tuple[str, str]


class Copies:
    """The steps of each trajectory that earlier ones hold, in the order of their lines; whole texts are compared."""

    def __init__(self) -> None:
        self._first: dict[tuple[Text, ...], str] = {}
        self._alone: dict[tuple[Text, ...], str] = {}

    def next(self, session_id: str, steps: list[dict[str, Any]]) -> dict[int, str]:
        """Take in the next trajectory; return the places of its copies, from 0, each with the session that it is of."""
        texts = [(step["type"], "".join(step["content"].split())) for step in steps]
        runs = [tuple(texts[at : at + 3]) for at in range(len(texts) - 2)]
        copied = self._of_three(texts, runs)
        for at in range(len(texts)):
            if at in copied or (at and at - 1 not in copied):
                continue  # a copy, or not the first step that is left
            end = next((place for place in range(at, len(texts)) if place in copied), len(texts))
            if end - at < 3 and (copied or len(texts) < 3):
                copied |= self._left(texts, at, end)
        for run in runs:
            self._first.setdefault(run, session_id)
        for length in (1, 2):
            if len(texts) >= length:
                self._alone.setdefault(tuple(texts[-length:]), session_id)
        return copied

    def _of_three(self, texts: list[Text], runs: list[tuple[Text, ...]]) -> dict[int, str]:
        copied: dict[int, str] = {}
        at = 0
        while at < len(runs):
            end = at
            while end < len(runs) and runs[end] in self._first:
                end += 1
            stretch = range(at, end + 2) if end > at else range(0)
            if _chars(texts[place] for place in stretch) >= (64 if at else 32):
                for run in range(at, end):
                    for place in range(run, run + 3):
                        copied.setdefault(place, self._first[runs[run]])
            at = end + 1
        return copied

    def _left(self, texts: list[Text], at: int, end: int) -> dict[int, str]:
        """One or two steps, all that stands between copies: what earlier sessions consist of or end with."""
        places = range(at, end)
        whole = tuple(texts[at:end])
        if whole in self._alone and _chars(whole) >= 32:
            return dict.fromkeys(places, self._alone[whole])
        if all((texts[place],) in self._alone and _chars([texts[place]]) >= 32 for place in places):
            return {place: self._alone[texts[place],] for place in places}
        return {}


def _chars(texts: Iterable[Text]) -> int:
    return sum(len(content) for _, content in set(texts))


def points_of(steps: list[dict[str, Any]], model: str, complexity: str | None) -> float:
    """Points for a trajectory's steps."""
    kinds = Counter(step["type"] for step in steps)
    base = min(len(steps), 5_000)
    subtotal = base * TIERS.get(model, 1)
    subtotal += 10 * min(kinds["correction"], math.floor(len(steps) * 0.3))
    subtotal += 5 * min(kinds["coordination"], math.floor(len(steps) * 0.2))
    subtotal += 3 * min(kinds["resolution"], kinds["error"])
    subtotal += base if complexity == "heavy" else 0
    if kinds["resolution"] and 5 <= len(steps) <= 5_000:
        subtotal += math.floor(subtotal * 0.1)
    return subtotal
