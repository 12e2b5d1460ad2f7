"""Splits, benchmarks, and the card: what is told apart, and how."""

import json
from pathlib import Path

import pytest

from central_command.corpus.trajectory import Step, Trajectory
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.contents import Entry
from central_command.exporting.facts import facts_of
from central_command.exporting.selection import ExportRefused
from central_command.exporting.splits import Split, read_splits, split_of
from tests.central_command.exporting.conftest import make

WORDS = [f"word{n}" for n in range(20)]


def saying(*texts: str) -> Trajectory:
    """A trajectory whose steps say this."""
    steps = tuple(Step(step=n, type="thought", content=text) for n, text in enumerate(texts, 1))
    return Trajectory(record_id="r", trajectory_id="t", session_id="s", steps=steps, provider="codex", model="m")


def test_shares_of_splits_are_those_asked_for() -> None:
    splits = read_splits("train=0.8, validation=0.15,test=0.05")
    assert splits == (Split("train", 0.8), Split("validation", 0.15), Split("test", 0.05))
    counts = [0, 0, 0]
    for number in range(4_000):
        counts[split_of(f"con_{number}", splits, 1)] += 1
    assert [round(count / 4_000, 1) for count in counts] == [0.8, 0.2, 0.0] or counts[2] > 100
    assert 3_100 < counts[0] < 3_300
    assert split_of("con_1", splits, 1) == split_of("con_1", splits, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train", "which is no name=share"),
        ("train=x", "which is no name=share"),
        ("Train=1", "a name is a-z"),
        ("a=0.5,a=0.5", "each once"),
        ("a=0.5,b=0.4", "must add up to 1"),
        ("a=0,b=1", "above 0"),
        ("../a=1", "a name is a-z"),
    ],
)
def test_splits_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_splits(text)


def test_thirteen_words_in_a_row_are_found_whatever_is_between_them(tmp_path: Path) -> None:
    """In JSON of any form and in plain text; in what is said and in arguments; twelve are not."""
    (tmp_path / "lines.jsonl").write_text(json.dumps({"q": [{"deep": " ".join(WORDS[:13])}]}) + "\n\n" + '{"n":1}\n')
    (tmp_path / "plain.txt").write_text("First: " + ", ".join(word.upper() for word in WORDS[5:18]))
    (tmp_path / "whole.json").write_text(json.dumps([" ".join(reversed(WORDS))]))
    found = Benchmarks(1_000)
    for name in ("lines.jsonl", "plain.txt", "whole.json"):
        found.add(tmp_path / name)
    assert found.found_in(saying("x", "y " + "_".join(WORDS[:13]))) == "lines.jsonl: " + " ".join(WORDS[:13])
    assert found.found_in(saying("x " + "; ".join(WORDS[5:18]))) == "plain.txt: " + " ".join(WORDS[5:18])
    assert found.found_in(saying(" ".join(WORDS[:12]), WORDS[12])) is None
    arguments = Step(step=1, type="action", arguments={"a": [{"b": " ".join(reversed(WORDS))}]})
    trajectory = Trajectory(record_id="r", trajectory_id="t", session_id="s", steps=(arguments,), provider="", model="")
    assert (found.found_in(trajectory) or "").startswith("whole.json: word19 word18")


def test_benchmarks_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text(" ".join(str(n) for n in range(100)))
    with pytest.raises(ExportRefused, match="more than 50 different 13-grams"):
        Benchmarks(50).add(tmp_path / "large.txt")


def test_facts_are_counted_and_lengths_have_their_quantiles() -> None:
    entries = [
        Entry(
            record_id=str(n),
            session_id="",
            split="train",
            model=f"m{n % 2}",
            steps=n,
            chars=12_345,
            findings={"[EMAIL]": 1},
        )
        for n in range(1, 101)
    ]
    facts = facts_of(entries)
    assert facts.models == {"m0": 50, "m1": 50}
    assert (facts.steps.p50, facts.steps.p95, facts.steps.most, facts.steps.total) == (50, 95, 100, 5_050)
    assert (facts.chars.p50, facts.chars.total) == (12_300, 1_234_500)
    assert (facts.findings, facts.domains, facts.tokens) == ({"[EMAIL]": 100}, {"none": 100}, None)


def test_the_card_declares_every_column_and_split(root: Path, tmp_path: Path) -> None:
    """As YAML that `datasets` reads: the types of what may be null or of any form, so that nothing is guessed."""
    make(root, tmp_path / "out", "texts", "columnar", splits=(Split("train", 0.5), Split("test", 0.5)))
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlicense:")
    for lines in (
        '  - split: test\n    path: "texts/test-*.jsonl"\n',
        "  - name: messages\n    list: json\n",
        "  - name: tokens\n    dtype: int64\n",
    ):
        assert lines in card
    assert "columnar/" not in card, "datasets reads a folder in one way"
    other = (tmp_path / "out" / "columnar" / "README.md").read_text()
    assert '    path: "train-*.parquet"\n' in other
