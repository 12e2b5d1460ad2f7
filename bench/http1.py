"""The least HTTP/1.1 that a load needs: prepared requests out, answers back, on connections that are kept.

A client library would cost more than the server that it measures. The load is one process with one epoll loop; it
reports its own processor time, because where that comes near the wall clock, the load is what was measured.
"""

import gc
import json
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

RECEIVE_BYTES: Final = 65_536
SEND_BUFFER_BYTES: Final = 1_048_576
ANSWER_TIMEOUT_S: Final = 60.0
HEAD_END: Final = b"\r\n\r\n"
INGEST: Final = "/v1/training/ingest"


class Answer(msgspec.Struct, frozen=True):
    """An answer: its status, its body, and the seconds from the request's first byte to the answer's last."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:  # noqa: ANN401 whatever the server answered
        """The body, parsed."""
        return json.loads(self.body)


class Load(msgspec.Struct, frozen=True):
    """What a load saw. `seconds` is from the first request to the last answer, `driver_cpu_s` what the load took.

    `answers` are the answers' bodies, by queue and in order.
    """

    accepted: int
    refused: int
    seconds: float
    latencies_s: list[float]
    driver_cpu_s: float
    first_refusal: str
    answers: list[list[bytes]]


def request(method: str, path: str, body: bytes = b"", *, forwarded_for: str = "", token: str = "") -> bytes:
    """A request's bytes; `forwarded_for` is what a proxy in front would say of the client's address."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if forwarded_for:
        head += f"X-Forwarded-For: {forwarded_for}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def answer_in(received: bytes | bytearray) -> tuple[int, bytes] | None:
    """The status and the body of a complete answer; None while it is not complete."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = bytes(received[:head_end]).lower()
    if b"transfer-encoding: chunked" in head:
        # Whole bodies only: the last chunk has no bytes, and JSON text holds no line break before it.
        if not received.endswith(b"\r\n0\r\n\r\n"):
            return None
        return int(head[9:12]), _joined_chunks(bytes(received[head_end + 4 :]))
    _, _, after = head.partition(b"content-length:")
    length = int(after.split(b"\r\n", 1)[0])
    body = bytes(received[head_end + 4 :])
    return (int(head[9:12]), body) if len(body) >= length else None


def _joined_chunks(body: bytes) -> bytes:
    """A chunked body (RFC 9112, 7.1) put together."""
    parts: list[bytes] = []
    while True:
        size_text, _, body = body.partition(b"\r\n")
        size = int(size_text, 16)
        if not size:
            return b"".join(parts)
        parts.append(body[:size])
        body = body[size + 2 :]


def dial(port: int) -> socket.socket:
    """Connect to a port of this machine."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return connection


class Connection:
    """One kept connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = dial(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: bytes = b"", *, token: str = "") -> Answer:
        """Send one request and return its answer; raises OSError when there is none."""
        prepared = request(method, path, body, token=token)
        received = bytearray()
        began_at = time.perf_counter()
        self._socket.sendall(prepared)
        while (found := answer_in(received)) is None:
            if not (piece := self._socket.recv(RECEIVE_BYTES)):
                raise ConnectionError(f"{method} {path}: the server closed the connection")
            received += piece
        return Answer(*found, time.perf_counter() - began_at)

    def ask_ok(self, method: str, path: str, body: bytes = b"", *, token: str = "") -> Answer:
        """Likewise; raises RuntimeError when the answer is not 200, or is a refusal."""
        answer = self.ask(method, path, body, token=token)
        if answer.status != 200 or b'"accepted":false' in answer.body:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer


class _Lane:
    """One connection of a load and the requests that it sends, in order."""

    __slots__ = ("answers", "began_at", "ended", "received", "requests", "seconds", "socket", "unsent")

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.socket = dial(port)
        self.socket.setblocking(False)  # noqa: FBT003 the standard library's signature
        self.requests = iter(requests)
        self.unsent = memoryview(b"")
        self.received = bytearray()
        self.answers: list[bytes] = []
        self.began_at = self.seconds = 0.0
        self.ended = False

    def next(self) -> None:
        """Begin the next request, if there is one."""
        prepared = next(self.requests, None)
        self.received.clear()
        if prepared is None:
            self.ended = True
            return
        self.began_at = time.perf_counter()
        # Head and body in writes of their own, as HTTP clients do: they arrive one after the other.
        self.unsent = memoryview(prepared)
        body_at = prepared.index(HEAD_END) + len(HEAD_END)
        self.unsent = self.unsent[self.socket.send(self.unsent[:body_at]) :]
        self.send()

    def send(self) -> None:
        """Send what the kernel takes."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass

    def receive(self) -> tuple[int, bytes] | None:
        """Read what is there; once the answer is complete, return it and note its `seconds`."""
        piece = self.socket.recv(RECEIVE_BYTES)
        if not piece:
            raise ConnectionError(f"the server closed the connection after {bytes(self.received[:200])!r}")
        self.received += piece
        answer = answer_in(self.received)
        if answer is not None:
            self.seconds = time.perf_counter() - self.began_at
        return answer


def drive(port: int, queues: Sequence[Sequence[bytes]]) -> Load:
    """Send each queue's prepared requests over a connection of its own, all at the same time; raises OSError."""
    lanes = {lane.socket.fileno(): lane for lane in [_Lane(port, queue) for queue in queues]}
    latencies_s: list[float] = []
    refusals: list[str] = []
    # The queues are many objects that no collection can free: they are taken out of the collector's sight.
    gc.collect()
    gc.freeze()
    cpu_at_start, began_at = time.process_time(), time.perf_counter()
    for lane, status, body in _answers(lanes):
        latencies_s.append(lane.seconds)
        lane.answers.append(body)
        if status != 200 or b'"accepted":false' in body:
            refusals.append(f"{status} {body[:200]!r}")
    seconds, driver_cpu_s = time.perf_counter() - began_at, time.process_time() - cpu_at_start
    gc.unfreeze()
    for lane in lanes.values():
        lane.socket.close()
    return Load(
        accepted=len(latencies_s) - len(refusals),
        refused=len(refusals),
        seconds=seconds,
        latencies_s=latencies_s,
        driver_cpu_s=driver_cpu_s,
        first_refusal=refusals[0] if refusals else "",
        answers=[lane.answers for lane in lanes.values()],
    )


def _answers(lanes: Mapping[int, _Lane]) -> Iterator[tuple[_Lane, int, bytes]]:
    """Keep every lane busy until its requests are used up; yield each answer when it is complete."""
    with select.epoll() as poller:
        for descriptor, lane in lanes.items():
            lane.next()
            poller.register(descriptor, _interest(lane))
        busy = len(lanes)
        while busy:
            events = poller.poll(ANSWER_TIMEOUT_S)
            if not events:
                raise TimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
            for descriptor, event in events:
                lane = lanes[descriptor]
                was_sending = bool(lane.unsent)
                if event & select.EPOLLOUT:
                    lane.send()
                if event & ~select.EPOLLOUT and (answer := lane.receive()) is not None:
                    lane.next()
                    busy -= lane.ended
                    yield lane, *answer
                if was_sending or lane.unsent:
                    poller.modify(descriptor, _interest(lane))


def _interest(lane: _Lane) -> int:
    return select.EPOLLIN | (select.EPOLLOUT if lane.unsent else 0)
