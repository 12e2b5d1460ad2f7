"""Batches: the same envelopes in batches of 1, 8 and 64, beside the single endpoint.

All ways take turns on one server; figures are medians over the rounds, ratios are taken within a round.
`python -m bench.batch --help` says what can be chosen.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.http1 import INGEST, Load, drive, request
from bench.ingest import open_sessions
from bench.processes import Process, running_server
from bench.report import Measurement, Report, latency_figures, medians, publish
from bench.sessions import MEDIUM, SMALL, ChunkSize, Logs

BATCH: Final = f"{INGEST}/batch"
SESSION_ENVELOPES: Final = 192
"""Whole batches of 64, below the contract's 200 for one session."""
SESSIONS: Final = {SMALL.name: 24, MEDIUM.name: 8}
"""Sessions of one round, by size."""
SINGLE: Final = 0
"""The batch size that stands for the single endpoint."""


def queues_for(port: int, logs: Logs, connections: int, sessions: int, batch_size: int) -> list[list[bytes]]:
    """Requests with the envelopes of new sessions, a queue a connection, each session on one connection, in order."""
    queues: list[list[bytes]] = [[] for _ in range(connections)]
    for index, session in enumerate(open_sessions(port, sessions, logs)):
        bodies = session.chunks(SESSION_ENVELOPES)
        if batch_size == SINGLE:
            requests = [request("POST", INGEST, body) for body in bodies]
        else:
            starts = range(0, len(bodies), batch_size)
            requests = [request("POST", BATCH, b"\n".join(bodies[at : at + batch_size])) for at in starts]
        queues[index % connections] += requests
    return queues


def figures_of(load: Load, envelopes: int, cpu_s: float) -> dict[str, float]:
    """A round's figures; rates and processor seconds are those of envelopes, latencies those of requests."""
    if load.refused:
        raise RuntimeError(f"{load.refused} requests were refused, the first with {load.first_refusal}")
    return {
        "rate_per_s": envelopes / load.seconds,
        **latency_figures(load.latencies_s),
        "cpu_s_per_1000": cpu_s / envelopes * 1_000,
        "driver_share": load.driver_cpu_s / load.seconds,
    }


def measure(
    server: Process, size: ChunkSize, batch_sizes: list[int], connections: int, rounds: int, scale: float
) -> list[Measurement]:
    """Let all ways take turns at one size."""
    logs = Logs(size)
    sessions = max(connections, int(SESSIONS[size.name] * scale))
    ways = [SINGLE, *batch_sizes]
    found: dict[int, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(-1, rounds):
        for way in ways if number % 2 else reversed(ways):
            queues = queues_for(server.port, logs, connections, sessions, way)
            cpu_before = server.cpu_s()
            load = drive(server.port, queues)
            if number >= 0:  # the first round warms up
                found[way].append(figures_of(load, sessions * SESSION_ENVELOPES, server.cpu_s() - cpu_before))
    measurements = []
    for way in ways:
        pairs = zip(found[way], found[SINGLE], strict=True)
        shares = [{"to_single": batch["rate_per_s"] / single["rate_per_s"]} for batch, single in pairs]
        own = medians(found[way]) | medians(shares)
        own |= {
            "to_single_min": min(share["to_single"] for share in shares),
            "to_single_max": max(share["to_single"] for share in shares),
        }
        measurements.append(Measurement(f"{size.name}: {f'batches of {way}' if way else 'single'}", own))
    return measurements


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {size.name.split()[0]: size for size in (SMALL, MEDIUM)}
    parser.add_argument("--sizes", nargs="+", choices=sizes, default=list(sizes), help="KiB of an envelope")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64], help="envelopes in a batch")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of sessions")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        for name in options.sizes:
            with running_server(Path(root) / f"data-{name}") as server:
                measurements += measure(
                    server, sizes[name], options.batches, options.connections, options.rounds, options.scale
                )
    publish(Report("batch", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
