"""A process that writes bodies anew: `python -m central_command.rewriting.worker`, started by the server alone.

It reads a body behind its length, and answers with what became of it: a byte, and of a text its length and itself. It
ends when its input does, and when nothing was asked for a while: what a body of a million small values took is given
back then. It knows no key, and keeps nothing.
"""

import os
import select
import signal
from collections.abc import Iterable
from typing import Final

from actors.envelopes.attestation import canonical_text

STDIN: Final = 0
STDOUT: Final = 1
LENGTH_BYTES: Final = 8
TEXT: Final = b"t"
REPEATED_NAME: Final = b"r"
NOT_READ: Final = b"n"
IDLE_S: Final = 60.0


def main() -> None:
    """Write bodies anew until nothing more is asked."""
    for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal, meant for the server
        signal.signal(number, signal.SIG_IGN)
    answer_all()


def answer_all() -> None:
    """Answer one after the other."""
    while select.select([STDIN], [], [], IDLE_S)[0] and (length := _read(LENGTH_BYTES)) is not None:
        body = _read(int.from_bytes(length, "big"))
        if body is None:
            return
        _write(answer_to(body))


def answer_to(body: bytes) -> tuple[bytes, ...]:
    """What is said of a body, in pieces."""
    try:
        text = canonical_text(body)
    except ValueError:
        return (NOT_READ,)
    if text is None:
        return (REPEATED_NAME,)
    return (TEXT, len(text).to_bytes(LENGTH_BYTES, "big"), text)


def _read(size_bytes: int) -> bytes | None:
    """None where the input ends."""
    found = bytearray()
    while len(found) < size_bytes:
        if not (piece := os.read(STDIN, size_bytes - len(found))):
            return None
        found += piece
    return bytes(found)


def _write(pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(STDOUT, rest) :]


if __name__ == "__main__":
    main()
