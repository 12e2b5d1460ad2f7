"""Exports: what goes in adds up, is the same twice whatever was interrupted, and can be added to."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from central_command.corpus.filters import Filters
from central_command.exporting import exporting, publishing, writing
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.engine import Progress
from central_command.exporting.known_exports import exports_with, known_exports
from central_command.exporting.plan import Plan
from central_command.exporting.selection import ExportRefused
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.splits import Split
from central_command.exporting.verifying import read_index, verify_export
from central_command.exporting.writing import paths_of
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.journals.erasure_register import ErasureRegister, ErasureSubject, digest_of, register_path
from tests.central_command.exporting.conftest import contents, make
from tests.corpus_maker import put_sessions, session, steps_of, take_back

ALL = ("jsonl", "texts", "each", "columnar")
HALVES = (Split("train", 0.5), Split("test", 0.5))


def rows(target: Path, name: str) -> list[Any]:
    """The rows of a format of lines."""
    lines = (path.read_text().splitlines() for path in sorted((target / name).rglob("*.jsonl")))
    return [json.loads(line) for of_file in lines for line in of_file]


def data_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """Of an export's files those with rows."""
    return {name: text for name, text in files.items() if "/" in name and not name.endswith("README.md")}


def test_all_formats_are_written_from_one_reading_and_add_up(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    done = make(root, target, *ALL)
    manifest = done.manifest
    assert (manifest.seen, manifest.kept, manifest.left_out) == (20, 20, {})
    counts = {name: (each.trajectories, each.rows, each.left_out) for name, each in manifest.formats.items()}
    assert counts == {
        "jsonl": (20, 20, {}),
        "texts": (19, 38, {"no_label": 1}),
        "each": (19, 38, {"no_label": 1}),
        "columnar": (19, 38, {"no_label": 1}),
    }
    assert list(verify_export(target)) == []
    assert len(rows(target, "jsonl")) == 20
    assert sorted(path.name for path in target.iterdir()) == sorted(["README.md", "index.jsonl", "manifest.json", *ALL])
    assert not [path for path in target.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


def test_files_are_no_larger_than_the_bound_but_for_a_single_session(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    manifest = make(root, target, "jsonl", "texts").manifest
    assert len([file for file in manifest.files if file.format == "jsonl"]) > 2
    assert max(file.size_bytes for file in manifest.files if file.format) <= 40_000
    alone = make(root, tmp_path / "alone", "jsonl", settings=ExportSettings(shard_bytes_max=1_000)).manifest
    assert {file.trajectories for file in alone.files if file.format} == {1}


def test_nobody_s_id_is_in_an_export(root: Path, tmp_path: Path) -> None:
    """Nor are the journal's members and the signatures of near copies."""
    make(root, tmp_path / "out", *ALL, explain=True)
    for name, text in contents(tmp_path / "out").items():
        assert b"0" * 31 not in text.replace(b"00000000-0000-0000-0000-0000000000", b""), name
        assert b"contributor_id" not in text
    row = rows(tmp_path / "out", "jsonl")[0]
    assert row["contributor"].startswith("con_")
    assert set(row["duplicates"]) == {"version", "sha256", "cluster", "similarity"}
    assert not {"received", "crc32", "total_tokens"} & set(row)


def test_the_same_selection_on_the_same_corpus_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    make(root, tmp_path / "one", *ALL, splits=HALVES, explain=True)
    make(root, tmp_path / "two", *ALL, splits=HALVES, explain=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


class KilledError(BaseException):
    """The process ends here."""


def killing(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """End the process at the `at`-th thing that changes the disk; answer how many there were."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise KilledError
            return function(*args, **options)

        return call

    for owner, name in (
        (Plan, "commit"),
        (writing.HashedFile, "close"),
        (writing.HashedFile, "flush"),
        (publishing, "move_file"),
        (publishing, "put_file"),
        (exporting, "_clear"),
        (exporting, "clear_unfinished"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: count


def make_killed(patching: pytest.MonkeyPatch, at: int, root: Path, target: Path, *formats: str, **options: Any) -> None:
    """Begin an export, or go on with it, until it is killed; one that has fewer steps to go comes to its end."""
    with patching.context() as patch, suppress(KilledError):
        killing(patch, at)
        make(root, target, *formats, **options)


def is_whole(target: Path) -> bool:
    """Whether nothing is left to do."""
    return (target / "manifest.json").exists() and not (target / ".unfinished").exists()


@pytest.mark.parametrize("options", [{"splits": HALVES}, {"sample": 9}], ids=["all", "sample"])
def test_killed_anywhere_and_run_again_it_gives_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """At each step that changes the disk, once each; also killed again while it goes on."""
    make(root, tmp_path / "whole", "jsonl", "columnar", **options)
    wanted = contents(tmp_path / "whole")
    with monkeypatch.context() as patch:
        steps = killing(patch, -1)
        make(root, tmp_path / "counted", "jsonl", "columnar", **options)
    assert steps() > 20
    for at in range(1, steps() + 1):
        target = tmp_path / f"killed-{at}"
        for again in (at, max(1, at // 2)):
            if not is_whole(target):
                make_killed(monkeypatch, again, root, target, "jsonl", "columnar", **options)
        if not is_whole(target):
            make(root, target, "jsonl", "columnar", **options)
        assert contents(target) == wanted, at


def test_killed_between_two_sessions_and_run_again_it_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    """Behind each, once, while a row group may be written beside; the process goes on, and so nothing may write on."""
    make(root, tmp_path / "whole", "parquet")
    wanted = contents(tmp_path / "whole")

    def killed(progress: Progress) -> None:
        if progress.records == at:
            raise KilledError

    for at in range(1, 20):
        with pytest.raises(KilledError):
            make(root, tmp_path / f"{at}", "parquet", report=killed)
        make(root, tmp_path / f"{at}", "parquet")
        assert contents(tmp_path / f"{at}") == wanted, at


@pytest.mark.parametrize("at", [1, 4, 9])
def test_an_export_that_the_system_killed_is_gone_on_with(root: Path, tmp_path: Path, at: int) -> None:
    """By SIGKILL, at one of the moments at which it makes sure that something is on disk."""
    (tmp_path / "config.toml").write_text("[export]\nshard_bytes_max = 40000\nrow_group_bytes_max = 5000\n")
    make(root, tmp_path / "whole", "parquet", "messages")
    target = tmp_path / "out"
    command = ["export", str(target), "--config", str(tmp_path / "config.toml"), "--data-dir", str(root)]
    command += ["--format", "parquet", "--format", "messages"]
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, str(at), *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (target / "manifest.json").exists()
    make(root, target, "parquet", "messages")
    assert contents(target) == contents(tmp_path / "whole")


KILLED_AT = """
import os, signal, sys
from central_command.commands.cli import main
from central_command.exporting.writing import HashedFile
close, left = HashedFile.close, int(sys.argv.pop(1))
def killing(file):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    close(file)
HashedFile.close = killing
main()
"""


def test_what_came_into_the_corpus_meanwhile_is_the_next_export_s(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, tmp_path / "whole", "jsonl")
    make_killed(monkeypatch, 6, root, tmp_path / "out", "jsonl")
    assert not is_whole(tmp_path / "out")
    trio.run(put_sessions, root, [session(100)])
    assert make(root, tmp_path / "out", "jsonl").manifest.seen == 20
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_options_begin_an_unfinished_export_anew(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_killed(monkeypatch, 9, root, tmp_path / "out", "jsonl", "texts")
    assert not is_whole(tmp_path / "out")
    make(root, tmp_path / "out", "texts", limit=3)
    make(root, tmp_path / "whole", "texts", limit=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_incremental_export_adds_files_and_leaves_the_old_ones_alone(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(root, target, *ALL)
    before = contents(target)
    trio.run(put_sessions, root, [session(number, contributor=number % 7) for number in range(30, 36)])
    done = make(root, target, *ALL, is_incremental=True)
    assert (done.manifest.seen, done.manifest.kept, done.rewritten) == (26, 26, ())
    after = contents(target)
    assert {name: after[name] for name in data_of(before)} == data_of(before)
    assert list(verify_export(target)) == []
    assert [row["session_id"] for row in rows(target, "jsonl")][-1] == "sess_35"
    unchanged = contents(target)
    make(root, target, *ALL, is_incremental=True)
    assert contents(target) == unchanged


def test_an_incremental_export_leaves_out_copies_of_what_is_there(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(root, target, "jsonl")
    trio.run(put_sessions, root, [session(40, steps_of("alpha3"), contributor=3), session(41, contributor=2)])
    manifest = make(root, target, "jsonl", is_incremental=True).manifest
    assert (manifest.seen, manifest.kept, manifest.left_out) == (22, 21, {"exact_copy": 1})


def test_what_was_erased_leaves_the_files_that_held_it_and_no_others(root: Path, tmp_path: Path) -> None:
    """The other rows stay as they are, and it is said which files were written anew."""
    target = tmp_path / "out"
    make(root, target, *ALL)
    before = contents(target)
    index = {entry.record_id: entry for entry in read_index(target)}
    gone = [entry for entry in index.values() if entry.session_id in {"sess_1", "sess_11"}]
    trio.run(take_back, root, 1, 11)
    done = make(root, target, *ALL, is_incremental=True)
    assert {*done.rewritten, *done.removed} == {
        path
        for entry in gone
        for name, place in entry.places.items()
        for path in (paths_of(place.path, 2) if name == "each" else [place.path])
    }
    assert all(name.startswith("each/") for name in done.removed), "all others hold something else, too"
    assert (done.manifest.seen, done.manifest.kept, done.manifest.left_out) == (18, 18, {})
    assert done.taken_out == {"no_consent": 2}
    after = contents(target)
    assert {name for name in data_of(before) if name not in after} == set(done.removed)
    assert {name for name in data_of(before) if after.get(name, before[name]) != before[name]} == set(done.rewritten)
    assert list(verify_export(target)) == []
    left = [row["session_id"] for row in rows(target, "jsonl")]
    assert left == [f"sess_{number}" for number in range(20) if number not in {1, 11}]
    for entry in read_index(target):
        place = entry.places["jsonl"]
        line = (target / place.path).read_text().splitlines()[place.first]
        assert json.loads(line)["record_id"] == entry.record_id
    assert b"alpha11" not in b"".join(after.values())


def test_what_is_erased_while_an_export_is_made_is_not_in_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when that is noticed at its end, nor when it goes on."""

    def erase(progress: Any) -> None:
        if progress.records == 15:
            trio.run(take_back, root, 1)

    manifest = make(root, tmp_path / "out", "jsonl", report=erase).manifest
    assert (manifest.seen, manifest.kept) == (19, 19)
    assert b"alpha1 " not in b"".join(contents(tmp_path / "out").values())
    make_killed(monkeypatch, 12, root, tmp_path / "next", "jsonl")
    assert not is_whole(tmp_path / "next")
    trio.run(take_back, root, 2)
    assert make(root, tmp_path / "next", "jsonl").manifest.kept == 18
    assert list(verify_export(tmp_path / "next")) == []


def test_an_export_takes_out_whom_it_is_asked_to_erase_before_that_is_done(root: Path, tmp_path: Path) -> None:
    make(root, tmp_path / "out", "jsonl")
    register = ErasureRegister(register_path(DataLayout(root)), OsFileSystem(), lambda: 1.0)
    register.ask(ErasureSubject.CONTRIBUTOR, digest_of(ErasureSubject.CONTRIBUTOR, f"{1:032x}"))
    done = make(root, tmp_path / "out", "jsonl", is_incremental=True)
    assert (done.manifest.seen, done.manifest.kept, done.manifest.left_out) == (17, 17, {})
    assert done.taken_out == {"erased": 3}
    assert list(verify_export(tmp_path / "out")) == []
    assert b"Mended alpha8:" not in b"".join(contents(tmp_path / "out").values())
    assert make(root, tmp_path / "next", "jsonl").manifest.kept == 17


def test_each_record_that_is_left_out_has_one_reason(tmp_path: Path) -> None:
    root = tmp_path / "data"
    cut = [{**step, "truncated": True} if step["type"] == "action" else step for step in steps_of("cut")]
    child = {"provider": "claude-code", "model_engine": "claude-opus-4-6", "agent_role": "subagent"}
    lines = [
        session(1),
        session(2, cut),
        session(3, steps_of("gap"), sequence_gaps=[{"before": 2, "missing": 1}]),
        session(4, []),
        session(5, steps_of("alpha1")),
        session(6, [*steps_of("alpha1"), {"type": "thought", "content": "bye"}]),
        session(7, steps_of("other"), metadata={"provider": "codex", "model_engine": "gpt-5.5"}),
        session(8, steps_of("child"), metadata=child),
        session(9, steps_of("bench")),
        session(10, steps_of("late"), started_at="2027-01-01T00:00:00.000000Z"),
    ]
    trio.run(put_sessions, root, lines)
    benchmark = tmp_path / "benchmark.jsonl"
    words = next(step["content"] for step in steps_of("bench") if step["type"] == "resolution").split()
    benchmark.write_text(json.dumps({"prompt": " ".join(words[1:15]).upper()}) + "\n")
    benchmarks = Benchmarks(1_000)
    benchmarks.add(benchmark)
    shape = msgspec.structs.replace(exporting.Selection(formats=()).shape, subagents="drop")
    options: dict[str, Any] = {
        "filters": Filters(providers=("claude-code",), before="2027"),
        "given_benchmarks": benchmarks,
        "shape": shape,
        "explain": True,
    }
    manifest = make(root, tmp_path / "out", "jsonl", **options).manifest
    listed = {
        each["record_id"][-2:]: each
        for each in map(json.loads, (tmp_path / "out" / "left_out.jsonl").read_text().splitlines())
    }
    assert {name: each["reason"] for name, each in listed.items()} == {
        "02": "cut_arguments",
        "03": "sequence_gaps",
        "04": "no_steps",
        "05": "exact_copy",
        "06": "near_copy",
        "07": "provider",
        "08": "subagent",
        "09": "contaminated",
        "0a": "date",
    }
    assert listed["09"]["detail"].startswith("benchmark.jsonl: bench bench10 bench11")
    assert manifest.kept + sum(manifest.left_out.values()) == manifest.seen == 10
    kept = make(
        root, tmp_path / "kept", "jsonl", dedup="none", keep_cut_arguments=True, keep_sequence_gaps=True
    ).manifest
    assert (kept.kept, kept.left_out) == (9, {"no_steps": 1})


def test_a_limit_takes_the_first_and_a_sample_the_same_by_chance(root: Path, tmp_path: Path) -> None:
    limited = make(root, tmp_path / "limited", "jsonl", limit=4, splits=HALVES).manifest
    assert (limited.kept, limited.left_out) == (4, {"limit": 16})
    assert {row["session_id"] for row in rows(tmp_path / "limited", "jsonl")} == {f"sess_{n}" for n in range(4)}
    sessions = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        manifest = make(root, tmp_path / name, "jsonl", sample=5, seed=seed).manifest
        assert (manifest.kept, manifest.left_out) == (5, {"sample": 15})
        sessions.append([row["session_id"] for row in rows(tmp_path / name, "jsonl")])
    assert sessions[0] == sessions[1] != sessions[2]


def test_columns_are_those_asked_for(root: Path, tmp_path: Path) -> None:
    make(root, tmp_path / "out", "texts", "columnar", columns=("messages", "steps"))
    assert list(rows(tmp_path / "out", "texts")[0]) == ["messages", "steps"]
    with pytest.raises(ExportRefused, match="has no column 'colour'; it has record_id"):
        make(root, tmp_path / "next", "texts", columns=("colour",))
    assert not (tmp_path / "next").exists()


def test_folders_that_hold_something_else_are_left_alone(root: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x")
    with pytest.raises(ExportRefused, match="is not empty, and holds no export"):
        make(root, full)
    with pytest.raises(ExportRefused, match="lies in the data directory"):
        make(root, root / "out")
    with pytest.raises(ExportRefused, match="holds no whole export to add to"):
        make(root, tmp_path / "new", is_incremental=True)
    make(root, tmp_path / "out", "jsonl")
    with pytest.raises(ExportRefused, match="holds an export already"):
        make(root, tmp_path / "out", "jsonl")
    with pytest.raises(ExportRefused, match="was made with other options"):
        make(root, tmp_path / "out", "jsonl", seed=4, is_incremental=True)


def test_exports_that_hold_something_of_a_session_are_known(root: Path, tmp_path: Path) -> None:
    """Each folder once; of one that is gone or unfinished, nobody can tell, and that is said."""
    assert exports_with(root, ["sess_1"]) == []
    make(root, tmp_path / "all", "texts")
    make(root, tmp_path / "all", "texts", is_incremental=True)
    make(root, tmp_path / "late", "texts", filters=Filters(after="2026-11-15"))
    gone = tmp_path / "gone"
    make(root, gone, "texts")
    gone.rename(tmp_path / "moved")
    with (root / "exports.jsonl").open("ab") as file:
        file.write(b'{"path":"/to')
    make(root, tmp_path / "next", "texts", limit=1)
    known = [str(tmp_path / name) for name in ("all", "late", "gone", "next")]
    assert known_exports(root) == known
    assert exports_with(root, ["sess_1", "sess_x"]) == [known[0], f"{known[2]} (which cannot be looked into)"]
    assert (root / "exports.jsonl").stat().st_mode & 0o777 == 0o600


def test_verify_finds_whatever_was_changed(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(root, target, "jsonl", "columnar", splits=HALVES)

    def found(change: Callable[[], object]) -> str:
        before = contents(target)
        change()
        sentences = " ".join(verify_export(target))
        for name, text in before.items():
            (target / name).write_bytes(text)
        return sentences

    shard = next(target.glob("jsonl/*.jsonl"))
    assert "has been changed" in found(lambda: shard.write_bytes(shard.read_bytes()[:-3] + b"x}\n"))
    assert "is missing" in found(shard.unlink)
    stray = target / "jsonl" / "more.jsonl"
    assert "jsonl/more.jsonl is not in the manifest" in found(lambda: stray.write_text("{}\n"))
    stray.unlink()
    path = target / "manifest.json"
    stray.symlink_to("/nowhere")
    assert "jsonl/more.jsonl is not in the manifest" in " ".join(verify_export(target))
    stray.unlink()
    for old, new, said in (
        ('"chars": {\n   "total": ', '"chars": {\n   "total": 1', "the facts in the manifest"),
        ('"seed"', '"need"', "manifest.json has been changed"),
    ):
        assert old in path.read_text()
        assert said in found(lambda old=old, new=new: path.write_text(path.read_text().replace(old, new)))  # type: ignore[misc]
    assert "are not the 21 seen" in found(lambda: path.write_text(path.read_text().replace('"seen": 20', '"seen": 21')))
    assert list(verify_export(target)) == []
    path.write_text("{")
    with pytest.raises(ExportRefused, match="cannot be read"):
        list(verify_export(target))


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Many contributors, of whom several contribute near copies of each other's sessions, and of parts of them."""
    root = tmp_path / "crowd"

    def lines() -> Iterator[dict[str, Any]]:
        for number in range(60):
            name = f"task{number % 6}" if number % 3 == 0 else f"own{number}"
            copied = [{"from_step": 1, "to_step": 3, "session_id": f"sess_{number - 7}", "trajectory_id": "traj_x"}]
            yield session(
                number,
                steps_of(name),
                contributor=number % 13,
                copied_from=copied if number % 10 == 9 else [],
            )

    trio.run(put_sessions, root, lines())
    return root


def test_nothing_leaks_between_splits_and_everything_stays_in_its_own(crowd: Path, tmp_path: Path) -> None:
    """Neither a contributor, nor near copies, nor copied steps; and what comes later moves nothing."""
    manifest = make(crowd, tmp_path / "before", "jsonl", splits=HALVES, dedup="none").manifest
    entries = list(read_index(tmp_path / "before"))
    contributors = {row["session_id"]: row["contributor"] for row in rows(tmp_path / "before", "jsonl")}
    by_contributor: dict[str, set[str]] = {}
    by_cluster: dict[str, set[str]] = {}
    for entry in entries:
        by_contributor.setdefault(contributors[entry.session_id], set()).add(entry.split)
        by_cluster.setdefault(entry.cluster, set()).add(entry.split)
    assert {len(splits) for splits in (*by_contributor.values(), *by_cluster.values())} == {1}
    assert {entry.split for entry in entries} == {"train", "test"}
    assert any(sum(entry.cluster == each for entry in entries) > 1 for each in by_cluster), "no near copies were kept"
    assert manifest.left_out["between_splits"] > 0
    splits = {entry.session_id: entry.split for entry in entries}
    for row in rows(tmp_path / "before", "jsonl"):
        for run in row["copied_from"]:
            assert splits.get(run["session_id"], splits[row["session_id"]]) == splits[row["session_id"]]

    trio.run(
        put_sessions,
        crowd,
        [session(number, steps_of(f"task{number % 6}"), contributor=number % 17) for number in range(70, 110)],
    )
    make(crowd, tmp_path / "after", "jsonl", splits=HALVES, dedup="none")
    later = {entry.session_id: entry.split for entry in read_index(tmp_path / "after")}
    assert splits.items() <= later.items(), "what was in a split is still in it"
    assert len(later) > len(splits)
    assert list(verify_export(tmp_path / "after")) == []


def test_a_manifest_is_what_its_own_hash_says(root: Path, tmp_path: Path) -> None:
    """Any change of it is seen, also one by which everything still adds up; without a hash its form is looked at."""
    target = tmp_path / "out"
    make(root, target)
    path = target / "manifest.json"
    text = path.read_bytes()
    digest = json.loads(text)["sha256"]
    assert digest == hashlib.sha256(text.replace(digest.encode(), b"")).hexdigest()
    changed = "manifest.json has been changed: it is not what its own SHA-256 says."
    path.write_bytes(text.replace(b'"license": "other"', b'"license": "mine!"'))
    assert list(verify_export(target)) == [changed]
    path.write_bytes(text.replace(digest.encode(), b"0" * 64))
    assert list(verify_export(target)) == [changed]
    path.write_bytes(text.replace(b',\n "sha256": "%s"\n}' % digest.encode(), b"\n}"))
    assert list(verify_export(target)) == []  # as exports were made before
    path.write_bytes(path.read_bytes().replace(b'"seed": 0', b'"seed":  0'))
    assert list(verify_export(target)) == [changed]


def test_documents_may_be_a_file_each(root: Path, tmp_path: Path) -> None:
    """They are named for their records, hold what the lines hold, and go with their records."""
    lines, files = tmp_path / "lines", tmp_path / "files"
    make(root, lines, "atif")
    asked = Shape(documents="files")
    made = make(root, files, "atif", shape=asked).manifest
    index = list(read_index(files))
    assert all(
        Path(entry.places["atif"].path).match(f"atif/train-0000?/{entry.record_id}.json")
        and entry.places["atif"].rows == 1
        for entry in index
    )
    whole = b"".join((files / entry.places["atif"].path).read_bytes() for entry in index)
    assert whole == b"".join(path.read_bytes() for path in sorted(lines.glob("atif/*.jsonl")))
    assert made.formats["atif"].rows == len(index) == 20
    assert list(verify_export(files)) == []
    trio.run(take_back, root, 3)
    assert make(root, files, "atif", shape=asked, is_incremental=True).removed == (index[3].places["atif"].path,)
    assert list(verify_export(files)) == []
