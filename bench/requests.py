"""One request of each kind over one connection, in turns: what it takes, and how that compares with `/health`.

An ingest is measured at an active session, at one that was passivated (its actor is started, the session loaded), and
beside them an opening, both closes and every statistic. Statistics are asked twice: while nothing is written, and with
an envelope stored and projected before each call, so that nothing remembered can answer: compare those with `/health`
after the same pause. The processor time is the server's, all threads, for each kind by itself.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bench.http1 import INGEST, Answer, Connection
from bench.processes import Process, running_server
from bench.report import Measurement, Report, latency_figures, publish
from bench.sessions import SMALL, BenchSession, Logs

PASSIVATE_AFTER_S: Final = 0.2
PROJECTED_S: Final = 0.35
"""Longer than lines gather before they are projected."""
STATISTICS: Final = ("summary", "daily", "models", "providers", "leaderboard")


class Kinds:
    """Makes the requests of one server; each method makes one and returns its answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logs = Logs(SMALL)
        self._active = self._opened(self._session())
        self._asleep: list[BenchSession] = []
        self._ready: list[BenchSession] = []

    def health(self) -> Answer:
        """Nothing but HTTP."""
        return self._connection.ask_ok("GET", "/health")

    def open(self) -> Answer:
        """An opening; the session is then there to be closed."""
        session = self._session()
        answer = self._connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
        session.opened(answer.json()["server_public_key"])
        self._ready.append(session)
        return answer

    def ingest_active(self) -> Answer:
        """An envelope for a session whose actor is there; a session takes 200."""
        if self._active.sent >= 150:
            self._active = self._opened(self._session())
            self._ingest(self._active)
        return self._ingest(self._active)

    def ingest_passivated(self) -> Answer:
        """An envelope for a session whose actor has ended."""
        return self._ingest(self._asleep.pop())

    def close_signed(self) -> Answer:
        """A SESSION_CLOSE."""
        return self._connection.ask_ok("POST", INGEST, self._ready.pop().close())

    def close_http(self) -> Answer:
        """A close without a signature, of a session with one chunk."""
        session = self._asleep.pop()
        return self._connection.ask_ok(
            "POST", "/v1/sessions/close", b'{"session_id":"%s"}' % session.session_id.encode()
        )

    def statistic(self, name: str) -> Answer:
        """A statistic, whatever was written before."""
        return self._connection.ask_ok("GET", f"/v1/stats/{name}")

    def prepare_passivated(self, count: int) -> None:
        """Open sessions with a chunk each and wait until their actors have ended."""
        self._asleep += [self._opened(self._session()) for _ in range(count)]
        for session in self._asleep:
            self._ingest(session)
        time.sleep(PASSIVATE_AFTER_S + PROJECTED_S)

    def _session(self) -> BenchSession:
        return BenchSession(self._logs)

    def _opened(self, session: BenchSession) -> BenchSession:
        answer = self._connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
        session.opened(answer.json()["server_public_key"])
        return session

    def _ingest(self, session: BenchSession) -> Answer:
        return self._connection.ask_ok("POST", INGEST, session.chunk())


class Timed:
    """Latencies and processor time by kind of request."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self.seconds: dict[str, list[float]] = {}
        self.cpu_s: dict[str, float] = {}

    def many(self, kind: str, ask: Callable[[], Answer], count: int) -> None:
        """Ask so many times, one after the other."""
        cpu_before = self._server.cpu_s()
        self.seconds.setdefault(kind, []).extend(ask().seconds for _ in range(count))
        self.cpu_s[kind] = self.cpu_s.get(kind, 0.0) + self._server.cpu_s() - cpu_before

    def measurements(self) -> list[Measurement]:
        """All kinds, each with its latency in units of `/health`'s and of an ingest's to an active session."""
        medians = {kind: latency_figures(seconds)["p50_ms"] for kind, seconds in self.seconds.items()}
        return [
            Measurement(
                kind,
                {
                    "rate_per_s": len(seconds) / sum(seconds),
                    **latency_figures(seconds),
                    "cpu_s_per_1000": self.cpu_s[kind] / len(seconds) * 1_000,
                    "to_health": medians[kind] / medians["/health"],
                    "to_ingest": medians[kind] / medians["ingest, active"],
                },
            )
            for kind, seconds in self.seconds.items()
        ]


def measure(server: Process, rounds: int, count: int) -> list[Measurement]:
    """Let all kinds take turns."""
    timed = Timed(server)
    with Connection(server.port) as connection:
        kinds = Kinds(connection)
        for _ in range(rounds):
            kinds.prepare_passivated(2 * count)
            timed.many("ingest, passivated", kinds.ingest_passivated, count)
            timed.many("close, HTTP, passivated", kinds.close_http, count)
            timed.many("open", kinds.open, count)
            timed.many("close, signed", kinds.close_signed, count)
            timed.many("ingest, active", kinds.ingest_active, count)
            time.sleep(PROJECTED_S)
            timed.many("/health", kinds.health, count)
            for name in STATISTICS:
                timed.many(f"{name}, unchanged", partial(kinds.statistic, name), count)
            rested: dict[str, Callable[[], Answer]] = {"/health, rested": kinds.health}
            rested |= {f"{name}, changed": partial(kinds.statistic, name) for name in STATISTICS}
            for kind, ask in rested.items():
                for _ in range(max(1, count // 20)):
                    kinds.ingest_active()
                    time.sleep(PROJECTED_S)
                    timed.many(kind, ask, 1)
    return timed.measurements()


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=80, help="requests of each kind in a round")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as workplace,
        running_server(Path(workplace) / "data", sessions__passivate_after_s=PASSIVATE_AFTER_S) as server,
    ):
        measurements = measure(server, options.rounds, options.count)
    publish(Report("requests", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
