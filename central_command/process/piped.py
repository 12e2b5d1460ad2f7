"""What a process does that is asked by its standard input and answers by its standard output, and whoever asks it.

Messages are behind their lengths. The end of its input is the order to end, and comes also when who asks was killed.
"""

import os
import signal
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
LENGTH_BYTES: Final = 8


def ignore_terminal() -> None:
    """Leave the signals of a terminal to whoever started this process: they are meant for them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def write_all(descriptor: int, content: bytes | bytearray) -> None:
    """Write all of `content`; blocking. Raises OSError, of which BrokenPipeError where nobody reads."""
    with memoryview(content) as whole:
        at = 0
        while at < len(whole):
            at += os.write(descriptor, whole[at:])


def send(descriptor: int, message: bytes) -> None:
    """Write a message; blocking. Raises BrokenPipeError where nobody reads."""
    write_all(descriptor, len(message).to_bytes(LENGTH_BYTES, "big"))
    write_all(descriptor, message)


def receive(descriptor: int) -> bytearray | None:
    """Read a message; blocking. None where there comes none, or not all of one."""
    length = _read(descriptor, LENGTH_BYTES)
    return None if length is None else _read(descriptor, int.from_bytes(length, "big"))


def _read(descriptor: int, size_bytes: int) -> bytearray | None:
    found = bytearray(size_bytes)
    rest = memoryview(found)
    while rest:
        count = os.readv(descriptor, [rest])
        if not count:
            return None
        rest = rest[count:]
    return found
