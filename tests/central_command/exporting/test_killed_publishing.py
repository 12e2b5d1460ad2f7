"""Exports that were killed while their files got their names, and what happened before they were gone on with."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.exporting.known_exports import exports_with
from central_command.exporting.settings import ExportSettings
from central_command.exporting.verifying import read_index, verify_export
from tests.central_command.exporting.conftest import contents, make
from tests.central_command.exporting.test_export import killing, make_killed, rows
from tests.corpus_maker import put_sessions, session, take_back

FORMATS = ("jsonl", "each")
TINY: dict[str, Any] = {"settings": ExportSettings(shard_bytes_max=20_000)}


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A data directory with six sessions."""
    root = tmp_path / "few"
    trio.run(put_sessions, root, [session(number, contributor=number) for number in range(6)])
    return root


@pytest.fixture
def export_of_few(few: Path, tmp_path: Path) -> Path:
    """An export of it; since then two sessions have come, and one has gone."""
    target = tmp_path / "before"
    make(few, target, *FORMATS, **TINY)
    trio.run(put_sessions, few, [session(number, contributor=number) for number in (30, 31)])
    trio.run(take_back, few, 0)
    return target


def killed_everywhere(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path, before: Path | None, **options: Any
) -> Iterator[tuple[Path, Path]]:
    """Yield exports that were killed at each step once their first file had its name, each with a corpus of its own."""

    def prepared(name: str) -> tuple[Path, Path]:
        target, data = tmp_path / "out" / name, tmp_path / "data" / name
        shutil.copytree(root, data)
        if before is not None:
            shutil.copytree(before, target)
        return target, data

    target, data = prepared("counted")
    with monkeypatch.context() as patch:
        steps = killing(patch, -1)
        make(data, target, *FORMATS, **TINY, **options)
    published = 0
    for at in range(steps(), 0, -1):
        target, data = prepared(f"killed-{at}")
        make_killed(monkeypatch, at, data, target, *FORMATS, **TINY, **options)
        old = {} if before is None else contents(before)
        now = {name: text for name, text in contents(target).items() if not name.startswith(".unfinished")}
        published += old != now
        yield target, data
        if old == now:
            break
    assert published > 5, "it was killed while it published"


def test_a_new_export_that_was_being_published_leaves_nothing_of_who_was_erased_then(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor anything that its manifest does not name."""
    for target, data in killed_everywhere(monkeypatch, few, tmp_path, None):
        if (target / "manifest.json").exists():
            continue
        trio.run(take_back, data, 1)
        assert make(data, target, *FORMATS, **TINY).manifest.kept == 5
        assert list(verify_export(target)) == []
        assert b"Mended alpha1:" not in b"".join(contents(target).values())


def test_other_options_take_away_what_was_published(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for target, data in killed_everywhere(monkeypatch, few, tmp_path, None):
        if (target / "manifest.json").exists():
            continue
        make(data, target, "texts", limit=2)
        assert list(verify_export(target)) == []
        assert {path.name for path in target.iterdir() if path.is_dir()} == {"texts"}


def test_what_was_being_added_is_the_same_in_the_end(
    few: Path, export_of_few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the counts of what is left out, and with bounds that were changed meanwhile."""
    killed = killed_everywhere(monkeypatch, few, tmp_path, export_of_few, is_incremental=True)
    wanted = None
    for target, data in killed:
        wanted = wanted or contents(tmp_path / "out" / "counted")
        make(data, target, *FORMATS, is_incremental=True, settings=ExportSettings(shard_bytes_max=20_001))
        assert list(verify_export(target)) == []
        assert contents(target) == wanted


def test_who_is_erased_while_something_is_being_added_is_not_in_it_and_all_others_are(
    few: Path, export_of_few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose session was there before, and one whose session was being added."""
    for target, data in killed_everywhere(monkeypatch, few, tmp_path, export_of_few, is_incremental=True):
        trio.run(take_back, data, 1, 31)
        make(data, target, *FORMATS, **TINY, is_incremental=True)
        assert list(verify_export(target)) == []
        left = {"sess_2", "sess_3", "sess_4", "sess_5", "sess_30"}
        assert {entry.session_id for entry in read_index(target)} == left
        assert {row["session_id"] for row in rows(target, "jsonl")} == left
        gone = (b"Mended alpha0:", b"Mended alpha1:", b"Mended alpha31:")
        assert [name for name, text in contents(target).items() if any(word in text for word in gone)] == []


def test_an_erasure_names_exports_that_are_unfinished(
    few: Path, export_of_few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was being added to one is in no index yet."""
    make_killed(monkeypatch, 9, few, export_of_few, *FORMATS, **TINY, is_incremental=True)
    assert exports_with(few, ["sess_31"]) == [f"{export_of_few} (which is unfinished)"]
    assert exports_with(few, ["sess_1"]) == [str(export_of_few)]
