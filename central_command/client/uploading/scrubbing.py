"""Steps are scrubbed here as they are cut; those of a large file by a process of their own (`scrubbing_process`).

That one scrubs ahead, from the moment in which the file's first steps are kept, while the file is still read and while
what it has made is signed and sent. What it makes lies in a file without a name, so it waits for nobody, and takes no
memory but its own. Where it cannot be started or ends early, scrubbing goes on here: what is sent is the same.
"""

import os
import sys
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Protocol

import msgspec

from central_command.client.contract.scrubbing import StepScrubber
from central_command.client.contract.steps import Step
from central_command.client.uploading.frames import Frames
from central_command.client.uploading.keeping import KeptSteps
from central_command.process.children import PipedProcess

COMMAND: Final = (sys.executable, "-P", "-m", "central_command.client.uploading.scrubbing_process")
BESIDE_BYTES_MIN: Final = 4_194_304
"""With fewer bytes of steps left to scrub, no process is started: that costs about as much as they do."""
PLACE_BYTES: Final = 8
_PIPE_BYTES: Final = 65_536


class Scrubbing(Protocol):
    """Scrubs the steps of one file; never two at once."""

    def scrubbed(self, place: int, step: Step) -> "tuple[Step, Counter[str]]":
        """What is sent of the step at a place of its file (from 0), and how much was scrubbed from it, by category."""


class OwnScrubbing:
    """Scrubs in the thread that asks for it."""

    def __init__(self) -> None:
        self._scrubber = StepScrubber()

    def __repr__(self) -> str:
        return "<OwnScrubbing>"

    def scrubbed(self, place: int, step: Step) -> "tuple[Step, Counter[str]]":  # noqa: ARG002 -- of the protocol
        """See Scrubbing."""
        return self._scrubber.step(step), self._scrubber.take_findings()


class ScrubbingBeside:
    """Scrubs the steps of a file that are kept, by a process where that is worth it; close it when they are sent.

    `permits` bounds how many such processes there are at once. `begins_ahead` is asked when steps enough are kept: the
    process begins with the first of them while the others are still read, or, later, with the first that is wanted.
    """

    def __init__(self, kept: KeptSteps, permits: threading.Semaphore, *, begins_ahead: Callable[[], bool]) -> None:
        self._kept = kept
        self._permits = permits
        self._begins_ahead = begins_ahead
        self._beside: _Beside | None = None
        self._is_over = False
        self._own = OwnScrubbing()
        self._lock = threading.Lock()
        kept.on_kept = self._go_on

    def __repr__(self) -> str:
        return f"<ScrubbingBeside {self._beside}>"

    def scrubbed(self, place: int, step: Step) -> "tuple[Step, Counter[str]]":
        """See Scrubbing."""
        with self._lock:
            if self._is_worth_it(place):
                self._begin(place)
            made = self._made(place)
        if made is None:
            return self._own.scrubbed(place, step)
        return made.of(step), Counter(made.findings)

    def close(self) -> None:
        """End the process. A thread that waits for it at this moment goes on."""
        if (beside := self._beside) is not None:
            beside.process.kill()
        with self._lock:
            self._end()

    def _go_on(self) -> None:
        with self._lock:
            if self._beside is not None:
                self._beside.tell(self._kept.bytes_on_disk)
            elif self._is_worth_it(0) and self._begins_ahead():
                self._begin(0)

    def _is_worth_it(self, place: int) -> bool:
        """Whether a process is yet to be started, and enough is left to scrub from a step on."""
        if self._beside is not None or self._is_over or not self._kept.is_whole:
            return False
        return self._kept.bytes_on_disk - self._kept.start_of(place) >= BESIDE_BYTES_MIN

    def _begin(self, place: int) -> None:
        """Start the process, where there is a permit."""
        if not self._permits.acquire(blocking=False):
            return
        try:
            self._beside = _Beside(self._kept.descriptor, self._kept.start_of(place), place, self._kept.folder)
        except OSError:
            self._is_over = True
            self._permits.release()
            return
        self._beside.tell(self._kept.bytes_on_disk)

    def _made(self, place: int) -> "Made | None":
        if not self._kept.is_whole:  # the process was not told of all of them
            self._end()
        if self._beside is None or place < self._beside.first:
            return None
        try:
            return self._beside.made(place)
        except (EOFError, OSError):  # it is gone: by a signal, or since a disk took no more
            self._end()
            return None

    def _end(self) -> None:
        self._is_over = True
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.end()
            self._permits.release()


class Made(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What the process has made of a step; `step` is None where nothing is changed."""

    step: Step | None = None
    findings: dict[str, int] = {}

    def of(self, step: Step) -> Step:
        """What is sent of a step, with what was found out of it meanwhile."""
        if self.step is None:
            return step
        return msgspec.structs.replace(
            self.step, timestamp=step.timestamp, timestamp_adjusted=step.timestamp_adjusted, usage=step.usage
        )


def made_of(step: Step, scrubbing: Scrubbing) -> Made:
    """What the process says of a step."""
    sent, findings = scrubbing.scrubbed(0, step)
    return Made(None if sent is step else sent, dict(findings))


class _Beside:
    """The process, which scrubs from the step at the place `first` on. Raises OSError where it cannot be started."""

    def __init__(self, kept: int, start: int, first: int, folder: Path) -> None:
        self.first = first
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- until `end`
        made = self._file.fileno()
        try:
            self.process = PipedProcess(
                (*COMMAND, str(kept), str(made), str(start)), pipe_bytes=_PIPE_BYTES, descriptors=(kept, made)
            )
        except OSError:
            self._file.close()
            raise
        self._frames = Frames(lambda at, size: os.pread(made, size, at), Made)
        self._starts = array("Q", [0])
        """Where the frame of each step from the first on begins, of those that were looked at, and of the next."""
        self._written = 0

    def __repr__(self) -> str:
        return f"<scrubs from {self.first}, {self._written} bytes written>"

    def tell(self, end: int) -> None:
        """Say how far the steps go; its pipe has room for all that is ever said."""
        with suppress(BrokenPipeError):  # noticed when it is asked
            os.write(self.process.asked_by, end.to_bytes(PLACE_BYTES, "big"))

    def made(self, place: int) -> Made:
        """Wait for what it makes of a step. Raises EOFError where it has ended, OSError where it cannot be read."""
        index = place - self.first
        self._frames.at = self._starts[min(index, len(self._starts) - 1)]
        while len(self._starts) <= index:
            self._next()
        return self._next()

    def _next(self) -> Made:
        while self._frames.at >= self._written:
            message = os.read(self.process.answers_by, PLACE_BYTES)
            if len(message) < PLACE_BYTES:
                raise EOFError
            self._written = int.from_bytes(message, "big")
        is_new = self._frames.at == self._starts[-1]
        made = self._frames.next()
        if is_new:
            self._starts.append(self._frames.at)
        return made

    def end(self) -> None:
        self.process.end()
        self._file.close()
