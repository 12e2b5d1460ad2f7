"""How a connection goes on and ends: bytes behind a request, a client's end, expectations, broken bodies."""

import logging
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.central_command.http.connections.certificates import write_certificate

INGEST = "/v1/training/ingest"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'
CLOSING = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
    INGEST.encode(),
    len(BODY),
    BODY,
)
HTTP_1_0 = CLOSING.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b"")
EXPECTING = CLOSING.replace(b"Connection: close", b"Expect: 100-continue").removesuffix(BODY)
NOWHERE = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def everything(client: Any, *pieces: bytes) -> bytes:
    """Send pieces, each when nothing more comes of the one before, and read until the server closes."""
    for piece in pieces:
        await client.send(piece)
        await trio.testing.wait_all_tasks_blocked(0.005)
    received: bytes = await client.read_to_end()
    return received


@pytest.mark.parametrize("request_", [CLOSING, HTTP_1_0], ids=["Connection: close", "HTTP/1.0"])
@pytest.mark.parametrize("behind", [b"\r\n", b"x", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 200_000])
@pytest.mark.parametrize("at_once", [True, False])
async def test_bytes_behind_the_last_request_change_nothing(
    request_: bytes, behind: bytes, *, at_once: bool, served: Any, gateway: Any
) -> None:
    """The envelope was stored, so its answer goes out, the connection ends, and no more is answered."""
    async with served() as server:
        client = await server.connect()
        received = await everything(client, *([request_ + behind] if at_once else [request_, behind]))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b'{"accepted":true,"envelope_id":"env_1"}')
    assert [envelope.body for _, envelope in gateway.asked] == [BODY]


async def test_a_client_that_goes_on_sending_sees_its_answer_before_the_end(served: Any) -> None:
    """What still comes is read and dropped, so that no reset takes the answer away, within bounds."""
    async with served(linger_bytes_max=1_000_000) as server:
        client = await server.connect()
        await client.send(CLOSING)
        for _ in range(50):
            await client.send(b"x" * 10_000)
        assert (await client.answer()).status == 200
        assert await client.read_to_end() == b""
        endless = b"x" * 50_000_000
        with pytest.raises(trio.BrokenResourceError):
            await client.send(endless)


async def test_a_client_that_stays_silent_is_not_lingered_for_ever(served: Any, autojump_clock: Any) -> None:
    """After `linger_s` the connection is gone, though the client never ended its side."""
    autojump_clock.autojump_threshold = 0.02
    async with served(linger_s=3, graceful_timeout_s=1_000) as server:
        client = await server.connect()
        await client.send(CLOSING)
        await client.read_to_end()
        began_at = trio.current_time()
        server.shutdown.set()
        await server.ended.wait()
        assert 2 < trio.current_time() - began_at < 4


async def test_tls_ends_with_the_answer_read(served: Any, tmp_path: Path) -> None:
    """Bytes behind the last request included."""
    certificate, key = write_certificate(tmp_path)
    async with served(tls_certificate=certificate, tls_key=key) as server:
        for behind in (b"", b"x" * 100_000):
            client = await server.connect(ssl.create_default_context(cafile=certificate))
            await client.send(CLOSING + behind)
            assert (await client.answer()).status == 200
            assert await client.read_to_end() == b""


@pytest.mark.parametrize("path", [INGEST, "/v1/sessions/close", "/v1/training/ingest/batch"])
async def test_a_client_that_ended_its_side_is_answered(path: str, served: Any, gateway: Any) -> None:
    """Also the last of several requests, and one whose answer takes a while."""
    gateway.blocked = trio.Event()
    async with served(half_closed_s=60) as server:
        client = await server.connect()
        await client.post(path, BODY)
        await client.post(path, BODY)
        await client.stream.send_eof()
        await gateway.entered.wait()
        await trio.testing.wait_all_tasks_blocked(0.005)
        gateway.blocked.set()
        received = await client.read_to_end()
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert len(gateway.asked) == 2


async def test_a_client_that_ended_its_side_long_ago_is_gone(
    served: Any, gateway: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After `half_closed_s` nobody waits any more, and the log says 499."""
    caplog.set_level(logging.INFO, logger="central_command.access")
    autojump_clock.autojump_threshold = 0.02
    gateway.blocked = trio.Event()
    async with served(half_closed_s=5) as server:
        client = await server.connect()
        await client.post(INGEST, BODY)
        await client.stream.send_eof()
        began_at = trio.current_time()
        assert await client.read_to_end() == b""
        assert 4.5 < trio.current_time() - began_at < 6
    assert " 499 " in caplog.text


async def test_empty_lines_before_a_request_are_passed_over(served: Any, in_place: list[bytes]) -> None:
    """Old clients send one behind each body, also where the short way is taken."""
    head = f"POST {INGEST} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    async with served() as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(head + BODY + b"\r\n")
            assert (await client.answer()).status == 200
            await trio.testing.wait_all_tasks_blocked()
    assert in_place == [BODY, BODY]


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_body_is_asked_for_when_it_is_wanted(*, at_once: bool, served: Any, gateway: Any) -> None:
    """100 Continue goes out before the answer whether or not the client waits for it, and the connection goes on."""
    async with served() as server:
        client = await server.connect()
        for path in (INGEST, "/v1/sessions/close"):
            head = EXPECTING.replace(INGEST.encode(), path.encode())
            await client.send(head + BODY if at_once else head)
            assert (await client.answer()).status == 100
            if not at_once:
                await client.send(BODY)
            assert (await client.answer()).status == 200
    assert len(gateway.asked) == 2


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Content-Length: 42", b"Content-Length: 99999999", 413),
        (b"Host: x", b"Host: x\r\nContent-Encoding: gzip", 415),
        (b"/v1/training/ingest", b"/v1/nowhere", 404),
        (b"POST", b"PUT", 405),
        (b"/v1/training/ingest", b"/v1/sessions/open", 429),
    ],
)
async def test_what_is_refused_for_its_head_is_not_asked_for(old: bytes, new: bytes, status: int, served: Any) -> None:
    """The answer comes at once and instead of 100 Continue, and closes: the body may come or not."""
    assert old in EXPECTING
    async with served(requests_per_minute=1 if status == 429 else 100) as server:
        if status == 429:
            other = await server.connect()
            await other.get("/nowhere")
            await other.answer()
        for body in (b"", BODY):
            client = await server.connect()
            await client.send(EXPECTING.replace(old, new) + body)
            answer = await client.answer()
            assert answer.status == status
            assert answer.headers["connection"] == "close"
            assert await client.read_to_end() == b""


async def test_an_expectation_without_a_body_is_none(served: Any) -> None:
    """Nothing is to be sent, so nothing is waited for, and the connection goes on."""
    async with served() as server:
        client = await server.connect()
        for _ in range(2):
            await client.get("/health", "Expect: 100-continue\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers.get("connection")) == (200, None)


@pytest.mark.parametrize("pieces", [[NOWHERE, b"zz\r\n"], [NOWHERE + b"zz\r\n"], [NOWHERE + b"2\r\n{}", b"XX0\r\n"]])
async def test_a_broken_body_does_not_hide_a_refusal_of_its_head(pieces: list[bytes], served: Any) -> None:
    """What is refused without its body is refused as ever, whether or not what is wrong with it has come by then."""
    async with served() as server:
        received = await everything(await server.connect(), *pieces)
    assert received.startswith(b"HTTP/1.1 404 ")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("path", [INGEST, "/v1/sessions/close"])
@pytest.mark.parametrize("pieces", [[b"2\r\n{}", b"XX"], [b"2\r\n{}XX"], [b"zz\r\n"], [b"0\r\n", b"no colon\r\n\r\n"]])
async def test_a_broken_body_that_is_read_is_400(path: str, pieces: list[bytes], served: Any, gateway: Any) -> None:
    """On the framework's endpoints as on the others; nothing of it is handled, and the connection ends."""
    head = NOWHERE.replace(b"/nowhere", path.encode())
    async with served() as server:
        received = await everything(await server.connect(), head, *pieces)
        at_once = await everything(await server.connect(), head + b"".join(pieces))
    for each in (received, at_once):
        assert each.startswith(b"HTTP/1.1 400 ")
        assert each.endswith(b'{"error":"The request is not valid HTTP/1.1 (Bad Request)."}')
    assert gateway.asked == []


@pytest.mark.parametrize("ending", [b"2;%b\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nX: %b\r\n\r\n"])
async def test_the_lines_between_chunks_are_bounded_however_they_come(ending: bytes, served: Any) -> None:
    """Extensions and trailers; a little less is passed over."""
    head = NOWHERE.replace(b"/nowhere", INGEST.encode())
    async with served(headers_bytes_max=2_000) as server:
        for count, status in ((1_900, 400), (2_000, 431)):
            sent = ending % (b"x" * count)
            for pieces in ([head + sent], [head, sent[:1_000], sent[1_000:]]):
                client = await server.connect()
                await client.send(pieces[0])
                for piece in pieces[1:]:
                    await trio.testing.wait_all_tasks_blocked(0.005)
                    await client.send(piece)
                assert (await client.answer()).status == status


async def test_a_request_is_judged_without_what_was_before_it(served: Any) -> None:
    """Trailers near their bound, and then a head near its own that is malformed: 400, as on a new connection."""
    chunked = NOWHERE.replace(b"/nowhere", INGEST.encode()) + b"2\r\n[]\r\n0\r\nX: %b\r\n\r\n" % (b"x" * 1_900)
    malformed = b"GET /health HTTP/1.1\r\n folded\r\nX: %b\r\n\r\n" % (b"x" * 1_900)
    async with served(headers_bytes_max=2_000) as server:
        for pieces in ([chunked, malformed], [chunked + malformed], [malformed]):
            client = await server.connect()
            for piece in pieces:
                await client.send(piece)
                await trio.testing.wait_all_tasks_blocked(0.005)
            statuses = re.findall(rb"HTTP/1\.1 (\d+) ", await client.read_to_end())
            assert statuses[-1] == b"400", statuses
