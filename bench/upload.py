"""`upload` of large files over a connection with a delay: envelopes a second, memory, and whether its bar moves.

With `--before DIR`, the command of another checkout (with its own `.venv`) takes turns with this one's on one server;
ratios are taken within a round. `python -m bench.upload --help` says what can be chosen.
"""

import argparse
import os
import pty
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from bench.processes import running_server
from bench.report import Measurement, Report, medians, publish
from central_command.client.uploading.sources import SUFFIXES

SUFFIX: Final = SUFFIXES[0]
SOURCE: Final = Path(__file__).parents[1] / "tests" / "transcripts" / f"long{SUFFIX}"
IDLE: Final = SOURCE.with_name(f"short{SUFFIX}")
"""A session so small that uploading it takes no more memory than the program itself."""
ID: Final = re.compile(rb'"(?:uuid|parentUuid|id|tool_use_id|parentToolUseID|toolUseID)":"([^"]{8,})"')
SMALL_STEPS: Final = 39_000
"""Steps of a session that is all envelopes: 195 of them, of some 30 KB."""
COUNT: Final = re.compile(rb"([\d.,]+)/([\d.,]+)\s*(MB|steps)")
COLOURS: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
SAMPLE_S: Final = 0.05
"""Between two looks at memory, of which the kernel holds the peaks; more of them would be work beside the upload."""


class Run(msgspec.Struct, frozen=True):
    """What one upload took, with the processes that it started; `still_s` is for how long its bar showed the same."""

    seconds: float
    cpu_s: float
    envelopes: int
    peak_bytes: int
    first_bar_s: float
    still_s: float


def write_large(path: Path, size: int) -> None:
    """A session of `size` bytes: the events of a real one again and again, each time with other ids."""
    text = SOURCE.read_bytes()
    ids = sorted(set(ID.findall(text)))
    pattern = re.compile(rb'"(' + b"|".join(map(re.escape, ids)) + rb')"')
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            tail = b"%06x" % number
            file.write(pattern.sub(lambda found, tail=tail: b'"' + found[1][:-6] + tail + b'"', text))  # type: ignore[misc]
            number += 1


def write_small(path: Path, steps: int) -> None:
    """A session of `steps` short thoughts."""
    with path.open("wb") as file:
        for number in range(steps):
            block = {"type": "text", "text": f"{number}: {'a short thought, ' * 4}"}
            message = {"id": f"m{number}", "role": "assistant", "model": "claude-opus-4-6", "content": [block]}
            event = {
                "type": "assistant",
                "uuid": f"u{number}",
                "sessionId": f"small-{steps}",
                "timestamp": f"2026-02-11T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z",
                "message": message,
            }
            file.write(msgspec.json.encode(event) + b"\n")


@contextmanager
def delayed(port: int, round_trip_ms: float) -> Iterator[int]:
    """The port of a connection to `port` that takes time."""
    command = [sys.executable, "-m", "bench.delay", str(port), str(round_trip_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def upload(tree: Path, file: Path, port: int, home: Path) -> Run:
    """Upload `file` with the command of a checkout, on a terminal, with a spool of its own."""
    home.mkdir()
    own = {"XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home), "TERM": "xterm", "COLUMNS": "120"}
    arguments = ["-m", "central_command", "upload", str(file), "--url", f"http://127.0.0.1:{port}"]
    terminal, its_end = pty.openpty()
    began, cpu_before = time.perf_counter(), _children_cpu_s()
    process = subprocess.Popen(
        [str(tree / ".venv" / "bin" / "python"), *arguments],
        cwd=tree,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=its_end,
        text=True,
    )
    os.close(its_end)
    changes: list[float] = []
    watcher = threading.Thread(target=_note_changes, args=(terminal, lambda: changes.append(time.perf_counter())))
    watcher.start()
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *_children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0), _peak_bytes(pid))
        time.sleep(SAMPLE_S)
    peak = sum(peaks.values())
    ended = time.perf_counter()
    watcher.join()
    os.close(terminal)
    said = process.communicate()[0]
    found = re.search(r"accepted: (\d+) of (\d+) envelopes", said)
    if process.returncode or found is None or found[1] != found[2]:
        raise RuntimeError(f"the upload failed: {said}")
    shown = [*changes, ended]
    gaps = [later - earlier for earlier, later in pairwise(shown)]
    return Run(
        ended - began, _children_cpu_s() - cpu_before, int(found[1]), peak, shown[0] - began, max(gaps, default=0.0)
    )


def _note_changes(terminal: int, note: Callable[[], None]) -> None:
    """Note each time at which the bar shows another count, until the terminal is closed."""
    last: tuple[bytes, ...] | None = None
    while True:
        try:
            text = os.read(terminal, 65_536)
        except OSError:
            return
        for found in COUNT.findall(COLOURS.sub(b"", text)):
            if found != last:
                last = found
                note()


def _children_cpu_s() -> float:
    """Processor seconds of the children that have ended: of the uploads, as the others still run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _children(pid: int) -> list[int]:
    """The processes that one has started, by whichever of its threads."""
    try:
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(each) for text in texts for each in text.split()]


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1_024 if found else 0


def measure(port: int, trees: dict[str, Path], files: dict[str, Path], rounds: int) -> list[Measurement]:
    """Let all trees upload all files in turns."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-homes-") as homes:
        homes_left = (Path(homes) / str(number) for number in range(10_000))
        idle = {name: upload(tree, IDLE, port, next(homes_left)).peak_bytes for name, tree in trees.items()}
        for number in range(rounds):
            for kind, file in files.items():
                rates: dict[str, float] = {}
                for name in trees if number % 2 else reversed(trees):
                    run = upload(trees[name], file, port, next(homes_left))
                    rates[name] = run.envelopes / run.seconds
                    found.setdefault((kind, name), []).append(
                        {
                            "envelopes_per_s": rates[name],
                            "seconds_s": run.seconds,
                            "cpu_s": run.cpu_s,
                            "idle_mb": idle[name] / 1e6,
                            "over_idle_mb": (run.peak_bytes - idle[name]) / 1e6,
                            "first_bar_s": run.first_bar_s,
                            "bar_still_s": run.still_s,
                        }
                    )
                for name in trees:
                    found[kind, name][-1]["to_before"] = rates[name] / rates[next(reversed(trees))]
    measurements = []
    for (kind, name), each in found.items():
        shares = [one["to_before"] for one in each]
        own = medians(each) | {"to_before_min": min(shares), "to_before_max": max(shares)}
        measurements.append(Measurement(f"{kind}: {name}", own))
    return measurements


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout with a .venv to compare with")
    parser.add_argument("--round-trip-ms", type=float, default=20.0)
    parser.add_argument("--mb", type=int, default=200, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    trees = {"now": Path(__file__).parents[1]}
    if options.before:
        trees["before"] = options.before.resolve()
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        large, small = Path(root) / f"large{SUFFIX}", Path(root) / f"small{SUFFIX}"
        write_large(large, options.mb * 1_000_000)
        write_small(small, SMALL_STEPS)
        files = {f"{options.mb} MB": large, "short steps": small}
        opens = {"sessions__opens_per_machine_per_h": "1000"}
        with (
            running_server(Path(root) / "data", **opens) as server,
            delayed(server.port, options.round_trip_ms) as port,
        ):
            measurements = measure(port, trees, files, options.rounds)
    publish(Report("upload", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
