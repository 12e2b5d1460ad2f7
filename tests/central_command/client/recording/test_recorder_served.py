"""The recorder against real servers that come late, are killed and are full, and with its own process killed."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from central_command.client import Recorder, RecorderSettings
from central_command.client.contract.steps import JsonObject
from central_command.client.delivering.posting import RetryPolicy
from tests.server_process import REPOSITORY, ServerProcess, run_command

FAST = RecorderSettings(spool_every_s=0.05, retry=RetryPolicy(delay_s=0.05, delay_s_max=0.3))
DELIVERY_S_MAX = 90.0


class Gate:
    """An address that stays while servers behind it come and go; what is lost between the two is lost for real.

    `faults` holds answers to give instead of asking: a status each, or `None` to drop the answer after asking.
    """

    def __init__(self) -> None:
        self.server: ServerProcess | None = None
        self.faults: list[int | None] = []
        self.asked = 0
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fault = gate.faults.pop(0) if gate.faults else 200
                gate.asked += 1
                if fault not in {200, None}:
                    return self._answer(fault or 0, b'{"error":"Not now."}')
                try:
                    assert gate.server is not None
                    connection = gate.server.connect()
                    connection.request("POST", self.path, body)
                    answer = connection.getresponse()
                    text, kind = answer.read(), answer.headers["Content-Type"]
                    connection.close()
                except (OSError, AssertionError, HTTPException):
                    self.close_connection = True
                    return None
                if fault is None:
                    self.close_connection = True
                    return None
                return self._answer(answer.status, text, kind)

            def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if status in {429, 503}:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """An address without a server."""
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def recorder_for(gate: Gate, **options: Any) -> Recorder:
    return Recorder(gate.url, provider="codex", model="gpt-5.5", settings=FAST, **options)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Real processes tell nobody when they are done: ask again and again, within bounds."""
    deadline = time.monotonic() + DELIVERY_S_MAX
    while not holds():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def trajectories(root: Path) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted((root / "trajectories").glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def check_delivered(root: Path, contents: list[str], *, sessions: int = 1) -> None:
    """Every step is in exactly one trajectory, in order, without a gap; the server's own check is clean."""
    found = trajectories(root)
    assert len(found) == sessions
    assert [step["content"] for each in found for step in each["trajectory_log"]] == contents
    assert all(each["sequence_gaps"] == [] for each in found)
    lines = [line for path in (root / "envelopes").glob("*.jsonl") for line in path.read_text().splitlines()]
    steps = [step["content"] for line in lines for step in json.loads(line).get("trajectory_log", ())]
    assert sorted(steps) == sorted(contents)
    verified = run_command("verify", "--data-dir", str(root), cwd=root.parent)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def record(recorder: Recorder, count: int, *, size: int = 20) -> list[str]:
    contents = [f"{number} " + "x" * size for number in range(count)]
    with recorder.session() as session:
        for content in contents:
            step: JsonObject = {"type": "thought", "content": content}
            session.record(step)
    return contents


def test_a_server_that_comes_late_gets_everything(gate: Gate, tmp_path: Path) -> None:
    """Recording does not wait for it."""
    root = tmp_path / "data"
    with recorder_for(gate) as recorder:
        contents = record(recorder, 500)
        wait_until(lambda: gate.asked >= 3, "tries")
        assert recorder.statistics().steps_delivered == 0
        with ServerProcess(root) as server:
            gate.server = server
            wait_until(lambda: trajectories_of(root) == 1, "the trajectory")
            assert recorder.close(DELIVERY_S_MAX)
            assert server.terminate() == 0
    check_delivered(root, contents)


def trajectories_of(root: Path) -> int:
    return len(trajectories(root))


def test_a_server_killed_five_times_gets_everything_once(gate: Gate, tmp_path: Path) -> None:
    """At any point, with answers lost on the way as well."""
    root = tmp_path / "data"
    with ServerProcess(root) as server, recorder_for(gate) as recorder:
        gate.server = server
        contents = record(recorder, 6_000, size=300)
        for life in range(1, 6):
            wait_until(partial(delivered, recorder, 800 * life), f"life {life}")
            gate.faults[:0] = [None]
            server.kill()
            server.start()
        assert recorder.close(DELIVERY_S_MAX)
        assert recorder.statistics().envelopes_refused == 0
        assert server.terminate() == 0
    check_delivered(root, contents)


def test_429_503_and_lost_answers_delay_only(gate: Gate, tmp_path: Path) -> None:
    """Between all requests of a session, opening and closing included."""
    root = tmp_path / "data"
    gate.faults = [429, None, 503, 200, None, 429, 200, None, None, 503, 500, 200, 408, None, 200, 503, None] * 2
    with ServerProcess(root) as server, recorder_for(gate) as recorder:
        gate.server = server
        contents = record(recorder, 700)
        assert recorder.close(DELIVERY_S_MAX)
        assert server.terminate() == 0
    check_delivered(root, contents)


def test_a_full_disk_on_the_server_delays_only(gate: Gate, tmp_path: Path) -> None:
    """507 until there is room."""
    root = tmp_path / "data"
    settings = {"CENTRAL_COMMAND__STORAGE__WAL_CHECKPOINT_PAGES": "50"}
    with ServerProcess(root, settings=settings) as server, recorder_for(gate) as recorder:
        gate.server = server
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (3_000_000, hard))
        contents = record(recorder, 1_000, size=5_000)
        wait_until(lambda: "stored" in (recorder.statistics().problem or "") or full(recorder), "507")
        assert recorder.statistics().steps_delivered < 1_000
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        assert recorder.close(DELIVERY_S_MAX)
        assert server.terminate() == 0
    check_delivered(root, contents)


def delivered(recorder: Recorder, steps: int) -> bool:
    return recorder.statistics().steps_delivered >= steps


def full(recorder: Recorder) -> bool:
    return "disk" in (recorder.statistics().problem or "")


PROGRAM = """
import sys, time
from central_command.client import Recorder, RecorderSettings
from central_command.client.delivering.posting import RetryPolicy

url, first = sys.argv[1], int(sys.argv[2])
settings = RecorderSettings(spool_every_s=0.02, retry=RetryPolicy(delay_s=0.05, delay_s_max=0.3))
recorder = Recorder(url, provider="codex", model="gpt-5.5", settings=settings)
session = recorder.session()
for number in range(first, first + 1000):
    session.record({"type": "thought", "content": str(number)})
while recorder.statistics().steps_spooled < 1000:
    time.sleep(0.005)
print("kept", flush=True)
time.sleep(60)
"""


def test_its_own_process_killed_and_started_again_loses_nothing(gate: Gate, tmp_path: Path) -> None:
    """Three are killed in mid-delivery; the fourth delivers what they left, each as a session that was KILLED."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        gate.server = server
        for life in range(3):
            gate.faults = [*[503] * (40 if life == 0 else 2), 200, 200, 200, None, 503]
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, gate.url, str(1_000 * life)],
                cwd=REPOSITORY,
                env=dict(os.environ),
                stdout=subprocess.PIPE,
            )
            with process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"kept\n"
                process.send_signal(signal.SIGKILL)
        gate.faults = []
        with recorder_for(gate) as recorder:
            wait_until(lambda: trajectories_of(root) == 3, "the trajectories")
            assert recorder.close(DELIVERY_S_MAX)
        assert server.terminate() == 0
    found = sorted(trajectories(root), key=lambda each: int(each["trajectory_log"][0]["content"]))
    assert [step["content"] for each in found for step in each["trajectory_log"]] == [str(n) for n in range(3_000)]
    assert {each["outcome"]["status"] for each in found} == {"KILLED"}
    assert run_command("verify", "--data-dir", str(root), cwd=tmp_path).returncode == 0
