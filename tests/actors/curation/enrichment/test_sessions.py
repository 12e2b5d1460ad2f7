"""Twenty sessions of ten kinds, by nine agents, whose verdicts were written down before the rules were."""

import json
from pathlib import Path
from typing import Any

import pytest

from actors.curation.enrichment.enriching import enrich
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.stitched import read_stitched

FOLDER = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text("utf-8"))


def test_each_session_has_its_expectation() -> None:
    assert {path.stem for path in (FOLDER / "sessions").iterdir()} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_session_gets_the_verdicts_that_are_right_for_it(name: str) -> None:
    """`why` in expected.json says why the target is right."""
    expected = EXPECTED[name]
    trajectory = read_stitched((FOLDER / "sessions" / f"{name}.json").read_bytes())
    found = enrich(trajectory, EnrichmentSettings())
    assert found.cognitive_target.target == expected["target"], expected["why"]
    assert found.model_verified.verdict == expected["model"]
    assert found.quality_assessment.tier == expected["tier"]
    assert found.quality_assessment.training_eligible is expected["eligible"]
    assert list(found.quality_assessment.training_exclusion_reasons) == expected["exclusions"]
    assert found.derived.outcome == expected["outcome"]
    assert found.derived.feedback == expected["feedback"]
