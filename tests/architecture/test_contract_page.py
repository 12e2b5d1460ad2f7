"""docs/contract.md has whatever code and pages cite of the contract, and what it says is what the code does."""

import re
from pathlib import Path

from actors.envelopes.schema import STEP_TYPES
from actors.trajectories.settings import ScoringSettings

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "contract.md").read_text()
CITATION = re.compile(r"contract(?:'s)?,? ([^).;]{1,200})", re.IGNORECASE)
NAMED = re.compile(r'"([^"]+)"|\b([A-Z]+(?:_[A-Z]+)+)\b|\b(?:section|sections|and) (\d)\b')


def citations() -> dict[str, set[str]]:
    """Every title and number of a section that is cited, and where."""
    found: dict[str, set[str]] = {}
    paths = [
        path for name in ("central_command", "actors", "persistence") for path in (REPOSITORY / name).rglob("*.py")
    ]
    for path in [*paths, *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "config.toml"]:
        for citation in CITATION.findall(" ".join(path.read_text().replace("#", " ").split())):
            if citation.startswith(('"', "section")) or citation.isupper():
                for title, constant, number in NAMED.findall(citation):
                    found.setdefault(title or constant or f"\n## {number}. ", set()).add(path.name)
    return found


def test_what_is_cited_of_the_contract_is_on_its_page() -> None:
    """So that nobody has to have the contract from elsewhere to read the code."""
    cited = citations()
    assert len(cited) > 20, "the citations were not found"
    assert {title: places for title, places in cited.items() if title not in PAGE} == {}


def test_the_page_s_models_are_those_that_are_scored() -> None:
    """With their multipliers."""
    paragraph = re.search(r"\*\*MODEL_TIERS\*\*: (.*?)\n\n", PAGE, re.DOTALL)
    assert paragraph is not None
    tiers = {
        name: float(part.split()[0]) for part in paragraph[1].split(";") for name in re.findall(r"`([^`]+)`", part)
    }
    assert tiers.items() <= ScoringSettings().model_tiers.items()


def test_the_page_s_types_of_steps_are_taken() -> None:
    sentence = PAGE.split("Types of steps: ")[1].split(".")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) <= set(STEP_TYPES)
