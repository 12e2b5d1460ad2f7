"""Requests that no honest client sends, over real sockets: none is taken for another, none costs without bound."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.test_served_connections import certificate_in, tls_settings
from tests.security.raw_connection import (
    TIMEOUT_S,
    ask,
    connect,
    everything_until_closed,
    first_answer,
    get,
    post,
    received_until_closed,
)
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps

pytestmark = pytest.mark.measured

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
"""A request that is to pass for a part of the one before it, or the other way round."""

AMBIGUOUS = {
    "both lengths": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other first": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 6\r\n\r\n",
    "a list of lengths": b"Content-Length: 0, 6\r\n\r\n",
    "a length with a sign": b"Content-Length: +0\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length in hex": b"Content-Length: 0x0\r\n\r\n",
    "a length that is too long": b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked behind a control character": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Content-Length : 0\r\n\r\n",
    "a chunk size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a negative chunk size": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk that ends elsewhere": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
    "line feeds in an extension": b"Transfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n",
}

NOT_THIS_PROTOCOL = {
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    "a TLS handshake": b"\x16\x03\x01\x00\xa5" + b"\x01" * 165,
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "a binary": bytes(range(256)) * 64 + b"\r\n\r\n",
}

OVERSIZED = {
    "one header": get("/health", f"X: {'x' * 40_000}\r\n"),
    "many headers": get("/health", "X: y\r\n" * 10_000),
    "the target": get("/" + "x" * 40_000),
    "no end": b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for the tests that leave it as it is."""
    with ServerProcess(tmp_path_factory.mktemp("hostile") / "data") as running:
        yield running
        assert running.get("/health").status == 200
        assert running.terminate() == 0
        assert "Traceback" not in running.said


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_body_whose_end_can_be_read_in_two_ways_ends_the_connection(server: ServerProcess, name: str) -> None:
    """One 400 or 501, and what follows is no request (RFC 9112, sections 6.3 and 11.2)."""
    request = f"POST {CLOSE} HTTP/1.1\r\nHost: a\r\n".encode() + AMBIGUOUS[name] + HIDDEN
    received = everything_until_closed(server.port, request)
    answer = first_answer(received)
    assert answer is None or answer.status in {400, 501}, received
    assert received.count(b"HTTP/1.1 4") + received.count(b"HTTP/1.1 5") <= 1, received
    assert b"There is no such endpoint" not in received


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 26\r\nTransfer-Encoding: chunked",
        "Content-Length: 26\r\nContent-Length: 0",
        "Content-Length: +26",
        "Content-Length: 26, 26, 0",
        "Content-Length: 99999999999999999999999",
    ],
)
def test_a_head_like_the_ones_before_it_is_checked_like_the_first(server: ServerProcess, lengths: str) -> None:
    """A connection that has sent the same good head several times gets nothing past that a new one does not."""
    good = post(INGEST, b'{"session_id":"sess_none"}')
    with connect(server.port) as connection:
        for _ in range(3):
            connection.sendall(good)
            received = b""
            while first_answer(received) is None:
                received += connection.recv(65_536)
        connection.sendall(good.replace(b"Content-Length: 26", lengths.encode()) + HIDDEN)
        received = received_until_closed(connection)
    answer = first_answer(received)
    assert answer is not None
    assert answer.status == 400
    assert b"There is no such endpoint" not in received


@pytest.mark.parametrize("name", NOT_THIS_PROTOCOL)
def test_another_protocol_is_not_spoken(server: ServerProcess, name: str) -> None:
    """Every answer is HTTP/1.1, a refusal, and the connection is closed."""
    received = everything_until_closed(server.port, NOT_THIS_PROTOCOL[name])
    answer = first_answer(received)
    assert answer is not None
    assert received.startswith(b"HTTP/1.1 ")
    assert answer.status in {400, 505}


def test_an_offer_of_h2c_or_websocket_is_not_taken_up(server: ServerProcess) -> None:
    """The request itself is answered in HTTP/1.1."""
    h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    for headers in (h2c, websocket):
        answer = ask(server.port, get("/health", headers))
        assert answer.status == 200
        assert "upgrade" not in answer.headers


@pytest.mark.parametrize("name", OVERSIZED)
def test_a_head_over_its_bound_is_refused_however_it_arrives(server: ServerProcess, name: str) -> None:
    """`http.headers_bytes_max` holds for all of the head together, also when one read brings all of it."""
    received = everything_until_closed(server.port, OVERSIZED[name])
    answer = first_answer(received)
    assert answer is not None
    assert answer.status == 431


@pytest.mark.parametrize("path", [OPEN, INGEST, CLOSE, "/v1/embed"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2_000_000,
        b'{"a":' * 500_000,
        b'{"session_id":"x",' + b",".join(b'"m%d":0' % n for n in range(200_000)) + b"}",
        b'{"session_id":' + b"9" * 1_000_000 + b"}",
        b'{"session_id":"x","attestation":{"session_hmac":"a","sequence":' + b"9" * 1_000_000 + b"}}",
        b'{"session_id":"' + b"\\ud800" * 200_000 + b'"}',
        b'{"input":"' + b"\\u0000" * 300_000 + b'"}',
    ],
    ids=["arrays", "objects", "members", "a long number", "a long sequence", "surrogates", "NULs"],
)
def test_a_json_bomb_is_answered_like_any_mistake(server: ServerProcess, path: str, body: bytes) -> None:
    """In one piece, and never with what would blame the server, but where there is no model."""
    answer = ask(server.port, post(path, body))
    assert answer.status in ({200, 400, 404} if path != "/v1/embed" else {400, 503})
    assert b'"accepted":true' not in answer.body


def test_numbers_in_a_query_are_bounded_before_they_are_numbers(server: ServerProcess) -> None:
    """Neither digits without end nor digits of other scripts reach `int`."""
    for value in ("9" * 5_000, "-1", "0", "1e3", "1_0", "%D9%A3", "1&days=2", "365%00"):
        assert ask(server.port, get(f"/v1/stats/daily?days={value}")).status == 400


def serving(tmp_path: Path, **settings: str) -> ServerProcess:
    """A server with these set in `[http]`."""
    environment = {f"CENTRAL_COMMAND__HTTP__{name.upper()}": value for name, value in settings.items()}
    return ServerProcess(tmp_path / "data", settings=environment)


def test_headers_that_trickle_end_with_the_idle_time(tmp_path: Path) -> None:
    """Bytes that keep coming do not keep a connection open: the head as a whole has `keep_alive_s`."""
    with (
        serving(tmp_path, keep_alive_s="1") as server,
        connect(server.port) as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nX: ")
        connection.settimeout(0.05)
        assert closed_while(connection, lambda: connection.sendall(b"x"))
        assert server.get("/health").status == 200


def closed_while(connection: socket.socket, act: Callable[[], object]) -> bool:
    """Whether the server closes the connection while something is done again and again."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            act()
            if not connection.recv(65_536):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_a_body_that_trickles_ends_with_its_own_time(tmp_path: Path) -> None:
    """408 after `body_timeout_s`, whatever still comes; on the framework's endpoints as on the direct ones."""
    with serving(tmp_path, body_timeout_s="1", linger_s="30") as server:
        for path in (INGEST, OPEN):
            with connect(server.port) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode())
                connection.settimeout(0.05)
                received = b""
                deadline = time.monotonic() + TIMEOUT_S
                while not received and time.monotonic() < deadline:
                    connection.sendall(b"x")
                    with suppress(TimeoutError):
                        received = connection.recv(65_536)
                assert received.startswith(b"HTTP/1.1 408 "), received


def test_an_idle_connection_is_closed_before_and_after_its_requests(tmp_path: Path) -> None:
    """`keep_alive_s` counts from the connection, and again from each answer."""
    with serving(tmp_path, keep_alive_s="1") as server:
        for request in (b"", get("/health")):
            assert (b"HTTP/1.1 200" in everything_until_closed(server.port, request)) is bool(request)


def test_pipelined_requests_are_not_read_ahead_of_their_answers(tmp_path: Path) -> None:
    """A client that sends requests without end and reads nothing is dropped; others are answered meanwhile."""
    with (
        serving(tmp_path, write_timeout_s="1") as server,
        connect(server.port) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(0.5)
        requests = get("/v1/stats/daily?days=365") * 200
        sent, deadline, dropped = 0, time.monotonic() + TIMEOUT_S, False
        while not dropped and time.monotonic() < deadline:
            try:
                sent += connection.send(requests)
            except TimeoutError:
                assert server.get("/health").status == 200
            except ConnectionError:
                dropped = True
        assert dropped, f"{sent} bytes were sent, and the connection is still open"
        assert server.get("/health").status == 200


def limited(tmp_path: Path, trusted: str) -> ServerProcess:
    """A server that takes five requests a minute of one address."""
    return serving(tmp_path, limits_enabled="true", requests_per_minute="5", trusted_proxies=trusted)


@pytest.mark.parametrize(
    ("trusted", "forwarded"),
    [
        ('["192.0.2.0/24"]', "203.0.113.{n}"),
        ('["127.0.0.0/8"]', "203.0.113.{n}, 198.51.100.7"),
        ('["127.0.0.0/8"]', "203.0.113.{n}\r\nX-Forwarded-For: 198.51.100.7"),
        ('["127.0.0.0/8"]', "203.0.113.{n}, not an address"),
        ('["127.0.0.0/8"]', "2001:db8:0:0:{n}::1"),
    ],
    ids=["no trusted proxy", "left of the proxy's", "in a line of its own", "behind nonsense", "within one /64"],
)
def test_an_address_cannot_be_made_up(tmp_path: Path, trusted: str, forwarded: str) -> None:
    """What `X-Forwarded-For` says counts only as far as trusted proxies wrote it: the sixth request is refused."""
    with limited(tmp_path, trusted) as server:
        statuses = [
            ask(server.port, get("/v1/stats/models", f"X-Forwarded-For: {forwarded.format(n=n)}\r\n")).status
            for n in range(1, 8)
        ]
    assert statuses == [200] * 5 + [429] * 2


def test_one_connection_counts_like_many(tmp_path: Path) -> None:
    """Requests that repeat each other on a kept connection are counted each, on every endpoint."""
    with limited(tmp_path, "[]") as server, connect(server.port) as connection:
        statuses = []
        for _ in range(8):
            connection.sendall(post(INGEST, b'{"session_id":"sess_none"}'))
            received = b""
            while (answer := first_answer(received)) is None:
                received += connection.recv(65_536)
            statuses.append(answer.status)
    assert statuses == [200] * 5 + [429] * 3


def test_no_request_forges_a_log_line_or_moves_a_cursor(tmp_path: Path) -> None:
    """Path, method, ids and headers hold line ends and escape sequences; the log holds none of them."""
    with ServerProcess(tmp_path / "data", settings={"CENTRAL_COMMAND__LOG__ACCESS": "true"}) as server:
        forged = "[2026-01-01T00:00:00.000Z] INFO central_command.service: stopped"
        for request in (
            get("/a%0a" + forged.replace(" ", "%20")),
            get("/a%1b[2J%9b31m%e2%80%a8"),
            get("/\x7f\x9b31m"),
            get("/health", f"User-Agent: \x9b31m{forged}\r\n"),
            post(INGEST, dumps({"session_id": f"x\n{forged}"}).encode()),
            post(OPEN, dumps(SigningClient("x").opening(model=f"m\n{forged}", provider="\x1b[2J")).encode()),
            post(CLOSE, dumps({"session_id": f"\r{forged}"}).encode()),
        ):
            ask(server.port, request)
        assert server.terminate() == 0
        said = server.said
    assert said.count("central_command.service: stopped") == 1, "the server's own"
    assert [character for character in said if not character.isprintable() and character != "\n"] == []


def test_a_recorded_request_is_worth_nothing_in_another_session(server: ServerProcess) -> None:
    """A client that uses one key for two sessions shares no secret between them, and no envelope passes in both."""
    first, second = SigningClient("sess_first"), SigningClient("sess_second")
    second._key = first._key
    for client in (first, second):
        client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    assert first.secret != second.secret
    body = first.chunk()
    assert server.post(INGEST, body).members["accepted"] is True
    moved = body.replace(b'"sess_first"', b'"sess_second"')
    assert server.post(INGEST, moved).members["code"] == "invalid_hmac"
    assert server.post(INGEST, body).members["duplicate"] is True
    other = first.chunk(sequence=0)
    assert server.post(INGEST, other).members["code"] == "sequence_mismatch"


def test_tls_is_1_2_or_1_3_with_forward_secrecy(tmp_path: Path) -> None:
    """Older versions find no partner; what is negotiated is authenticated encryption under an ephemeral key."""
    certificate, key = certificate_in(tmp_path)
    with ServerProcess(tmp_path / "data", settings=tls_settings(certificate, key)) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            cipher = negotiated(server.port, certificate, version)
            assert version is ssl.TLSVersion.TLSv1_3 or cipher.startswith("ECDHE-")
            assert "GCM" in cipher or "POLY1305" in cipher
        # Python warns of old versions where they are chosen by name: asked for by bytes, they need no OpenSSL either.
        for version_bytes in (b"\x03\x00", b"\x03\x01", b"\x03\x02"):
            assert server_hello(server.port, version_bytes)[:1] != b"\x16", "a handshake message was answered"


def negotiated(port: int, certificate: Path, version: ssl.TLSVersion) -> str:
    """The cipher of a connection with exactly one version of TLS."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.minimum_version = context.maximum_version = version
    with connect(port) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        cipher = connection.cipher()
        assert cipher is not None
        return cipher[0]


def server_hello(port: int, version: bytes) -> bytes:
    """What comes back for a ClientHello of an old version that offers the usual old suites."""
    suites = bytes.fromhex("c014c013c00ac009003900330035002f000a00ff")
    curves = bytes.fromhex("000a00080006001700180019") + bytes.fromhex("000b00020100")
    hello = version + bytes(32) + b"\x00" + len(suites).to_bytes(2) + suites + b"\x01\x00"
    hello += len(curves).to_bytes(2) + curves
    handshake = b"\x01" + len(hello).to_bytes(3) + hello
    with connect(port) as connection:
        connection.sendall(b"\x16" + version + len(handshake).to_bytes(2) + handshake)
        return received_until_closed(connection)


def test_bodies_in_another_encoding_are_not_unpacked(server: ServerProcess) -> None:
    """No decompression, so no compression bomb: 415 whatever the encoding, on every endpoint that takes a body."""
    for path in (OPEN, INGEST, CLOSE, "/v1/embed"):
        for encoding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"):
            answer = ask(server.port, post(path, b"\x1f\x8b\x08\x00", f"Content-Encoding: {encoding}\r\n"))
            assert answer.status == 415, (path, encoding)
            assert json.loads(answer.body)
