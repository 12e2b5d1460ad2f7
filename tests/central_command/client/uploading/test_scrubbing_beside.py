"""Steps scrubbed by a process beside: the same as here, wherever it begins and however it ends."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from central_command.client.contract.steps import Step
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.uploading import scrubbing, upload
from central_command.client.uploading.keeping import KeptSteps
from central_command.client.uploading.scrubbing import OwnScrubbing, ScrubbingBeside
from central_command.client.uploading.survey import survey
from central_command.process.children import PipedProcess

TEXTS = ("nothing of note", "write to ana@foldline.io", "/home/sofia/app \udc80", "from 203.0.113.9 " * 40)
COUNT = 2_000
Sent = list[tuple[Step, "Counter[str]"]]


@pytest.fixture
def steps() -> list[Step]:
    """More than two blocks of them, with and without something to scrub; one as a transcript leaves it when cut."""
    return [
        Step(
            step=number + 1,
            type="action" if number % 5 == 0 else "thought",
            timestamp=float(number),
            content=TEXTS[number % len(TEXTS)] + " x" * 150,
            arguments={"command": f"cat {TEXTS[2]}", "n": 10**30} if number % 5 == 0 else None,
            token_count=1,
        )
        for number in range(COUNT)
    ]


@pytest.fixture
def expected(steps: list[Step]) -> Sent:
    own = OwnScrubbing()
    return [own.scrubbed(place, step) for place, step in enumerate(steps)]


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> list[PipedProcess]:
    """The processes that were started; few steps are enough for one."""
    started: list[PipedProcess] = []

    class Noted(PipedProcess):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(scrubbing, "PipedProcess", Noted)
    monkeypatch.setattr(scrubbing, "BESIDE_BYTES_MIN", 1)
    return started


@contextmanager
def beside(
    steps: list[Step], folder: Path, *, permits: threading.Semaphore | None = None, is_new: bool = True
) -> Iterator[ScrubbingBeside]:
    with (
        closing(KeptSteps(folder)) as kept,
        closing(ScrubbingBeside(kept, permits or threading.Semaphore(1), begins_ahead=lambda: is_new)) as found,
    ):
        for step in steps:
            kept.add(step)
        kept.finish()
        yield found


def test_what_is_sent_and_counted_is_the_same(
    steps: list[Step], expected: Sent, tmp_path: Path, processes: list[PipedProcess]
) -> None:
    """In any order in which it is asked for, and what was asked for again; nothing is left of it."""
    with beside(steps, tmp_path) as found:
        assert len(processes) == 1
        assert [found.scrubbed(place, step) for place, step in enumerate(steps)] == expected
        for place in (COUNT - 1, 7, 0, 1_234, 8):
            assert found.scrubbed(place, steps[place]) == expected[place]
        assert not list(tmp_path.iterdir())
    assert processes[0].wait() == -signal.SIGKILL
    assert len(processes) == 1


def test_what_was_found_out_of_a_step_meanwhile_stays(steps: list[Step], tmp_path: Path) -> None:
    """Its time may have been put right, and its usage was told behind it."""
    known = msgspec.structs.replace(steps[1], timestamp=99.0, timestamp_adjusted=True)
    with beside(steps, tmp_path) as found:
        sent, _ = found.scrubbed(1, known)
    assert (sent.timestamp, sent.timestamp_adjusted) == (99.0, True)
    assert "[EMAIL]" in sent.content


def test_it_begins_where_something_is_left(
    steps: list[Step], expected: Sent, tmp_path: Path, processes: list[PipedProcess]
) -> None:
    """Of a file of which much was sent before: nothing is scrubbed that is not sent."""
    with beside(steps, tmp_path, is_new=False) as found:
        assert not processes
        for place in (1_500, 1_501, COUNT - 1, 3):
            assert found.scrubbed(place, steps[place]) == expected[place]
        assert len(processes) == 1


def test_a_process_that_is_killed_changes_nothing(
    steps: list[Step], expected: Sent, tmp_path: Path, processes: list[PipedProcess]
) -> None:
    permits = threading.Semaphore(1)
    with beside(steps, tmp_path, permits=permits) as found:
        sent = [found.scrubbed(0, steps[0])]
        os.kill(processes[0].pid, signal.SIGKILL)
        sent += [found.scrubbed(place, step) for place, step in enumerate(steps) if place]
    assert sent == expected
    assert len(processes) == 1
    assert permits.acquire(blocking=False)


def test_one_that_cannot_be_started_changes_nothing(
    steps: list[Step], expected: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: Any, **_options: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(scrubbing, "PipedProcess", refused)
    permits = threading.Semaphore(1)
    with beside(steps, tmp_path, permits=permits) as found:
        assert [found.scrubbed(place, step) for place, step in enumerate(steps)] == expected
    assert permits.acquire(blocking=False)


def test_without_a_permit_none_is_started(
    steps: list[Step], expected: Sent, tmp_path: Path, processes: list[PipedProcess]
) -> None:
    """Until one is there, for what is left then."""
    permits = threading.Semaphore(0)
    with beside(steps, tmp_path, permits=permits) as found:
        assert found.scrubbed(0, steps[0]) == expected[0]
        assert not processes
        permits.release()
        assert [found.scrubbed(place, step) for place, step in enumerate(steps) if place] == expected[1:]
        assert len(processes) == 1
    assert permits.acquire(blocking=False)


def test_steps_that_are_not_kept_are_scrubbed_here(
    steps: list[Step], expected: Sent, tmp_path: Path, processes: list[PipedProcess]
) -> None:
    """There were too many of them for the disk, once the process had begun."""
    with (
        closing(KeptSteps(tmp_path, bytes_max=300_000)) as kept,
        closing(ScrubbingBeside(kept, threading.Semaphore(1), begins_ahead=lambda: True)) as found,
    ):
        for step in steps:
            kept.add(step)
        assert not kept.is_whole
        assert len(processes) == 1
        assert [found.scrubbed(place, step) for place, step in enumerate(steps)] == expected


def test_who_waits_for_it_is_let_go_when_it_is_closed(steps: list[Step], tmp_path: Path) -> None:
    """An upload that is interrupted leaves its thread to itself."""
    with closing(KeptSteps(tmp_path)) as kept:
        found = ScrubbingBeside(kept, threading.Semaphore(1), begins_ahead=lambda: True)
        for step in steps:
            kept.add(step)  # of the last ones the process is not told
        waiting = threading.Thread(target=lambda: found.scrubbed(COUNT - 1, steps[-1]))
        waiting.start()
        found.close()
        waiting.join()


@pytest.mark.parametrize("processors", [1, 2])
def test_an_upload_sends_what_was_read_once(
    command: Any, transcripts: Path, monkeypatch: pytest.MonkeyPatch, processes: list[PipedProcess], processors: int
) -> None:
    """With as many processes as there are processors beside its own."""
    readings = 0
    read = ClaudeCodeReader.read

    def counted(self: ClaudeCodeReader, file: BinaryIO) -> Any:
        nonlocal readings
        readings += 1
        return read(self, file)

    monkeypatch.setattr(ClaudeCodeReader, "read", counted)
    monkeypatch.setattr(upload.os, "cpu_count", lambda: processors)
    path = transcripts / "long.jsonl"
    result = command.run(path)
    assert result.exit_code == 0, result.output
    assert len(processes) == processors - 1
    assert readings == 1
    own = OwnScrubbing()
    expected = [own.scrubbed(place, step)[0] for place, step in enumerate(survey(path, None).steps())]
    sent = [step for envelope in command.server.envelopes for step in envelope.get("trajectory_log", ())]
    assert [(step["content"], step.get("arguments")) for step in sent] == [
        (step.content, step.arguments) for step in expected
    ]
    assert all(process.wait() == -signal.SIGKILL for process in processes)
