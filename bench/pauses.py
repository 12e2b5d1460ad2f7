"""How long `/health` waits under each load: the event loop must never stand still for long.

A probe asks every 20 ms from a process of its own, while one load after the other runs against one server whose table
holds 100,000 sessions. Beside what the probe saw stands what held the event loop up (`bench.watched_server`): the
longest collection of garbage and the longest turn, both as processor time too, which other work on the machine does not
change. `--findings` prints the turns themselves, with their stacks.
"""

import argparse
import itertools
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from bench.embed import make_texts
from bench.embed_served import EMBED, wait_for_model
from bench.embed_served import body as embed_body
from bench.http1 import INGEST, Load, drive, request
from bench.ingest import open_sessions
from bench.probe import Probe, probing
from bench.processes import Process, running_server
from bench.report import Measurement, Report, latency_figures, publish
from bench.sessions import LARGE, MEDIUM, SMALL, BenchSession, ChunkSize, Logs
from bench.watched_server import Finding, read_findings

OPEN: Final = "/v1/sessions/open"
BATCH: Final = f"{INGEST}/batch"
ACTIVE_MAX: Final = 4_096
PASSIVATE_AFTER_S: Final = 6.0
STATISTICS: Final = ("summary", "daily", "models", "providers", "leaderboard")
SETTLE_S: Final = 1.0

COPY_SESSION: Final = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?1)
INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider,
    model, machine_fingerprint, app_version_hash, groove_version, created_at, last_activity_at)
SELECT printf('sess_copy_%08d', number), server_private_key, server_public_key, shared_secret, client_public_key,
    provider, model, printf('%064x', number), app_version_hash, groove_version, created_at, last_activity_at
FROM numbers, (SELECT * FROM sessions LIMIT 1)
"""


class Stage:
    """One server under loads, and when each of them ran."""

    def __init__(self, server: Process, data_directory: Path, scale: float) -> None:
        self.server = server
        self.data_directory = data_directory
        self.scale = scale
        self.times: dict[str, tuple[float, float]] = {}
        self.rates: dict[str, float] = {}
        self._addresses = map(str, itertools.cycle(ip_network("10.0.0.0/12").hosts()))
        self._opened: list[BenchSession] = []

    def scaled(self, count: int) -> int:
        """So many, at the scale of this run."""
        return max(1, int(count * self.scale))

    @contextmanager
    def load(self, name: str) -> Iterator[None]:
        """What the block does is the load of this name; before it, the server comes to rest."""
        time.sleep(SETTLE_S)
        began_at = time.perf_counter()
        yield
        self.times[name] = began_at, time.perf_counter()

    def drive(self, name: str, queues: Sequence[Sequence[bytes]]) -> Load:
        """A load of prepared requests, a queue a connection."""
        with self.load(name):
            load = drive(self.server.port, queues)
        if load.refused:
            raise RuntimeError(f"{name}: {load.refused} were refused, the first with {load.first_refusal}")
        self.rates[name] = load.accepted / load.seconds
        return load

    def post(self, path: str, body: bytes) -> bytes:
        """A request from another address than the one before."""
        return request("POST", path, body, forwarded_for=next(self._addresses))

    def sessions(self, count: int, size: ChunkSize, chunks: int) -> tuple[list[BenchSession], list[list[bytes]]]:
        """New open sessions and their chunks."""
        sessions = open_sessions(self.server.port, count, Logs(size))
        return sessions, [[self.post(INGEST, body) for body in session.chunks(chunks)] for session in sessions]


def idle(stage: Stage) -> None:
    """Nothing but the probe."""
    with stage.load("idle"):
        time.sleep(8 * stage.scale)


def openings(stage: Stage) -> None:
    """As fast as they go, more than may be active at once."""
    logs = Logs(SMALL)
    requests = [stage.post(OPEN, BenchSession(logs).opening_body()) for _ in range(stage.scaled(10_000))]
    stage.drive("openings", lanes(requests, 16))


def ingest(stage: Stage) -> None:
    """At full rate, three sizes."""
    for size, count, chunks in ((SMALL, 64, 190), (MEDIUM, 32, 190), (LARGE, 16, 150)):
        _, requests = stage.sessions(count, size, stage.scaled(chunks))
        stage.drive(f"ingest, {size.name}", merged(requests, 8))


def batches(stage: Stage) -> None:
    """64 small envelopes in each, and 27 KiB as many as a body holds."""
    for size, count, in_batch in ((SMALL, 96, 64), (MEDIUM, 32, 64)):
        sessions = open_sessions(stage.server.port, stage.scaled(count), Logs(size))
        requests = []
        for session in sessions:
            bodies = session.chunks(192)
            starts = range(0, len(bodies), in_batch)
            requests.append([stage.post(BATCH, b"\n".join(bodies[at : at + in_batch])) for at in starts])
        stage.drive(f"batches, {size.name}", merged(requests, 8))


def closes(stage: Stage) -> None:
    """Signed closes of small sessions."""
    sessions, requests = stage.sessions(stage.scaled(1_500), SMALL, 1)
    drive(stage.server.port, merged(requests, 8))
    stage.drive("closes", lanes([stage.post(INGEST, session.close()) for session in sessions], 8))


def large_closes(stage: Stage) -> None:
    """Closes of sessions of 5 MB and of 20 MB; the trajectory is there when the second close answers."""
    for name, count, chunks in (("5 MB", 8, 40), ("20 MB", 2, 150)):
        sessions, requests = stage.sessions(stage.scaled(count), LARGE, chunks)
        drive(stage.server.port, merged(requests, 8))
        bodies = [b'{"session_id":"%s"}' % session.session_id.encode() for session in sessions]
        stage.drive(f"closes of {name}", [[stage.post("/v1/sessions/close", body)] for body in bodies])


def statistics(stage: Stage) -> None:
    """All of them over 8 connections, while envelopes come in."""
    _, requests = stage.sessions(16, SMALL, stage.scaled(100))
    asked = [request("GET", f"/v1/stats/{name}") for name in STATISTICS] * stage.scaled(600)
    stage.drive("statistics, with ingest", [*lanes(asked, 8), *merged(requests, 2)])


def embeddings(stage: Stage) -> None:
    """Texts that are not in memory, over 8 connections."""
    wait_for_model(stage.server)
    texts = make_texts(stage.scaled(600), seed=7)
    stage.drive("embeddings", lanes([stage.post(EMBED, embed_body(text)) for text in texts], 8))


def commands(stage: Stage) -> None:
    """`verify` and `backup` beside the server."""
    with tempfile.TemporaryDirectory(dir=stage.data_directory.parent) as folder:
        for name, more in (("verify", []), ("backup", [str(Path(folder) / "backup")])):
            command = [sys.executable, "-m", "central_command", name, "--data-dir", str(stage.data_directory), *more]
            with stage.load(f"{name} beside it"):
                done = subprocess.run(command, capture_output=True, cwd=folder, check=False)
            if done.returncode:
                raise RuntimeError(f"{name}: {done.stdout + done.stderr!r}")


def passivation(stage: Stage) -> None:
    """As many actors as there may be, asked within a second or so, all fall idle."""
    sessions, requests = stage.sessions(min(ACTIVE_MAX - 1, stage.scaled(ACTIVE_MAX)), SMALL, 1)
    del sessions
    drive(stage.server.port, merged(requests, 64))
    # One more of each, so that all of them fall idle at the same time.
    with stage.load("passivation of 4,095"):
        time.sleep(PASSIVATE_AFTER_S + 4)


LOADS: Final[dict[str, Callable[[Stage], None]]] = {
    each.__name__: each
    for each in (
        idle,
        openings,
        ingest,
        batches,
        closes,
        large_closes,
        statistics,
        embeddings,
        commands,
        passivation,
    )
}


def lanes(requests: Sequence[bytes], connections: int) -> list[Sequence[bytes]]:
    """Requests that do not depend on each other, over so many connections."""
    return [requests[lane::connections] for lane in range(connections)]


def merged(queues: Sequence[Sequence[bytes]], connections: int) -> list[list[bytes]]:
    """Queues of requests that must stay in order, over so many connections; the queues of one take turns."""
    return [
        [each for turn in itertools.zip_longest(*queues[lane::connections]) for each in turn if each is not None]
        for lane in range(min(connections, len(queues)))
    ]


def populate(data_directory: Path, count: int) -> None:
    """Let the table of sessions hold so many more; only their number matters, so they are copies of one."""
    with running_server(data_directory, embedding__enabled="false") as server:
        open_sessions(server.port, 1, Logs(SMALL))
    with closing(sqlite3.connect(data_directory / "sessions.db")) as connection, connection:
        connection.execute(COPY_SESSION, (count,))


def measurement(name: str, stage: Stage, probe: Probe, findings: Path) -> Measurement:
    """What one load did to the probe, and what held the event loop up meanwhile."""
    began_at, ended_at = stage.times[name]
    seconds = probe.between(began_at, ended_at)
    found = read_findings(findings, (began_at, ended_at))
    turns = [each for each in found if each.what == "turn"]
    collections = [each for each in found if each.what != "turn"]
    figures = {
        "seconds": ended_at - began_at,
        **latency_figures(seconds),
        "max_ms": max(seconds) * 1_000,
        "turn_max_ms": 1_000 * max((each.seconds for each in turns), default=0),
        "turn_max_cpu_ms": 1_000 * max((each.cpu_s for each in turns), default=0),
        "collect_max_ms": 1_000 * max((each.seconds for each in collections), default=0),
        "collect_max_cpu_ms": 1_000 * max((each.cpu_s for each in collections), default=0),
        "collect_full": float(sum(each.what == "full collection" for each in collections)),
    }
    if name in stage.rates:
        figures["rate_per_s"] = stage.rates[name]
    return Measurement(name, figures)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--sessions", type=int, default=100_000, help="sessions that the table holds beforehand")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual length of each load")
    parser.add_argument("--findings", action="store_true", help="print what held the event loop up")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        data_directory, findings = Path(root) / "data", Path(root) / "findings.ndjson"
        if options.sessions:
            populate(data_directory, options.sessions)
        settings = {"sessions__passivate_after_s": PASSIVATE_AFTER_S, "log__access": "true"}
        with running_server(data_directory, findings, **settings) as server:
            stage = Stage(server, data_directory, options.scale)
            with probing(server.port) as probe:
                for name in options.loads:
                    LOADS[name](stage)
            measurements = [measurement(name, stage, probe, findings) for name in stage.times]
            if options.findings:
                for name, between in stage.times.items():
                    print_findings(name, read_findings(findings, between))
    publish(Report("pauses", measurements), options.json)
    return 0


def print_findings(name: str, found: Sequence[Finding]) -> None:
    """The ten longest of a load."""
    print(f"\n{name}")
    for each in sorted(found, key=lambda one: -one.seconds)[:10]:
        stack = " < ".join(reversed(each.stack))
        print(f"  {each.what:15} {each.seconds * 1e3:7.1f} ms, {each.cpu_s * 1e3:7.1f} of the processor's; {stack}")


if __name__ == "__main__":
    sys.exit(main())
