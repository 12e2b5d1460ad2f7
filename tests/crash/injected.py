"""System calls that fail: strace, attached to a running server or started with a command, injects the errors.

Only calls on the given paths fail, so it does not matter which thread makes them, nor what else the server does.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

from tests.server_process import environment

ATTACH_S_MAX = 60.0

WRITES = "pwrite64,?pwritev,?pwritev2"
"""SQLite calls the first, Python's `os.pwritev` one of the others; which one depends on the C library."""

SYNCS = "fdatasync,fsync"


class Fault(msgspec.Struct, frozen=True):
    """Calls (as strace lists them) on one of `paths` that fail with `error`, all of them."""

    paths: tuple[Path, ...]
    calls: str
    error: str

    def options(self, log: Path) -> list[str]:
        """What strace is told; it writes the calls on the paths, failed or not, to `log`."""
        inject = f"inject={self.calls}:error={self.error}"
        everything = f"trace={WRITES},{SYNCS},openat,ftruncate"
        on_paths = [option for path in self.paths for option in ("-P", str(path))]
        return ["strace", "-f", "-o", str(log), *on_paths, "-e", everything, "-e", inject]


@cache
def why_not() -> str:
    """Why faults cannot be injected here; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with tempfile.TemporaryDirectory() as folder:
        target = subprocess.Popen(["sleep", "600"])
        try:
            with injected(target.pid, Fault((Path(folder),), SYNCS, "EIO"), Path(folder) / "log"):
                return ""
        except AttachFailedError as error:
            return f"strace may not attach to a process here: {error}"
        finally:
            target.kill()
            target.wait()


class AttachFailedError(Exception):
    """strace ended instead of attaching; the text is what it said."""


@contextmanager
def injected(pid: int, fault: Fault, log: Path) -> Iterator[None]:
    """Let the process's calls fail from now until the context ends, whether it lives so long or not."""
    tracer = subprocess.Popen([*fault.options(log), "-p", str(pid)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        _wait_until_attached(tracer)
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)  # it lets go of the process, which goes on
        tracer.communicate(timeout=ATTACH_S_MAX)


def _wait_until_attached(tracer: "subprocess.Popen[bytes]") -> None:
    assert tracer.stderr is not None
    said = b""
    deadline = time.monotonic() + ATTACH_S_MAX
    while b" attached" not in said:
        assert time.monotonic() < deadline, f"strace did not attach: {said!r}"
        if select.select([tracer.stderr], [], [], 1.0)[0]:
            part = os.read(tracer.stderr.fileno(), 4_096)
            said += part
            if not part:
                raise AttachFailedError(said.decode(errors="replace").strip())


def run_with_fault(
    arguments: Sequence[str], fault: Fault, log: Path, *, cwd: Path, settings: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `central-command` to its end with the fault from its beginning on; its own status and words."""
    return subprocess.run(
        [*fault.options(log), "-qq", sys.executable, "-m", "central_command", *arguments],
        cwd=cwd,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def calls(log: Path, name: str) -> list[str]:
    """The calls with this name that strace saw, each as it wrote it down."""
    return [line for line in log.read_text().splitlines() if f" {name}(" in line]
