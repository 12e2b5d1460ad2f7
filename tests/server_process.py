"""The server as its users run it: `central-command serve` in a process of its own, over a real socket."""

import atexit
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

REPOSITORY = Path(__file__).resolve().parent.parent

HANGS_AFTER_S = 120.0
"""Whatever is waited for comes long before that, also on a machine that does a dozen other things: by then it hangs."""

SETTINGS = {
    "CENTRAL_COMMAND__HTTP__LIMITS_ENABLED": "false",
    "CENTRAL_COMMAND__LOG__ACCESS": "false",
    "CENTRAL_COMMAND__STORAGE__FREE_BYTES_MIN": "0",
    "CENTRAL_COMMAND__EMBEDDING__ENABLED": "false",
    "CENTRAL_COMMAND__CURATION__ENABLED": "false",
}
"""What tests change: one address sends everything, the disk may be as full as it is, no model is loaded, and no process
makes the corpus."""

OPEN, INGEST, CLOSE = "/v1/sessions/open", "/v1/training/ingest", "/v1/sessions/close"


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Answer(NamedTuple):
    """A status and the JSON that came with it."""

    status: int
    members: dict[str, Any]


class ServerFailedError(Exception):
    """The server ended instead of serving; `status` is its exit status, `stderr` what it said."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"the server ended with status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: this one's, without settings of its own, with these."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("CENTRAL_COMMAND", "GROOVE_"))
    }
    inherited.pop("COLUMNS", None)  # of whoever runs the tests, or of pytest-xdist
    if inherited.pop("PYTHONDONTWRITEBYTECODE", None):
        inherited["PYTHONPYCACHEPREFIX"] = _bytecode()
    return {**inherited, "PYTHONPATH": str(REPOSITORY), **settings}


@cache
def _bytecode() -> str:
    """A folder for compiled modules where none may be written beside them: else each start compiles all of them."""
    folder = tempfile.mkdtemp(prefix="central-command-bytecode-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_command(
    *arguments: str,
    cwd: Path,
    settings: Mapping[str, str] | None = None,
    timeout_s: float = HANGS_AFTER_S,
    memory_bytes_max: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `central-command` with these arguments to its end, with at most so much memory (of addresses)."""
    limit = [] if memory_bytes_max is None else ["prlimit", f"--as={memory_bytes_max}"]
    return subprocess.run(
        [*limit, sys.executable, "-m", "central_command", *arguments],
        cwd=cwd,
        env=environment(settings or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class ServerProcess:
    """A server on one data directory that can be killed and started again; each life has a port of its own."""

    def __init__(
        self, data_directory: Path, *, settings: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> None:
        self.data_directory = data_directory
        self.settings = {**SETTINGS, **(settings or {})}
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._stderr = b""
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"data directory: {self.data_directory}\nthe server said: {self.said}")
        if self._process is not None:
            self.kill()

    @property
    def said(self) -> str:
        """What this life has written to stderr so far."""
        return self._stderr.decode(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The running process."""
        assert self._process is not None, "the server is not running"
        return self._process

    @property
    def rss_anon_mib(self) -> float:
        """Its memory that is no file's, in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1_024
        raise AssertionError("the process has no RssAnon")

    def start(self) -> None:
        """Start it, and return when it serves; raises ServerFailedError when it ends instead."""
        assert self._process is None, "the server is running"
        self._stderr = b""
        command = [sys.executable, "-m", "central_command", "serve", "--data-dir", str(self.data_directory)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", *self._options],
            cwd=self.data_directory.parent,  # where no config.toml is
            env=environment(self.settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.port = self._wait_until_serving()
        self._reader = threading.Thread(target=self._read_to_the_end, daemon=True)
        self._reader.start()

    def _wait_until_serving(self) -> int:
        deadline = time.monotonic() + HANGS_AFTER_S
        while (remaining_s := deadline - time.monotonic()) > 0:
            if not select.select([self._pipe()], [], [], remaining_s)[0]:
                break
            if not (part := os.read(self._pipe(), 65_536)):
                status = self.wait(HANGS_AFTER_S)
                raise ServerFailedError(status, self.said)
            self._stderr += part
            for line in self._stderr.split(b"\n")[:-1]:
                if b": serving http" in line:
                    address = line.split(b": serving ")[1].split(b",")[0]
                    return int(address.rsplit(b":", 1)[1])
        self.kill()
        raise TimeoutError(f"the server did not serve within {HANGS_AFTER_S} s: {self.said}")

    def _pipe(self) -> int:
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def _read_to_the_end(self) -> None:
        while part := os.read(self._pipe(), 65_536):
            self._stderr += part

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.wait()

    def terminate(self, timeout_s: float = HANGS_AFTER_S) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = HANGS_AFTER_S) -> int:
        """Return the exit status once the process has ended."""
        process = self.process
        status = process.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(timeout_s)
            self._reader = None
        assert process.stderr is not None
        process.stderr.close()
        self._process = None
        return status

    def connect(self, timeout_s: float = HANGS_AFTER_S) -> http.client.HTTPConnection:
        """A connection to this life; it connects with the first request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def get(self, path: str) -> Answer:
        """`GET` over a connection of its own."""
        return self._request("GET", path, None)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """`POST` over a connection of its own."""
        return self._request("POST", path, body, headers)

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = self.connect()
        try:
            return request(connection, method, path, body, headers)
        finally:
            connection.close()


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request and read its answer; the connection stays open."""
    connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    text = response.read()
    return Answer(response.status, json.loads(text) if text else {})
