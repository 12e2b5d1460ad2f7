"""What a session is worth, written down a second time from the contract ("TrajectoryScorer"), for the checker."""

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
