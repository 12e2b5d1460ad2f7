"""SIGTERM under load, and a disk that fills up: the server ends in time or goes on, and keeps what it acknowledged."""

import resource
import socket
import time
from pathlib import Path

from tests.crash.acknowledged import Acknowledged, lines_of
from tests.crash.consistency import check, check_stored, wait_until_projected
from tests.crash.load import Load
from tests.server_process import CLOSE, HANGS_AFTER_S, INGEST, OPEN, Answer, ServerProcess
from tests.signing_client import SigningClient, dumps

SHUTDOWN_S_MAX = 5.0
"""The contract's "Graceful shutdown"."""


def opened(server: ServerProcess, session_id: str) -> SigningClient:
    """Open a session."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    return client


def test_sigterm_under_load_keeps_everything_acknowledged(tmp_path: Path) -> None:
    """Three times in a row: status 0 within 5 s, all acknowledged envelopes on disk, every close finished."""
    root = tmp_path / "data"
    acknowledged = Acknowledged()
    with ServerProcess(root) as server, Load(8, 42, acknowledged) as load:
        for life in range(3):
            load.begin_life(server.connect)
            load.wait_for_answers(40 + 50 * life)
            began_at = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - began_at < SHUTDOWN_S_MAX
            assert server.said.rstrip().endswith("stopped")
            check(acknowledged, root)
            load.wait_for_pause()
            server.start()
        load.begin_life(server.connect)
        load.finish()
        assert server.terminate() == 0
        check(acknowledged, root)


def test_sigterm_does_not_wait_for_clients_that_do_nothing(tmp_path: Path) -> None:
    """Connections that are idle, or stopped within headers or body, hold nothing up."""
    with ServerProcess(tmp_path / "data") as server:
        beginnings = (
            b"",
            b"POST /v1/training/ingest HTTP/1.1\r\nHost: a",
            b"POST /v1/training/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
            b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        connections = [socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) for _ in beginnings]
        try:
            for connection, octets in zip(connections, beginnings, strict=True):
                connection.sendall(octets)
            assert connections[-1].recv(65_536).startswith(b"HTTP/1.1 200")
            began_at = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - began_at < SHUTDOWN_S_MAX
        finally:
            for connection in connections:
                connection.close()
    check_stored(tmp_path / "data")


FILE_BYTES_MAX = 6_000_000
"""What the server may write into one file: envelopes reach it first, the databases stay far below."""


SMALL_WRITE_AHEAD_LOG = {"CENTRAL_COMMAND__STORAGE__WAL_CHECKPOINT_PAGES": "50"}


def _limit_files(server: ServerProcess, bytes_max: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (bytes_max, hard))


def test_a_full_disk_is_answered_507_until_there_is_room(tmp_path: Path) -> None:
    """Nothing of what is refused is kept, reading goes on, closes go on, and with room again envelopes do, too."""
    root = tmp_path / "data"
    acknowledged = Acknowledged()

    def post(path: str, body: bytes) -> Answer:
        answer = server.post(path, body)
        if answer.status == 200:
            acknowledged.take(path, body, answer)
        return answer

    with ServerProcess(root, settings=SMALL_WRITE_AHEAD_LOG) as server:
        _limit_files(server, FILE_BYTES_MAX)
        client, other = SigningClient("sess_large"), SigningClient("sess_small")
        for each in (client, other):
            each.opened(post(OPEN, dumps(each.opening()).encode()).members["server_public_key"])
        assert post(INGEST, other.chunk()).status == 200
        large, answer = b"", Answer(200, {})
        while answer.status == 200:
            assert client.chunks < 20, "the disk never filled up"
            large = client.chunk_of([client.step(content="x" * 90_000) for _ in range(10)])
            answer = post(INGEST, large)
        assert answer.status == 507
        assert answer.members["accepted"] is False
        assert answer.members["code"] == "disk_full"
        held = sum(map(len, lines_of(root, "envelopes")))
        assert post(INGEST, large).status == 507
        assert server.get("/health").status == 200
        wait_until_projected(root)
        assert server.get("/v1/stats/summary").members["totalEnvelopes"] == client.chunks
        assert sum(map(len, lines_of(root, "envelopes"))) == held
        # The small ones still find room, in the journal that is nearly full and in the others.
        assert post(INGEST, other.close()).status == 200
        assert post(CLOSE, b'{"session_id":"sess_small"}').members["points"] == 15
        _limit_files(server, resource.RLIM_INFINITY)
        assert post(INGEST, large).status == 200
        assert post(INGEST, client.close()).status == 200
        assert server.terminate() == 0
        check(acknowledged, root)


def test_a_disk_too_full_for_a_trajectory_credits_it_after_a_restart(tmp_path: Path) -> None:
    """The close was acknowledged, so the credit comes, however late; until then the HTTP close says why not."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=SMALL_WRITE_AHEAD_LOG) as server:
        client = opened(server, "sess_1")
        for _ in range(10):
            log = [client.step("coordination", partner="p" * 100) for _ in range(500)]
            assert server.post(INGEST, client.chunk_of(log)).status == 200
        # With its coordination links the trajectory is larger than all chunks: no room for it, but for the close.
        _limit_files(server, sum(path.stat().st_size for path in (root / "envelopes").iterdir()) + 10_000)
        assert server.post(INGEST, client.close()).status == 200
        assert server.post(CLOSE, b'{"session_id":"sess_1"}').status == 507
        server.kill()
        server.start()
        answer = server.post(CLOSE, b'{"session_id":"sess_1"}')
        assert answer.members == {"closed": True, "already_closed": True, "points": 30_000, "steps": 5_000}
        assert server.terminate() == 0
    check_stored(root)


def test_past_the_quota_envelopes_are_refused_and_closes_are_not(tmp_path: Path) -> None:
    """A quota that is reached costs nobody the credit for what was accepted before."""
    root = tmp_path / "data"
    quota = {f"CENTRAL_COMMAND__STORAGE__QUOTA_{name}": "3000" for name in ("BYTES", "WARNING_BYTES")}
    with ServerProcess(root, settings=quota) as server:
        client = opened(server, "sess_1")
        accepted = 0
        while server.post(INGEST, body := client.chunk()).status == 200:
            accepted += 1
            assert accepted < 6, "the quota was never reached"
        assert accepted > 0
        assert server.post(INGEST, body).members["code"] == "quota"
        assert server.post(CLOSE, b'{"session_id":"sess_1"}').members["points"] == 15 * accepted
        assert server.get("/ready").status == 503
        wait_until_projected(root)
        assert server.get("/v1/stats/summary").members["totalPointsAwarded"] == 15 * accepted
        assert server.terminate() == 0
    check_stored(root)
