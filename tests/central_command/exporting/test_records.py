"""The intake's records as an export: the contract's members, what is chosen, and that who goes is in it no more."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.corpus.filters import Filters
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.known_exports import exports_with
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.selection import ExportRefused
from central_command.exporting.shape import Shape
from central_command.exporting.splits import Split
from central_command.exporting.verifying import read_index, verify_export
from central_command.training.records import TrainingRecord
from tests.central_command.exporting.conftest import contents, make
from tests.central_command.exporting.test_export import is_whole, killing, make_killed, rows
from tests.corpus_maker import put_sessions, put_texts, session, take_texts_back, text

HALVES = (Split("train", 0.5), Split("test", 0.5))
CODE = "def parse(line): raise SyntaxError  # write to jane.doe@example.com"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with sessions, and 20 texts of seven users; the last two have one content."""
    root = tmp_path / "data"
    contents = ["", CODE, *[""] * 16, "twice", "twice"]
    trio.run(put_sessions, root, [session(number) for number in range(3)])
    texts = [text(number, content, user=number % 7, model_name="m") for number, content in enumerate(contents)]
    trio.run(put_texts, root, texts)
    return root


def ids(target: Path) -> set[str]:
    return {row["record_id"] for row in rows(target, "records")}


def test_rows_have_the_members_of_the_contract_scrubbed_and_under_a_pseudonym(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    manifest = make(root, target, "records").manifest
    assert (manifest.seen, manifest.kept, manifest.left_out) == (20, 19, {"exact_copy": 1})
    assert list(verify_export(target)) == []
    found = rows(target, "records")
    assert all(tuple(row) == TrainingRecord.__struct_fields__ for row in found)
    [row] = [row for row in found if row["record_id"] == text(1).record_id]
    assert row["content"] == CODE.replace("jane.doe@example.com", "[EMAIL]")
    assert (row["domain"], row["content_type"], row["consent_version"]) == ("code", "prompt", "1.0")
    assert row["metadata"] == {"model_name": "m"}
    assert row["timestamp"] - found[0]["timestamp"] == 86_400
    assert len({row["user_id"] for row in found}) == 7
    for name, text_ in contents(target).items():
        assert b"0" * 63 not in text_, name
    assert manifest.facts.findings == {"[EMAIL]": 1}
    card = (target / "README.md").read_text()
    assert "19 records" in card
    assert "agents" not in card
    assert "provider" not in card


@pytest.mark.parametrize(
    ("filters", "reason", "kept"),
    [
        (Filters(domains=("code",)), LeftOutReason.DOMAIN, {1}),
        (Filters(after="2026-11-23", before="2026-11-25"), LeftOutReason.DATE, {3, 4}),
        (Filters(texts=("TEXT 1", "words")), LeftOutReason.TEXT, {*range(10, 18)}),
    ],
)
def test_records_are_chosen_by_what_is_known_of_them(
    root: Path, tmp_path: Path, filters: Filters, reason: LeftOutReason, kept: set[int]
) -> None:
    manifest = make(root, tmp_path / "out", "records", filters=filters, dedup="none", explain=True).manifest
    assert ids(tmp_path / "out") == {text(number).record_id for number in kept}
    assert manifest.left_out == {reason: 20 - len(kept)}


def test_a_user_is_in_one_split_and_so_is_what_two_have_said(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(root, target, "records", splits=HALVES, dedup="none", seed=3)
    splits: dict[str, set[str]] = {}
    clusters: dict[str, set[str]] = {}
    for entry in read_index(target):
        splits.setdefault(entry.contributor, set()).add(entry.split)
        clusters.setdefault(entry.sha256, set()).add(entry.split)
    assert {len(each) for each in (*splits.values(), *clusters.values())} == {1}
    assert len({*map(frozenset, splits.values())}) == 2
    assert list(verify_export(target)) == []
    [user] = {entry.contributor for entry in read_index(target) if entry.record_id == text(1).record_id}
    make(root, tmp_path / "theirs", "records", filters=Filters(contributors=(user,)))
    assert ids(tmp_path / "theirs") == {text(number).record_id for number in (1, 8, 15)}


def test_what_is_limited_sampled_and_shares_a_benchmark_s_words_adds_up(root: Path, tmp_path: Path) -> None:
    trio.run(put_texts, root, [text(30, " ".join(f"word{number}" for number in range(20)))])
    (tmp_path / "benchmark.txt").write_text(" ".join(f"Word{number}" for number in range(13)))
    benchmarks = Benchmarks(1_000)
    benchmarks.add(tmp_path / "benchmark.txt")
    manifest = make(root, tmp_path / "clean", "records", given_benchmarks=benchmarks).manifest
    assert manifest.left_out == {"contaminated": 1, "exact_copy": 1}
    limited = make(root, tmp_path / "limited", "records", limit=4).manifest
    assert (limited.kept, limited.left_out) == (4, {"limit": 17})
    sampled = make(root, tmp_path / "sampled", "records", sample=5, columns=("content",)).manifest
    assert (sampled.kept, sampled.seen) == (5, 21)
    assert [set(row) for row in rows(tmp_path / "sampled", "records")] == [{"content"}] * 5


def test_what_was_taken_back_is_not_in_it_and_goes_with_the_next_look(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    trio.run(take_texts_back, root, 2)
    make(root, target, "records")
    assert text(2).record_id not in ids(target)
    trio.run(take_texts_back, root, 3, 4)
    trio.run(put_texts, root, [text(40)])
    before = (target / "records" / "train-00000.jsonl").read_bytes().splitlines()
    done = make(root, target, "records", is_incremental=True)
    assert (done.manifest.kept, done.manifest.left_out) == (17, {"exact_copy": 1})
    assert done.taken_out == {"no_consent": 2}
    assert done.rewritten == ("records/train-00000.jsonl",)
    assert list(verify_export(target)) == []
    gone = [line for line in before if json.loads(line)["record_id"] in {text(3).record_id, text(4).record_id}]
    assert (target / "records" / "train-00000.jsonl").read_bytes().splitlines() == [
        line for line in before if line not in gone
    ]
    assert [row["record_id"] for row in rows(target, "records")][-1] == text(40).record_id


def test_killed_anywhere_and_run_again_it_gives_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, tmp_path / "whole", "records", splits=HALVES)
    with monkeypatch.context() as patch:
        steps = killing(patch, -1)
        make(root, tmp_path / "counted", "records", splits=HALVES)
    for at in range(1, steps() + 1, 3):
        target = tmp_path / f"killed{at}"
        make_killed(monkeypatch, at, root, target, "records", splits=HALVES)
        if not is_whole(target):
            make(root, target, "records", splits=HALVES)
        assert contents(target) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("formats", "options", "sentence"),
    [
        (("records", "jsonl"), {}, "records is of the intake's records, not of sessions"),
        (("records",), {"filters": Filters(tiers=("A",))}, "tiers is about sessions: records is chosen by after"),
        (("records",), {"shape": Shape(system="fold")}, "shape is about sessions"),
        (("records",), {"max_tokens": 7}, "max_tokens is about sessions"),
        (("records",), {"columns": ("steps",)}, "--format records has no column 'steps'"),
    ],
)
def test_what_says_nothing_of_records_is_refused(
    root: Path, tmp_path: Path, formats: tuple[str, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ExportRefused, match=sentence):
        make(root, tmp_path / "out", *formats, **options)
    assert not (tmp_path / "out").exists()


def test_exports_of_a_user_are_known_by_their_digest_alone(root: Path, tmp_path: Path) -> None:
    """A session of the same name as theirs is somebody else's."""
    make(root, tmp_path / "out", "records", filters=Filters(domains=("code",)))
    assert exports_with(root, [], [text(0, user=1).subject]) == [str(tmp_path / "out")]
    assert exports_with(root, [], [text(0, user=2).subject]) == []
    assert exports_with(root, [text(1).session_id]) == []
