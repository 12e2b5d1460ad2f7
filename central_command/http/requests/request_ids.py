"""The id that each request has in its answer (`X-Request-Id`) and in the log lines that are written on its way.

A client's own is taken if it cannot do harm where it is shown: one header, bounded, of characters that mean nothing to
terminals, shells, JSON and HTML. Any other request gets one from here. They are drawn, because a counter would tell
whoever asks how much the server has to do, and cheaply, because each answer to an envelope has one.
"""

import random
import re
from collections.abc import Callable
from typing import Final

from hypercorn.typing import HTTPScope

REQUEST_ID_HEADER: Final = b"x-request-id"

OWN_ID_BITS: Final = 96

_SEED_BYTES: Final = 32
_SANE: Final = re.compile(rb"\A[0-9A-Za-z][0-9A-Za-z._:/+=@-]{0,127}\Z")


class RequestIds:
    """Gives requests their ids; `random_bytes` is asked once."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._drawn = random.Random(random_bytes(_SEED_BYTES)).getrandbits  # noqa: S311 (an id is no secret)

    def new(self) -> bytes:
        """An id for a request that brings none: 24 hexadecimal digits."""
        return b"%024x" % self._drawn(OWN_ID_BITS)

    def of(self, scope: HTTPScope) -> bytes:
        """The request's own id, if it is a sane one and the only one; else a new one."""
        found = [value for name, value in scope["headers"] if name == REQUEST_ID_HEADER]
        return found[0] if len(found) == 1 and _SANE.match(found[0]) else self.new()
