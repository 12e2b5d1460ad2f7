"""What is found in real transcripts of a coding agent, each kind of it with the reason why it is right."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.curation.scrubbing.findings import SessionOrdinals
from actors.curation.scrubbing.scrubber import PIIScrubber

TRANSCRIPTS = sorted((Path(__file__).parents[3] / "transcripts").glob("*.jsonl"))

# A placeholder with what it stands for in one of the transcripts, and why that is nothing to keep.
RIGHT = {
    ("[FILE_PATH]", "/home/USER"): "a home folder, whose owner's name was masked before the transcript was published",
    ("[FILE_PATH]", "/home/marco"): "a home folder with its owner's name",
    ("[FILE_PATH]", "-home-USER"): "the same folder in the name that Claude Code gives to a project",
    ("[FILE_PATH]", "-home-marco"): "the same folder in the name that Claude Code gives to a project",
    ("[EMAIL]", "marco.rotili@handgemacht.ai"): "the mailbox of a person, from a commit",
}


class Noting(SessionOrdinals):
    """Ordinals that note what they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[tuple[str, str]] = Counter()

    def ordinal(self, category: str, value: str) -> int:
        self.asked[category, value] += 1
        return super().ordinal(category, value)


def texts(value: Any) -> Iterator[str]:
    """Every text of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


def events() -> list[Any]:
    """Every line of the transcripts."""
    found = [json.loads(line) for path in TRANSCRIPTS for line in path.read_text("utf-8").split("\n") if line.strip()]
    assert len(found) > 1_000
    return found


def test_all_that_is_found_is_listed_with_a_reason() -> None:
    noting = Noting()
    scrubber = PIIScrubber.for_trajectories()
    for event in events():
        for text in texts(event):
            scrubber.scrub_with_findings(text, noting)
    assert set(noting.asked) == set(RIGHT)


@pytest.mark.parametrize("scrubber", [PIIScrubber(), PIIScrubber.for_trajectories()], ids=["literal", "trajectories"])
def test_no_number_is_taken_for_a_phone_or_a_card(scrubber: PIIScrubber) -> None:
    for event in events():
        scrubber.scrub_value(event)
    assert not set(scrubber.counts) - {"[FILE_PATH]", "[EMAIL]", "[IP]"}


def test_scrubbed_events_are_json_and_scrubbing_twice_changes_nothing() -> None:
    scrubber = PIIScrubber.for_trajectories()
    for event in events():
        once = scrubber.scrub_value(event)
        assert scrubber.scrub_value(json.loads(json.dumps(once))) == once
