"""Bodies that are announced and never come take nothing from anybody else."""

import itertools
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hostile.minimal_proxy import MinimalProxy
from tests.hostile.neighbour import DURATION_S, LIMITED, SHARE_KEPT_MIN, Neighbour
from tests.security.raw_connection import post
from tests.server_process import INGEST, ServerProcess

pytestmark = pytest.mark.measured

CONNECTIONS = 200
ANNOUNCED_BYTES = (5_242_880, 5_242_880, 5_242_880, 50_000)
"""Large ones, and some that would fill what those leave."""
PAUSE_S = 0.2
ANNOUNCED_S = 0.95
"""A little less than a body is waited for where its head was remembered."""


def announce(port: int, address: str, length: int, until: float) -> None:
    """Have a request's head remembered, announce a body that never comes, and begin anew a second later."""
    remembered, end, body = post(INGEST, b'{"session_id":"sess_none"}').partition(b"\r\n\r\n")
    head = f"POST {INGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0)) as connection:
                # In parts: a head is remembered while its body is awaited, also where the request is refused at once.
                for part in (remembered + end, body, head):
                    time.sleep(PAUSE_S)
                    connection.sendall(part)
                time.sleep(ANNOUNCED_S)
        except OSError:
            time.sleep(0.1)


@pytest.mark.parametrize("behind_proxy", [False, True], ids=["directly", "behind a proxy"])
def test_a_body_that_was_only_announced_keeps_nobody_out(tmp_path: Path, *, behind_proxy: bool) -> None:
    """200 connections of one address announce 5 MiB each all the time: whoever has another address notices nothing."""
    with ServerProcess(tmp_path / "data", settings=LIMITED) as server, ExitStack() as stack:
        port = stack.enter_context(MinimalProxy(server.port)).port if behind_proxy else server.port
        neighbour = stack.enter_context(Neighbour(port, "127.0.0.9"))
        alone = neighbour.rate_while(DURATION_S)
        before = server.rss_anon_mib
        until = time.monotonic() + DURATION_S
        attackers = [
            threading.Thread(target=announce, args=(port, "127.0.0.2", length, until), daemon=True)
            for _, length in zip(range(CONNECTIONS), itertools.cycle(ANNOUNCED_BYTES), strict=False)
        ]
        with neighbour.measured() as beside:
            for attacker in attackers:
                attacker.start()
            for attacker in attackers:
                attacker.join()
        neighbour.stop()
        assert set(neighbour.answers) == {"accepted"}
        assert beside[0] >= SHARE_KEPT_MIN * alone
        assert server.rss_anon_mib - before < 100
