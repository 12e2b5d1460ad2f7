"""A process that writes bodies anew: `python -m central_command.rewriting.worker`, started by the server alone.

It reads a body behind its length, and answers with what became of it: a byte, and of a text its length and itself. It
ends when its input does, and when nothing was asked for a while: what a body of a million small values took is given
back then. It knows no key, and keeps nothing.
"""

import select
from typing import Final

from actors.envelopes.attestation import canonical_text
from central_command.process.piped import STDIN, STDOUT, ignore_terminal, receive, send, write_all

TEXT: Final = b"t"
REPEATED_NAME: Final = b"r"
NOT_READ: Final = b"n"
IDLE_S: Final = 60.0


def main() -> None:
    """Write bodies anew until nothing more is asked."""
    ignore_terminal()
    answer_all()


def answer_all() -> None:
    """Answer one after the other."""
    while select.select([STDIN], [], [], IDLE_S)[0] and (body := receive(STDIN)) is not None:
        _answer(bytes(body))


def _answer(body: bytes) -> None:
    try:
        text = canonical_text(body)
    except ValueError:
        write_all(STDOUT, NOT_READ)
        return
    if text is None:
        write_all(STDOUT, REPEATED_NAME)
        return
    write_all(STDOUT, TEXT)
    send(STDOUT, text)


if __name__ == "__main__":
    main()
