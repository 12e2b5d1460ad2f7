"""Memory under clients that hold on to it: idle connections, open sessions, and large bodies that come slowly.

Each is a server of its own on its default settings, but for limits by address (all of this comes from one address) and
where a row says otherwise. Memory is `RssAnon`: resident, and no file's; `peak` is the highest sample, taken all the
time. `after` is once every client has gone: what is left then is what the allocator keeps for the next ones.

The idle connections send nothing at all. The slow senders announce a body of 5 MB and send it a piece at a time, all of
them in turn, until each has an answer or was dropped: 5 GB would be in memory if nothing bounded it.
"""

import argparse
import resource
import select
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.http1 import INGEST, Connection, dial
from bench.memory import Population
from bench.processes import Process, running_server
from bench.report import Measurement, Report, publish

BODY_BYTES: Final = 5_000_000
PIECE_BYTES: Final = 65_536
ROUND_S: Final = 0.05
SETTLE_S: Final = 2.0
ANSWERS_TIMEOUT_S: Final = 120.0
MODEL_TIMEOUT_S: Final = 60.0
DESCRIPTORS_SPARE: Final = 512
MIB: Final = 1_048_576


class Watch:
    """The memory of one server: at the start, at its highest, now; in MiB."""

    def __init__(self, process: Process) -> None:
        self._process = process
        wait_for_model(process)
        self.before_mib = self.peak_mib = self.now()

    def now(self) -> float:
        """Take a sample."""
        return self._process.memory_bytes("RssAnon") / MIB

    def sample(self) -> None:
        """Take a sample, and keep it if it is the highest."""
        self.peak_mib = max(self.peak_mib, self.now())

    def settle(self) -> float:
        """Sample until what is under way has ended; return the last sample."""
        ends_at = time.monotonic() + SETTLE_S
        while time.monotonic() < ends_at:
            self.sample()
            time.sleep(ROUND_S)
        return self.now()

    def figures(self, *, after_mib: float) -> dict[str, float]:
        """Before, peak, after, and what the clients cost."""
        return {
            "before_mib": self.before_mib,
            "peak_mib": self.peak_mib,
            "after_mib": after_mib,
            "grown_mib": self.peak_mib - self.before_mib,
        }


def wait_for_model(process: Process) -> None:
    """Return once the embedding model is in memory, or there is none: it is loaded beside everything else."""
    deadline = time.monotonic() + MODEL_TIMEOUT_S
    with Connection(process.port) as connection:
        while time.monotonic() < deadline:
            if connection.ask_ok("GET", "/ready").json()["checks"]["embedding"] != "loading":
                return
            time.sleep(ROUND_S)


def raise_descriptors() -> int:
    """Let this process and the servers that it starts open as many files as the system allows; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def idle_connections(data_directory: Path, name: str, count: int, **settings: object) -> Measurement:
    """Open `count` connections that send nothing, and close them."""
    with running_server(data_directory, **settings) as server:
        watch = Watch(server)
        connections = []
        for number in range(count):
            connections.append(dial(server.port))
            if number % 100 == 0:
                watch.sample()
        watch.settle()
        held = len(connections) - closed_of(connections)
        for connection in connections:
            connection.close()
        after_mib = watch.settle()
        health_s = answer_s(server)
    figures = watch.figures(after_mib=after_mib)
    each_kib = {"each_kib": figures["grown_mib"] * 1_024 / held} if held else {}
    return Measurement(name, figures | each_kib | {"held": held, "turned_away": count - held, "health_s": health_s})


def closed_of(connections: Sequence[socket.socket]) -> int:
    """How many of them the server has closed."""
    with select.epoll() as poller:
        for connection in connections:
            poller.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
        return len(poller.poll(0, len(connections)))


def answer_s(server: Process) -> float:
    """Seconds that `GET /health` takes over a connection of its own."""
    began_at = time.perf_counter()
    with Connection(server.port) as connection:
        connection.ask_ok("GET", "/health")
    return time.perf_counter() - began_at


def open_sessions(data_directory: Path, name: str, count: int) -> Measurement:
    """Open `count` sessions that send one small chunk each and then nothing."""
    with running_server(data_directory) as server:
        watch = Watch(server)
        population = Population(server, chunks=1)
        while population.count < count:
            population.grow_to(min(count, population.count + 1_000))
            watch.sample()
        after_mib = watch.settle()
        health_s = answer_s(server)
    figures = watch.figures(after_mib=after_mib)
    each_kib = figures["grown_mib"] * 1_024 / count
    return Measurement(name, figures | {"each_kib": each_kib, "held": count, "health_s": health_s})


class SlowSender:
    """A client that announces a body, sends some of it whenever it is told to, and notes how that ended."""

    def __init__(self, port: int) -> None:
        self.socket = dial(port)
        head = f"POST {INGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        self.socket.sendall(head.encode() + b'{"session_id":"')
        self.socket.setblocking(False)  # noqa: FBT003 the standard library's signature
        self.ended = ""

    def send(self, piece: bytes) -> None:
        """Send what the kernel takes of a piece."""
        try:
            self.socket.send(piece)
        except BlockingIOError:
            pass
        except OSError:
            self.receive()

    def receive(self) -> None:
        """Note the answer, or that there will be none."""
        try:
            received = self.socket.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self.ended = received[9:12].decode() if received else "dropped"
        self.socket.close()


def slow_bodies(data_directory: Path, name: str, count: int) -> Measurement:
    """Have `count` clients send 5 MB each, a piece at a time in turn, until each has its answer."""
    with running_server(data_directory) as server:
        watch = Watch(server)
        senders = [SlowSender(server.port) for _ in range(count)]
        began_at = time.monotonic()
        _send_in_turn(senders, watch, began_at + ANSWERS_TIMEOUT_S)
        seconds = time.monotonic() - began_at
        after_mib = watch.settle()
        health_s = answer_s(server)
    ended = Counter(sender.ended or "none" for sender in senders)
    answers = {f"answered_{how}": float(many) for how, many in sorted(ended.items())}
    return Measurement(name, watch.figures(after_mib=after_mib) | answers | {"seconds": seconds, "health_s": health_s})


def _send_in_turn(senders: Sequence[SlowSender], watch: Watch, ends_at: float) -> None:
    piece = b"x" * PIECE_BYTES
    waiting = {sender.socket.fileno(): sender for sender in senders}
    with select.epoll() as poller:
        for descriptor in waiting:
            poller.register(descriptor, select.EPOLLIN)
        while waiting and time.monotonic() < ends_at:
            for sender in waiting.values():
                sender.send(piece)
            watch.sample()
            for descriptor, _ in poller.poll(ROUND_S):
                if descriptor in waiting:
                    waiting[descriptor].receive()
            waiting = {descriptor: sender for descriptor, sender in waiting.items() if not sender.ended}


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections; 0 for none")
    parser.add_argument("--sessions", type=int, default=10_000, help="open sessions; 0 for none")
    parser.add_argument("--senders", type=int, default=1_000, help="clients that send 5 MB slowly; 0 for none")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    descriptors = raise_descriptors()
    idle = max(0, min(options.idle, descriptors - DESCRIPTORS_SPARE))
    if idle < options.idle:
        print(f"only {idle} connections: this process may open {descriptors} files", file=sys.stderr)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as workplace:
        root = Path(workplace)
        if idle:
            measurements.append(idle_connections(root / "default", f"{idle:,} idle, default connections_max", idle))
            raised = {"http__connections_max": idle + DESCRIPTORS_SPARE}
            measurements.append(idle_connections(root / "raised", f"{idle:,} idle, all let in", idle, **raised))
        if options.sessions:
            name = f"{options.sessions:,} open sessions"
            measurements.append(open_sessions(root / "sessions", name, options.sessions))
        if options.senders:
            name = f"{options.senders:,} bodies of 5 MB"
            measurements.append(slow_bodies(root / "senders", name, options.senders))
    publish(Report("connections", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
