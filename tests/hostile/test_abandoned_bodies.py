"""Bodies whose senders have gone are counted for as long as they wait, and their memory comes back."""

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.neighbour import DURATION_S, LIMITED, SHARE_KEPT_MIN, Neighbour, connection_from, opened
from tests.security.raw_connection import post
from tests.server_process import INGEST, ServerProcess, request
from tests.signing_client import SigningClient

pytestmark = pytest.mark.measured

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
BODY_BYTES = 5_000_000
MEMORY_BACK_S_MAX = 60.0
GROWTH_MIB_MAX = 650
"""256 MiB of bodies, what the connections that send them hold, and the rewriting of one."""
KEPT_MIB_MAX = 100


def forged(client: SigningClient) -> bytes:
    """A request with an envelope of 5 MB whose signature is of the right shape, and wrong."""
    steps = [client.step(content="x" * 90_000) for _ in range(BODY_BYTES // 90_000)]
    body = client.chunk_of(steps, sequence=0)
    return post(INGEST, body.replace(b'"sequence":0', b'"sequence":1'))


def abandon(port: int, address: str, whole: bytes, seconds: float) -> None:
    """Send the request over connections of their own, two at once, and close each when it is sent, again and again."""

    def work() -> None:
        while time.monotonic() < until:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0)) as connection,
            ):
                connection.sendall(whole)

    until = time.monotonic() + seconds
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_bodies_whose_senders_have_gone_are_counted_and_their_memory_comes_back(tmp_path: Path) -> None:
    """Four addresses send forged envelopes of 5 MB and go: a fifth one notices nothing, and nothing stays."""
    with ServerProcess(tmp_path / "data", settings=LIMITED) as server, Neighbour(server.port, "127.0.0.9") as neighbour:
        requests = []
        for address in ADDRESSES:
            connection = connection_from(server.port, address)
            client = opened(connection, f"sess_{address}")
            assert request(connection, "POST", INGEST, client.chunk()).members["accepted"] is True
            connection.close()
            requests.append((address, forged(client)))
        alone = neighbour.rate_while(DURATION_S)
        before = peak = server.rss_anon_mib
        spawned = multiprocessing.get_context("spawn")  # their own interpreters: the neighbour must not wait for them
        attackers = [
            spawned.Process(target=abandon, args=(server.port, address, whole, DURATION_S))
            for address, whole in requests
        ]
        with neighbour.measured() as beside:
            for attacker in attackers:
                attacker.start()
            while any(attacker.is_alive() for attacker in attackers):
                peak = max(peak, server.rss_anon_mib)
                time.sleep(0.05)
            for attacker in attackers:
                attacker.join()
        neighbour.stop()
        wait_until(lambda: server.rss_anon_mib - before < KEPT_MIB_MAX, lambda: f"{server.rss_anon_mib:.0f} MiB stay")
        assert set(neighbour.answers) == {"accepted"}
        assert beside[0] >= SHARE_KEPT_MIN * alone
        assert peak - before < GROWTH_MIB_MAX


def wait_until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return once it is so; fail after a generous time."""
    deadline = time.monotonic() + MEMORY_BACK_S_MAX
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
