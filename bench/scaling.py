"""Whether what is stored makes a close, a statistics call or a start dearer: the same on two data directories.

Both servers run at the same time and are asked in turns, so that whatever else the machine does hits both alike. The
ratio is that of the two medians. A close is measured in three ways:

- `SESSION_CLOSE`: the answer, which says that the close is on disk;
- `to trajectory`: from there until `POST /v1/sessions/close` has been answered as well, which it is only when the
  trajectory is on disk;
- `passivated`: `POST /v1/sessions/close` of a session that left memory, so that it is loaded from the database, its
  lines are found by index and read back, stitched and scored.

At the end the trajectories of all measured sessions are looked up in both directories.
"""

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import msgspec
import trio

from bench.corpus import make_corpus
from bench.http1 import INGEST, Connection
from bench.processes import Process, running_server, start_server
from bench.report import Measurement, Report, latency_figures, medians, publish
from bench.sessions import SMALL, BenchSession, Logs
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Position
from persistence.journals.stored import StoredJournal

CHUNKS: Final = 5
"""Chunks of each session that is closed; small ones, so that the small directory stays small."""
PASSIVATE_AFTER_S: Final = 0.5
PATHS: Final = (
    "/health",
    "/v1/stats/summary",
    "/v1/stats/daily?days=7",
    "/v1/stats/models",
    "/v1/stats/providers",
    "/v1/stats/leaderboard?limit=10",
)


class Side:
    """One of the two data directories, the server on it, and what was measured there."""

    def __init__(self, data_directory: Path, connection: Connection, logs: Logs) -> None:
        self.data_directory = data_directory
        self.connection = connection
        self.logs = logs
        self.seconds: dict[str, list[float]] = {}
        self.closed: list[str] = []

    def note(self, name: str, seconds: float) -> None:
        """Keep one measured duration."""
        self.seconds.setdefault(name, []).append(seconds)

    def session_with_chunks(self) -> BenchSession:
        """Open a session and send its chunks; none of that is measured."""
        session = BenchSession(self.logs)
        answer = self.connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
        session.opened(answer.json()["server_public_key"])
        for body in session.chunks(CHUNKS):
            self.connection.ask_ok("POST", INGEST, body)
        self.closed.append(session.session_id)
        return session

    def http_close(self, session_id: str) -> None:
        """Close a session by HTTP; the answer comes when its trajectory is on disk."""
        self.connection.ask_ok("POST", "/v1/sessions/close", msgspec.json.encode({"session_id": session_id}))

    def measure_close(self) -> None:
        """A session closed by its client."""
        session = self.session_with_chunks()
        body = session.close()
        began_at = time.perf_counter()
        answer = self.connection.ask_ok("POST", INGEST, body)
        self.http_close(session.session_id)
        self.note("close: SESSION_CLOSE", answer.seconds)
        self.note("close: to trajectory", time.perf_counter() - began_at)

    def measure_passivated_close(self, session_id: str) -> None:
        """A session that has left memory, closed by HTTP."""
        began_at = time.perf_counter()
        self.http_close(session_id)
        self.note("close: passivated", time.perf_counter() - began_at)

    def measure_path(self, path: str) -> None:
        """One GET."""
        self.note(f"GET {path}", self.connection.ask_ok("GET", path).seconds)

    def check_trajectories(self) -> None:
        """Raise RuntimeError unless each session that was closed has its line in the trajectories journal."""
        layout = DataLayout(self.data_directory)
        journal = StoredJournal.of(layout, JournalName.TRAJECTORIES)
        with closing(sqlite3.connect(f"file:{layout.sessions_database}?mode=ro", uri=True)) as connection:
            for session_id in self.closed:
                query = 'SELECT n, day, "offset", length, 0.0 FROM trajectories WHERE session_id = ?'
                row = connection.execute(query, (session_id,)).fetchone()
                if row is None:
                    raise RuntimeError(f"session {session_id} was closed, but has no trajectory")
                (line,) = trio.run(journal.read, [Position(*row)])
                if f'"session_id":"{session_id}"'.encode() not in line[:200]:
                    raise RuntimeError(f"the line of session {session_id}'s trajectory is another one's")


def in_turns(sides: Sequence[Side], count: int, measure: Callable[[Side], None]) -> None:
    """Measure on each side, `count` times, whoever is first changing each time."""
    for number in range(count):
        for side in sides if number % 2 else reversed(sides):
            measure(side)


def measure_requests(sides: Sequence[Side], closes: int, reads: int) -> None:
    """Closes and statistics."""
    in_turns(sides, 10, Side.measure_close)  # warm up
    for path in PATHS:
        in_turns(sides, 20, lambda side, path=path: side.measure_path(path))  # type: ignore[misc] # bound as default
    for side in sides:
        side.seconds.clear()
    in_turns(sides, closes, Side.measure_close)
    for path in PATHS:
        in_turns(sides, reads, lambda side, path=path: side.measure_path(path))  # type: ignore[misc] # likewise
    waiting = {side: [side.session_with_chunks().session_id for _ in range(closes)] for side in sides}
    time.sleep(PASSIVATE_AFTER_S * 3)
    in_turns(sides, closes, lambda side: side.measure_passivated_close(waiting[side].pop()))


def measure_starts(directories: Sequence[Path], rounds: int, logs: Logs) -> list[list[dict[str, float]]]:
    """Seconds from the start of the process to ready, after a clean stop and after a kill under load."""
    found: list[list[dict[str, float]]] = [[] for _ in directories]
    for number in range(rounds):
        for index in (0, 1) if number % 2 else (1, 0):
            process = start_server(directories[index])
            try:
                process.wait_ready()
                _send_and_kill(process, logs)
                process = start_server(directories[index])
                after_kill_s = process.wait_ready()
                process.stop()
                process = start_server(directories[index])
                after_stop_s = process.wait_ready()
                process.stop()
            finally:
                process.kill()
            found[index].append({"after_stop_s": after_stop_s, "after_kill_s": after_kill_s})
    return found


def _send_and_kill(process: Process, logs: Logs) -> None:
    """Kill a server right after an answer, when what was acknowledged may not be projected yet."""
    with Connection(process.port) as connection:
        session = BenchSession(logs)
        answer = connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
        session.opened(answer.json()["server_public_key"])
        for body in session.chunks(50):
            connection.ask_ok("POST", INGEST, body)
    process.kill()


def prepare(corpora: Path, megabytes: float) -> tuple[Path, Measurement | None]:
    """The data directory with so much in it, made unless it is there."""
    directory = corpora / f"{megabytes:g}-mb"
    if directory.is_dir():
        return directory, None
    shutil.rmtree(unfinished := corpora / "unfinished", ignore_errors=True)
    made = trio.run(make_corpus, unfinished, int(megabytes * 1e6))
    unfinished.rename(directory)
    figures = {"sessions": made.sessions, "envelopes_mb": made.envelope_bytes / 1e6, "made_in_s": made.seconds}
    return directory, Measurement(f"corpus of {megabytes:g} MB", figures)


def compared(small: Side, large: Side) -> list[Measurement]:
    """Each thing measured, on both sides, and the ratio of the medians."""
    found: list[Measurement] = []
    for name, seconds in small.seconds.items():
        before, after = latency_figures(seconds), latency_figures(large.seconds[name])
        figures = {f"small_{unit}": value for unit, value in before.items()}
        figures |= {f"large_{unit}": value for unit, value in after.items()}
        figures["ratio_p50"] = after["p50_ms"] / before["p50_ms"]
        figures["ratio_p99"] = after["p99_ms"] / before["p99_ms"]
        found.append(Measurement(name, figures))
    return found


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, help="folder that data directories are kept in [default: temporary]")
    parser.add_argument("--small", type=float, default=1.0, help="envelopes stored, in units of 10^6 bytes")
    parser.add_argument("--large", type=float, default=1_000.0, help="likewise; as much again are trajectories")
    parser.add_argument("--closes", type=int, default=60)
    parser.add_argument("--reads", type=int, default=300, help="calls of each statistics endpoint")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        corpora: Path = options.corpora or root
        corpora.mkdir(parents=True, exist_ok=True)
        prepared = [prepare(corpora, megabytes) for megabytes in (options.small, options.large)]
        measurements = [measurement for _, measurement in prepared if measurement is not None]
        directories = [directory for directory, _ in prepared]
        logs = Logs(SMALL)
        with ExitStack() as servers:
            sides: list[Side] = []
            for directory in directories:
                process = servers.enter_context(
                    running_server(directory, sessions__passivate_after_s=PASSIVATE_AFTER_S)
                )
                sides.append(Side(directory, servers.enter_context(Connection(process.port)), logs))
            measure_requests(sides, options.closes, options.reads)
        for side in sides:
            side.check_trajectories()
        measurements += compared(*sides)
        small, large = (medians(rounds) for rounds in measure_starts(directories, options.starts, logs))
        for name in small:
            ratio = large[name] / small[name]
            figures = {"small_s": small[name], "large_s": large[name], "ratio_p50": ratio}
            measurements.append(Measurement(f"start {name.removesuffix('_s').replace('_', ' ')}", figures))
    publish(Report("scaling", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
