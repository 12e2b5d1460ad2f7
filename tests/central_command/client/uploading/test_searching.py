"""What a walk and a glob find, and that both end."""

import glob
import os
from pathlib import Path

import pytest

from central_command.client.uploading import searching
from central_command.client.uploading.searching import Unsearchable, expand, is_glob, walk

NAMES = ("a.jsonl", "b.json", ".h.jsonl", "d/a.jsonl", "d/e/a.jsonl", "d/.h/a.jsonl", "x[1]/a.jsonl", "f/g/h/i.md")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files at several depths."""
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "*.jsonl", "**", "**/*", "**/*.jsonl", "d/**", "?/*", "*/e/*.jsonl", "**/e/**", ".*", "d/.*/*"),
        *("[x]*/a.jsonl", "**/g/**/*.md", "*/a.jsonl/x", "*/nothing", "**/**/a.jsonl", "x[[]1]/*"),
    ],
)
def test_a_glob_matches_what_the_standard_librarys_does(tree: Path, pattern: str) -> None:
    """But that `**` at the end does not mean the folder itself, which the library gives with a slash."""
    library = glob.glob(str(tree / pattern), recursive=True)  # noqa: PTH207 -- the one whose words these are
    expected = {path for path in library if not path.endswith("/")}
    found = [str(path) for path in expand(tree / pattern) if isinstance(path, Path)]
    assert sorted(found) == sorted(expected)


def test_folders_that_contain_themselves_are_searched_once(tree: Path) -> None:
    """Two such links would be 2^40 paths."""
    for name in ("self", "again"):
        (tree / name).symlink_to(".")
    assert len(list(walk(tree, (".jsonl",)))) == 6
    assert len(list(expand(tree / "**" / "a.jsonl"))) == 3 + 1


def test_what_cannot_be_searched_is_among_what_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, and the rest goes on."""
    scandir = os.scandir

    def scan(path: Path) -> object:
        if path.name == "e":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    closed = Unsearchable(tree / "d" / "e", "it cannot be searched: Permission denied.")
    found = list(walk(tree, (".jsonl",)))
    assert closed in found
    assert len(found) == 6
    assert closed in list(expand(tree / "d" / "*" / "*"))


def test_names_in_memory_are_bounded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one folder, and of the folders that wait; both are said."""
    for n in range(6):
        (tree / "d" / f"folder {n}").mkdir()
        (tree / "d" / f"{n}.jsonl").touch()
    monkeypatch.setattr(searching, "NAMES_MAX", 4)
    problems = [each.problem for each in walk(tree / "d", (".jsonl",)) if isinstance(each, Unsearchable)]
    assert problems[0] == "it holds more than 4 names."
    assert any("match" in each.problem for each in expand(tree / "**" / "*") if isinstance(each, Unsearchable))


def test_a_glob_has_characters_that_mean_others() -> None:
    """The three that shells know everywhere."""
    assert [is_glob(name) for name in ("a*", "a?", "[a", "a", "{a}")] == [True, True, True, False, False]
