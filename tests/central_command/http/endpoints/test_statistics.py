"""`GET /v1/stats/...` answers in the contract's form."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "summary",
            {
                "totalEnvelopes": 1,
                "totalSteps": 2,
                "totalSessions": 3,
                "activeSessions": 4,
                "uniqueContributors": 5,
                "storageSizeMb": 0.25,
                "totalPointsAwarded": 6.5,
                "unusedSessions": 1,
                "refusedSizeMb": 0.5,
                "refusedQuotaMb": 4768.37,
                "refusedWithoutBody": 2,
                "refusedDaysDropped": 3,
            },
        ),
        ("daily?days=1", [{"date": "day 0", "envelopes": 1, "steps": 2, "sessions": 3, "points": 4.0}]),
        ("models", {"o3": {"sessions": 1, "steps": 2, "points": 3.0, "percentage": 100.0}}),
        ("providers", {"codex": {"sessions": 1, "steps": 2, "points": 3.0}}),
        ("leaderboard?limit=1", [{"contributor_id": "00000000", "total_points": 1.0, "total_sessions": 1}]),
    ],
)
async def test_statistics_have_the_contract_s_members(path: str, body: Any, client: Any) -> None:
    """Names and shapes."""
    answer = await client.get(f"/v1/stats/{path}")
    assert answer.status_code == 200
    assert await answer.get_json() == body


@pytest.mark.parametrize(
    ("path", "count"),
    [("daily", 7), ("daily?days=365", 365), ("leaderboard", 10), ("leaderboard?limit=100&x=%ff", 100)],
)
async def test_counts_have_defaults_and_maxima(path: str, count: int, client: Any) -> None:
    """Seven days and ten contributors, at most 365 and 100."""
    assert len(await (await client.get(f"/v1/stats/{path}")).get_json()) == count


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "366", "1.5", "x", "9" * 5_000, "%D9%A3", "1&days=2", "%ff", "%201", "+1"]
)
async def test_a_bad_count_is_400_and_says_what_is_allowed(value: str, client: Any) -> None:
    """Also when it is given twice or is no ASCII."""
    answer = await client.get(f"/v1/stats/daily?days={value}")
    assert answer.status_code == 400
    assert await answer.get_json() == {"error": "days must be a whole number from 1 to 365."}
