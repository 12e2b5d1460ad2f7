"""What clients can make the server hold is bounded by settings: smaller versions of `bench/connections.py`.

Memory is the server's own (`RssAnon`, no file's). Bounds are several times what was ever seen: they fail when something
grows without end, not when a machine is slow.
"""

import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from central_command.http.connections.descriptors import RESERVED, fitting
from central_command.http.settings import HttpSettings, HttpSettingsError
from tests.security.raw_connection import TIMEOUT_S, connect, get, received_until_closed
from tests.server_process import INGEST, OPEN, REPOSITORY, ServerProcess, request
from tests.signing_client import SigningClient, dumps

pytestmark = pytest.mark.measured

MIB = 1_048_576


def http_with(**settings: int) -> dict[str, str]:
    """The environment that sets these in `[http]`."""
    return {f"CENTRAL_COMMAND__HTTP__{name.upper()}": str(value) for name, value in settings.items()}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once it is so; fail after a generous time."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def closed_of(connections: list[socket.socket]) -> int:
    """How many the server has closed."""
    with select.epoll() as poller:
        for connection in connections:
            poller.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
        return len(poller.poll(0, len(connections)))


@contextmanager
def many(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that send nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


def test_idle_connections_are_bounded_in_number_and_in_memory(tmp_path: Path) -> None:
    """Past `connections_max` they are closed at once; those inside cost little, and leave the server in order."""
    with ServerProcess(tmp_path / "data", settings=http_with(connections_max=200)) as server:
        before = server.rss_anon_mib
        with many(server.port, 300) as connections:
            wait_until(lambda: closed_of(connections) >= 100, "the connections past the bound are still open")
            assert closed_of(connections) == 100
            assert server.rss_anon_mib - before < 60, "17 KiB each were measured"
        wait_until(lambda: _answers(server), "no place is free after they have gone")
        assert server.terminate() == 0


def _answers(server: ServerProcess) -> bool:
    try:
        return server.get("/health").status == 200
    except ConnectionError:
        return False


def test_bodies_that_come_slowly_are_bounded_together(tmp_path: Path) -> None:
    """60 clients announce 5 MB each and send it a piece at a time: 300 MB would come together; 8 MiB are held."""
    total = 8 * MIB
    with ServerProcess(tmp_path / "data", settings=http_with(bodies_bytes_max=total, linger_s=1)) as server:
        before = peak = server.rss_anon_mib
        with many(server.port, 60) as connections:
            for connection in connections:
                head = f"POST {INGEST} HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n"
                connection.sendall(head.encode())
                connection.settimeout(0)
            waiting, deadline = set(connections), time.monotonic() + TIMEOUT_S
            answers: list[bytes] = []
            while waiting and time.monotonic() < deadline:
                for connection in list(waiting):
                    if (answer := _sent(connection)) is not None:
                        waiting.discard(connection)
                        answers.append(answer)
                peak = max(peak, server.rss_anon_mib)
            assert not waiting, "some were neither answered nor dropped"
        assert any(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        assert peak - before < 120, "8 MiB of bodies, and what connections cost"
        wait_until(lambda: server.post(INGEST, b"{" + b" " * total + b"}").status in {413, 503}, "no answer")
        assert server.post(INGEST, b'{"session_id":"x"}').status == 200, "room was given back"


def _sent(connection: socket.socket) -> bytes | None:
    """Send a piece of what the kernel takes; return the answer, or nothing at the end, when one of them came."""
    try:
        connection.send(b"x" * 65_536)
    except BlockingIOError:
        pass
    except OSError:
        return b""
    try:
        return connection.recv(65_536)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def test_a_body_in_the_smallest_pieces_costs_no_multiple_of_its_size(tmp_path: Path) -> None:
    """Chunks of two bytes each: what is held counts as what it takes, about."""
    with ServerProcess(tmp_path / "data") as server:
        before = server.rss_anon_mib
        with connect(server.port) as connection:
            connection.sendall(f"POST {INGEST} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(20):
                connection.sendall(b"2\r\nxx\r\n" * 5_000)
            held = server.rss_anon_mib - before
            connection.sendall(b"0\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
        assert held < 60
        assert server.get("/health").status == 200


@pytest.mark.parametrize("endless", ["2;{}\r\n", "0\r\n{}"], ids=["extension", "trailer"])
def test_what_http_allows_beside_a_body_is_bounded(tmp_path: Path, endless: str) -> None:
    """An endless chunk extension or trailer ends with a refusal or the body's time, and never fills memory."""
    with ServerProcess(tmp_path / "data", settings=http_with(body_timeout_s=2, linger_s=1)) as server:
        before = server.rss_anon_mib
        with connect(server.port) as connection:
            connection.sendall(f"POST {INGEST} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            head, _ = endless.split("{}")
            connection.sendall(head.encode())
            piece, sent = b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" * 1_600, 0
            try:
                while sent < 64 * MIB:
                    sent += connection.send(piece)
            except ConnectionError:
                pass
            received_until_closed(connection)
            assert server.rss_anon_mib - before < 60
        assert server.get("/health").status == 200


def test_open_sessions_that_do_nothing_cost_little(tmp_path: Path) -> None:
    """Only `active_actors_max` of them are in memory: the later ones cost no more than a row."""
    settings = {"CENTRAL_COMMAND__SESSIONS__ACTIVE_ACTORS_MAX": "20"}
    with ServerProcess(tmp_path / "data", settings=settings) as server:
        connection = server.connect(TIMEOUT_S)
        client = SigningClient("x")

        def open_until(first: int, last: int) -> None:
            for number in range(first, last):
                changes = {"session_id": f"sess_{number}", "machine_fingerprint": f"{number:064x}"}
                assert request(connection, "POST", OPEN, dumps(client.opening(**changes)).encode()).status == 200

        open_until(0, 100)
        before = server.rss_anon_mib
        open_until(100, 600)
        assert server.rss_anon_mib - before < 40, "10 KiB each were measured"
        connection.close()


# File descriptors


def test_connections_cannot_take_the_descriptors_that_files_need(tmp_path: Path) -> None:
    """With fewer descriptors than connections asked for, envelopes are still stored, and the log says what holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = RESERVED + 60
    command = ServerProcess(tmp_path / "data", settings=http_with(connections_max=4_096))
    script = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({few}, {few}))"
    (tmp_path / "limited").mkdir()
    (tmp_path / "limited" / "sitecustomize.py").write_text(script + "\n")
    command.settings["PYTHONPATH"] = f"{tmp_path / 'limited'}:{REPOSITORY}"
    assert hard >= few, "this machine allows fewer files than the test needs"
    with command as server:
        assert f"this process may open only {few} files: it takes 60 connections" in server.said
        first = server.connect(TIMEOUT_S)
        client = SigningClient("sess_few")
        opening = request(first, "POST", OPEN, dumps(client.opening()).encode())
        client.opened(opening.members["server_public_key"])
        with many(server.port, 120) as connections:
            wait_until(lambda: closed_of(connections) >= 61, "the connections past the bound are still open")
            assert request(first, "POST", INGEST, client.chunk()).members["accepted"] is True
            assert request(first, "POST", INGEST, client.close()).members["accepted"] is True
        first.close()
        wait_until(lambda: _answers(server), "no place is free after they have gone")
        assert server.terminate() == 0
        assert "Too many open files" not in server.said
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_a_soft_limit_is_raised_as_far_as_connections_need(tmp_path: Path) -> None:
    """The usual soft limit of 1,024 does not lower `connections_max` where the hard limit allows more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_000 + RESERVED:
        pytest.skip("the hard limit is too low here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with ServerProcess(tmp_path / "data", settings=http_with(connections_max=2_000)) as server:
            limits = Path(f"/proc/{server.process.pid}/limits").read_text()
            assert "it takes" not in server.said
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) >= 2_000 + RESERVED


def test_connections_are_fitted_to_the_descriptors() -> None:
    """As many as were asked for where there is room, as many as there is room for elsewhere, and never none."""
    settings = HttpSettings(connections_max=1_000)
    assert fitting(settings, lambda wanted: wanted) is settings
    assert fitting(settings, lambda wanted: RESERVED + 1_000).connections_max == 1_000
    assert fitting(settings, lambda wanted: RESERVED + 999).connections_max == 999
    with pytest.raises(HttpSettingsError, match="raise the limit"):
        fitting(settings, lambda wanted: RESERVED)


def test_the_probes_answer_while_everything_else_is_full(tmp_path: Path) -> None:
    """With every place for requests taken by slow bodies, `/health` and `/ready` are answered."""
    with ServerProcess(tmp_path / "data", settings=http_with(requests_in_flight_max=5)) as server:
        with many(server.port, 5) as connections:
            for connection in connections:
                connection.sendall(f"POST {INGEST} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{".encode())
            wait_until(lambda: server.get("/v1/stats/summary").status == 503, "there is still room")
            with connect(server.port) as probe:
                probe.sendall(get("/ready"))
                assert probe.recv(65_536).startswith(b"HTTP/1.1 200 ")
            assert server.get("/health").status == 200
        wait_until(lambda: server.get("/v1/stats/summary").status == 200, "the places were not given back")
