"""What a session is worth, written down a second time from the contract ("TrajectoryScorer") and from docs/decisions.md
("Copies"), for the checker.
"""

import math
from collections import Counter
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

    def next(self, session_id: str, steps: list[dict[str, Any]]) -> dict[int, str]:
        """Take in the next trajectory; return the places of its copies, from 0, each with the session that it is of."""
        texts = [(step["type"], "".join(step["content"].split())) for step in steps]
        length = min(3, len(texts))
        runs = [tuple(texts[at : at + length]) for at in range(len(texts) - length + 1)] if texts else []
        copied: dict[int, str] = {}
        at = 0
        while at < len(runs):
            end = at
            while end < len(runs) and runs[end] in self._first:
                end += 1
            stretch = range(at, end - 1 + length) if end > at else range(0)
            if sum(len(content) for _, content in {texts[place] for place in stretch}) >= (64 if at else 32):
                for run in range(at, end):
                    for place in range(run, run + length):
                        copied.setdefault(place, self._first[runs[run]])
            at = end + 1
        for run in runs:
            self._first.setdefault(run, session_id)
        return copied


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
