"""The session viewer over HTTP: sessions of 100 and of 100,000 steps, and one with a step of 50 MB, side by side.

What is told of each: the first byte and the whole of its first page, of a page in the middle and of the last one; a
search through all of it; all of the large step, as text; and how far the server's memory had grown by then.
"""

import argparse
import http.client
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from bench.exports import template
from bench.processes import Process, running_server
from bench.report import Measurement, Report, percentile, publish
from bench.search import index
from central_command.access.making import Maker, NewToken
from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Mark
from persistence.journals.writing import JournalEnd

ROUNDS: Final = 5
NEEDLE: Final = "needle in the hay"
WORDS: Final = "The parser reads each line, tells what it holds, and hands it on to whoever asked. "


def steps(count: int, large_bytes: int = 0) -> list[dict[str, Any]]:
    """So many steps, of which one in the middle may be large; what is looked for stands in the last."""
    found: list[dict[str, Any]] = []
    for place in range(count):
        kind = ("instruction", "thought", "action", "observation")[place % 4 if place % 40 < 4 else 1 + place % 3]
        step: dict[str, Any] = {"step": place + 1, "type": kind, "timestamp": 1_795_169_530 + place}
        step["content"] = WORDS * (2 + place % 8)
        if kind == "action":
            step |= {"tool": "Bash", "call_id": f"c{place}", "arguments": {"command": f"make test-{place}"}}
        found.append(step)
    if large_bytes:
        found[count // 2] = {
            "step": count // 2 + 1,
            "type": "observation",
            "content": "x" * large_bytes,
            "tool": "Read",
        }
    found[-1]["content"] = NEEDLE
    return found


def fill(root: Path, sessions: dict[str, list[dict[str, Any]]]) -> None:
    """Put sessions into the corpus of a data directory, and index them."""
    members: dict[str, Any] = msgspec.json.decode(b"{%b}" % bytes(template(0).members))
    directory = DataLayout(root).journal(JournalName.CORPUS)
    files = OsFileSystem()
    files.make_directory(directory)
    end = JournalEnd(JournalName.CORPUS, directory, Mark(), files=files, clock=time.time)
    for number, (name, log) in enumerate(sessions.items()):
        ids = {"record_id": f"rec_{number}", "trajectory_id": f"traj_{number}", "session_id": name}
        assert end.write([(msgspec.json.encode({**members, **ids, "trajectory_log": log})[1:-1], b"")]) is not None
    end.close()
    trio.run(index, root)


class Reader:
    """Asks a server as one who may read."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}

    def ask(self, path: str) -> tuple[float, float, int]:
        """The seconds until the first byte and until the last, and how many bytes came."""
        began_at = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        first_s, size = time.perf_counter() - began_at, 0
        while piece := answer.read(65_536):
            size += len(piece)
        assert answer.status == 200, (path, answer.status)
        return first_s, time.perf_counter() - began_at, size


def measured(process: Process, reader: Reader, name: str, count: int, *, large: int | None) -> Measurement:
    """What one session takes."""
    before_bytes = process.memory_bytes()
    pages = {"first": "", "middle": f"?step={count // 2}", "last": f"?step={count}"}
    figures = {}
    for page, query in pages.items():
        asked = [reader.ask(f"/sessions/{name}{query}") for _ in range(ROUNDS)]
        figures[f"{page}_byte_ms"] = percentile([first for first, _, _ in asked], 0.5) * 1_000
        figures[f"{page}_page_ms"] = percentile([whole for _, whole, _ in asked], 0.5) * 1_000
    found = [reader.ask(f"/sessions/{name}/find?q={NEEDLE.replace(' ', '+')}") for _ in range(ROUNDS)]
    figures["find_ms"] = percentile([whole for _, whole, _ in found], 0.5) * 1_000
    if large is not None:
        first_s, whole_s, size = reader.ask(f"/sessions/{name}/steps/{large}.txt")
        figures |= {"text_byte_ms": first_s * 1_000, "text_ms": whole_s * 1_000, "text_mb": size / 1e6}
    figures["grown_mb"] = (process.memory_bytes() - before_bytes) / 1e6
    return Measurement(name, figures)


def main() -> None:
    """Make the sessions, serve them, and say what looking at them takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000, help="of the long session (%(default)s)")
    parser.add_argument("--large-mb", type=int, default=50, help="of the large step (%(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="central-command-viewer-") as folder:
        root = Path(folder) / "data"
        root.mkdir(mode=0o700)
        sessions = {
            "short": steps(100),
            "long": steps(options.steps),
            "large": steps(100, options.large_mb * 1_000_000),
        }
        counts = {name: len(log) for name, log in sessions.items()}
        fill(root, sessions)
        sessions.clear()
        with running_server(root, curation__enabled="false", embedding__enabled="false") as process:
            maker = Maker(root / "access.db", AccessSettings(), clock=time.time, random_bytes=os.urandom)
            made = maker.token([Scope.READ], "viewer", None)
            assert isinstance(made, NewToken)
            reader = Reader(process.port, made.text)
            reader.ask("/sessions")
            reader.ask("/sessions/short")
            results = [
                measured(process, reader, name, count, large=51 if name == "large" else None)
                for name, count in counts.items()
            ]
    publish(Report("viewer", results), options.json)


if __name__ == "__main__":
    main()
