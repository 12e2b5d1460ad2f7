"""Exports that are added to after somebody has withdrawn, and after they have agreed again."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.manifest import Manifest
from central_command.exporting.splits import Split
from central_command.exporting.verifying import read_index, verify_export
from tests.central_command.exporting.conftest import contents, make
from tests.corpus_maker import put_sessions, session, steps_of, take_back

FORMATS = ("texts", "columnar", "each")
COPY = session(3, steps_of("alpha1"), contributor=1)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A data directory with three sessions of one contributor, one of which is a copy of another."""
    root = tmp_path / "three"
    give(root)
    return root


def give(root: Path) -> None:
    """Put the sessions into the corpus, or put them there again."""
    trio.run(put_sessions, root, [session(0), session(1), COPY])


def add(root: Path, target: Path, **options: Any) -> Manifest:
    """Add to an export; it is what its manifest says then, and what the corpus holds is in it or left out."""
    manifest = make(root, target, *FORMATS, is_incremental=True, **options).manifest
    assert list(verify_export(target)) == []
    with StoredCorpus(root).snapshot() as snapshot:
        held = {stored.record.record_id for stored in snapshot.records()}
    assert manifest.seen == len(held)
    assert {entry.record_id for entry in read_index(target)} <= held
    return manifest


def left_out(target: Path) -> dict[str, str]:
    """What an export lists as left out, with why."""
    listed = map(json.loads, (target / "left_out.jsonl").read_text().splitlines())
    return {each["record_id"]: each["reason"] for each in listed}


def test_of_an_export_that_is_emptied_nothing_stays_but_its_own_files(three: Path, tmp_path: Path) -> None:
    """Neither cards of formats nor their folders; and no file is said to be written anew."""
    target = tmp_path / "out"
    make(three, target, *FORMATS)
    assert (target / "columnar" / "README.md").exists()
    trio.run(take_back, three, 0, 1, 3)
    done = make(three, target, *FORMATS, is_incremental=True)
    assert list(verify_export(target)) == []
    assert sorted(contents(target)) == ["README.md", "index.jsonl", "manifest.json"]
    assert not [path for path in target.iterdir() if path.is_dir()]
    assert done.rewritten == ()
    assert {"texts/train-00000.jsonl", "columnar/train-00000.parquet"} < set(done.removed)
    assert "configs:" not in (target / "README.md").read_text()


def test_kept_and_left_out_are_what_the_corpus_holds(three: Path, tmp_path: Path) -> None:
    """Whoever withdraws and agrees again is counted once, however often that happens."""
    target = tmp_path / "out"
    first = make(three, target, *FORMATS).manifest
    assert (first.seen, first.kept, first.left_out) == (3, 2, {"exact_copy": 1})
    for _ in range(2):
        trio.run(take_back, three, 0, 1, 3)
        emptied = add(three, target)
        assert (emptied.seen, emptied.kept, emptied.left_out) == (0, 0, {})
        give(three)
        again = add(three, target)
        assert (again.seen, again.kept, again.left_out) == (3, 2, {"exact_copy": 1})
    trio.run(put_sessions, three, [COPY])  # made anew, as after late feedback
    assert add(three, target).left_out == {"exact_copy": 1}


def test_a_copy_comes_in_once_its_original_has_gone(three: Path, tmp_path: Path) -> None:
    """In the same run, also where the original was in another split; and then nothing changes any more."""
    splits = (Split("train", 0.5), Split("test", 0.5))
    root, target = tmp_path / "data", tmp_path / "out"
    copies = [session(number, steps_of("alpha1"), contributor=number) for number in range(10, 20)]
    trio.run(put_sessions, root, [session(1), *copies])
    before = make(root, target, *FORMATS, splits=splits).manifest
    assert before.kept == 1
    assert {"exact_copy", "between_splits"} == set(before.left_out)
    (original,) = read_index(target)
    trio.run(take_back, root, int(original.session_id.removeprefix("sess_")))
    after = add(root, target, splits=splits)
    assert (after.seen, after.kept) == (10, 1)
    unchanged = contents(target)
    add(root, target, splits=splits)
    assert contents(target) == unchanged


def test_what_is_left_out_stays_listed(three: Path, tmp_path: Path) -> None:
    """All of it after each run, also where a later one does not ask for it."""
    target = tmp_path / "out"
    make(three, target, *FORMATS, explain=True)
    listed = left_out(target)
    assert list(listed.values()) == ["exact_copy"]
    trio.run(put_sessions, three, [session(4, steps_of("alpha0"))])
    for explain in (True, False):
        add(three, target, explain=explain)
        assert len(left_out(target)) == 2
        assert listed.items() < left_out(target).items()


def test_a_list_can_be_asked_for_later(three: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(three, target, *FORMATS)
    assert not (target / "left_out.jsonl").exists()
    add(three, target, explain=True)
    assert list(left_out(target).values()) == ["exact_copy"]
