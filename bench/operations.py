"""Whether operations and finished jobs that are stored make a list, a claim or a start dearer: the same with few.

Two data directories: one with 100 operations and 100 finished jobs, one with as many as is asked for, all operations in
one day. Lists are asked of two servers in turns, so that whatever else the machine does hits both alike: right after
their start (`first look`), when the observer reads all that the journal holds, and when it has read it. A claim is what
an engine of jobs does with jobs.db: a job added, claimed and ended. Ratios are those of the medians.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import msgspec

from bench.http1 import Answer, Connection
from bench.processes import running_server, start_server
from bench.report import Measurement, Report, latency_figures, medians, publish
from central_command.access.tokens import new_token, token_sha256
from persistence.databases.access_tokens import StoredToken, TokenFile
from persistence.databases.jobs_changing import JobChanges, NewJob
from persistence.databases.jobs_database import JobsDatabase, JobStatus
from persistence.databases.jobs_running import JobEnd, JobRuns, LiveRun, Look
from persistence.files.file_system import OsFileSystem
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Mark
from persistence.journals.writing import JournalEnd

FEW: Final = 100
LINES_AT_ONCE: Final = 1_000
QUEUE: Final = "measured"
ENDPOINTS: Final = 40
FAILING_EVERY: Final = 50
FAILURES: Final = "/api/observer/failures"
LOOK_S_MAX: Final = 600.0
PATHS: Final = (
    "/health",
    "/api/observer/operations?limit=100",
    "/api/observer/stats",
    FAILURES,
    "/api/admin/jobs?status=completed",
    "/api/admin/jobs?status=failed",
    "/api/admin/jobs/queues",
)
"""The first is what the others are compared with."""
SETTINGS: Final = {
    "observer__quota_bytes": 10**10,
    "jobs__completed_max": 10**9,
    **{f"{section}__requests_per_{unit}": 10**6 for section in ("jobs", "observer") for unit in ("minute", "hour")},
    "curation__enabled": "false",
    "embedding__enabled": "false",
}
COMPLETED: Final = """
INSERT INTO jobs (queue, name, status, payload, priority, attempts, attempts_max, created_at, changed_at, finished_at)
VALUES (?, 'do', 'completed', '{}', 0, 1, 5, ?, ?, ?)
"""


def store_operations(root: Path, count: int) -> float:
    """Fill the journal of operations; answer its size in megabytes."""
    directory = DataLayout(root).journal(JournalName.OPERATIONS)
    files = OsFileSystem()
    files.make_directory(directory)
    end = JournalEnd(JournalName.OPERATIONS, directory, Mark(), files=files, clock=time.time)
    size_bytes = 0
    for first in range(0, count, LINES_AT_ONCE):
        lines = [(_operation(number), b"") for number in range(first, min(first + LINES_AT_ONCE, count))]
        positions = end.write(lines)
        assert positions is not None, "the disk is full"
        size_bytes += sum(position.length for position in positions)
    end.close()
    return size_bytes / 1e6


def _operation(number: int) -> bytes:
    failed = number % FAILING_EVERY == 0
    operation = {
        "timestamp": times.to_text(time.time()),
        "endpoint": f"GET /v1/measured/{number % ENDPOINTS}",
        "input_summary": "request",
        "success": not failed,
        "duration_ms": 1.5,
        "output_summary": "HTTP 200 OK" if not failed else "HTTP 503 it is overloaded",
        "error": f"HTTP 503 it is overloaded, request {number}" if failed else None,
        "source": "measured",
    }
    return b'"operation":' + msgspec.json.encode(operation)


def open_jobs(root: Path) -> JobsDatabase:
    """The jobs.db of a data directory."""
    return JobsDatabase(DataLayout(root).jobs_database, time.time)


def store_jobs(root: Path, count: int) -> None:
    """Fill jobs.db with completed jobs."""
    now = times.to_text(time.time())
    with (
        closing(JobsDatabase(DataLayout(root).jobs_database, time.time)) as database,
        database.transaction() as connection,
    ):
        connection.executemany(COMPLETED, [(QUEUE, now, now, now)] * count)


def make_token(root: Path) -> str:
    """A token that may see all of it."""
    token = new_token(os.urandom)
    stored = StoredToken(
        token_id="tok_measuring",
        name="measuring",
        scopes=("admin", "read"),
        created_at=times.to_text(time.time()),
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    assert TokenFile(root / "access.db", time.time).add(stored, token_sha256(token), tokens_max=100) is None
    return token


class Side:
    """One of the two data directories, and what was measured there."""

    def __init__(self, root: Path, operations: int) -> None:
        self.root = root
        self.failures = len(range(0, operations, FAILING_EVERY))
        self.token = make_token(root)
        self.seconds: dict[str, list[float]] = {}

    def note(self, name: str, seconds: float) -> None:
        """Keep one measured duration."""
        self.seconds.setdefault(name, []).append(seconds)

    def ask(self, connection: Connection, path: str) -> Answer:
        """Ask, with the token."""
        return connection.ask_ok("GET", path, token=self.token)

    def wait_until_looked(self, connection: Connection) -> None:
        """Wait until the observer has counted all failures that are stored."""
        deadline = time.monotonic() + LOOK_S_MAX
        while sum(each["count"] for each in self.ask(connection, FAILURES).json()["failures"]) < self.failures:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the observer has not looked at all operations within {LOOK_S_MAX:g} s")
            time.sleep(0.5)

    def claim(self, database: JobsDatabase) -> None:
        """Add a job, claim it, and end it."""
        changes, runs = JobChanges(database), JobRuns(database)
        now = time.time()
        began_at = time.perf_counter()
        changes.add(NewJob(queue=QUEUE, name="do", payload="{}", attempts_max=5), now=now, waiting_max=10)
        look = Look(now=now, lease_s=60.0, live=[], free={QUEUE: 1}, concurrency={QUEUE: 2}, log_lines_max=9)
        (claimed,) = runs.look(look, lambda: f"run_{time.monotonic_ns()}").claimed
        assert claimed.run_id is not None
        runs.end(JobEnd(run=LiveRun(run_id=claimed.run_id), status=JobStatus.COMPLETED), now=now, log_lines_max=9)
        self.note("claim: added, claimed, ended", time.perf_counter() - began_at)


def in_turns(sides: Sequence[Side], count: int, measure: Callable[[Side], None]) -> None:
    """Measure on each side, `count` times, whoever is first changing each time."""
    for number in range(count):
        for side in sides if number % 2 else reversed(sides):
            measure(side)


def measure_claims(sides: Sequence[Side], count: int) -> None:
    """Claims, with no server beside."""
    with ExitStack() as stack:
        databases = {side: stack.enter_context(closing(open_jobs(side.root))) for side in sides}
        in_turns(sides, count, lambda side: side.claim(databases[side]))


def measure_lists(sides: Sequence[Side], count: int) -> None:
    """Lists right after a start, while all that a journal holds is looked at for the first time, and after that."""
    with ExitStack() as stack:
        asked: dict[Side, Connection] = {}
        for side in sides:
            process = stack.enter_context(running_server(side.root, **SETTINGS))
            asked[side] = stack.enter_context(Connection(process.port))
        _ask_in_turns(asked, count, "first look")
        for side in sides:
            side.wait_until_looked(asked[side])
        _ask_in_turns(asked, count, "GET")


def _ask_in_turns(asked: Mapping[Side, Connection], count: int, name: str) -> None:
    sides = list(asked)
    for path in PATHS:
        in_turns(sides, 3, lambda side, path=path: side.ask(asked[side], path))  # type: ignore[misc] # bound as default
        in_turns(
            sides,
            count,
            lambda side, path=path: side.note(f"{name} {path}", side.ask(asked[side], path).seconds),  # type: ignore[misc]
        )


def measure_starts(sides: Sequence[Side], rounds: int) -> Iterator[Measurement]:
    """From the start of the process to ready, after a clean stop and after a kill."""
    found: dict[Side, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            figures = {}
            for name in ("after_stop_s", "after_kill_s"):
                process = start_server(side.root, **SETTINGS)
                try:
                    figures[name] = process.wait_ready()
                    if name == "after_kill_s":
                        process.stop()
                finally:
                    process.kill()
            found[side].append(figures)
    few, many = (medians(found[side]) for side in sides)
    for name in few:
        figures = {"few_s": few[name], "many_s": many[name], "ratio_p50": many[name] / few[name]}
        yield Measurement(f"start {name.removesuffix('_s').replace('_', ' ')}", figures)


def compared(few: Side, many: Side) -> Iterator[Measurement]:
    """Each thing measured, on both sides, and the ratio of the medians."""
    for name, seconds in few.seconds.items():
        before, after = latency_figures(seconds), latency_figures(many.seconds[name])
        figures = {f"few_{unit}": value for unit, value in before.items()}
        figures |= {f"many_{unit}": value for unit, value in after.items()}
        yield Measurement(name, {**figures, "ratio_p50": after["p50_ms"] / before["p50_ms"]})


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=100_000, help="finished ones")
    parser.add_argument("--asked", type=int, default=200, help="how often each thing is asked for")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data directories are made [default: temporary]")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        sides, measurements = [], list[Measurement]()
        for name, operations, jobs in (("few", FEW, FEW), ("many", options.operations, options.jobs)):
            root = Path(folder) / name
            root.mkdir(mode=0o700)
            size_mb = store_operations(root, operations)
            store_jobs(root, jobs)
            sides.append(Side(root, operations))
            measurements.append(
                Measurement(f"stored: {name}", {"operations": operations, "jobs": jobs, "journal_mb": size_mb})
            )
        measure_claims(sides, options.asked)
        measure_lists(sides, options.asked)
        few, many = sides
        measurements += compared(few, many)
        measurements += measure_starts(sides, options.starts)
    publish(Report("operations", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
