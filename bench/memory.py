"""Memory of an open session: while its actor is in memory, and once it is passivated.

Sessions are opened over HTTP, each from a machine of its own, and send a small chunk each. Two servers are measured one
after the other: one that passivates at once, and one that never does. What counts is growth from step to step, so that
what a server takes only once (code, caches, pools) drops out; the first step is the warm-up. Memory is `RssAnon`:
resident, and no file's. The slope is that of a line through all steps (least squares).
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.http1 import INGEST, drive, request
from bench.processes import Process, running_server
from bench.report import Measurement, Report, publish
from bench.sessions import SMALL, BenchSession, Logs

CONNECTIONS: Final = 16
GROUP: Final = 500
"""Sessions that are opened before their chunks are sent."""
PASSIVATE_AFTER_S: Final = 0.2
SETTLE_S: Final = 2.0
KIB: Final = 1_024


class Population:
    """The open sessions of one server."""

    def __init__(self, process: Process, *, chunks: int) -> None:
        self._process = process
        self._logs = Logs(SMALL)
        self._chunks = chunks
        self.count = 0
        self.open_seconds = 0.0

    def grow_to(self, count: int) -> None:
        """Open more until there are `count`, and have each send its chunks."""
        while self.count < count:
            group = [BenchSession(self._logs) for _ in range(min(GROUP, count - self.count))]
            self._open(group)
            for _ in range(self._chunks):
                self._ask([request("POST", INGEST, session.chunk()) for session in group])
            self.count += len(group)

    def _open(self, group: Sequence[BenchSession]) -> None:
        began_at = time.perf_counter()
        answers = self._ask([request("POST", "/v1/sessions/open", session.opening_body()) for session in group])
        self.open_seconds += time.perf_counter() - began_at
        for session, answer in zip(group, answers, strict=True):
            session.opened(msgspec.json.decode(answer)["server_public_key"])

    def _ask(self, requests: Sequence[bytes]) -> list[bytes]:
        """Send all over a few connections and return the answers in the order of the requests."""
        load = drive(self._process.port, [requests[lane::CONNECTIONS] for lane in range(CONNECTIONS)])
        if load.refused:
            raise RuntimeError(f"{load.refused} requests were refused, the first with {load.first_refusal}")
        return [load.answers[index % CONNECTIONS][index // CONNECTIONS] for index in range(len(requests))]


def measure(data_directory: Path, name: str, steps: Sequence[int], chunks: int, **settings: object) -> Measurement:
    """Grow a server's population step by step and note its memory after each."""
    figures: dict[str, float] = {}
    memory: list[int] = []
    with running_server(data_directory, **settings) as server:
        population = Population(server, chunks=chunks)
        for count in steps:
            population.grow_to(count)
            time.sleep(SETTLE_S)
            memory.append(server.memory_bytes("RssAnon"))
            figures[f"at_{count}_mib"] = memory[-1] / KIB**2
    slope, _ = statistics.linear_regression(steps, memory)
    growth = (memory[-1] - memory[0]) / (steps[-1] - steps[0])
    figures |= {"slope_kib": slope / KIB, "growth_kib": growth / KIB}
    figures["opens_per_s"] = population.count / population.open_seconds
    return Measurement(name, figures)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000, help="open sessions, passivated")
    parser.add_argument("--active", type=int, default=4_000, help="open sessions with an actor each; 0 for none")
    parser.add_argument("--chunks", type=int, default=1, help="chunks that each sends")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as workplace:
        root = Path(workplace)
        if options.active:
            steps = [options.active * part // 4 for part in (1, 2, 3, 4)]
            kept = {"sessions__active_actors_max": options.active, "sessions__passivate_after_s": 3_600}
            measurements.append(measure(root / "active", "active", steps, options.chunks, **kept))
        steps = [options.sessions * part // 8 for part in (1, 2, 4, 6, 8)]
        ended = {"sessions__passivate_after_s": PASSIVATE_AFTER_S}
        measurements.append(measure(root / "passivated", "passivated", steps, options.chunks, **ended))
    publish(Report("memory", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
