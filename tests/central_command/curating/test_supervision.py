"""The curation process: it makes the corpus, is started again when it ends, and never outlives its server."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.curation.following import CurationStatistics
from central_command.curating.orders import Order, line_of, read_figures, read_order
from central_command.curating.supervision import COMMAND, CurationProcess
from central_command.http.gateway import CurationLag
from persistence.files.lock import single_curation
from tests.curated import leave_sessions, shown
from tests.running_service import settings_with
from tests.server_process import HANGS_AFTER_S, environment


class Watched(CurationProcess):
    """Counts how often it was started, says when figures came, and keeps the status of the last process that ended."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.changed = trio.Event()
        self.ended = 0
        self.status: int | None = None

    async def _live(self) -> int:
        try:
            return await super()._live()
        finally:
            self.ended += 1
            self.changed.set()

    async def _stop(self, process: trio.Process) -> None:
        await super()._stop(process)
        self.status = process.returncode

    def _take(self, figures: CurationStatistics) -> None:
        super()._take(figures)
        self.changed.set()

    async def until(self, followed_n: int = -1, ended: int = 0) -> None:
        """Wait until so many trajectories are taken, and it has ended so often."""
        with trio.fail_after(HANGS_AFTER_S):
            while (-1 if self.figures is None else self.figures.followed_n) < followed_n or self.ended < ended:
                await self.changed.wait()
                self.changed = trio.Event()


def process(root: Path, *command: str, clock: Any = time.time, n: int = 2, texts: int = 0, **settings: Any) -> Watched:
    """One on this data directory, of which `command` takes the place."""
    settings = {"restart_delay_s": 0.01, "poll_interval_s": 0.05, **settings}
    return Watched(
        settings_with(curation=settings),
        root,
        reached_n=lambda: n,
        texts_n=lambda: texts,
        clock=clock,
        command=tuple(command) or COMMAND,
    )


async def test_it_makes_the_corpus_and_stops_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment({})["PYTHONPATH"])
    root = tmp_path / "data"
    await leave_sessions(root, "sess_a", "sess_b")
    curating = process(root)
    assert curating.lag.trajectories == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(curating.run)
        await curating.until(followed_n=2)
        nursery.cancel_scope.cancel()
    assert list(shown(root)) == ["sess_a", "sess_b"]
    assert curating.lag == CurationLag(trajectories=0, seconds=0.0)
    assert "Traceback" not in capfd.readouterr().err


async def test_while_it_is_paused_nobody_writes_the_corpus_and_then_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment({})["PYTHONPATH"])
    root = tmp_path / "data"
    await leave_sessions(root, "sess_a")
    curating = process(root, restart_delay_s=60.0)
    async with curating.paused():
        assert curating.ended == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(curating.run)
        await curating.until(followed_n=1)
        async with curating.paused():
            assert curating.ended == 1
            with single_curation(root):
                await leave_sessions(root, "sess_b")
                await trio.testing.wait_all_tasks_blocked()
                assert curating.ended == curating._starts == 1
        await curating.until(followed_n=2)
        nursery.cancel_scope.cancel()
    assert list(shown(root)) == ["sess_a", "sess_b"]


async def test_that_it_was_told_to_end_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who stops a server may tell each of its processes, and the server may be the last to hear it."""
    caplog.set_level(logging.INFO)
    told = process(tmp_path, sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        await told.until(ended=2)
        nursery.cancel_scope.cancel()
    said = [record for record in caplog.records if "ended with status -15" in record.getMessage()]
    assert {record.levelno for record in said} == {logging.INFO}


async def test_it_is_started_again_when_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And when it says what nobody understands, and when there is no such program."""
    for command in ([sys.executable, "-c", "import sys; sys.exit(3)"], [sys.executable, "-c", "print('what?')"]):
        curating = process(tmp_path, *command)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(curating.run)
            await curating.until(ended=3)
            nursery.cancel_scope.cancel()
    assert "curation ended with status 3; it is started again in 0.02 s" in caplog.text
    missing = process(tmp_path, "/nowhere/python")
    with trio.move_on_after(0.05):
        await missing.run()
    assert "curation could not be started: No such file or directory" in caplog.text


async def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
    curating = process(tmp_path, sys.executable, "-c", deaf, stop_grace_s=0.05)
    with trio.fail_after(HANGS_AFTER_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(curating.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert curating.status == -signal.SIGKILL


def test_the_process_ends_with_its_server(tmp_path: Path) -> None:
    """The pipe's end is all that it hears of a server that was killed."""
    trio.run(leave_sessions, tmp_path / "data", "sess_a")
    order = order_for(str(tmp_path / "data"))
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment({})) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(line_of(order))
        running.stdin.flush()
        assert running.stdout.readline()
        running.stdin.close()
        assert running.wait(HANGS_AFTER_S) == 0


def test_what_it_cannot_work_on_is_said_in_one_sentence(tmp_path: Path) -> None:
    order = order_for(str(tmp_path))
    done = subprocess.run(
        COMMAND, input=line_of(order), capture_output=True, env=environment({}), check=False, timeout=HANGS_AFTER_S
    )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"is not a server's data directory" in done.stderr


def order_for(data_directory: str) -> Order:
    """An order to work on this data directory."""
    return Order.of(settings_with(), Path(data_directory))


def figures(followed_n: int, waiting_since: float | None) -> CurationStatistics:
    """What the process says."""
    return CurationStatistics(
        followed_n=followed_n,
        reached_n=9,
        waiting_since=waiting_since,
        records=0,
        passed_over={},
        is_out_of_room=False,
    )


def test_the_lag_is_that_of_the_first_trajectory_that_waits(tmp_path: Path) -> None:
    """Of one that came after the process said last that nothing waits, it is known since when that was at most."""
    now = 100.0
    curating = process(tmp_path, clock=lambda: now, n=7)
    curating._take(figures(7, None))
    now = 130.0
    assert curating.lag == CurationLag(trajectories=0, seconds=0.0)
    curating._take(figures(4, 120.0))
    assert curating.lag == CurationLag(trajectories=3, seconds=10.0)
    curating._take(figures(6, None))
    now = 131.0
    assert curating.lag == CurationLag(trajectories=1, seconds=1.0)
    assert repr(curating).startswith("<CurationProcess starts=0 CurationLag(")
    assert process(tmp_path, clock=lambda: now, n=0, texts=5).lag.texts == 5


async def test_figures_come_in_any_pieces() -> None:
    found: list[CurationStatistics] = []
    said = [figures(1, None), figures(2, 3.0)]
    text = b"".join(map(line_of, said))
    pieces = iter([text[:5], text[5:150], text[150:], b""])

    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        return next(pieces)

    await read_figures(receive, found.append)
    assert found == said


async def test_a_line_without_an_end_is_none() -> None:
    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * 40_000

    with pytest.raises(ValueError, match="without an end"):
        await read_figures(receive, logging.warning)


def test_an_order_is_read_as_it_was_written() -> None:
    order = order_for("/d")
    assert read_order(line_of(order)) == order
