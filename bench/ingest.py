"""Ingest: three sizes of envelope over 1, 8 and 64 connections, beside servers that do next to nothing.

The yardstick is Express that parses the same body and no more: kept running through all of a report, and another one
that is started anew for each round, because it gets faster over its first ten thousand requests. The bare function is
hypercorn's trio worker that reads the body and answers. All take turns; figures are medians over the rounds, ratios are
taken within a round.
`python -m bench.ingest --help` says what can be chosen.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from statistics import median
from typing import Final

from bench.http1 import INGEST, Connection, Load, drive, request
from bench.processes import Process, running_bare, running_server, running_yardstick
from bench.report import Measurement, Report, latency_figures, medians, publish
from bench.sessions import LARGE, MEDIUM, SMALL, BenchSession, ChunkSize, Logs

SERVER: Final = "server"
Running = Callable[[], AbstractContextManager[Process | None]]
"""Gives a reference that is ready, for one round."""

ENVELOPES: Final = {SMALL.name: 3_200, MEDIUM.name: 1_600, LARGE.name: 640}
"""Envelopes of one round, by size: about as many seconds for each."""
SESSION_ENVELOPES_MAX: Final = 160
"""Below the contract's 200 for one session."""


def open_sessions(port: int, count: int, logs: Logs) -> list[BenchSession]:
    """Open sessions over HTTP, one after the other."""
    sessions = [BenchSession(logs) for _ in range(count)]
    with Connection(port) as connection:
        for session in sessions:
            answer = connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
            session.opened(answer.json()["server_public_key"])
    return sessions


def queues_for(sessions: Sequence[BenchSession], connections: int, envelopes: int) -> list[list[bytes]]:
    """Signed requests, a queue a connection, each session on one connection and in order.

    Every request comes from another address, as they do behind a proxy, so that no two heads are alike.
    """
    queues: list[list[bytes]] = [[] for _ in range(connections)]
    addresses = map(str, itertools.cycle(ip_network("10.0.0.0/12").hosts()))
    for index, session in enumerate(sessions):
        bodies = session.chunks(envelopes // len(sessions))
        requests = [request("POST", INGEST, body, forwarded_for=next(addresses)) for body in bodies]
        queues[index % connections] += requests
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
    server: Process, references: Mapping[str, Running], size: ChunkSize, connections: int, rounds: int, scale: float
) -> list[Measurement]:
    """Let all take turns at one size with so many connections; references are asked for anew in each round."""
    logs = Logs(size)
    envelopes = max(connections, int(ENVELOPES[size.name] * scale))
    session_count = max(connections, -(-envelopes // SESSION_ENVELOPES_MAX))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (SERVER, *references)}
    for number in range(-1, rounds):
        queues = queues_for(open_sessions(server.port, session_count, logs), connections, envelopes)
        if number < 0:  # warm up what is kept running
            queues = [queue[: max(1, len(queue) // 4)] for queue in queues]
        with ExitStack() as stack:
            targets = [(SERVER, server)]
            for name, running in references.items():
                if (reference := stack.enter_context(running())) is not None:
                    targets.append((name, reference))
            for name, process in targets if number % 2 else reversed(targets):
                cpu_before = process.cpu_s()
                load = drive(process.port, queues)
                if number >= 0:
                    found[name].append(figures_of(load, process.cpu_s() - cpu_before))
    label = f"{size.name}, {connections} connections"
    own = medians(found[SERVER])
    own["p99_to_p50"] = own["p99_ms"] / own["p50_ms"]
    measurements = []
    for name in references:
        if not found[name]:
            continue
        shares = [
            ours["rate_per_s"] / theirs["rate_per_s"] for ours, theirs in zip(found[SERVER], found[name], strict=True)
        ]
        figures = {"server_to_it": median(shares), "least": min(shares), "most": max(shares)}
        measurements.append(Measurement(f"{label}: {name}", medians(found[name]) | figures))
    return [Measurement(f"{label}: {SERVER}", own), *measurements]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {size.name.split()[0]: size for size in (SMALL, MEDIUM, LARGE)}
    parser.add_argument("--sizes", nargs="+", choices=sizes, default=list(sizes), help="KiB of an envelope")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of envelopes")
    parser.add_argument("--yardstick", type=Path, help="folder that Express is kept in [default: a temporary one]")
    parser.add_argument(
        "--no-yardstick", action="store_true", help="measure the server alone, without any of its references"
    )
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    measurements: list[Measurement] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        references: dict[str, Running] = {}
        if not options.no_yardstick:
            folder = options.yardstick or root / "yardstick"
            kept = stack.enter_context(running_yardstick(folder))
            bare = stack.enter_context(running_bare(root / "bare"))
            references = {
                "yardstick": partial(nullcontext, kept),
                "yardstick, just started": partial(running_yardstick, folder),
                "bare function": partial(nullcontext, bare),
            }
        for name in options.sizes:
            with running_server(root / f"data-{name}") as server:
                for connections in options.connections:
                    measurements += measure(server, references, sizes[name], connections, options.rounds, options.scale)
    publish(Report("ingest", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
