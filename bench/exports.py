"""Exporting a corpus: megabytes of it a second, and the memory that takes, by format; what a server feels of it.

The rate is said twice: by the clock, and by the processor time of the export, which other load changes less. The
corpus has so many sessions of some 20 KB, each with ids of its own, so that none is a copy of another; its records
are made by curation's own code from a few sessions, and multiplied. With `--server`, a server runs on the same data
directory, and `/health` is asked one request at a time, during exports and as long between them.
"""

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.curation.consent import BY_CLIENT
from actors.curation.duplicates import ClusterMembership
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.records import Record, finish_record, read_head, scrub_trajectory
from actors.curation.settings import CurationSettings
from bench.processes import running_server
from bench.report import Measurement, Report, latency_figures, medians, publish
from persistence.databases.corpus_records import project_corpus
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import Committed, JournalName, Mark
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd
from persistence.settings.storage import StorageSettings

BEGAN: Final = 1_795_169_530
TEMPLATES: Final = 400
"""Sessions with texts of their own; with a few, compression finds all of a row group in it twice."""
LINES_AT_ONCE: Final = 500
CALLS: Final = 12
WORDS: Final = 40
"""Words of one text: with this, a line of the corpus has some 20 KB, as the median of real ones."""
LINE_WORDS: Final = 10
ASKED_EVERY_S: Final = 0.01
LOOK_EVERY_S: Final = 0.1
"""How often the memory of all processes of an export is added up."""
FORMATS: Final = ("jsonl", "messages", "parquet")
MARK: Final = b"0123456789ab"
"""Stands in a template where each copy has digits of its own."""


def trajectory(number: int) -> bytes:
    """The line of a session: a prompt, calls with thoughts and results, a last word."""
    source = random.Random(number)
    vocabulary = [f"{source.choice('bcdfglmprst')}{source.choice('aeiou')}{n:03d}" for n in range(900)]

    def text() -> str:
        lines = (" ".join(source.choices(vocabulary, k=LINE_WORDS)) for _ in range(WORDS // LINE_WORDS))
        return "\n".join(f'\t{line} = "{MARK.decode()}"' for line in lines)

    steps: list[dict[str, Any]] = [{"type": "instruction", "source": "user", "content": text()}]
    for call in range(CALLS):
        call_id = f"call_{call}"
        steps += [
            {"type": "thought", "source": "thinking", "content": text()},
            {
                "type": "action",
                "tool": "Bash",
                "call_id": call_id,
                "arguments": {"command": text()},
                "content": "Using",
            },
            {"type": "observation", "tool": "Bash", "call_id": call_id, "content": text()},
        ]
    steps.append({"type": "resolution", "content": text()})
    log = [{"step": n, "timestamp": BEGAN + 10 * n, "token_count": 150, **step} for n, step in enumerate(steps, 1)]
    return msgspec.json.encode(
        {
            "trajectory_id": f"traj_00000000-0000-7000-8000-{MARK.decode()}",
            "session_id": f"sess_{MARK.decode()}",
            "contributor_id": hashlib.sha256(b"%d" % number).hexdigest()[:32],
            "metadata": {"provider": "claude-code", "model_engine": "claude-opus-4-6"},
            "close_metadata": None,
            "trajectory_log": log,
            "outcome": {"status": "SUCCESS", "total_steps": len(log), "total_chunks": 1},
            "total_steps": len(log),
            "started_at": "2026-11-20T10:12:10.000000Z",
            "ended_at": "2026-11-20T10:22:10.000000Z",
            "total_tokens": 150 * len(log),
            "unique_tools_used": ["Bash"],
            "feedback": [],
            "score": {"basePoints": len(log), "modelMultiplier": 5, "totalPoints": 5 * len(log)},
            "enrichment": {},
        }
    )


def template(number: int) -> Record:
    """The record of a session, by curation's own rules."""
    line = trajectory(number)
    head = read_head(line)
    assert head is not None
    scrubbed = scrub_trajectory(line, head, late_feedback=(), consent=BY_CLIENT, settings=CurationSettings())
    return finish_record(scrubbed, ClusterMembership(f"clu_{MARK.decode()}", 0.0), None, EnrichmentSettings())


def copies(sessions: int) -> Iterator[Record]:
    """Yield so many records, no two alike."""
    templates = [template(number) for number in range(TEMPLATES)]
    for number in range(sessions):
        digits = b"%012x" % number
        made = templates[number % TEMPLATES]
        sha256 = hashlib.sha256(digits).hexdigest()
        record = msgspec.structs.replace(
            made.record,
            trajectory_id=made.record.trajectory_id.replace(MARK.decode(), digits.decode()),
            record_id=made.record.record_id.replace(MARK.decode(), digits.decode()),
            session_id=made.record.session_id.replace(MARK.decode(), digits.decode()),
            cluster=f"clu_{digits.decode()}",
            sha256=sha256,
            bands=b"",
        )
        members = bytes(made.members).replace(MARK, digits).replace(made.record.sha256.encode(), sha256.encode())
        yield Record(record, members)


async def make_corpus(root: Path, sessions: int) -> int:
    """Fill a data directory with a corpus of so many sessions; answer its bytes."""
    layout = DataLayout(root)
    files = OsFileSystem()
    directory = layout.journal(JournalName.CORPUS)
    await trio.to_thread.run_sync(files.make_directory, directory)
    size_bytes = 0
    async with open_inline_database(
        layout.corpus_database, CORPUS_SCHEMA, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z"
    ) as database:
        end = JournalEnd(JournalName.CORPUS, directory, Mark(), files=files, clock=time.time)
        waiting: list[Record] = []
        source = copies(sessions)
        while waiting := [*islice(source, LINES_AT_ONCE)]:
            positions = end.write([(record.members, b"") for record in waiting])
            assert positions is not None, "the disk is full"
            size_bytes += sum(position.length for position in positions)
            batch = [Committed(record.record, place) for record, place in zip(waiting, positions, strict=True)]
            await database.write(project_corpus(batch), durable=False)
        end.close()
        await database.checkpoint()
    return size_bytes


class Running:
    """An export in a process of its own, with those that it starts: memory and processor time are of all together."""

    def __init__(self, root: Path, target: Path, options: Sequence[str], *formats: str) -> None:
        named = [part for name in formats for part in ("--format", name)]
        command = [sys.executable, "-m", "central_command", "export", str(target), "--data-dir", str(root)]
        self._began_at = self._looked_at = time.perf_counter()
        self._child = os.posix_spawn(sys.executable, [*command, *named, *options], os.environ)
        self._target = target
        self._memory_bytes = 0

    def is_over(self) -> bool:
        """Whether it has ended, if it has not been waited for; it can still be waited for then."""
        now = time.perf_counter()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._memory_bytes = max(self._memory_bytes, sum(map(memory_bytes, family_of(self._child))))
        return os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def figures(self, size_mb: float) -> dict[str, float]:
        """Wait for its end, remove what it made, and answer what that took, of so many megabytes of a corpus."""
        while not self.is_over():
            time.sleep(ASKED_EVERY_S)
        seconds = time.perf_counter() - self._began_at
        _, status, usage = os.wait4(self._child, 0)
        assert status == 0, f"the export ended with {status}"
        shutil.rmtree(self._target)
        return {
            "corpus_mb": size_mb,
            "seconds": seconds,
            "mb_per_s": size_mb / seconds,
            "mb_per_cpu_s": size_mb / (usage.ru_utime + usage.ru_stime),
            "memory_mib": self._memory_bytes / 2**20,
            "load": os.getloadavg()[0],
        }


def family_of(process: int) -> Iterator[int]:
    """A process, and those that it and its own have started and that are still there."""
    yield process
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family_of(int(child))


def memory_bytes(process: int) -> int:
    """What is resident of a process: what it shares with others is counted for each."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def asked(port: int, is_over: Callable[[], bool]) -> list[float]:
    """Ask `/health` again and again until something is over; answer the seconds of each."""
    found = []
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    while not is_over():
        began_at = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        found.append(time.perf_counter() - began_at)
        time.sleep(ASKED_EVERY_S)
    connection.close()
    return found


def beside_server(folder: Path, root: Path, size_mb: float, rounds: int, options: Sequence[str]) -> list[Measurement]:
    """What `/health` takes while nothing else runs, and while an export does, as long each, in turns."""
    alone: list[float] = []
    meanwhile: list[float] = []
    exports = []
    with running_server(root) as server:
        for _ in range(rounds):
            running = Running(root, folder / "beside", options, "parquet")
            meanwhile += asked(server.port, running.is_over)
            exports.append(running.figures(size_mb))
            until = time.perf_counter() + exports[-1]["seconds"]
            alone += asked(server.port, lambda until=until: time.perf_counter() > until)  # type: ignore[misc] # bound now
    figures = {f"alone_{name}": value for name, value in latency_figures(alone).items()}
    figures |= {f"meanwhile_{name}": value for name, value in latency_figures(meanwhile).items()}
    ratio = figures["meanwhile_p99_ms"] / figures["alone_p99_ms"]
    return [
        Measurement("parquet beside a server", medians(exports)),
        Measurement("/health", figures | {"ratio_p99": ratio}),
    ]


def main() -> int:
    """Make a corpus, export it, and say how that went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5_000, help="100000 make 2 GB")
    parser.add_argument("--format", action="append", choices=FORMATS, help="only this one; may be repeated")
    parser.add_argument("--server", action="store_true", help="also ask a server beside exports to Parquet")
    parser.add_argument("--rounds", type=int, default=3, help="exports that a server is asked beside")
    parser.add_argument("--workers", help="of the exports, in place of the setting")
    parser.add_argument("--corpus", type=Path, help="a data directory that holds a corpus, in place of a new one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    export_options = [] if options.workers is None else ["--workers", options.workers]
    measurements = []
    with tempfile.TemporaryDirectory(prefix="central-command-bench-") as name:
        folder = Path(name)
        root = options.corpus or folder / "data"
        if options.corpus is None:
            trio.run(make_corpus, root, options.sessions)
        size_mb = StoredJournal.of(DataLayout(root), JournalName.CORPUS).statistics().stored_bytes / 1e6
        for formats in (
            [(each,) for each in options.format] if options.format else (*((each,) for each in FORMATS), FORMATS)
        ):
            figures = Running(root, folder / "out", export_options, *formats).figures(size_mb)
            measurements.append(Measurement(" + ".join(formats), figures))
        if options.server:
            measurements += beside_server(folder, root, size_mb, options.rounds, export_options)
    publish(Report("exports", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
