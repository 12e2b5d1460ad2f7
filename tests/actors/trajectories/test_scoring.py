"""Scoring: equal to the service that is being replaced, and bounded by its settings."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.trajectories.scoring import Score, score
from actors.trajectories.settings import ScoringSettings

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "scoring.jsonl").read_text(encoding="utf-8").splitlines()
]
SETTINGS = ScoringSettings()


@pytest.mark.parametrize("as_configured", [False, True])
def test_all_vectors_score_as_in_the_service_replaced(as_configured: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """All 300 rows, part for part, also with the numbers as a configuration file makes them: all floats."""
    settings = msgspec.convert(msgspec.to_builtins(SETTINGS), ScoringSettings) if as_configured else SETTINGS
    for row in VECTORS:
        metadata = row["metadata"]
        found = score(row["step_type_counts"], metadata["model_engine"], metadata["task_complexity"], settings)
        assert found.multiplier_breakdown() == json.dumps(row["expected"], separators=(",", ":")), row
    assert len(VECTORS) == 300


def _score(counts: dict[str, int], complexity: str | None = None, **settings: Any) -> Score:
    return score(counts, "some-model", complexity, msgspec.structs.replace(SETTINGS, **settings))


def test_an_empty_trajectory_is_worth_nothing() -> None:
    """No step, no point, no quality."""
    assert _score({}).total_points == 0


def test_shares_are_of_all_steps_and_rounded_down() -> None:
    """Three tenths of nine steps are two corrections, a fifth one coordination."""
    found = _score({"correction": 5, "coordination": 4})
    assert (found.correction_bonus, found.coordination_bonus) == (20, 5)


def test_an_error_is_recovered_by_a_resolution() -> None:
    """As many as there are of both."""
    assert _score({"error": 3, "resolution": 1}).error_recovery_bonus == 3
    assert _score({"error": 1, "resolution": 3}).error_recovery_bonus == 3
    assert _score({"error": 3, "correction": 3}).error_recovery_bonus == 0


@pytest.mark.parametrize(("steps", "bonus"), [(4, 0), (5, 0), (10, 1), (5000, 500), (5001, 0)])
def test_quality_needs_a_resolution_and_a_length_within_bounds(steps: int, bonus: int) -> None:
    """A tenth of the subtotal, rounded down, for 5 to 5000 steps that end in a resolution."""
    assert _score({"resolution": 1, "thought": steps - 1}).quality_bonus == bonus
    assert _score({"thought": steps}).quality_bonus == 0


def test_only_a_heavy_task_adds_its_base_points_again() -> None:
    """The multiplier 2 means once more; 3.5 two and a half times more."""
    assert _score({"thought": 3}, "heavy").complexity_bonus == 3
    assert _score({"thought": 3}, "heavy", heavy_task_multiplier=3.5).complexity_bonus == 7.5
    assert [_score({"thought": 3}, other).complexity_bonus for other in ("medium", "light", None)] == [0, 0, 0]


def test_the_other_multipliers_are_settings() -> None:
    """Each part follows its own setting."""
    counts = {"correction": 1, "coordination": 1, "error": 1, "resolution": 1, "thought": 6}
    found = _score(
        counts,
        correction_multiplier=100,
        coordination_multiplier=200,
        error_recovery_multiplier=300,
        model_tiers={"some-model": 2.5},
        quality_share=0.5,
    )
    assert (found.correction_bonus, found.coordination_bonus, found.error_recovery_bonus) == (100, 200, 300)
    assert (found.model_multiplier, found.quality_bonus, found.total_points) == (2.5, 312, 937)


def test_the_breakdown_reads_back_as_the_score() -> None:
    """What the ledger keeps says all that the line says."""
    found = _score({"resolution": 2, "error": 7, "thought": 4})
    assert msgspec.json.decode(found.multiplier_breakdown(), type=Score) == found
