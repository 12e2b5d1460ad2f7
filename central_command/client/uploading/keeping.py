"""Steps of a file that was read, kept until they are sent, so that the file is read once.

They lie in a file without a name, which only this process and those that it hands its descriptor to can read, and which
is gone when these are, however they end. A few are in memory alone.
"""

import os
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from central_command.client.contract.steps import Step
from central_command.client.uploading.frames import BLOCK_BYTES, Frames, frame_of
from central_command.process.piped import write_all

KEPT_BYTES_MAX: Final = 536_870_912
"""What is kept of one file, at most: of one that holds more nothing is, and it is read again. Guards the disk."""


class KeptSteps:
    """The steps of one file, added in order and then read as often as is wanted; eight bytes each are in memory.

    They lie in `folder` once they are more than a block. A thread that reads a file is left to itself when an
    upload is interrupted, and may still be here when all is forgotten: it adds nothing more, to no file.
    """

    def __init__(self, folder: Path, *, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self.folder = folder
        """Where they lie, and what is made of them may."""
        self._bytes_max = bytes_max
        self.on_kept: Callable[[], None] = lambda: None
        """Hears each time that more of them lie on disk."""
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._waiting = bytearray()
        self._ends = array("Q")
        """The byte behind each step's frame."""
        self.bytes_on_disk = 0
        self.is_whole = True
        """Whether all that were added are kept: not where they were too many, or the disk took no more."""

    def __repr__(self) -> str:
        return f"<KeptSteps {len(self._ends)}, {self.bytes_on_disk} bytes on disk>"

    def close(self) -> None:
        """Forget all of them. May be called again."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self.is_whole = False
        self._waiting.clear()
        if self._file is not None:
            self._file.close()

    def add(self, step: Step) -> None:
        """Keep one more; where that cannot be, all are forgotten."""
        with self._lock:
            if not self.is_whole:
                return
            self._waiting += frame_of(step)
            self._ends.append(self.bytes_on_disk + len(self._waiting))
            if len(self._waiting) >= BLOCK_BYTES:
                self._write()

    def finish(self) -> None:
        """All are added."""
        with self._lock:
            if self._file is not None and self._waiting:
                self._write()

    def _write(self) -> None:
        if self._ends[-1] > self._bytes_max:
            self._forget()
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
            write_all(self._file.fileno(), self._waiting)
        except OSError:
            self._forget()
            return
        self.bytes_on_disk = self._ends[-1]
        self._waiting.clear()
        self.on_kept()

    @property
    def descriptor(self) -> int:
        """Of the file that they lie in, once some do."""
        assert self._file is not None
        return self._file.fileno()

    def start_of(self, place: int) -> int:
        """The byte at which the frame of a step begins."""
        return self._ends[place - 1] if place else 0

    def steps(self) -> Iterator[Step]:
        """Read all of them, once all are added. Raises OSError."""
        frames = Frames(self._read, Step)
        for _ in self._ends:
            yield frames.next()

    def _read(self, at: int, size: int) -> bytes:
        with self._lock:
            if self._file is None:
                return bytes(self._waiting[at : at + size])
            return os.pread(self._file.fileno(), size, at)
