"""A process that scrubs steps: `python -m central_command.client.uploading.scrubbing_process`, started by an upload.

Scrubbing holds the interpreter's lock for as long as it takes, so it has an interpreter of its own. Steps lie in one
file, and what is made of them goes into another; neither has a name, the descriptors of both and the byte at which to
begin are its arguments. By standard input it is told how far the steps go, and by standard output it says how far what
it has made does, eight bytes each. It ends when its input does, also because the upload was killed.
"""

import os
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue

from central_command.client.contract.steps import Step
from central_command.client.uploading.frames import BLOCK_BYTES, Frames, frame_of
from central_command.client.uploading.scrubbing import PLACE_BYTES, OwnScrubbing, made_of
from central_command.process.piped import STDIN, STDOUT, ignore_terminal, write_all


def main() -> None:
    """Scrub until standard input ends, or a file can no longer be read or written."""
    ignore_terminal()
    steps, made, at = map(int, sys.argv[1:])
    ends = SimpleQueue[int]()
    threading.Thread(target=_listen, args=(ends,), name="upload", daemon=True).start()
    frames = Frames(lambda at, size: os.pread(steps, size, at), Step, at=at)
    with suppress(OSError, EOFError):  # the upload scrubs by itself then
        _scrub(frames, ends, made)


def _listen(ends: "SimpleQueue[int]") -> None:
    """Take in how far the steps go; end this process when the upload has ended, whatever it is at."""
    while len(message := os.read(STDIN, PLACE_BYTES)) == PLACE_BYTES:
        ends.put(int.from_bytes(message, "big"))
    os._exit(0)


def _scrub(frames: Frames[Step], ends: "SimpleQueue[int]", made: int) -> None:
    scrubbing = OwnScrubbing()
    content = bytearray()
    written = 0
    while True:
        end = ends.get()
        while frames.at < end:
            content += frame_of(made_of(frames.next(), scrubbing))
            if len(content) >= BLOCK_BYTES or frames.at >= end:
                write_all(made, content)
                written += len(content)
                content.clear()
                os.write(STDOUT, written.to_bytes(PLACE_BYTES, "big"))


if __name__ == "__main__":
    main()
