"""The attacks of this folder as a soak runs them: each for so many seconds, beside everything else."""

import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from tests.hostile.neighbour import connection_from, opened
from tests.hostile.test_abandoned_bodies import ADDRESSES, abandon, forged
from tests.hostile.test_announced_bodies import ANNOUNCED_BYTES, announce
from tests.hostile.test_embedding_flood import FLOOD_CONNECTIONS, Asked, flood_connection
from tests.server_process import OPEN, request
from tests.signing_client import SigningClient, dumps

Attack = Callable[[int, float], Awaitable[None]]
"""Attacks the server on a port for so many seconds."""

ANNOUNCING_CONNECTIONS = 60
OPENING_ADDRESS = "127.0.0.7"


def _at_once(work: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def announced_bodies(port: int, seconds: float) -> None:
    """One address announces bodies that never come, over many connections."""
    until = time.monotonic() + seconds
    lengths = itertools.islice(itertools.cycle(ANNOUNCED_BYTES), ANNOUNCING_CONNECTIONS)
    work = [lambda length=length: announce(port, "127.0.0.2", length, until) for length in lengths]
    await trio.to_thread.run_sync(_at_once, work)


async def abandoned_bodies(port: int, seconds: float) -> None:
    """Four addresses send forged envelopes of 5 MB and go."""

    def attack() -> None:
        requests = []
        for address in ADDRESSES:
            connection = connection_from(port, address)
            requests.append((address, forged(opened(connection, f"sess_{address}_{time.monotonic_ns()}"))))
            connection.close()
        _at_once([lambda each=each: abandon(port, *each, seconds) for each in requests])

    await trio.to_thread.run_sync(attack)


async def embedding_flood(port: int, seconds: float) -> None:
    """One address asks for more embeddings than the engine can make."""
    stopping = threading.Event()
    sent: list[Asked] = []
    work = [lambda number=number: flood_connection(port, number, stopping, sent) for number in range(FLOOD_CONNECTIONS)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, _at_once, work)
        await trio.sleep(seconds)
        stopping.set()


async def openings(port: int, seconds: float) -> None:
    """One address opens sessions as fast as it is let."""

    def attack() -> None:
        connection, until = connection_from(port, OPENING_ADDRESS), time.monotonic() + seconds
        while time.monotonic() < until:
            client = SigningClient(f"sess_opened_{time.monotonic_ns()}")
            answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
            if answer.status != 200:
                time.sleep(0.05)  # refused: again at once, as somebody would who means harm
        connection.close()

    await trio.to_thread.run_sync(attack)


ATTACKS: dict[str, Attack] = {
    "announced bodies": announced_bodies,
    "abandoned bodies": abandoned_bodies,
    "embedding flood": embedding_flood,
    "openings": openings,
}
