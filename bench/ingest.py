"""Ingest: three sizes of envelope over 1, 8 and 64 connections, beside Express that parses the same body and no more.

Both servers run all the time and take turns; figures are medians over the rounds, ratios are taken within a round.
`python -m bench.ingest --help` says what can be chosen.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.http1 import INGEST, Connection, Load, drive, request
from bench.processes import Process, running_server, running_yardstick
from bench.report import Measurement, Report, latency_figures, medians, publish
from bench.sessions import LARGE, MEDIUM, SMALL, BenchSession, ChunkSize, Logs

ENVELOPES: Final = {SMALL.name: 3_200, MEDIUM.name: 1_600, LARGE.name: 640}
"""Envelopes of one round, by size: about as many seconds for each."""
SESSION_ENVELOPES_MAX: Final = 160
"""Below the contract's 200 for one session."""
DRIVER_SHARE_MAX: Final = 0.8
"""Share of the wall clock above which the load itself may be what was measured."""


def open_sessions(port: int, count: int, logs: Logs) -> list[BenchSession]:
    """Open sessions over HTTP, one after the other."""
    sessions = [BenchSession(logs) for _ in range(count)]
    with Connection(port) as connection:
        for session in sessions:
            answer = connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
            session.opened(answer.json()["server_public_key"])
    return sessions


def queues_for(sessions: Sequence[BenchSession], connections: int, envelopes: int) -> list[list[bytes]]:
    """Signed requests, a queue a connection, each session on one connection and in order."""
    queues: list[list[bytes]] = [[] for _ in range(connections)]
    for index, session in enumerate(sessions):
        bodies = session.chunks(envelopes // len(sessions))
        queues[index % connections] += [request("POST", INGEST, body) for body in bodies]
    return queues


def figures_of(load: Load, cpu_s: float) -> dict[str, float]:
    """A round's figures; processor seconds are given for 1,000 envelopes."""
    if load.refused:
        raise RuntimeError(f"{load.refused} envelopes were refused, the first with {load.first_refusal}")
    return {
        "rate_per_s": load.accepted / load.seconds,
        **latency_figures(load.latencies_s),
        "cpu_s_per_1000": cpu_s / load.accepted * 1_000,
        "driver_share": load.driver_cpu_s / load.seconds,
    }


def measure(
    server: Process, yardstick: Process | None, size: ChunkSize, connections: int, rounds: int, scale: float
) -> list[Measurement]:
    """Let both take turns at one size with so many connections."""
    logs = Logs(size)
    envelopes = max(connections, int(ENVELOPES[size.name] * scale))
    session_count = max(connections, -(-envelopes // SESSION_ENVELOPES_MAX))
    found: dict[str, list[dict[str, float]]] = {"server": [], "yardstick": []}
    for number in range(-1, rounds):
        queues = queues_for(open_sessions(server.port, session_count, logs), connections, envelopes)
        if number < 0:  # warm up both
            queues = [queue[: max(1, len(queue) // 4)] for queue in queues]
        targets = [("server", server)] + ([("yardstick", yardstick)] if yardstick else [])
        for name, process in targets if number % 2 else reversed(targets):
            cpu_before = process.cpu_s()
            load = drive(process.port, queues)
            if number >= 0:
                found[name].append(figures_of(load, process.cpu_s() - cpu_before))
    label = f"{size.name}, {connections} connections"
    own = medians(found["server"])
    own["p99_to_p50"] = own["p99_ms"] / own["p50_ms"]
    if not yardstick:
        return [Measurement(f"{label}: server", own)]
    pairs = zip(found["server"], found["yardstick"], strict=True)
    shares = [{"to_yardstick": ours["rate_per_s"] / theirs["rate_per_s"]} for ours, theirs in pairs]
    own |= medians(shares)
    own |= {
        "to_yardstick_min": min(share["to_yardstick"] for share in shares),
        "to_yardstick_max": max(share["to_yardstick"] for share in shares),
    }
    return [Measurement(f"{label}: server", own), Measurement(f"{label}: yardstick", medians(found["yardstick"]))]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {size.name.split()[0]: size for size in (SMALL, MEDIUM, LARGE)}
    parser.add_argument("--sizes", nargs="+", choices=sizes, default=list(sizes), help="KiB of an envelope")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of envelopes")
    parser.add_argument("--yardstick", type=Path, help="folder that Express is kept in [default: a temporary one]")
    parser.add_argument("--no-yardstick", action="store_true", help="measure the server alone")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    measurements: list[Measurement] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        yardstick: Process | None = None
        if not options.no_yardstick:
            yardstick = stack.enter_context(running_yardstick(options.yardstick or root / "yardstick"))
        for name in options.sizes:
            with running_server(root / f"data-{name}") as server:
                for connections in options.connections:
                    measurements += measure(server, yardstick, sizes[name], connections, options.rounds, options.scale)
    publish(Report("ingest", measurements), options.json)
    for each in measurements:
        if each.figures["driver_share"] > DRIVER_SHARE_MAX:
            print(f"{each.name}: the load took most of a processor; this figure is its, too", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
