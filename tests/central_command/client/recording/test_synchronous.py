"""The recorder for programs without trio, and the example of the documentation."""

import asyncio
import json
import re
import threading
import time
from pathlib import Path

import pytest

import central_command.client
from actors.envelopes.schema import STEP_TYPES
from central_command.client import Recorder, RecorderSettings, RecorderStatistics, Trust
from central_command.client.spool.records import SpoolError
from central_command.client.spool.spool import Spool
from tests.server_process import REPOSITORY, ServerProcess

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""
DOCUMENT = REPOSITORY / "docs" / "clients.md"


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_ten_lines_of_the_documentation_work(tmp_path: Path) -> None:
    """They are run as they stand, but for the address, and the server has what they recorded."""
    example = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example is not None
    lines = [line for line in example[1].splitlines() if line.strip()]
    assert len(lines) <= 10
    with ServerProcess(tmp_path / "data") as server:
        code = example[1].replace("https://central.example.org:8443", server.url)
        assert server.url in code
        exec(compile(code, str(DOCUMENT), "exec"), {})
        assert server.terminate() == 0
    journals = (tmp_path / "data" / "trajectories").glob("*.jsonl")
    [trajectory] = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    assert [step["type"] for step in trajectory["trajectory_log"]] == ["instruction", "action", "observation"]
    assert (trajectory["closed_by"], trajectory["outcome"]["status"]) == ("session_close", "SUCCESS")
    envelopes = "".join(path.read_text() for path in (tmp_path / "data" / "envelopes").glob("*.jsonl"))
    assert envelopes.count('"signal":"accepted"') == 1


def test_the_documentation_says_what_each_type_of_step_means() -> None:
    """A row for each that servers take, and no other."""
    table = DOCUMENT.read_text().partition("### Types of steps\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(STEP_TYPES)


def test_a_program_with_asyncio_waits_in_a_thread() -> None:
    """As the documentation says: opening and closing there, recording where it is."""

    async def work() -> RecorderStatistics:
        recorder = await asyncio.to_thread(Recorder, NOWHERE, provider="codex", model="o3")
        with recorder.session() as session:
            session.record({"type": "thought", "content": "x"})
        assert not await asyncio.to_thread(recorder.close, 0)
        return recorder.statistics()

    assert asyncio.run(work()).steps_spooled == 1


def test_the_spool_may_be_named_by_a_text(tmp_path: Path) -> None:
    """As every path of Python's own library may."""
    with Recorder(NOWHERE, provider="codex", model="o3", spool_path=str(tmp_path / "own" / "spool.db")) as recorder:
        recorder.close(timeout_s=0)
    assert (tmp_path / "own" / "spool.db").is_file()


def test_threads_record_at_once(tmp_path: Path) -> None:
    """Into sessions of their own and a shared one; every step is counted once."""
    with Recorder(NOWHERE, provider="codex", model="o3") as recorder:
        shared = recorder.session()

        def work() -> None:
            with recorder.session() as session:
                for _ in range(300):
                    session.record({"type": "thought", "content": "own"})
                    shared.record({"type": "thought", "content": "shared"})

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not recorder.close(0.1)
        statistics = recorder.statistics()
        assert statistics.steps_recorded == statistics.steps_spooled == 2_400
        assert (statistics.steps_dropped, statistics.steps_bad, statistics.steps_waiting) == (0, 0, 0)
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        assert [session.steps for session in spool.claim_orphans(NOWHERE)].count(300) == 4


def test_a_close_waits_until_all_is_on_disk_however_long_delivery_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind it the program may end, and the thread that keeps with it."""
    joins = threading.Event()

    def slow(step: dict[str, object]) -> dict[str, object]:
        assert not joins.wait(0.1), "the thread was left before it had kept what it has"
        return step

    with Recorder(NOWHERE, provider="codex", model="o3", scrub=slow) as recorder:
        with recorder.session() as session:
            session.record({"type": "thought", "content": "x"})
        join = recorder._thread.join
        monkeypatch.setattr(recorder._thread, "join", lambda timeout: (joins.set(), join(timeout)))
        recorder.close(0)
        statistics = recorder.statistics()
    assert (statistics.steps_spooled, statistics.steps_waiting, statistics.steps_bad) == (1, 0, 0)


def test_a_close_does_not_wait_for_ever_for_a_disk_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    works_again = threading.Event()

    def hangs(step: dict[str, object]) -> dict[str, object]:
        works_again.wait()
        return step

    settings = RecorderSettings(keep_timeout_s=0.01)
    with Recorder(NOWHERE, provider="codex", model="o3", scrub=hangs, settings=settings) as recorder:
        recorder.session().record({"type": "thought", "content": "x"})
        assert not recorder.close(-1)
        assert "1 steps are in memory alone" in caplog.text
        works_again.set()


def test_closing_is_bounded_and_may_be_repeated() -> None:
    """While the server cannot be reached it says so, and what comes later is dropped, not raised."""
    recorder = Recorder(NOWHERE, provider="codex", model="o3")
    session = recorder.session()
    session.record({"type": "thought", "content": "x"})
    began = time.monotonic()
    assert not recorder.close(0.2)
    assert not recorder.close(0.2)
    assert time.monotonic() - began < 5
    session.record({"type": "thought", "content": "late"})
    session.feedback("accepted")
    session.close()
    assert recorder.statistics().steps_dropped == 1
    assert repr(recorder).endswith("closed>")


def test_a_recorder_that_cannot_be_opened_raises_in_the_caller(tmp_path: Path) -> None:
    """With the sentence of what is wrong."""
    (tmp_path / "state").write_text("a file where a directory should be")
    with pytest.raises(SpoolError, match="Cannot keep a spool"):
        Recorder(NOWHERE, provider="codex", model="o3")
    for url in ("ftp://x", "http://", "::"):
        with pytest.raises(ValueError, match="is no URL"):
            Recorder(url, provider="codex", model="o3")


def test_arguments_of_another_kind_are_one_sentence() -> None:
    """Of a recorder, of its sessions, and of the time that a close may take."""
    for url in (None, 5, b"http://x"):
        with pytest.raises(ValueError, match=r"is no URL of a server, such as http://127.0.0.1:8443: it must"):
            Recorder(url, provider="codex", model="o3")  # type: ignore[arg-type] # as a program may
    settings = RecorderSettings(trust=Trust(ca=5))  # type: ignore[arg-type] # the same
    with pytest.raises(ValueError, match="5 is no path of a file with certificates"):
        Recorder("https://x.test", provider="codex", model="o3", settings=settings)
    with Recorder(NOWHERE, provider="codex", model="o3") as recorder:
        for name, wrong in (
            *(("team_size", size) for size in ("x", 1.5, True, 0, 51)),
            *(("task_complexity", each) for each in ("huge", [], 5)),
            ("model", 5),
        ):
            with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
                recorder.session(**{name: wrong})
        for time_s in (None, "x", float("nan")):
            with pytest.raises(ValueError, match=r"timeout_s is .*; it must be a number of seconds"):
                recorder.close(time_s)  # type: ignore[arg-type] # the same
        assert recorder.close(float("inf"))


def test_sessions_past_the_bound_drop_their_steps(caplog: pytest.LogCaptureFixture) -> None:
    """And say so."""
    settings = RecorderSettings(sessions_max=1)
    with Recorder(NOWHERE, provider="codex", model="o3", settings=settings) as recorder:
        first, second = recorder.session(), recorder.session()
        first.record({"type": "thought", "content": "kept"})
        second.record({"type": "thought", "content": "dropped"})
        assert (recorder.statistics().steps_recorded, recorder.statistics().steps_dropped) == (1, 1)
        recorder.close(0)
    assert "1 sessions are open" in caplog.text


def test_the_package_names_what_it_exports() -> None:
    """All of it can be had, and nothing else."""
    for name in central_command.client.__all__:
        assert getattr(central_command.client, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = central_command.client.nothing


def test_closing_while_others_record_loses_no_count() -> None:
    """A step is recorded before the close or dropped after it, never in between."""
    with Recorder(NOWHERE, provider="codex", model="o3") as recorder:
        session = recorder.session()

        def work() -> None:
            for _ in range(2_000):
                session.record({"type": "thought", "content": "x"})

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        session.close()
        for thread in threads:
            thread.join()
        recorder.close(0.1)
        recorder._thread.join(60)  # `close` gives up after a second, the thread keeps what it has
        statistics = recorder.statistics()
    assert statistics.steps_recorded + statistics.steps_dropped == 8_000
    assert (statistics.steps_waiting, statistics.steps_spooled) == (0, statistics.steps_recorded)
