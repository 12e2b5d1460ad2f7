"""A network that loses, cuts, repeats and reorders: an HTTP proxy on loopback whose faults a test chooses.

The proxy's address stays while the server behind it ends and comes back on another port. Each body that is seen for the
first time is given the next plan: what happens to its first tries. Later tries go through, so whoever repeats what was
not answered gets everything delivered.
"""

import http.client
import http.server
import itertools
import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.server_process import HANGS_AFTER_S

_REFUSED_WHILE_DOWN = 2
"""Connections that are refused while there is no server; those after them wait, however long its start takes."""


class Fault(Enum):
    """What happens to one try of a request."""

    NONE = auto()
    LOST_ANSWER = auto()
    """The server handles it; its answer does not come back."""
    CUT_REQUEST = auto()
    """Half of the body reaches the server."""
    LATE_COPY = auto()
    """The connection breaks, but the request arrives after the next one of its session: reordered and repeated."""
    TWICE = auto()
    """It arrives twice, one after the other."""
    TWICE_AT_ONCE = auto()
    """It arrives twice, over two connections at the same time."""
    BUSY = auto()
    """Something between answers 503 in the server's place."""
    STALLED = auto()
    """Nothing comes back until the client gives up; then it arrives."""
    KILL = auto()
    """The server is killed as soon as it has been sent the request; there is no answer."""
    KILL_ONCE_HANDLED = auto()
    """The server is killed as soon as it has answered; the answer does not come back."""


BREAKS_EXCHANGE = frozenset(Fault) - {Fault.NONE, Fault.TWICE, Fault.TWICE_AT_ONCE}
"""Faults after which the client has no 2xx answer."""


class Handled(NamedTuple):
    """A request that the server answered, whoever got to see the answer."""

    path: str
    body: bytes
    status: int
    answer: bytes


class LossyProxy:
    """The proxy; `plans` gives each new body its faults, in turn, and starts again at its end.

    `upstream_port` is where the server listens, None while there is none; `kill` ends the server and has it started
    again. Raises in `__exit__` when the proxy itself failed.
    """

    def __init__(self, plans: Iterable[Sequence[Fault]], *, kill: Callable[[], None] | None = None) -> None:
        self._plans = itertools.cycle(plans)
        self._kill = kill
        self._lock = threading.Condition()
        self._upstream_port: int | None = None
        self._refused_while_down = 0
        self._remaining: dict[bytes, list[Fault]] = {}
        self._late: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._failures: list[Exception] = []
        self.tries: Counter[bytes] = Counter()
        """How often the client sent each body."""
        self.broken: Counter[bytes] = Counter()
        """How many of these tries ended without an answer of 2xx."""
        self.faults: Counter[Fault] = Counter()
        self.handled: list[Handled] = []
        proxy = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                proxy._serve(self)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if error is None and self._failures:
            raise self._failures[0]

    @property
    def url(self) -> str:
        """What clients are told to be the server's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def set_upstream(self, port: int | None) -> None:
        """The server listens on this port from now on, or on none."""
        with self._lock:
            self._upstream_port = port
            self._refused_while_down = 0
            self._lock.notify_all()

    def deliver_late_copies(self) -> None:
        """What is still on its way arrives."""
        for session_id in list(self._late):
            self._deliver_late(session_id)

    def _serve(self, handler: "_Handler") -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        answer = self._unless_it_breaks(lambda: self._exchange(handler, self._next_fault(body), body))
        with self._lock:
            self.tries[body] += 1
            self.broken[body] += answer is None or answer.status >= 300
        if answer is None:
            handler.break_connection()
            return
        handler.answer(answer.status, answer.answer)
        self._deliver_late(json.loads(body)["session_id"], but=body)

    def _unless_it_breaks(self, exchange: Callable[[], Handled | None]) -> Handled | None:
        try:
            return exchange()
        except (OSError, http.client.HTTPException) as error:
            # Only a server that was killed may break a connection.
            if self._kill is None:
                self._failures.append(error)
        except Exception as error:  # noqa: BLE001 - raised at the end: this is a thread of its own
            self._failures.append(error)
        return None

    def _next_fault(self, body: bytes) -> Fault:
        with self._lock:
            if body not in self._remaining:
                self._remaining[body] = list(next(self._plans))
            remaining = self._remaining[body]
            fault = remaining.pop(0) if remaining else Fault.NONE
            self.faults[fault] += 1
            return fault

    def _exchange(self, handler: "_Handler", fault: Fault, body: bytes) -> Handled | None:  # noqa: C901, PLR0911 - one for each fault
        """Do to the request what the fault is; return what the client gets to see, None for a broken connection."""
        path = handler.path
        match fault:
            case Fault.NONE:
                return self._forward(path, body)
            case Fault.LOST_ANSWER:
                self._forward(path, body)
                return None
            case Fault.CUT_REQUEST:
                self._send_part(path, body, len(body) // 2)
                return None
            case Fault.LATE_COPY:
                with self._lock:
                    self._late[json.loads(body)["session_id"]].append((path, body))
                return None
            case Fault.TWICE:
                self._forward(path, body)
                return self._forward(path, body)
            case Fault.TWICE_AT_ONCE:
                with ThreadPoolExecutor(1) as pool:
                    other = pool.submit(self._forward, path, body)
                    answer = self._forward(path, body)
                    other.result()
                return answer
            case Fault.BUSY:
                return Handled(path, body, 503, b'{"error":"Somebody else is busy."}')
            case Fault.STALLED:
                handler.wait_until_client_leaves()
                self._forward(path, body)
                return None
            case Fault.KILL:
                assert self._kill is not None
                self._send_part(path, body, len(body), then=self._kill)
                return None
            case Fault.KILL_ONCE_HANDLED:
                assert self._kill is not None
                self._forward(path, body)
                self._kill()
                return None

    def _deliver_late(self, session_id: str, *, but: bytes = b"") -> None:
        """Deliver the late copies of a session; not of the body itself, whose retry has just overtaken its copy."""
        with self._lock:
            copies = [copy for copy in self._late[session_id] if copy[1] != but]
            self._late[session_id] = [copy for copy in self._late[session_id] if copy[1] == but]
        for copy in copies:
            self._unless_it_breaks(partial(self._forward, *copy))

    def _port(self) -> int:
        """Where the server is, once it is there; the first few to ask while it is not are told that it is not."""
        with self._lock:
            if self._upstream_port is None and self._refused_while_down < _REFUSED_WHILE_DOWN:
                self._refused_while_down += 1
                raise ConnectionRefusedError("there is no server")
            found = self._lock.wait_for(lambda: self._upstream_port is not None, HANGS_AFTER_S)
            assert found
            assert self._upstream_port is not None
            return self._upstream_port

    def _forward(self, path: str, body: bytes) -> Handled:
        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=HANGS_AFTER_S)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            handled = Handled(path, body, response.status, response.read())
        finally:
            connection.close()
        with self._lock:
            self.handled.append(handled)
        return handled

    def _send_part(self, path: str, body: bytes, size: int, *, then: Callable[[], None] | None = None) -> None:
        """Send so many bytes of the body, and break the connection."""
        head = f"POST {path} HTTP/1.1\r\nHost: proxy\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self._port()), timeout=HANGS_AFTER_S) as connection:
            connection.sendall(head + body[:size])
            if then is not None:
                then()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for what is still being forwarded
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up resets its connection; all else is noted where it happens."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = HANGS_AFTER_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        """Nothing is logged: the test has the counters."""

    def answer(self, status: int, body: bytes) -> None:
        """Answer; a client that has left misses it."""
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            self.wfile.write(head.encode() + body)
        except OSError:
            self.close_connection = True

    def break_connection(self) -> None:
        """Reset the connection instead of answering."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_until_client_leaves(self) -> None:
        """Return when the client has closed its connection."""
        deadline = time.monotonic() + HANGS_AFTER_S
        try:
            while self.connection.recv(1):
                assert time.monotonic() < deadline
        except OSError:
            pass
