"""No request and no connection ends as a cycle: the collector looks at what is in use only once.

See `central_command.process.collector`; sessions and their actors are in tests/actors/sessions/test_cycles.py.
"""

import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.cycles import counted_cycles

INGEST = "/v1/training/ingest"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'
OPENING = (
    b'{"session_id":"sess_1","public_key":"key","provider":"codex","model":"m","machine_fingerprint":"%s",'
    b'"app_version_hash":"%s","groove_version":"1"}' % (b"a" * 64, b"b" * 64)
)
TIMES = 40

ROUTING = Counter({"StateMachineMatcher.match.<locals>._match": 1, "cell": 5, "set": 1, "tuple": 1})
"""What werkzeug's matcher leaves behind of each request that the framework answers: before the endpoint is called, so
that the next look finds it."""

Ask = Callable[[Any], Awaitable[int]]


def get(path: str) -> Ask:
    """A GET."""

    async def ask(client: Any) -> int:
        await client.get(path)
        return int((await client.answer()).status)

    return ask


def post(path: str, body: bytes) -> Ask:
    """A POST."""

    async def ask(client: Any) -> int:
        await client.post(path, body)
        return int((await client.answer()).status)

    return ask


REQUESTS = {
    "health": (get("/health"), 200),
    "ready": (get("/ready"), 200),
    "statistics": (get("/v1/stats/daily"), 200),
    "wrong statistics": (get("/v1/stats/daily?days=x"), 400),
    "opening": (post("/v1/sessions/open", OPENING), 200),
    "wrong opening": (post("/v1/sessions/open", b"{}"), 400),
    "envelope": (post(INGEST, BODY), 200),
    "wrong envelope": (post(INGEST, b"{"), 400),
    "close": (post("/v1/sessions/close", b'{"session_id":"sess_1"}'), 200),
    "no such endpoint": (get("/v1/nothing"), 404),
    "no such method": (get(INGEST), 405),
}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_leaves_no_cycle(served: Any, kind: str) -> None:
    """But for the few objects of the framework's routing."""
    ask, status = REQUESTS[kind]
    async with served(limits_enabled=False) as server:
        client = await server.connect()
        for _ in range(3):
            assert await ask(client) == status
        with counted_cycles() as cycles:
            for _ in range(TIMES):
                await ask(client)
    allowed = Counter({name: count * TIMES for name, count in ROUTING.items()})
    assert cycles <= allowed, cycles - allowed


async def test_a_failed_request_leaves_no_cycle(served: Any, gateway: Any) -> None:
    """Its traceback was logged, and is not kept."""
    gateway.closing = RuntimeError("a fault")
    close = post("/v1/sessions/close", b'{"session_id":"sess_1"}')
    async with served(limits_enabled=False) as server:
        client = await server.connect()
        assert await close(client) == 500
        gateway.closing = RuntimeError("another")
        with counted_cycles() as cycles:
            assert await close(client) == 500
    assert cycles <= ROUTING, cycles - ROUTING


async def test_a_connection_leaves_no_cycle(served: Any) -> None:
    """However it ends: closed, reset, or in the middle of a body."""

    async def closed(client: Any) -> None:
        await client.stream.aclose()

    async def reset(client: Any) -> None:
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()

    async def within_a_body(client: Any) -> None:
        await client.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbody".encode())
        await client.stream.aclose()

    async with served(limits_enabled=False) as server:

        async def all_ends() -> None:
            for end in (closed, reset, within_a_body):
                client = await server.connect()
                await client.post(INGEST, BODY)
                assert (await client.answer()).status == 200
                await end(client)
                await trio.testing.wait_all_tasks_blocked(0.01)

        await all_ends()
        server.streams.clear()
        with counted_cycles() as cycles:
            for _ in range(3):
                await all_ends()
                server.streams.clear()
    assert not cycles
