"""Exports that were asked for: one after the other, on disk before they are answered, and the same whatever dies."""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from central_command.export_queue.kept import KeptExport
from central_command.export_queue.queue import COMMAND, ExportQueue
from central_command.exporting.known_exports import exports_with, known_exports
from central_command.exporting.selection import ExportRefused
from central_command.exporting.splits import Split
from central_command.exporting.verifying import verify_export
from central_command.http.endpoints.exports import ExportReport, ExportState, NotTaken, RefusedExport
from persistence.files.file_system import inline
from tests.central_command.exporting.conftest import contents, make
from tests.corpus_maker import put_sessions, session
from tests.running_service import settings_with
from tests.server_process import environment

DEADLINE_S = 60.0
ASKED = {
    "formats": ["jsonl", "messages"],
    "selection": {"dedup": "none", "training_eligible": False},
    "options": {"split": "train=0.5,test=0.5", "explain": True},
}
HANGING = (sys.executable, "-c", "import sys; sys.stdin.read()")
FAILING = (sys.executable, "-c", "import sys; sys.exit(f'half a sentence\\n{sys.argv[1]} is full.')")


class Watched(ExportQueue):
    """Says when an export comes into another state."""

    changed = trio.Event()

    async def _keep(self, kept: KeptExport) -> None:
        await super()._keep(kept)
        self.changed.set()

    async def until(self, export_id: str, state: ExportState) -> ExportReport:
        """Wait until an export is in a state."""
        with trio.fail_after(DEADLINE_S):
            while (report := self.report(export_id)) is None or report.state is not state:
                self.changed = trio.Event()
                await self.changed.wait()
        return report


@pytest.fixture
async def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", environment({})["PYTHONPATH"])
    root = tmp_path / "data"
    await put_sessions(root, [session(number, contributor=number) for number in range(4)])
    return root


def queue(root: Path, *command: str, **settings: Any) -> Watched:
    return Watched(
        settings_with(export=settings),
        root,
        clock=time.time,
        random_bytes=os.urandom,
        offload=inline,
        command=command or COMMAND,
    )


async def asked(exports: ExportQueue, **members: Any) -> str:
    report = await exports.ask({**ASKED, **members})
    assert isinstance(report, ExportReport)
    return report.id


async def test_killed_while_it_runs_it_goes_on_at_the_next_start_and_makes_what_the_command_makes(root: Path) -> None:
    exports = queue(root, *HANGING)
    first, second = await asked(exports), await asked(exports, formats=["jsonl"])
    assert (root / "exports" / f"{first}.json").stat().st_mode & 0o777 == 0o600
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        await exports.until(first, ExportState.RUNNING)
        nursery.cancel_scope.cancel()
    again = queue(root)
    assert [report.state for report in again.reports()] == [ExportState.RUNNING, ExportState.WAITING]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        report = await again.until(first, ExportState.DONE)
        nursery.cancel_scope.cancel()
    target = root / "exports" / first
    wanted = root.parent / "wanted"
    splits = (Split("train", 0.5), Split("test", 0.5))
    make(root, wanted, "jsonl", "messages", splits=splits, dedup="none", explain=True, settings=settings_with().export)
    assert contents(target) == contents(wanted)
    assert (report.rows, report.seen, report.kept, report.left_out) == (8, 4, 4, {})
    assert report.bytes == sum(map(len, contents(target).values())) - (target / "manifest.json").stat().st_size
    assert list(verify_export(target)) == []
    assert not [path for path in (root / "exports").rglob("*") if path.stat().st_mode & 0o077]
    await nothing_is_done_twice(root, first, second)
    assert str(target) in exports_with(root, ["sess_1"])


async def nothing_is_done_twice(root: Path, done: str, waiting: str) -> None:
    """One that was whole when its state could not be kept any more is found to be so, without a process."""
    path = root / "exports" / f"{done}.json"
    kept = json.loads(path.read_bytes())
    kept["report"]["state"] = "running"
    path.write_text(json.dumps(kept))
    exports = queue(root, *FAILING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        await exports.until(done, ExportState.DONE)
        await exports.until(waiting, ExportState.FAILED)
        nursery.cancel_scope.cancel()


async def test_one_that_fails_says_why_and_the_next_is_made(root: Path) -> None:
    exports = queue(root, *FAILING)
    first, second = await asked(exports), await asked(exports)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        reason = (await exports.until(first, ExportState.FAILED)).reason
        await exports.until(second, ExportState.FAILED)
        nursery.cancel_scope.cancel()
    assert reason == f"{first} is full."
    missing = queue(root, "/nowhere/python")
    third = await asked(missing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(missing.run)
        assert "No such file" in str((await missing.until(third, ExportState.FAILED)).reason)
        nursery.cancel_scope.cancel()


async def test_what_is_deleted_ends_and_nothing_of_it_is_left(root: Path) -> None:
    """Also where an erasure asks: the server knows that it is gone."""
    exports = queue(root, *HANGING)
    first, second, third = [await asked(exports) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        await exports.until(first, ExportState.RUNNING)
        (root / "exports" / first).mkdir()
        with (root / "exports.jsonl").open("w") as known:
            known.write(json.dumps({"path": str(root / "exports" / first)}) + "\n")
        assert await exports.delete(second)
        assert await exports.delete(first)
        await exports.until(third, ExportState.RUNNING)
        nursery.cancel_scope.cancel()
    assert await exports.delete("exp_none") is None
    assert sorted(path.name for path in (root / "exports").iterdir()) == [f"{third}.json"]
    assert len(known_exports(root)) == 1
    assert exports_with(root, ["sess_1"], own=root / "exports") == []


async def test_there_are_no_more_than_the_settings_allow(root: Path) -> None:
    exports = queue(root, waiting_max=2, kept_max=3)
    assert [await asked(exports), await asked(exports)]
    assert await exports.ask(ASKED) is NotTaken.WAITING
    exports = queue(root, waiting_max=9, kept_max=3)
    last = await asked(exports)
    assert await exports.ask(ASKED) is NotTaken.KEPT
    await exports.delete(last)
    assert isinstance(await exports.ask(ASKED), ExportReport)


async def test_a_disk_without_room_refuses_and_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exports = queue(root)
    (root / "exports").write_text("no folder")
    assert await exports.ask(ASKED) is NotTaken.NO_ROOM
    assert exports.reports() == []


async def test_only_files_that_the_manifest_names_are_handed_out(root: Path) -> None:
    exports = queue(root)
    export_id = await asked(exports, formats=["jsonl"], options={})
    assert await exports.file(export_id, "manifest.json") is None
    assert (await exports.files(export_id), await exports.files("exp_no")) == ([], [])
    make(root, root / "exports" / export_id, "jsonl", dedup="none")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        await exports.until(export_id, ExportState.DONE)
        nursery.cancel_scope.cancel()
    for name in ("jsonl/train-00000.jsonl", "manifest.json", "README.md"):
        found = await exports.file(export_id, name)
        assert found is not None
        assert found.size_bytes == found.path.stat().st_size
    listed = await exports.files(export_id)
    assert {each.name: each.size_bytes for each in listed} == {
        name: len(content) for name, content in contents(root / "exports" / export_id).items()
    }
    assert exports.arguments(export_id)[0] == "--format=jsonl"
    assert exports.arguments("exp_no") == ()
    for name in ("", "jsonl", "../exports.jsonl", f"../{export_id}.json", "/etc/passwd", "jsonl/../manifest.json"):
        assert await exports.file(export_id, name) is None


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({}, "name at least one format (formats); there are messages, parquet,"),
        ({"formats": ["no"]}, "there is no format 'no'"),
        ({"formats": "jsonl"}, "formats is 'jsonl'; it must be a list of texts."),
        ({"formats": ["jsonl", "jsonl"]}, "the format jsonl is named twice (formats): name each once."),
        ({"formats": ["jsonl"], "options": {"documents": "files"}}, "documents files is of atif alone"),
        ({"formats": ["jsonl"], "options": {"nested": "struct"}}, "nested struct is of parquet alone"),
        ({"formats": ["records", "jsonl"]}, "is of the intake's records"),
        ({"formats": ["jsonl"], "more": 1}, "'more' is none of formats"),
        ({"formats": ["jsonl"], "selection": []}, "must be objects"),
        ({"formats": ["jsonl"], "selection": {"split": "a=1"}}, "'split' is no member"),
        ({"formats": ["jsonl"], "options": {"tier": ["A"]}}, "'tier' is no member"),
        ({"formats": ["jsonl"], "options": {"tokenizer": "/etc/passwd"}}, "'tokenizer' is no member"),
        ({"formats": ["jsonl"], "selection": {"limit": 0}}, "limit is 0; it must be a whole number from 1 to"),
        ({"formats": ["jsonl"], "selection": {"limit": 10**400}}, "limit is 1000"),
        ({"formats": ["jsonl"], "selection": {"seed": 10**5_000}}, "seed is too large a number; it must be"),
        ({"formats": ["jsonl"], "selection": {"dedup": "all"}}, "dedup is 'all'; it must be one of exact, near, none."),
        ({"formats": ["jsonl"], "selection": {"tier": "A"}}, "tier is 'A'; it must be a list of texts."),
        ({"formats": ["jsonl"], "selection": {"after": "2026-13-45"}}, "after is '2026-13-45', which is no time"),
        ({"formats": ["jsonl"], "options": {"explain": 1}}, "explain is 1; it must be true or false."),
        ({"formats": ["jsonl"], "options": {"reasoning_key": "--split"}}, "reasoning_key is up to 64 letters"),
        ({"formats": ["jsonl"], "options": {"max_tokens": 9, "subagents": "embed"}}, "max_tokens cuts no session"),
        ({"formats": ["jsonl"], "selection": {"after": "a\0b"}}, "holds what no option can"),
        ({"formats": ["jsonl"], "selection": {"after": "x" * 2_000}}, "characters in one"),
        ({"formats": ["jsonl"], "selection": {"tier": ["A"] * 300}}, "more than 200 values"),
        ({"formats": ["jsonl"], "options": {"split": "a=2"}}, "split holds 'a=2'"),
        ({"formats": ["messages"], "options": {"columns": "no"}}, "has no column 'no'"),
    ],
)
async def test_what_no_export_can_be_made_of_is_refused_in_one_sentence(
    tmp_path: Path, members: dict[str, Any], sentence: str
) -> None:
    exports = queue(tmp_path)
    found = await exports.ask(members)
    assert isinstance(found, RefusedExport)
    assert sentence in found.sentence
    assert "\n" not in found.sentence
    assert "--" not in found.sentence.replace("'--split'", "")
    assert "`" not in found.sentence
    assert exports.reports() == []


def test_another_folder_may_not_lie_in_the_data_directory(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="lies in the data directory"):
        queue(tmp_path, directory=str(tmp_path / "corpus"))
    assert "other" in repr(queue(tmp_path, directory=str(tmp_path.parent / "other")))


async def test_a_folder_that_is_named_and_missing_is_not_made(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A slip in a path, or a disk that is not mounted, would fill another one."""
    folder = root.parent / "mounted" / "exports"
    exports = queue(root, directory=str(folder))
    assert await exports.ask(ASKED) is NotTaken.NO_FOLDER
    assert exports.reports() == []
    assert not folder.parent.exists()
    assert f"export.directory: the folder {folder} does not exist: mount its disk, or make it" in caplog.text
    folder.mkdir(parents=True)
    export_id = await asked(exports)
    assert (folder / f"{export_id}.json").is_file()
    shutil.rmtree(folder)
    ended = trio.Event()
    exports.ended = lambda _report, _duration_s: ended.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.run)
        with trio.fail_after(DEADLINE_S):
            await ended.wait()
        nursery.cancel_scope.cancel()
    report = exports.report(export_id)
    assert report is not None
    assert (report.state, report.reason) == (ExportState.FAILED, NotTaken.NO_FOLDER)
    assert not folder.exists()
