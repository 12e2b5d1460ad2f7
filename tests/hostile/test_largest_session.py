"""A session as large as one may be is closed in bounded memory, and holds nobody up meanwhile."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from tests.crash.acknowledged import lines_of
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess, request
from tests.signing_client import SigningClient, dumps

pytestmark = pytest.mark.measured

SESSION_MIB = int(os.environ.get("LARGEST_SESSION_MIB", "96"))
"""250 is as much as a session may hold by default; the test does with less."""

OVER_IDLE_MIB_MAX = 64
STEPS, STEP_CHARS = 13, 99_000
PROBE_S = 0.02
HEALTH_P99_S_MAX = 0.25
"""On a machine with other work; docs/performance.md has what was measured on a quiet one."""


class Watch:
    """Asks for `/health` and looks at the server's memory, all the time, until it is told to stop."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_mib = 0.0
        self.latencies_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = self._server.connect()
        while not self._stop.wait(PROBE_S):
            began = time.perf_counter()
            request(connection, "GET", "/health")
            self.latencies_s.append(time.perf_counter() - began)
            self.peak_mib = max(self.peak_mib, self._server.rss_anon_mib)
        connection.close()

    @property
    def p99_s(self) -> float:
        """The latency that 99 of 100 answers were below."""
        return sorted(self.latencies_s)[int(len(self.latencies_s) * 0.99)]


def send(server: ServerProcess, client: SigningClient) -> None:
    """Open the session and send its chunks, the steps of each two interleaved."""
    connection = server.connect()
    answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
    client.opened(answer.members["server_public_key"])
    text = "x" * STEP_CHARS
    for _ in range(SESSION_MIB * 1_048_576 // (STEPS * STEP_CHARS)):
        log = [client.step(content=text) for _ in range(STEPS)]
        assert request(connection, "POST", INGEST, client.chunk_of(log)).members["accepted"] is True
    connection.close()


def test_it_is_stitched_within_bounded_memory_while_others_are_answered(tmp_path: Path) -> None:
    """Its trajectory holds every step, and so does one that is made after a restart, from the journal alone."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        client = SigningClient("sess_large")
        send(server, client)
        server.post(INGEST, SigningClient("sess_nobody").chunk())
        idle_mib = server.rss_anon_mib
        with Watch(server) as watch:
            assert server.post(CLOSE, dumps({"session_id": "sess_large"}).encode()).members["steps"] == client.steps
        assert watch.peak_mib - idle_mib < OVER_IDLE_MIB_MAX
        assert watch.p99_s < HEALTH_P99_S_MAX
        assert server.terminate() == 0
        (line,) = lines_of(root, "trajectories")
        assert [step["step"] for step in json.loads(line)["trajectory_log"]] == list(range(1, client.steps + 1))
