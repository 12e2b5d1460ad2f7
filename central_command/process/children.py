"""Processes that a server or a command starts: each ends when its standard input does, also because that was killed."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path

import trio

READ_BYTES = 1_048_576


async def start(command: Sequence[str]) -> trio.Process:
    """Start a process that is told by its standard input, and answers by its standard output. Raises OSError."""
    return await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def start_apart(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> trio.Process:
    """Start one that is a command in a folder, of which only what it says on stderr is heard. Raises OSError.

    Signals of the server's terminal are not for it.
    """
    return await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environ,
        start_new_session=True,
    )


async def stop(process: trio.Process, *, grace_s: float) -> None:
    """Tell a process to stop, and end it when it takes longer than so many seconds; not to be cancelled."""
    assert process.stdin is not None
    with trio.CancelScope(shield=True) as scope:
        scope.deadline = trio.current_time() + grace_s
        await process.stdin.aclose()
        await process.wait()
    if process.returncode is None:
        process.kill()
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = inf
            await process.wait()


class PipedProcess:
    """A process that is asked by its standard input and answers by its standard output, for who has no event loop.

    Signals of the terminal are not for it. Raises OSError where it cannot be started.
    """

    def __init__(self, command: Sequence[str], *, pipe_bytes: int, descriptors: Sequence[int] = ()) -> None:
        """`pipe_bytes` is what may be answered before it is read, where the system allows so much.

        It is given `descriptors` under the same numbers.
        """
        self._process = subprocess.Popen(  # noqa: S603 (this interpreter, with a module of this project)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=descriptors,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipes = (self._process.stdin, self._process.stdout)
        self.asked_by, self.answers_by = (pipe.fileno() for pipe in self._pipes)
        with suppress(OSError):
            fcntl.fcntl(self.answers_by, fcntl.F_SETPIPE_SZ, pipe_bytes)

    def __repr__(self) -> str:
        return f"<PipedProcess {self._process.pid}>"

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill it; whoever waits for its answer gets the end of them."""
        self._process.kill()

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        for pipe in self._pipes:
            pipe.close()
        self._process.wait()


def end_with_parent(stop: Callable[[], object] = lambda: None, grace_s: float = 0.0) -> None:
    """From now on, end this process when standard input ends, so many seconds after `stop` was called."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), READ_BYTES):
            pass
        with suppress(trio.RunFinishedError):  # it has ended by itself
            stop()
        time.sleep(grace_s)
        os._exit(0)

    threading.Thread(target=watch, name="server's end", daemon=True).start()
