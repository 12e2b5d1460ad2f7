"""One connection to a server, byte by byte: what is sent, and what comes back until it is over."""

import json
import select
import socket
import time
from contextlib import suppress
from typing import Any, Self

import msgspec

from tests.bad_input.corpus import Trickle

PATIENCE_S = 45.0
"""How long anything may take: a bound for what hangs, many times what a slow machine needs."""

PROBE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Answer(msgspec.Struct, frozen=True):
    """An answer as it was received; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """The body's JSON object; empty when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Received(msgspec.Struct, frozen=True):
    """The answers in order, and whether the connection was closed by the server, served another request, or neither."""

    answers: tuple[Answer, ...]
    connection: str
    before: Answer | None = None
    """The answer to the same request, sent before on the same connection."""
    rest: bytes = b""
    """What came after the last answer and is none."""


class Wire:
    """A connection; use it as a context manager."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(("127.0.0.1", port))
        self._buffer = b""
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all; a server that has closed meanwhile is noticed where its answer is read."""
        with suppress(ConnectionResetError, BrokenPipeError):
            self._socket.sendall(data)

    def end_sending(self) -> None:
        """Close the client's side alone."""
        with suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_WR)

    def trickle(self, trickle: Trickle) -> None:
        """Send a little now and then until something comes back."""
        deadline = time.monotonic() + PATIENCE_S
        while not select.select([self._socket], [], [], trickle.every_s)[0]:
            self.send(trickle.text.encode())
            if time.monotonic() > deadline:
                raise TimeoutError("the server neither answered nor closed")

    def wait_for_reset(self, data: bytes) -> None:
        """Send `data` without ever reading an answer, until the server has had enough of it."""
        self._socket.settimeout(0)
        poll = select.poll()
        deadline = time.monotonic() + PATIENCE_S
        unsent = memoryview(data)
        while time.monotonic() < deadline:
            poll.register(self._socket, select.POLLRDHUP | (select.POLLOUT if unsent else 0))
            for _, event in poll.poll(1_000):
                if event & (select.POLLHUP | select.POLLERR | select.POLLRDHUP):
                    self._is_closed = True
                    return
                try:
                    unsent = unsent[self._socket.send(unsent[:65_536]) :]
                except BlockingIOError:
                    pass
                except (ConnectionResetError, BrokenPipeError):
                    self._is_closed = True
                    return
        raise TimeoutError("the server waits for a client that never reads")

    def answers(self, count: int) -> list[Answer]:
        """The next answers, at most `count`, fewer when the server closes; interim ones (1xx) are passed over."""
        found: list[Answer] = []
        while len(found) < count and (answer := self._answer()) is not None:
            if answer.status >= 200:
                found.append(answer)
        return found

    def received(self, count: int, *, may_be_kept: bool) -> Received:
        """Read `count` answers, and find out what becomes of the connection."""
        found = self.answers(count)
        if may_be_kept and len(found) == count and not self._is_closed:
            self.send(PROBE)
            probe = self._answer()
            if probe is None:
                return Received(tuple(found), "closed", rest=self._buffer)
            if probe.status == 200 and probe.members.get("status") == "ok":
                return Received(tuple(found), "kept", rest=self._buffer)
            return Received((*found, probe), "answered once more", rest=self._buffer)
        while (answer := self._answer()) is not None:
            found.append(answer)
        return Received(tuple(found), "closed", rest=self._buffer)

    def _answer(self) -> Answer | None:
        while b"\r\n\r\n" not in self._buffer:
            if not self._read_more():
                return None
        head, _, after = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(after) < length:
            if not self._read_more():
                return None
            after = self._buffer.partition(b"\r\n\r\n")[2]
        self._buffer = after[length:]
        return Answer(int(status_line.split()[1]), headers, after[:length])

    def _read_more(self) -> bool:
        try:
            data = self._socket.recv(1_048_576)
        except ConnectionResetError:
            data = b""
        self._is_closed = self._is_closed or not data
        self._buffer += data
        return bool(data)
