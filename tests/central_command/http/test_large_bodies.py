"""What an open session sends is not lost for its size or depth; everybody else keeps to the contract's bounds."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from central_command.http.requests.replies import BATCH_PATH, CLOSE_PATH, INGEST_PATH

Serve = Callable[..., AbstractAsyncContextManager[Any]]

BOUNDS = {"body_bytes_max": 2_000, "body_bytes_hard_max": 100_000, "large_bodies_max": 2}


def envelope(length: int, session_id: str = "sess_open") -> bytes:
    """An envelope of so many bytes."""
    empty = json.dumps({"envelope_id": "env_1", "session_id": session_id, "x": ""}, separators=(",", ":")).encode()
    return empty[:-2] + b"y" * (length - len(empty)) + b'"}'


def nested(levels: int, session_id: str = "sess_open") -> bytes:
    """An envelope that nests so deep, itself counted."""
    return b'{"session_id":"%b","x":%b}' % (session_id.encode(), b"[" * (levels - 1) + b"]" * (levels - 1))


@pytest.fixture
def gateway(gateway: Any) -> Any:
    """One session is open."""
    gateway.open_sessions.add("sess_open")
    return gateway


def chunked(path: str, body: bytes) -> bytes:
    """A request whose length is not announced."""
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[start : start + 500] for start in range(0, len(body), 500)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_a_large_envelope_of_an_open_session_is_taken_in(served: Serve, gateway: Any) -> None:
    """However its length is told, up to the hard maximum, and on a connection whose head is remembered."""
    async with served(**BOUNDS) as server:
        client = await server.connect()
        for length in (2_000, 2_001, 100_000):
            await client.post(INGEST_PATH, envelope(length))
            assert (await client.answer()).status == 200
        await client.send(chunked(INGEST_PATH, envelope(50_000)))
        assert (await client.answer()).status == 200
    assert [len(each.body) for _, each in gateway.asked] == [2_000, 2_001, 100_000, 50_000]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (INGEST_PATH, envelope(2_001, "sess_unknown")),
        (INGEST_PATH, b"[" + envelope(2_001) + b"]"),
        (INGEST_PATH, b'{"x":"' + b"y" * 2_000 + b'","session_id":"sess_open"}'),
        (INGEST_PATH, envelope(100_001)),
        (BATCH_PATH, envelope(2_001)),
        (CLOSE_PATH, envelope(2_001)),
    ],
    ids=["a session that is not open", "no envelope", "no session in the first KiB", "too large", "a batch", "a close"],
)
@pytest.mark.parametrize("is_announced", [True, False])
async def test_anything_else_that_is_large_is_413(
    served: Serve, gateway: Any, path: str, body: bytes, *, is_announced: bool
) -> None:
    """Before the rest of it has come, where its length was announced."""
    async with served(**BOUNDS) as server:
        client = await server.connect()
        if is_announced:
            await client.send(
                f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1_500]
            )
        else:
            await client.send(chunked(path, body))
        answer = await client.answer()
        assert answer.status == 413
        assert answer.json.get("code") in ({"body_too_large"} if "ingest" in path else {None})
    assert gateway.asked == []


async def test_the_sentence_of_a_413_names_the_bound_that_holds(served: Serve) -> None:
    """For most it is the contract's; an open session's envelope was over the hard one."""
    async with served(**BOUNDS) as server:
        for body, bound in ((envelope(2_001, "sess_unknown"), "2000"), (envelope(100_001), "100000")):
            client = await server.connect()
            await client.post(INGEST_PATH, body)
            assert bound in (await client.answer()).json["reason"]


async def test_there_are_places_for_so_many_large_bodies_and_one_for_each_address(served: Serve, gateway: Any) -> None:
    """The next one is 503, for whoever has one and for everybody when all are taken; small ones go on."""
    gateway.blocked = trio.Event()
    async with served(**BOUNDS, trusted_proxies=("127.0.0.1/32",)) as server:

        async def post(address: str, length: int = 3_000) -> Any:
            client = await server.connect()
            await client.post(INGEST_PATH, envelope(length), f"X-Forwarded-For: {address}\r\n")
            return client

        first = await post("192.0.2.1")
        await trio.testing.wait_all_tasks_blocked()
        assert (await (await post("192.0.2.1")).answer()).json["code"] == "overloaded"
        second = await post("192.0.2.2")
        await trio.testing.wait_all_tasks_blocked()
        assert (await (await post("192.0.2.3")).answer()).status == 503
        small = await post("192.0.2.1", 500)
        gateway.blocked.set()
        for client in (first, second, small):
            assert (await client.answer()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        assert (await (await post("192.0.2.3")).answer()).status == 200


async def test_a_client_that_asks_first_is_told_to_go_on_or_refused(served: Serve, gateway: Any) -> None:
    """`Expect: 100-continue`: whether a large body may come is only known from its first bytes."""
    async with served(**BOUNDS) as server:
        for path, body, status in (
            (INGEST_PATH, envelope(100_001), 413),
            (BATCH_PATH, envelope(2_001), 413),
            (INGEST_PATH, envelope(2_001, "sess_unknown"), 413),
            (INGEST_PATH, envelope(2_001), 200),
        ):
            client = await server.connect()
            expect = f"Host: test\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
            await client.send(f"POST {path} HTTP/1.1\r\n{expect}".encode())
            if (await client.answer_head()).startswith("HTTP/1.1 100"):
                await client.send(body)
                assert (await client.answer()).status == status
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("path", [INGEST_PATH, BATCH_PATH])
async def test_depth_is_taken_from_an_open_session(make_app: Any, gateway: Any, path: str) -> None:
    """Down to 200 levels; 64 hold for everybody else."""
    client = make_app().test_client()

    async def told(body: bytes) -> tuple[int, str | None]:
        answer = await client.post(path, data=body)
        members = json.loads(await answer.get_data())
        return members.get("status", answer.status_code), members.get("code")

    assert await told(nested(200)) == (200, None)
    assert await told(nested(201)) == (400, "nesting_too_deep")
    assert await told(nested(64, "sess_unknown")) == (200, None)
    assert await told(nested(65, "sess_unknown")) == (400, "nesting_too_deep")
    assert len(gateway.asked) == 2


async def test_an_address_without_budget_is_refused_before_its_body_is_awaited(served: Serve, gateway: Any) -> None:
    """Also where it has sessions of its own, once the time to say whose it is has passed."""
    async with served(requests_per_minute=1, linger_s=0.2) as server:
        for path in ("/v1/embed", INGEST_PATH, BATCH_PATH, INGEST_PATH):
            client = await server.connect()
            if gateway.asked == [] and path == INGEST_PATH:
                await client.post(INGEST_PATH, envelope(500))
                assert (await client.answer()).status == 200
                await client.get("/v1/stats/summary")
                assert (await client.answer()).status == 200
            await client.send(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n".encode())
            if path != "/v1/embed":
                assert (await client.answer()).status == 429


async def test_a_known_session_gets_through_where_its_address_has_nothing_left(served: Serve, gateway: Any) -> None:
    """Over a new connection and over one whose head is remembered; others are refused."""
    gateway.open_sessions.add("sess_other")
    async with served(requests_per_minute=2) as server:
        client, stranger = await server.connect(), await server.connect()
        await client.post(INGEST_PATH, envelope(500))
        assert (await client.answer()).status == 200
        for _ in range(2):
            await stranger.get("/v1/stats/summary")
            assert (await stranger.answer()).status == 200
        for length in (500, 600, 1_900, 3_000_000):
            await client.post(INGEST_PATH, envelope(length))
            assert (await client.answer()).status == (200 if length < 5_242_880 else 413)
        fresh = await server.connect()
        await fresh.post(INGEST_PATH, envelope(500))
        assert (await fresh.answer()).status == 200
        await fresh.post(BATCH_PATH, envelope(500) + b"\n" + envelope(600))
        assert b'"accepted":true' in await fresh.read_until(b"0\r\n\r\n")
        await client.post(CLOSE_PATH, b'{"session_id":"sess_open"}')
        assert (await client.answer()).status == 200
        await stranger.post(INGEST_PATH, envelope(500, "sess_other"))
        assert (await stranger.answer()).status == 429
        await stranger.get("/v1/stats/summary")
        assert (await stranger.answer()).status == 429
