"""A served data directory gets its corpus by a process of its own, whoever is killed."""

import os
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path

from tests.curated import shown
from tests.operations.test_locked_database import Client, wait_for
from tests.server_process import INGEST, ServerProcess

SETTINGS = {
    "CENTRAL_COMMAND__CURATION__ENABLED": "true",
    "CENTRAL_COMMAND__CURATION__POLL_INTERVAL_S": "0.1",
    "CENTRAL_COMMAND__CURATION__RESTART_DELAY_S": "0.1",
}


def curators(server: ServerProcess) -> list[int]:
    """The processes that the server started."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [int(pid) for path in children for pid in path.read_text().split()]


def leave(clients: Client, *names: str) -> None:
    """Leave closed sessions."""
    for name in names:
        client = clients.open(name)
        assert clients.post(INGEST, client.chunk()).status == 200
        assert clients.post(INGEST, client.close()).status == 200


def wait_until_current(server: ServerProcess, count: int) -> None:
    """Wait until so many sessions are in the corpus."""

    def is_current() -> bool:
        lag = server.get("/health").members["curation_lag"]
        with suppress(sqlite3.OperationalError):  # its process has not come to that yet
            return lag == {"trajectories": 0, "texts": 0, "seconds": 0} and len(shown(server.data_directory)) == count
        return False

    wait_for(is_current, f"{count} records")


def test_sessions_are_in_the_corpus_soon_and_once_whoever_is_killed(tmp_path: Path) -> None:
    """First its process, then the server: neither leaves the other one behind."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=SETTINGS) as server:
        clients = Client(server)
        leave(clients, "sess_a")
        wait_until_current(server, 1)
        (first,) = curators(server)
        os.kill(first, signal.SIGKILL)
        leave(clients, "sess_b")
        wait_for(lambda: curators(server) not in ([], [first]), "another process")
        wait_until_current(server, 2)
        assert "curation ended with status -9; it is started again in 0.1 s" in server.said
        (second,) = curators(server)
        server.kill()
        wait_for(lambda: not Path(f"/proc/{second}").exists(), "the end of the process")
    with ServerProcess(root, settings=SETTINGS) as server:
        leave(Client(server), "sess_c")
        wait_until_current(server, 3)
        (third,) = curators(server)
        assert server.terminate() == 0
        assert not Path(f"/proc/{third}").exists()
    assert list(shown(root)) == ["sess_a", "sess_b", "sess_c"]
