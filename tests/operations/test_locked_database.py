"""A database that another program holds: envelopes are taken all the same, and the databases catch up afterwards."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.acknowledged import Acknowledged, rows
from tests.crash.consistency import check, wait_until_projected
from tests.crash.load import Load
from tests.server_process import CLOSE, INGEST, OPEN, Answer, ServerProcess
from tests.signing_client import SigningClient, dumps

IMPATIENT = {"CENTRAL_COMMAND__STORAGE__DATABASE_BUSY_TIMEOUT_S": "0.2"}
"""So that the server gives up waiting for the lock within a test, again and again."""

WAIT_S_MAX = 60.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; AssertionError after `WAIT_S_MAX`."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)  # there is nothing to wait on in another process


@contextmanager
def held(database: Path, how: str) -> Iterator[None]:
    """Hold a database's write lock, as a careless backup does, or read one state of it for long."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=WAIT_S_MAX)) as connection:
        connection.execute(f"BEGIN {how}")
        connection.execute("SELECT count(*) FROM totals").fetchall()
        yield


class Client:
    """Sessions over a connection each request, noting what is acknowledged."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.acknowledged = Acknowledged()

    def post(self, path: str, body: bytes) -> Answer:
        """Send, and note what is answered with 200."""
        answer = self._server.post(path, body)
        if answer.status == 200:
            self.acknowledged.take(path, body, answer)
        return answer

    def open(self, session_id: str) -> SigningClient:
        """Open a session."""
        client = SigningClient(session_id)
        answer = self.post(OPEN, dumps(client.opening()).encode())
        assert answer.status == 200, answer
        client.opened(answer.members["server_public_key"])
        return client


@pytest.mark.parametrize("database", ["sessions.db", "ledger.db"])
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_envelopes_are_acknowledged_while_a_database_is_held(tmp_path: Path, database: str, how: str) -> None:
    """For longer than the server waits for a lock: reads answer, nothing is lost, and it catches up by itself."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=IMPATIENT) as server:
        clients = Client(server)
        first, second = clients.open("sess_1"), clients.open("sess_2")
        assert clients.post(INGEST, first.chunk()).status == 200
        wait_until_projected(root)
        with held(root / database, how):
            for _ in range(3):
                assert clients.post(INGEST, first.chunk()).status == 200
                assert clients.post(INGEST, second.chunk()).status == 200
            assert clients.post(INGEST, first.close()).status == 200
            assert clients.post(CLOSE, b'{"session_id":"sess_2"}').members["points"] == 45
            wait_for(lambda: f"another process holds {database}" in server.said, "the projector to be refused")
            for path in ("/health", "/ready", "/v1/stats/summary", "/v1/stats/leaderboard"):
                assert server.get(path).status == 200
        assert clients.post(CLOSE, b'{"session_id":"sess_1"}').members["points"] == 60
        check(clients.acknowledged, root)
        assert "Traceback" not in server.said
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_openings_are_put_off_while_their_database_is_held(tmp_path: Path) -> None:
    """503 with Retry-After and no row; the same opening succeeds afterwards."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=IMPATIENT) as server:
        clients = Client(server)
        client = SigningClient("sess_1")
        opening = dumps(client.opening()).encode()
        with held(root / "sessions.db", "IMMEDIATE"):
            connection = server.connect()
            for _ in range(2):
                connection.request("POST", OPEN, opening, {"Content-Type": "application/json"})
                response = connection.getresponse()
                assert (response.status, response.headers["Retry-After"] is not None) == (503, True)
                assert b'"error"' in response.read()
            connection.close()
            assert rows(root / "sessions.db", "SELECT count(*) FROM sessions") == [(0,)]
        client.opened(clients.post(OPEN, opening).members["server_public_key"])
        assert clients.post(INGEST, client.chunk()).status == 200
        assert "Traceback" not in server.said
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_openings_wait_for_a_database_that_is_let_go_of_in_time(tmp_path: Path) -> None:
    """Within `database_busy_timeout_s` nobody notices more than a delay."""
    root = tmp_path / "data"
    patient = {"CENTRAL_COMMAND__STORAGE__DATABASE_BUSY_TIMEOUT_S": str(WAIT_S_MAX)}
    with ServerProcess(root, settings=patient) as server:
        clients = Client(server)
        opened: list[SigningClient] = []
        waiting = threading.Thread(target=lambda: opened.append(clients.open("sess_1")))
        with held(root / "sessions.db", "IMMEDIATE"):
            waiting.start()
            waiting.join(0.5)
            assert opened == []
        waiting.join(WAIT_S_MAX)
        (client,) = opened
        assert clients.post(INGEST, client.chunk()).status == 200
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_past_the_projections_bound_envelopes_are_put_off_until_it_is_free(tmp_path: Path) -> None:
    """Memory is bounded however long a lock is held: 503 then, and the same envelopes are accepted afterwards."""
    root = tmp_path / "data"
    bounded = {f"CENTRAL_COMMAND__STORAGE__PROJECTION_{name}_LINES_MAX": "5" for name in ("LAG", "BATCH")}
    with ServerProcess(root, settings=IMPATIENT | bounded) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        with held(root / "sessions.db", "IMMEDIATE"):
            body, answer = b"", Answer(200, {})
            while answer.status == 200:
                assert client.chunks < 50, "there was no bound"
                body = client.chunk(1)
                answer = clients.post(INGEST, body)
            assert (answer.status, answer.members["accepted"]) == (503, False)
            assert server.get("/ready").members["checks"]["projection"] == "behind the journals"
        wait_for(lambda: server.get("/ready").status == 200, "the projection to catch up")
        assert clients.post(INGEST, body).members["accepted"] is True
        assert clients.post(INGEST, client.close()).status == 200
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_a_lock_that_outlives_the_server_costs_nothing(tmp_path: Path) -> None:
    """It is killed with lines that no database holds; the next start projects them."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=IMPATIENT) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        with held(root / "sessions.db", "IMMEDIATE"):
            for _ in range(5):
                assert clients.post(INGEST, client.chunk()).status == 200
            server.kill()
        server.start()
        check(clients.acknowledged, root)
        assert clients.post(INGEST, client.close()).status == 200
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_a_long_read_neither_holds_up_ingest_nor_the_stop(tmp_path: Path) -> None:
    """As of a slow backup: the write-ahead log grows meanwhile, the server stops in time, the reader's state stays."""
    root = tmp_path / "data"
    acknowledged = Acknowledged()
    small = {"CENTRAL_COMMAND__STORAGE__WAL_CHECKPOINT_PAGES": "10"}
    with ServerProcess(root, settings=small) as server, Load(4, 9, acknowledged) as load:
        load.begin_life(server.connect)
        load.wait_for_answers(20)
        with closing(sqlite3.connect(root / "sessions.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            seen = reader.execute("SELECT * FROM totals").fetchall()
            load.wait_for_answers(100)
            load.finish()
            wait_until_projected(root)
            assert reader.execute("SELECT * FROM totals").fetchall() == seen
            assert server.terminate() == 0
            assert reader.execute("SELECT * FROM totals").fetchall() == seen
        check(acknowledged, root)
        server.start()
        assert server.terminate() == 0
        check(acknowledged, root)
