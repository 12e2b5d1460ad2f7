"""What a close costs beside that of another checkout, with much stored that differs: stitched, scored, credited once.

`python -m bench.closing --before DIR`: the server of another checkout (with a .venv of its own) takes turns with this
one's, each on a data directory that it filled by itself, over HTTP, with the same sessions, no two of which hold the
same step. Then sessions of 100 and of 1,000 steps are closed, in turns: some whose steps nobody has seen, and forks, of
whose steps all but the last three were stored before. A close is what lies between SESSION_CLOSE and the trajectory on
disk (`POST /v1/sessions/close` is answered then); its processor time is that of all of the server's threads until the
credit stands in the ledger and the server rests, without what it takes at rest. Ratios are taken within a round, and
their medians count. Curation, search, the observer and the check of stored lines are off: they are other work.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from bench.http1 import INGEST, Connection, drive, request
from bench.processes import REPOSITORY, Process, running_server
from bench.real_steps import RealLogs
from bench.report import Measurement, Report, medians, publish
from bench.sessions import BenchSession, ChunkSize

CHUNK: Final = ChunkSize("50 steps", 50)
STORED_CHUNKS: Final = 20
"""Of each session that is stored before anything is measured: 1,000 steps, 1.2 MB."""
SIZES: Final = (100, 1_000)
"""Steps of the sessions that are closed; a fork copies no more than a stored session has."""
LANES: Final = 8
SESSIONS_AT_ONCE: Final = 16
OWN_STEPS: Final = 3
"""Steps of a fork that nobody has seen."""
REST_S: Final = 5.0
SETTLED_S: Final = 0.5
QUIET_CPU_S: Final = 0.004
SETTLE_TIMEOUT_S: Final = 120.0
BEGUN: Final = 10_000_000
"""The number of the first session that is measured; those that are stored have lower ones."""
QUIET_SETTINGS: Final = {
    "curation__enabled": "false",
    "search__enabled": "false",
    "observer__enabled": "false",
    "storage__check_share": "0",
}
SESSIONS: Final = {
    "embedding__enabled": "false",
    "sessions__opens_per_machine_per_h": "1000000",
}


class Side:
    """One checkout's server, its data directory, and what was measured of it."""

    def __init__(self, name: str, process: Process, data_directory: Path) -> None:
        self.name = name
        self.process = process
        self.data_directory = data_directory
        self.connection = Connection(process.port)
        self.rest_cpu_share = 0.0

    def opened(self, sessions: list[BenchSession]) -> None:
        """Open sessions."""
        for session in sessions:
            answer = self.connection.ask_ok("POST", "/v1/sessions/open", session.opening_body())
            session.opened(answer.json()["server_public_key"])

    def store(self, logs: Sequence[RealLogs]) -> int:
        """Send whole sessions and close them; answer how many bytes of envelopes that was."""
        sessions = [BenchSession(each) for each in logs]
        self.opened(sessions)
        lanes: list[list[bytes]] = [[] for _ in range(LANES)]
        for number, session in enumerate(sessions):
            lanes[number % LANES] += [*session.chunks(STORED_CHUNKS), session.close()]
        load = drive(self.process.port, [[request("POST", INGEST, body) for body in lane] for lane in lanes])
        if load.refused:
            raise RuntimeError(load.first_refusal)
        return sum(map(len, (body for lane in lanes for body in lane)))

    def measure(self, logs: Sequence[RealLogs], chunks: int) -> dict[str, float]:
        """Close so many sessions, one after the other; answer milliseconds of a close."""
        sessions = [BenchSession(each) for each in logs]
        self.opened(sessions)
        for session in sessions:
            for body in session.chunks(chunks):
                self.connection.ask_ok("POST", INGEST, body)
        closes = [(session.close(), msgspec.json.encode({"session_id": session.session_id})) for session in sessions]
        self.settle()
        credited = self.credits()
        before, began_at = self.process.fine_cpu_s(), time.perf_counter()
        for signed, plain in closes:
            self.connection.ask_ok("POST", INGEST, signed)
            self.connection.ask_ok("POST", "/v1/sessions/close", plain)
        seconds = time.perf_counter() - began_at
        self.settle()
        cpu_s = self.process.fine_cpu_s() - before - self.rest_cpu_share * (time.perf_counter() - began_at)
        if self.credits() - credited != len(logs):
            raise RuntimeError(f"{self.name}: {self.credits() - credited} of {len(logs)} closes were credited")
        return {"clock_ms": seconds / len(logs) * 1e3, "cpu_ms": cpu_s / len(logs) * 1e3}

    def rest(self) -> None:
        """Find out what the server takes while nobody asks for anything."""
        self.settle()
        before = self.process.fine_cpu_s()
        time.sleep(REST_S)
        self.rest_cpu_share = (self.process.fine_cpu_s() - before) / REST_S

    def settle(self) -> None:
        """Wait until the server has nothing to do."""
        for _ in range(int(SETTLE_TIMEOUT_S / SETTLED_S)):
            before = self.process.fine_cpu_s()
            time.sleep(SETTLED_S)
            if self.process.fine_cpu_s() - before < QUIET_CPU_S:
                return
        raise RuntimeError(f"{self.name} goes on working")

    def credits(self) -> int:
        """How many sessions are credited."""
        with closing(sqlite3.connect(f"file:{self.data_directory / 'ledger.db'}?mode=ro", uri=True)) as ledger:
            found: int = ledger.execute("SELECT credits FROM totals").fetchone()[0]
            return found


def fill(sides: list[Side], stored_bytes: int, corpora: Path) -> int:
    """Store the same sessions on all sides until each has so many bytes, unless that was done; answer how many."""
    note = corpora / "closing-stored"
    if note.exists():
        return int(note.read_text())
    numbers, sent = count(), 0
    while sent < stored_bytes:
        logs = [_Kept(next(numbers)) for _ in range(SESSIONS_AT_ONCE)]
        sent += min([side.store(logs) for side in sides])
    stored = next(numbers)
    note.write_text(f"{stored}\n")
    return stored


class _Kept(RealLogs):
    """A session whose logs are encoded once, for all sides."""

    def __init__(self, number: int) -> None:
        super().__init__(number, CHUNK)
        self._kept: dict[int, bytes] = {}

    def log(self, chunk: int) -> bytes:
        """The log of a chunk."""
        if chunk not in self._kept:
            self._kept[chunk] = super().log(chunk)
        return self._kept[chunk]


def drawn(numbers: Iterator[int], closes: int, steps: int, stored: int) -> list[RealLogs]:
    """Sessions to close: of steps that nobody has seen, or, with so many sessions `stored`, forks of those."""
    chosen = [next(numbers) for _ in range(closes)]
    if not stored:
        return [RealLogs(number, CHUNK) for number in chosen]
    copied = steps - OWN_STEPS
    return [RealLogs(number, CHUNK, copied_from=number * 7 % stored, copied_steps=copied) for number in chosen]


def measure(sides: list[Side], stored: int, rounds: int, closes: int) -> list[Measurement]:
    """Let all sides close the same sessions in turns."""
    numbers = count(BEGUN + max(side.credits() for side in sides))
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        for steps in SIZES:
            for kind, of in (("fresh", 0), ("fork", stored)):
                logs = drawn(numbers, closes, steps, of)
                figures = {side.name: side.measure(logs, steps // CHUNK.steps) for side in turned(sides, number)}
                before = figures[sides[-1].name]
                for side in sides:
                    own = figures[side.name]
                    ratios = {f"{name}_ratio": value / before[name] for name, value in own.items()}
                    found.setdefault((f"{steps:,} steps, {kind}", side.name), []).append(own | ratios)
    return [
        Measurement(
            f"{what}: {name}",
            medians(each)
            | {"cpu_ratio_min": min(one["cpu_ms_ratio"] for one in each)}
            | {"cpu_ratio_max": max(one["cpu_ms_ratio"] for one in each)},
        )
        for (what, name), each in found.items()
    ]


def turned(sides: list[Side], number: int) -> list[Side]:
    """The sides, whoever is first changing from round to round."""
    return sides if number % 2 else sides[::-1]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout with a .venv to compare with")
    parser.add_argument("--corpora", type=Path, help="folder that data directories are kept in [default: temporary]")
    parser.add_argument(
        "--mb", type=float, default=1_000.0, help="envelopes stored on each side, in units of 10^6 bytes"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--closes", type=int, default=20, help="of each kind, in a round")
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    trees = {"now": REPOSITORY}
    if options.before:
        trees["before"] = options.before.resolve()
    with ExitStack() as stack:
        corpora = options.corpora or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        sides: list[Side] = []
        for name, tree in trees.items():
            settings = SESSIONS | (QUIET_SETTINGS if tree == REPOSITORY else {})
            data_directory = corpora / f"closing-{name}"
            process = stack.enter_context(running_server(data_directory, None, tree, **settings))
            sides.append(Side(name, process, data_directory))
        stored = fill(sides, int(options.mb * 1e6), corpora)
        for side in sides:
            side.rest()
        measurements = measure(sides, stored, options.rounds, options.closes)
    publish(Report("closing", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
