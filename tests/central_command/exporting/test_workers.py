"""Processes that shape rows beside: the same bytes as without, and none is left whatever ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from central_command.exporting import dispatching
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.engine import Progress
from central_command.exporting.orders import Failed, encode
from central_command.exporting.plan import Plan
from central_command.exporting.selection import ExportRefused
from central_command.exporting.shape import Shape
from central_command.exporting.splits import Split
from central_command.exporting.tokens import load_counter
from central_command.exporting.verifying import verify_export
from central_command.process.children import PipedProcess
from central_command.process.piped import receive, send
from persistence.files.failures import StorageFailure
from persistence.format.layout import DataLayout
from tests.central_command.exporting.conftest import SMALL, contents, make
from tests.central_command.exporting.test_judgements import judge
from tests.corpus_maker import put_sessions, put_texts, session, steps_of, text

FORMATS = ("jsonl", "messages", "parquet", "atif", "swe-agent")
ALONE = msgspec.structs.replace(SMALL, workers=0)


def workers(count: int, **settings: Any) -> Any:
    """Settings by which there are so many, each with a few sessions at a time."""
    more = {"worker_bytes_min": 1, "worker_batch_bytes_max": 20_000, **settings}
    return msgspec.structs.replace(SMALL, workers=count, **more)


@pytest.fixture
def root(root: Path) -> Path:
    """A data directory whose corpus has also copies, near copies, copied steps, and what nobody can read."""
    odd = {"type": "action", "tool": "Bash", "arguments": {"n": 2**70, "s": "\ud800"}, "content": ""}
    run = {"from_step": 1, "to_step": 2, "session_id": "sess_1", "trajectory_id": "traj_1"}
    more: list[dict[str, Any] | bytes] = [
        session(20, steps_of("alpha3"), contributor=3),
        session(21, [*steps_of("alpha4", 9), *steps_of("alpha4")[-1:]], contributor=4),
        json.dumps(session(22, [*steps_of("odd"), odd], contributor=9)).encode(),
        session(23, steps_of("copied"), contributor=8, copied_steps=2, copied_from=[run]),
        session(24, steps_of("damaged")),
        session(25, [{"type": "thought", "content": "x" * 50_000}, *steps_of("large")]),
    ]
    trio.run(put_sessions, root, more)
    (journal,) = DataLayout(root).root.glob("corpus/*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[24] = lines[24].replace(b"damaged1", b"changed1")
    journal.write_bytes(b"".join(lines))
    return root


def everything_asked(root: Path, folder: Path) -> dict[str, Any]:
    """Options that take what only some exports have: files beside, and what the plan knows."""
    judge(root, 2, 3)
    words = next(step["content"] for step in steps_of("alpha1") if step["type"] == "resolution").split()
    (folder / "benchmark.txt").write_text(" ".join(words[1:15]))
    (folder / "words.json").write_text('{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}')
    benchmarks = Benchmarks(1_000)
    benchmarks.add(folder / "benchmark.txt")
    counter = load_counter(folder / "words.json")
    return {
        "given_benchmarks": benchmarks,
        "counter": counter,
        "tokenizer": counter.file,
        "max_tokens": 150,
        "overlong": "split",
        "sample": 20,
        "dedup": "none",
        "shape": Shape(judgements=True, nested="struct"),
    }


@pytest.mark.parametrize("asked", ["splits", "everything"])
def test_the_bytes_are_the_same_whatever_the_number_of_workers(root: Path, tmp_path: Path, asked: str) -> None:
    """Also what is said of what was left out, by the reason that is the first to hold."""
    options = (
        everything_asked(root, tmp_path)
        if asked == "everything"
        else {"splits": (Split("train", 0.5), Split("test", 0.5))}
    )
    done = make(root, tmp_path / "0", *FORMATS, explain=True, settings=ALONE, **options)
    for count in (1, 3):
        make(root, tmp_path / f"{count}", *FORMATS, explain=True, settings=workers(count), **options)
        assert contents(tmp_path / f"{count}") == contents(tmp_path / "0")
    assert len(done.manifest.left_out) >= 2, done.manifest.left_out
    assert done.manifest.left_out["unreadable"] == 1
    assert list(verify_export(tmp_path / "0")) == []


def test_records_of_the_intake_are_shaped_beside_as_well(root: Path, tmp_path: Path) -> None:
    trio.run(put_texts, root, [text(number, user=number % 3) for number in range(12)])
    make(root, tmp_path / "0", "records", settings=ALONE)
    make(root, tmp_path / "2", "records", settings=workers(2, worker_batch_bytes_max=1_000))
    assert contents(tmp_path / "2") == contents(tmp_path / "0")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PipedProcess]]:
    """The processes that were started; all of them are gone at the end."""
    found: list[PipedProcess] = []

    class Noted(PipedProcess):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(dispatching, "PipedProcess", Noted)
    yield found
    for process in found:
        assert not Path(f"/proc/{process.pid}").exists()


def test_for_a_few_sessions_no_process_is_started(root: Path, tmp_path: Path, started: list[PipedProcess]) -> None:
    """Nor are there more than have enough to do, nor any for sub-agents within others: those are shaped in order."""
    make(root, tmp_path / "few", "messages", settings=workers(3, worker_bytes_min=10_000_000))
    make(root, tmp_path / "embedded", "messages", settings=workers(3), shape=Shape(subagents="embed"))
    assert started == []
    make(root, tmp_path / "one", "messages", settings=workers(9, worker_bytes_min=150_000))
    assert len(started) == 1


def test_what_is_known_to_be_a_copy_is_not_sent(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    real = dispatching._ask

    def noted(process: PipedProcess, message: bytes) -> None:
        asked = msgspec.msgpack.decode(message)
        sent.extend(asked if isinstance(asked, list) else [])
        real(process, message)

    monkeypatch.setattr(dispatching, "_ask", noted)
    manifest = make(root, tmp_path / "out", "messages", settings=workers(1)).manifest
    copies = manifest.left_out["exact_copy"] + manifest.left_out["near_copy"]
    assert copies > 0
    assert len(sent) == manifest.seen - copies


def test_a_killed_worker_ends_the_export_with_a_sentence_and_it_is_gone_on_with(
    root: Path, tmp_path: Path, started: list[PipedProcess]
) -> None:
    make(root, tmp_path / "whole", "messages", "parquet", settings=ALONE)

    def killing(progress: Progress) -> None:
        if progress.records == 9:
            os.kill(started[0].pid, signal.SIGKILL)

    one_by_one = workers(2, worker_batch_bytes_max=1)
    with pytest.raises(ExportRefused, match=r"ended by signal 9 \(SIGKILL\): the same command goes on where it was"):
        make(root, tmp_path / "out", "messages", "parquet", settings=one_by_one, report=killing)
    make(root, tmp_path / "out", "messages", "parquet", settings=workers(1))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_export_that_ends_anywhere_is_gone_on_with_by_another_number_of_workers(
    root: Path, tmp_path: Path, started: list[PipedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, tmp_path / "whole", "messages", "parquet", settings=ALONE)
    commit = Plan.commit
    for at in (2, 4):
        left = at

        def ending(plan: Plan) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            commit(plan)

        with monkeypatch.context() as patch:
            patch.setattr(Plan, "commit", ending)
            with pytest.raises(KeyboardInterrupt):
                make(root, tmp_path / f"{at}", "messages", "parquet", settings=workers(2))
        make(root, tmp_path / f"{at}", "messages", "parquet", settings=workers(1))
        assert contents(tmp_path / f"{at}") == contents(tmp_path / "whole")
    assert started


def test_workers_end_when_the_export_is_killed(root: Path, tmp_path: Path) -> None:
    """Whatever they are at: what they hold open, a pipe of this test, is closed then."""
    command = [sys.executable, "-c", WAITING, str(root), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "shaped\n"
        process.kill()
        assert process.communicate(timeout=60) == ("", "")


WAITING = """
import signal, sys
from pathlib import Path
from tests.central_command.exporting.test_workers import make, workers
def report(progress):
    print("shaped", flush=True)
    signal.pause()
make(Path(sys.argv[1]), Path(sys.argv[2]), "messages", settings=workers(2), report=report)
"""


@pytest.mark.parametrize(("is_storage", "kind"), [(True, StorageFailure), (False, ExportRefused)])
def test_what_fails_in_a_worker_fails_in_the_export(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_storage: bool, kind: type[Exception]
) -> None:
    answer = encode(Failed("it cannot be read.", is_storage))
    script = f"from central_command.process.piped import send; send(1, {answer!r})"
    monkeypatch.setattr(dispatching, "COMMAND", (sys.executable, "-c", script))
    with pytest.raises(kind, match=r"\Ait cannot be read\.\Z"):
        make(root, tmp_path / "out", "messages", settings=workers(1))


def test_a_worker_that_cannot_go_on_says_so(root: Path, tmp_path: Path) -> None:
    """A file that an export was begun with is another one by now: what it leaves out would not add up."""
    options = everything_asked(root, tmp_path)
    (tmp_path / "benchmark.txt").write_text("something else")
    with pytest.raises(ExportRefused, match="--decontaminate or --tokenizer was changed meanwhile"):
        make(root, tmp_path / "out", "messages", settings=workers(1), **options)


def test_a_worker_with_a_fault_ends_the_export_with_its_status(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(ExportRefused, match="has ended with status 7: the same command"):
        make(root, tmp_path / "out", "messages", settings=workers(1))


def test_messages_are_whole_or_none() -> None:
    reading, writing = os.pipe()
    send(writing, b"")
    send(writing, b"x" * 10_000)
    os.write(writing, (9).to_bytes(8, "big") + b"short")
    os.close(writing)
    assert [receive(reading) for _ in range(4)] == [b"", b"x" * 10_000, None, None]
    os.close(reading)


def test_nothing_secret_is_in_the_arguments_or_the_environment_of_a_worker(
    root: Path, tmp_path: Path, started: list[PipedProcess]
) -> None:
    key = next(DataLayout(root).keys.glob("pseudonyms.key")).read_bytes()
    seen = []

    def look(_: Progress) -> None:
        folder = Path(f"/proc/{started[0].pid}")
        seen.append((folder / "cmdline").read_bytes() + (folder / "environ").read_bytes())

    make(root, tmp_path / "out", "messages", settings=workers(1), report=look)
    assert seen
    assert not any(key in each or str(root).encode() in each for each in seen)
