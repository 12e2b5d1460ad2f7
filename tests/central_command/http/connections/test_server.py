"""The application over real sockets: what clients do to a server, and what the server must not do in return."""

import logging
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from central_command.http.connections.server import serve
from central_command.http.connections.server_config import ServerConfig, hypercorn_config, reread_tls
from central_command.http.settings import CannotListenError, HttpSettings, HttpSettingsError
from tests.central_command.http.connections.certificates import write_certificate

INGEST = "/v1/training/ingest"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the request log so far."""
    return [record.getMessage() for record in caplog.records if record.name == "central_command.access"]


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged with a traceback."""
    return [record for record in caplog.records if record.exc_info]


async def test_a_connection_carries_many_requests(served: Any) -> None:
    """Answers have their headers, and none names the server."""
    async with served() as server:
        client = await server.connect()
        for _ in range(3):
            await client.post(INGEST, BODY)
            answer = await client.answer()
            assert answer.json == {"accepted": True, "envelope_id": "env_1"}
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "server" not in answer.headers
        await client.send(f"OPTIONS {INGEST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        preflight = await client.answer()
        assert preflight.status == 204
        assert "content-length" not in preflight.headers
        await client.get("/health")
        assert (await client.answer()).json["status"] == "ok"


async def test_a_body_may_come_byte_by_byte(served: Any, gateway: Any) -> None:
    """Slow clients are clients."""
    async with served() as server:
        client = await server.connect()
        await client.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
        for byte in BODY:
            await client.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert (await client.answer()).status == 200
    assert gateway.asked[0][1].body == BODY


async def test_a_body_may_come_in_chunks(served: Any, gateway: Any) -> None:
    """Transfer-Encoding: chunked, bounded like any other."""
    async with served(body_bytes_max=len(BODY)) as server:
        client = await server.connect()
        head = f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
        await client.send(head + chunks + b"0\r\n\r\n")
        assert (await client.answer()).status == 200
        await client.send(head + chunks + b"1\r\n \r\n0\r\n\r\n")
        assert (await client.answer()).json["code"] == "body_too_large"
        await client.post(INGEST, BODY)
        assert (await client.answer()).status == 200
    assert [envelope.body for _, envelope in gateway.asked] == [BODY, BODY]


async def test_a_body_refused_by_its_length_is_answered_before_it_came(served: Any) -> None:
    """And when it comes nevertheless, the connection stays usable."""
    async with served(body_bytes_max=1_000_000) as server:
        client = await server.connect()
        await client.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n".encode())
        answer = await client.answer()
        assert answer.status == 413
        assert answer.json["accepted"] is False
        for _ in range(1_000):
            await client.send(b"x" * 1_000)
        await client.send(b"x")
        await client.post(INGEST, BODY)
        assert (await client.answer()).status == 200


async def test_a_client_that_sends_all_before_it_reads_gets_to_see_the_413(served: Any) -> None:
    """Most clients do; a connection reset in the middle would hide the answer."""
    async with served(body_bytes_max=1_000) as server:
        client = await server.connect()
        await client.post(INGEST, b"x" * 4_000_000)
        assert (await client.answer()).status == 413


async def test_an_endless_body_is_not_read_for_ever(served: Any) -> None:
    """Past the bound the connection is closed."""
    async with served(body_bytes_max=1_000, linger_bytes_max=100_000) as server:
        client = await server.connect()
        await client.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n".encode())

        async def send_without_end() -> None:
            for _ in range(10_000):
                await client.send(b"x" * 10_000)
                await trio.lowlevel.checkpoint()

        with pytest.raises(trio.BrokenResourceError):
            await send_without_end()


async def test_a_client_that_goes_away_leaves_one_line_and_no_traceback(
    served: Any, gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of its body, while it waits, and after it asked; the server goes on for the others."""
    caplog.set_level(logging.INFO)
    gateway.blocked = trio.Event()
    async with served() as server:
        half = await server.connect()
        await half.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        waiting = await server.connect()
        await waiting.post(INGEST, BODY)
        await gateway.entered.wait()
        await half.stream.aclose()
        await waiting.stream.aclose()
        while len(access_lines(caplog)) < 2:
            await trio.lowlevel.checkpoint()
        client = await server.connect()
        await client.get("/health")
        assert (await client.answer()).status == 200
    assert all(re.search(rf" POST {INGEST} 499 \d+ms$", line) for line in access_lines(caplog)[:2])
    assert tracebacks(caplog) == []


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_goes_away_with_its_answer_unread_does_no_harm(
    *, reset: bool, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Closed or reset."""
    async with served() as server:
        for _ in range(20):
            client = await server.connect()
            if reset:
                client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.get("/v1/stats/daily?days=365")
            await client.stream.aclose()
        client = await server.connect()
        await client.get("/health")
        assert (await client.answer()).status == 200
    assert tracebacks(caplog) == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20_000, 431),
        (b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /nowhere HTTP/1.1\r\nHost: [\r\n\r\n", 404),
        (b"GET /nowhere HTTP/1.1\r\nHost: a/b@c\r\n\r\n", 404),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
async def test_odd_requests_get_json_and_harm_nobody(
    data: bytes, status: int, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With the CORS header, also where the parser refuses; and the next client is served."""
    async with served() as server:
        client = await server.connect()
        await client.send(data)
        answer = await client.answer()
        assert answer.status == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert ("error" in answer.json) == (status >= 400)
        other = await server.connect()
        await other.get("/health")
        assert (await other.answer()).status == 200
    assert tracebacks(caplog) == []


@pytest.mark.parametrize(
    "headers",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n",
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        ),
    ],
)
async def test_an_upgrade_is_not_taken(headers: str, served: Any) -> None:
    """The request is answered in HTTP/1.1, and so is the next on the same connection."""
    async with served() as server:
        client = await server.connect()
        for _ in range(2):
            await client.get("/health", headers)
            assert (await client.answer()).status == 200


async def test_an_idle_connection_is_closed(served: Any, autojump_clock: Any) -> None:
    """Before a request, in the middle of its headers, and after an answer."""
    autojump_clock.autojump_threshold = 0.02  # sockets are real: let them deliver before time jumps
    async with served(keep_alive_s=5) as server:
        for sent in (b"", b"GET /health HTTP/1.1\r\nHo"):
            client = await server.connect()
            await client.send(sent)
            assert await client.read_to_end() == b""
        client = await server.connect()
        await client.get("/health")
        await client.answer()
        assert await client.read_to_end() == b""


async def test_connections_are_bounded(served: Any) -> None:
    """One too many is closed at once, and there is room again when another ends."""
    async with served(connections_max=1) as server:
        first = await server.connect()
        await first.get("/health")
        assert (await first.answer()).status == 200
        second = await server.connect()
        assert await second.read_to_end() == b""
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)  # until the server has seen it
        third = await server.connect()
        await third.get("/health")
        assert (await third.answer()).status == 200


@pytest.mark.parametrize("is_proxy", [False, True])
async def test_one_address_has_its_share_of_the_connections(served: Any, *, is_proxy: bool) -> None:
    """There is room again when one of them ends; a trusted proxy has those of all its clients."""
    async with served(connections_max=8, trusted_proxies=("127.0.0.0/8",) if is_proxy else ()) as server:
        clients = [await server.connect() for _ in range(2)]
        for client in clients:
            await client.get("/health")
            assert (await client.answer()).status == 200
        third = await server.connect()
        await third.get("/health")
        if is_proxy:
            assert (await third.answer()).status == 200
            return
        assert await third.read_to_end() == b""
        await clients[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)  # until the server has seen it
        fourth = await server.connect()
        await fourth.get("/health")
        assert (await fourth.answer()).status == 200


async def test_shutdown_lets_a_request_end_and_closes_idle_connections(served: Any, gateway: Any) -> None:
    """The one under way gets its answer; nobody waits for the idle one."""
    gateway.blocked = trio.Event()
    async with served(graceful_timeout_s=15, keep_alive_s=1_000) as server:
        idle = await server.connect()
        await idle.get("/health")
        await idle.answer()
        busy = await server.connect()
        await busy.post(INGEST, BODY)
        await gateway.entered.wait()
        server.shutdown.set()
        assert await idle.read_to_end() == b""
        gateway.blocked.set()
        assert (await busy.answer()).status == 200
        assert await busy.read_to_end() == b""


async def test_a_request_sent_while_the_connection_is_closed_holds_nothing_up(served: Any, gateway: Any) -> None:
    """The client's next request arrives behind the one that is ending: it is not taken, and nobody waits for it."""
    gateway.blocked = trio.Event()
    async with served(graceful_timeout_s=60) as server:
        client = await server.connect()
        await client.post(INGEST, BODY)
        await gateway.entered.wait()
        server.shutdown.set()
        await client.post(INGEST, BODY)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gateway.blocked.set()
        assert (await client.answer()).status == 200
        with trio.fail_after(5):
            await server.ended.wait()


async def test_shutdown_waits_only_so_long(served: Any, gateway: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A request that does not end is cut off, without a traceback."""
    gateway.blocked = trio.Event()
    async with served(graceful_timeout_s=0.05) as server:
        client = await server.connect()
        await client.post(INGEST, BODY)
        await gateway.entered.wait()
        server.shutdown.set()
        assert await client.read_to_end() == b""
    assert tracebacks(caplog) == []


async def test_a_client_that_never_reads_cannot_hold_up_the_shutdown(served: Any) -> None:
    """It asks and asks until nothing more fits into the buffers of the sockets."""
    async with served(graceful_timeout_s=0.05, limits_enabled=False) as server:
        client = await server.connect()
        request = b"GET /v1/stats/daily?days=365 HTTP/1.1\r\nHost: x\r\n\r\n"
        with trio.move_on_after(0.5) as asking:
            while True:
                await client.send(request * 100)
        assert asking.cancelled_caught, "the buffers were never full"
        server.shutdown.set()
        with trio.fail_after(5):
            await server.ended.wait()


async def test_tls_serves_http_1_1(served: Any, tmp_path: Path) -> None:
    """With a certificate and key from the settings; HTTP/2 is not negotiated."""
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with served(tls_certificate=certificate, tls_key=key) as server:
        assert server.url.startswith("https://")
        client = await server.connect(context)
        await client.post(INGEST, BODY)
        assert (await client.answer()).status == 200
        assert client.stream.selected_alpn_protocol() == "http/1.1"
        plain = await server.connect()
        await plain.get("/health")
        assert b"200" not in await plain.read_to_end()
        await client.get("/health")
        assert (await client.answer()).status == 200


async def test_http_2_is_negotiated_only_when_it_is_on(served: Any, tmp_path: Path) -> None:
    """By TLS; a request over it is served."""
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with served(tls_certificate=certificate, tls_key=key, http2=True) as server:
        client = await server.connect(context)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        target = [(":method", "GET"), (":path", "/health"), (":scheme", "https"), (":authority", "x")]
        connection.send_headers(1, target, end_stream=True)
        await client.send(connection.data_to_send())
        assert client.stream.selected_alpn_protocol() == "h2"
        received = b""
        while not received:
            for event in connection.receive_data(await client.stream.receive_some(65_536)):
                received += event.data if isinstance(event, h2.events.DataReceived) else b""
        assert b'"status":"ok"' in received


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key"])
def test_tls_needs_both_files(name: str) -> None:
    """One sentence says which one is not set."""
    absent = "tls_key" if name == "tls_certificate" else "tls_certificate"
    with pytest.raises(HttpSettingsError, match=f"http.{absent} is not set"):
        hypercorn_config(HttpSettings(**{name: "file.pem"}))


def test_tls_files_that_do_not_work_are_refused_at_the_start(tmp_path: Path) -> None:
    """Absent, no PEM, swapped, or encrypted (nobody is there to type the password)."""
    certificate, key = write_certificate(tmp_path, password=b"secret")
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(HttpSettingsError, match=r"^http\.tls_key: .*absent\.pem cannot be read"):
        hypercorn_config(HttpSettings(tls_certificate=certificate, tls_key=absent))
    for files in ((certificate, key), (key, certificate), (certificate, certificate)):
        with pytest.raises(HttpSettingsError, match="are no PEM certificate with its own unencrypted private key"):
            hypercorn_config(HttpSettings(tls_certificate=files[0], tls_key=files[1]))


async def test_an_address_in_use_is_said_in_one_sentence(served: Any, make_app: Any) -> None:
    """With the address, the port and the system's reason."""
    async with served() as server:
        config = hypercorn_config(HttpSettings(host="127.0.0.1", port=server.port))
        with pytest.raises(CannotListenError, match=rf"^Cannot listen on 127\.0\.0\.1, port {server.port}: .*in use"):
            await serve(make_app(), config, shutdown_trigger=trio.sleep_forever)


def presented(config: ServerConfig) -> bytes:
    """The certificate that a client of this configuration is shown now."""
    assert config.tls is not None
    client_context = ssl.create_default_context()
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = config.tls.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_renewed_certificate_is_shown_once_it_is_read_again(tmp_path: Path) -> None:
    """Also from other files; what does not work is refused, and the old one goes on."""
    certificate, key = write_certificate(tmp_path)
    settings = HttpSettings(tls_certificate=certificate, tls_key=key)
    config = hypercorn_config(settings)
    first = presented(config)
    write_certificate(tmp_path)
    assert presented(config) == first
    assert reread_tls(config, settings)
    second = presented(config)
    assert second != first
    (tmp_path / "other").mkdir()
    elsewhere = write_certificate(tmp_path / "other")
    for wrong in ((certificate, elsewhere[1]), (str(tmp_path / "absent"), key)):
        with pytest.raises(HttpSettingsError):
            reread_tls(config, HttpSettings(tls_certificate=wrong[0], tls_key=wrong[1]))
        assert presented(config) == second
    assert reread_tls(config, HttpSettings(tls_certificate=elsewhere[0], tls_key=elsewhere[1]))
    assert presented(config) not in (first, second)
    assert not reread_tls(hypercorn_config(HttpSettings()), HttpSettings())
