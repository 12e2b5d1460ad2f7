"""What is measured, as processes of their own: the server, and the yardstick beside it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.http1 import Connection

START_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.005
REPOSITORY: Final = Path(__file__).resolve().parents[1]
CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
SCHEDULED: Final = 2
"""CPUCLOCK_SCHED of Linux: a process's clock that counts what its threads were scheduled for."""

YARDSTICK_PACKAGE: Final = "express@4"
YARDSTICK: Final = """\
// Parses a JSON body and answers, and does nothing else.
const express = require('express');
const app = express();
app.use(express.json({ limit: '5mb' }));
app.get('/ready', (request, response) => response.json({ ready: true }));
app.post('/v1/training/ingest', (request, response) =>
  response.json({ accepted: true, steps: request.body.trajectory_log.length }));
app.listen(+process.argv[2], '127.0.0.1');
"""


class Process:
    """A running HTTP server of this machine."""

    def __init__(self, command: list[str], port: int, *, environ: Mapping[str, str], folder: Path, log: Path) -> None:
        self.port = port
        self._log = log
        self._began_at = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=dict(environ), cwd=folder, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_ready(self) -> float:
        """Wait until `GET /ready` answers 200; return the seconds since the process was started."""
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self._process.returncode}: {self._last_words()}")
            try:
                with Connection(self.port) as connection:
                    if connection.ask("GET", "/ready").status == 200:
                        return time.perf_counter() - self._began_at
            except OSError:
                pass
            if time.perf_counter() - self._began_at > START_TIMEOUT_S:
                raise RuntimeError(f"not ready within {START_TIMEOUT_S:g} s: {self._last_words()}")
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-1_000:]

    def cpu_s(self) -> float:
        """Processor seconds that it took so far, its threads included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def fine_cpu_s(self) -> float:
        """Likewise, to the nanosecond: by the process's clock (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | SCHEDULED)

    def memory_bytes(self, name: str = "VmRSS") -> int:
        """Its resident memory (`VmRSS`), or the part that is no file's (`RssAnon`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1_024
        raise RuntimeError(f"the process has no {name}")

    def stop(self) -> None:
        """Ask it to stop, and wait for it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the server did not stop within {STOP_TIMEOUT_S:g} s") from None


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_server(
    data_directory: Path, findings: Path | None = None, tree: Path = REPOSITORY, /, **settings: object
) -> Process:
    """Start the server on a data directory, without limits by address, on its default settings but for `settings`.

    Settings are named `section__key`. With `findings`, `bench.watched_server` writes that file. The server is that of
    the checkout `tree`; another one than this has a .venv of its own. The caller waits for it to be ready.
    """
    data_directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    chosen = {"http__limits_enabled": "false"} | {key: str(value) for key, value in settings.items()}
    environ = (
        os.environ
        | {"PYTHONPATH": str(tree)}
        | {f"CENTRAL_COMMAND__{key.upper()}": value for key, value in chosen.items()}
    )
    arguments = ["--data-dir", str(data_directory), "--host", "127.0.0.1", "--port", str(port)]
    program = ["central_command"] if findings is None else ["bench.watched_server", str(findings)]
    python = sys.executable if tree == REPOSITORY else str(tree / ".venv" / "bin" / "python")
    command = [python, "-m", *program, "serve", *arguments]
    log = data_directory.with_name(f"{data_directory.name}.log")
    # Its folder is one without a config.toml, so that the defaults are what is measured.
    return Process(command, port, environ=environ, folder=data_directory.parent, log=log)


@contextmanager
def running_server(
    data_directory: Path, findings: Path | None = None, tree: Path = REPOSITORY, /, **settings: object
) -> Iterator[Process]:
    """A server that is ready; it is stopped at the end."""
    process = start_server(data_directory, findings, tree, **settings)
    try:
        process.wait_ready()
        yield process
        process.stop()
    finally:
        process.kill()


@contextmanager
def running_bare(folder: Path) -> Iterator[Process]:
    """`bench.bare_asgi`, ready; it is ended at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "bench.bare_asgi", str(port)]
    process = Process(command, port, environ=os.environ, folder=Path.cwd(), log=folder / "bare.log")
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


def start_yardstick(folder: Path) -> Process | None:
    """Start Express in `folder`, installing it when it is not there; None when Node.js or npm is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "express").is_dir():
        command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), YARDSTICK_PACKAGE]
        installed = subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False)
        if installed.returncode:
            print(f"no yardstick: npm could not install {YARDSTICK_PACKAGE}", file=sys.stderr)
            return None
    script = folder / "yardstick.cjs"
    script.write_text(YARDSTICK)
    port = free_port()
    environ = os.environ | {"NODE_ENV": "production"}
    return Process([node, str(script), str(port)], port, environ=environ, folder=folder, log=folder / "yardstick.log")


@contextmanager
def running_yardstick(folder: Path) -> Iterator[Process | None]:
    """The yardstick, ready, or None; it is ended at the end."""
    process = start_yardstick(folder)
    if process is None:
        yield None
        return
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()
