"""Bytes to a server and back, without a client library that would mend them or refuse to send them."""

import socket
import time
from typing import NamedTuple

TIMEOUT_S = 60.0
"""More than any answer here takes on a slow machine with other work."""


class RawAnswer(NamedTuple):
    """One answer: its status, its headers (names in lower case, without the date and the request's id), its body."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(port: int) -> socket.socket:
    """A connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of a POST; `headers` are whole lines."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode("latin-1") + body


def get(path: str, headers: str = "") -> bytes:
    """The bytes of a GET; `headers` are whole lines."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1")


def ask(port: int, request: bytes) -> RawAnswer:
    """Send one request over a connection of its own and return the first answer."""
    with connect(port) as connection:
        connection.sendall(request)
        received = b""
        while (answer := first_answer(received)) is None:
            part = connection.recv(65_536)
            assert part, f"the server closed the connection after {received!r}"
            received += part
        return answer


def first_answer(received: bytes) -> RawAnswer | None:
    """The first answer in what was received; None while it is not whole."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    headers.pop("date", None)
    assert headers.pop("x-request-id", None) is not None, "every answer has its request's id"
    length = int(headers.get("content-length", "0"))
    return RawAnswer(int(status_line.split()[1]), headers, rest[:length]) if len(rest) >= length else None


def everything_until_closed(port: int, request: bytes) -> bytes:
    """Send `request` and return all that comes until the server closes; a test fails when it does not."""
    with connect(port) as connection:
        connection.sendall(request)
        return received_until_closed(connection)


def received_until_closed(connection: socket.socket) -> bytes:
    """All that comes until the server closes; a reset is a close. Raises TimeoutError when there is none."""
    received = b""
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while part := connection.recv(65_536):
            received += part
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server goes on sending: {len(received)} bytes so far")
    except ConnectionError:
        pass
    return received
