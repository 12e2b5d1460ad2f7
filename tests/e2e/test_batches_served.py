"""Batches over real sockets: through kills, beside other requests, and as the recorder sends them."""

import json
import signal
import socket
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from central_command.client import Recorder, RecorderSettings
from central_command.client.contract.steps import JsonObject
from central_command.client.delivering.posting import RetryPolicy
from tests.crash.acknowledged import Acknowledged
from tests.crash.consistency import check
from tests.server_process import INGEST, OPEN, Answer, ServerProcess
from tests.signing_client import SigningClient, dumps

BATCH = "/v1/training/ingest/batch"
SESSIONS = 3
ENVELOPES = 20
ANSWER_S_MAX = 60


def opened(server: ServerProcess, session_id: str, acknowledged: Acknowledged) -> SigningClient:
    """Open a session."""
    client = SigningClient(session_id)
    body = dumps(client.opening()).encode()
    answer = server.post(OPEN, body)
    acknowledged.take(OPEN, body, answer)
    client.opened(answer.members["server_public_key"])
    return client


def ask(server: ServerProcess, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """Send a batch and return its results."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_S_MAX)
    connection.request("POST", BATCH, b"\n".join(bodies), {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    results = [json.loads(line) for line in answer.read().splitlines()]
    connection.close()
    assert len(results) == len(bodies)
    return results


def take(acknowledged: Acknowledged, bodies: Sequence[bytes], results: Sequence[dict[str, Any]]) -> None:
    """Note each result as the answer to its envelope alone."""
    for body, result in zip(bodies, results, strict=True):
        acknowledged.take(INGEST, body, Answer(result.pop("status"), result))


def begin(server: ServerProcess, bodies: Sequence[bytes]) -> socket.socket:
    """Send a batch, and leave its answer where it is."""
    body = b"\n".join(bodies)
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_S_MAX)
    head = f"POST {BATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_batches_survive_kills_wherever_they_fall(tmp_path: Path) -> None:
    """Killed with a batch just sent, half answered and answered: sent again, everything is there once and in order."""
    root = tmp_path / "data"
    acknowledged = Acknowledged()
    with ServerProcess(root) as server:
        clients = [opened(server, f"sess_{number}", acknowledged) for number in range(SESSIONS)]
        for life in range(6):
            bodies = [client.chunk() for _ in range(ENVELOPES) for client in clients]
            if life == 5:
                bodies += [client.close() for client in clients]
            with begin(server, bodies) as connection:
                if life % 3:
                    connection.recv(1 if life % 3 == 1 else 65_536)
                server.kill()
            server.start()
            take(acknowledged, bodies, ask(server, bodies))
        for client in clients:
            assert server.post("/v1/sessions/close", dumps({"session_id": client.session_id}).encode()).status == 200
        assert server.terminate() == 0
    assert all(len(session.chunks()) == 6 * ENVELOPES for session in acknowledged.sessions.values())
    check(acknowledged, root)


def test_a_batch_of_5_mb_is_taken_and_single_envelopes_beside_it(tmp_path: Path) -> None:
    """The session goes on with the single endpoint where the batch ended."""
    root = tmp_path / "data"
    acknowledged = Acknowledged()
    with ServerProcess(root) as server:
        client = opened(server, "sess_large", acknowledged)
        log = "x" * 80_000
        bodies = [client.chunk_of([client.step(content=log)]) for _ in range(60)]
        take(acknowledged, bodies, ask(server, bodies))
        body = client.close()
        acknowledged.take(INGEST, body, server.post(INGEST, body))
        assert server.terminate() == 0
    check(acknowledged, root)


@pytest.fixture
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the recorder keeps is kept here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.usefixtures("own_directories")
def test_what_a_recorder_kept_while_the_server_was_away_arrives_in_batches(tmp_path: Path) -> None:
    """2,000 steps recorded while the server does not answer: eleven envelopes in order, in fewer requests."""
    root = tmp_path / "data"
    settings = RecorderSettings(spool_every_s=0.05, retry=RetryPolicy(delay_s=0.05, delay_s_max=0.3))
    with ServerProcess(root, settings={"CENTRAL_COMMAND__LOG__ACCESS": "true"}) as server:
        server.process.send_signal(signal.SIGSTOP)
        with Recorder(server.url, provider="codex", model="gpt-5.5", settings=settings) as recorder:
            with recorder.session() as session:
                for number in range(2_000):
                    step: JsonObject = {"type": "thought", "content": str(number)}
                    session.record(step)
            deadline = time.monotonic() + ANSWER_S_MAX
            while recorder.statistics().steps_spooled < 2_000:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            server.process.send_signal(signal.SIGCONT)
            assert recorder.close(ANSWER_S_MAX)
            assert recorder.statistics().problem is None
        assert server.terminate() == 0
        asked = server.said
    assert asked.count(f"POST {BATCH} 200") >= 1
    assert asked.count(f"POST {INGEST} ") < 11
    [line] = [each for path in (root / "trajectories").glob("*.jsonl") for each in path.read_text().splitlines()]
    assert [step["content"] for step in json.loads(line)["trajectory_log"]] == [str(n) for n in range(2_000)]
