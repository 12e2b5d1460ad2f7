"""What happens on real sockets: limits, slow and broken senders, connections that are kept, TLS."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.crash.acknowledged import lines_of
from tests.crash.consistency import check_stored
from tests.server_process import CLOSE, HANGS_AFTER_S, INGEST, OPEN, ServerFailedError, ServerProcess, request
from tests.signing_client import SigningClient, dumps

BODY_BYTES_MAX = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here that do not end it; what it stored is verified at the end."""
    root = tmp_path_factory.mktemp("connections") / "data"
    with ServerProcess(root, settings={"CENTRAL_COMMAND__HTTP__BODY_TIMEOUT_S": "0.5"}) as running:
        yield running
        assert running.terminate() == 0
        check_stored(root)


def opened(server: ServerProcess, session_id: str) -> SigningClient:
    """Open a session."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    return client


def head(body: bytes, path: str = INGEST) -> bytes:
    """The head of a POST."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()


def stored(server: ServerProcess, session_id: str) -> int:
    """How many envelopes of a session are on disk."""
    return sum(f'"session_id":"{session_id}"'.encode() in line for line in lines_of(server.data_directory, "envelopes"))


def test_a_body_of_exactly_five_megabytes_is_read_and_one_byte_more_is_not(server: ServerProcess) -> None:
    """413 in the ingest's own form, unless the session is open; the limit itself is no reason to refuse."""
    client = opened(server, "sess_large")
    body = client.chunk()
    assert server.post(INGEST, body + b" " * (BODY_BYTES_MAX - len(body))).members["accepted"] is True
    answer = server.post(INGEST, SigningClient("sess_nobody_s").chunk() + b" " * BODY_BYTES_MAX)
    assert answer.status == 413
    assert answer.members["accepted"] is False
    assert stored(server, "sess_large") == 1


def test_a_body_that_does_not_come_is_given_up(server: ServerProcess) -> None:
    """408 after the time-out, and the connection is closed; nothing is stored."""
    client = opened(server, "sess_slow")
    body = client.chunk()
    with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) as connection:
        connection.sendall(head(body) + body[:100])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert stored(server, "sess_slow") == 0
    assert server.post(INGEST, body).members["accepted"] is True


def test_a_sender_that_goes_away_within_its_body_leaves_nothing(server: ServerProcess) -> None:
    """The whole envelope, sent afterwards, is new."""
    client = opened(server, "sess_half")
    body = client.chunk()
    for part in (0, 1, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) as connection:
            connection.sendall(head(body) + body[:part])
    answer = server.post(INGEST, body)
    assert answer.members["accepted"] is True
    assert "duplicate" not in answer.members
    assert stored(server, "sess_half") == 1


def test_a_sender_that_goes_away_before_the_answer_finds_it_on_its_retry(server: ServerProcess) -> None:
    """Each envelope is stored once, whether its request came through or not, and the retry says which id it has."""
    client = opened(server, "sess_gone")
    for number in range(10):
        body = client.chunk()
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S)
        connection.sendall(head(body) + body)
        if number % 2:  # a reset instead of an orderly end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        first = server.post(INGEST, body)
        again = server.post(INGEST, body)
        assert first.members["accepted"] is True
        assert again.members == {**first.members, "duplicate": True}
        assert stored(server, "sess_gone") == number + 1
    assert server.post(CLOSE, b'{"session_id":"sess_gone"}').members["points"] == 150


def test_an_envelope_whose_sender_went_away_is_stored_all_the_same(server: ServerProcess) -> None:
    """The request was read whole and the sender only stopped listening: no retry is needed for it to be kept."""
    client = opened(server, "sess_half_closed")
    body = client.chunk()
    with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) as connection:
        connection.sendall(head(body) + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert server.post(CLOSE, b'{"session_id":"sess_half_closed"}').members.get("points") == 15
    assert stored(server, "sess_half_closed") == 2  # with the server's own line for the close


def test_one_connection_carries_a_whole_session_and_its_mistakes(server: ServerProcess) -> None:
    """Refusals, 404 and 405 included, leave the connection open for the next request."""
    connection = server.connect()
    try:
        client = SigningClient("sess_kept")
        answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
        client.opened(answer.members["server_public_key"])
        local = connection.sock.getsockname()
        for method, path, body, status in (
            ("POST", INGEST, client.chunk(), 200),
            ("POST", INGEST, b"no JSON", 400),
            ("GET", "/nowhere", None, 404),
            ("GET", INGEST, None, 405),
            ("POST", INGEST, client.close(), 200),
            ("POST", INGEST, client.close(), 200),
            ("POST", "/v1/embed", b'{"input":"health check"}', 503),
            ("GET", "/v1/stats/summary", None, 200),
        ):
            assert request(connection, method, path, body).status == status
        assert connection.sock.getsockname() == local
    finally:
        connection.close()


def test_requests_that_come_at_once_on_one_connection_are_answered_in_order(server: ServerProcess) -> None:
    """Pipelining (RFC 9112, section 9.3.2): the second waits for the first."""
    client = opened(server, "sess_piped")
    bodies = [client.chunk() for _ in range(5)]
    with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) as connection:
        connection.sendall(b"".join(head(body) + body for body in bodies))
        received = b""
        while received.count(b'"accepted":true') < len(bodies):
            part = connection.recv(65_536)
            assert part, received
            received += part
    assert stored(server, "sess_piped") == len(bodies)


# TLS


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def tls_settings(certificate: Path, key: Path) -> dict[str, str]:
    """The environment that turns TLS on."""
    return {
        "CENTRAL_COMMAND__HTTP__TLS_CERTIFICATE": str(certificate),
        "CENTRAL_COMMAND__HTTP__TLS_KEY": str(key),
    }


def test_tls_from_the_settings(tmp_path: Path) -> None:
    """A session over HTTPS with a verified certificate; the log names the scheme; plain HTTP is not answered."""
    certificate, key = certificate_in(tmp_path)
    with ServerProcess(tmp_path / "data", settings=tls_settings(certificate, key)) as server:
        assert f"serving https://127.0.0.1:{server.port}" in server.said
        context = ssl.create_default_context(cafile=str(certificate))
        connection = HTTPSConnection("127.0.0.1", server.port, timeout=HANGS_AFTER_S, context=context)
        try:
            client = SigningClient("sess_tls")
            answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
            client.opened(answer.members["server_public_key"])
            assert request(connection, "POST", INGEST, client.chunk()).members["accepted"] is True
        finally:
            connection.close()
        with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS_AFTER_S) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"HTTP/1.1 200" not in _received(plain)
        assert server.terminate() == 0


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


def test_tls_that_cannot_work_is_refused_at_the_start(tmp_path: Path) -> None:
    """One sentence that names the setting, exit status 2, and nothing is served."""
    certificate, _ = certificate_in(tmp_path)
    for key in (tmp_path / "absent.pem", certificate):
        with pytest.raises(ServerFailedError) as caught:
            ServerProcess(tmp_path / "data", settings=tls_settings(certificate, key)).start()
        assert caught.value.status == 2
        assert "http.tls_key" in caught.value.stderr
        assert caught.value.stderr.count("\n") == 1
