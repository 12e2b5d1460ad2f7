"""The id that each request has in its answer (`X-Request-Id`) and in the log lines that are written on its way.

A client's own is taken if it cannot do harm where it is shown: one header, bounded, of characters that mean nothing to
terminals, shells, JSON and HTML. Any other request gets one from here. They are drawn, because a counter would tell
whoever asks how much the server has to do, and many at once, because each answer to an envelope has one.
"""

import re
from collections.abc import Callable
from typing import Final

from hypercorn.typing import HTTPScope

REQUEST_ID_HEADER: Final = b"x-request-id"

ID_BYTES: Final = 12
DRAWN_AT_ONCE: Final = 256

_ID_DIGITS: Final = 2 * ID_BYTES
_SANE: Final = re.compile(rb"\A[0-9A-Za-z][0-9A-Za-z._:/+=@-]{0,127}\Z")


class RequestIds:
    """Gives requests their ids, of what `random_bytes` gives."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._digits = b""
        self._used = 0

    def new(self) -> bytes:
        """An id for a request that brings none: 24 hexadecimal digits."""
        start = self._used
        if start == len(self._digits):
            self._digits = self._random_bytes(ID_BYTES * DRAWN_AT_ONCE).hex().encode()
            start = 0
        self._used = start + _ID_DIGITS
        return self._digits[start : self._used]

    def of(self, scope: HTTPScope) -> bytes:
        """The request's own id, if it is a sane one and the only one; else a new one."""
        found = [value for name, value in scope["headers"] if name == REQUEST_ID_HEADER]
        return found[0] if len(found) == 1 and _SANE.match(found[0]) else self.new()
