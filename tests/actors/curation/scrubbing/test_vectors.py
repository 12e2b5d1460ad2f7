"""Every row of the vectors, by the profile that it names (tests/vectors/scrub)."""

import json
from pathlib import Path
from typing import Any

import pytest

from actors.curation.scrubbing.scrubber import PIIScrubber

VECTORS = Path(__file__).parents[3] / "vectors" / "scrub"
LITERAL, FOR_TRAJECTORIES = PIIScrubber(), PIIScrubber.for_trajectories()


def rows(kind: str) -> list[Any]:
    """The rows of a kind, given and added, each named by its id."""
    lines = [
        line
        for name in (kind, f"more_{kind}")
        for line in (VECTORS / f"{name}.jsonl").read_text("utf-8").split("\n")
        if line
    ]
    return [pytest.param(row, id=row["id"]) for row in map(json.loads, lines)]


@pytest.mark.parametrize("row", rows("positives"))
def test_what_must_be_found_is_replaced(row: dict[str, Any]) -> None:
    for scrubber in (LITERAL, FOR_TRAJECTORIES):
        scrubbed = scrubber.scrub(row["text"])
        assert scrubbed in (row["expected"], *row.get("accept", ()))
        assert not any(secret in scrubbed for secret in row["must_not_contain"])


@pytest.mark.parametrize("row", rows("negatives"))
def test_what_only_looks_alike_stays(row: dict[str, Any]) -> None:
    assert LITERAL.scrub(row["text"]) == FOR_TRAJECTORIES.scrub(row["text"]) == row["text"]


@pytest.mark.parametrize("row", rows("contested"))
def test_what_is_contested_comes_out_as_its_profile_says(row: dict[str, Any]) -> None:
    assert LITERAL.scrub(row["text"]) == row["literal"]
    assert FOR_TRAJECTORIES.scrub(row["text"]) == row["recommended"]
