"""The server, with a watch on what holds its event loop up: `python -m bench.watched_server FINDINGS serve …`.

Two things are noted in FINDINGS, a JSON line each: every collection of garbage that looks at all objects, or takes a
millisecond; and every turn of the event loop that takes 15, with the stack that a thread saw in the middle of it. Both
carry wall clock and processor time, of which the second does not depend on what else the machine does. Seconds are
those of `time.perf_counter`, on Linux one clock for all processes, so that findings can be matched with a load.
"""

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import IO, Final

import msgspec
import trio

from central_command.commands.cli import main

LONG_S: Final = 0.015
"""A turn from this length on is noted."""
LOOK_S: Final = 0.005
"""Seconds between two looks of the thread."""
COLLECTION_S: Final = 0.001
"""A collection that is not a full one is noted from this length on."""
FULL: Final = 2
"""The number of the oldest generation."""
FRAMES_MAX: Final = 8


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that held the event loop up, in seconds; `what` is `turn`, `collection` or `full collection`."""

    what: str
    began_at: float
    seconds: float
    cpu_s: float
    objects: int = 0
    """Objects that a collection found to be garbage."""
    stack: list[str] = []


class Watch(trio.abc.Instrument):
    """Notes what takes long; given to `trio.run`."""

    def __init__(self, findings: IO[bytes]) -> None:
        self._findings = findings
        self._loop_thread = threading.get_ident()
        self._turn_at = self._turn_cpu_s = 0.0
        self._stack: list[str] = []
        self._collection_at = self._collection_cpu_s = 0.0
        gc.callbacks.append(self._collecting)
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        del timeout
        self._stack = []
        self._turn_cpu_s = time.thread_time()
        self._turn_at = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """A turn ends."""
        del timeout
        began_at, self._turn_at = self._turn_at, 0.0
        if not began_at or (seconds := time.perf_counter() - began_at) < LONG_S:
            return
        cpu_s = time.thread_time() - self._turn_cpu_s
        self._note(Finding(what="turn", began_at=began_at, seconds=seconds, cpu_s=cpu_s, stack=self._stack))

    def _collecting(self, phase: str, told: dict[str, int]) -> None:
        """Called by the collector, in whichever thread it runs."""
        if phase == "start":
            self._collection_cpu_s = time.thread_time()
            self._collection_at = time.perf_counter()
            return
        began_at = self._collection_at
        seconds, cpu_s = time.perf_counter() - began_at, time.thread_time() - self._collection_cpu_s
        if told["generation"] == FULL or seconds >= COLLECTION_S:
            what = "full collection" if told["generation"] == FULL else "collection"
            self._note(Finding(what=what, began_at=began_at, seconds=seconds, cpu_s=cpu_s, objects=told["collected"]))

    def _note(self, finding: Finding) -> None:
        self._findings.write(msgspec.json.encode(finding) + b"\n")

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            began_at = self._turn_at
            if began_at and not self._stack and time.perf_counter() - began_at > LONG_S:
                # The one way to see another thread's stack.
                frames = traceback.extract_stack(sys._current_frames()[self._loop_thread])  # noqa: SLF001
                self._stack = [f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames[-FRAMES_MAX:]]


def read_findings(path: Path, between: tuple[float, float]) -> list[Finding]:
    """What was noted in FINDINGS between two times."""
    decode: Callable[[bytes], Finding] = msgspec.json.Decoder(Finding).decode
    found: Iterator[Finding] = map(decode, path.read_bytes().splitlines())
    began_at, ended_at = between
    return [each for each in takewhile(lambda one: one.began_at < ended_at, found) if each.began_at >= began_at]


def serve_watched(findings: Path, arguments: list[str]) -> None:
    """Run `central-command` with these arguments under a watch."""
    with findings.open("wb", buffering=0) as file:
        run = partial(trio.run, instruments=[Watch(file)])
        trio.run = run  # type: ignore[assignment] # the command calls it by this name
        main(arguments)


if __name__ == "__main__":
    serve_watched(Path(sys.argv[1]), sys.argv[2:])
