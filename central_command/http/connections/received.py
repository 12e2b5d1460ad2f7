"""The bytes that a connection received and no request has taken yet: empty lines, and the head behind them.

What is found depends on the bytes alone, never on how many of them came at once. Before a request line a few empty
lines are passed over (RFC 9112, section 2.2), because old clients send one behind a body. A line may end in LF alone,
as that section allows: always, since h11 reads heads so.
"""

import re
from http import HTTPStatus

import h11

_EMPTY_LINES_MAX = 8
_EMPTY_LINE = re.compile(rb"\r?\n")
_END = re.compile(rb"\n\r?\n")
_END_BYTES_MAX = 3
_PRINTABLE_MIN = 0x21


class Received:
    """Bytes in their order, and the heads of requests that they begin with, each of at most `head_bytes_max` bytes."""

    def __init__(self, head_bytes_max: int) -> None:
        self._head_bytes_max = head_bytes_max
        self._bytes = b""
        self._searched = 0
        self._empty_lines = 0
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<Received {len(self._bytes)} bytes>"

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def put(self, data: bytes) -> None:
        """Add what came after the others."""
        self._bytes = self._bytes + data if self._bytes else data

    def take(self) -> bytes:
        """Take all there is; `put` gives back what is not wanted."""
        taken, self._bytes, self._searched = self._bytes, b"", 0
        return taken

    def end(self) -> None:
        """Nothing will be added any more."""
        self._has_ended = True

    def skip_empty_lines(self) -> bool:
        """Pass over empty lines before a request, and say whether anything follows.

        Raises RemoteProtocolError (400) when there are too many.
        """
        while self._bytes and self._bytes[0] in b"\r\n" and (line := _EMPTY_LINE.match(self._bytes)) is not None:
            self._bytes = self._bytes[line.end() :]
            self._empty_lines += 1
            if self._empty_lines > _EMPTY_LINES_MAX:
                raise h11.RemoteProtocolError("Too many empty lines.")
        return bool(self._bytes)

    def begin_request(self) -> None:
        """A request begins with what is taken next: the empty lines before it count no more."""
        self._empty_lines = 0

    def take_head(self) -> bytes | None:
        """The next head with its empty line; None while it is not whole.

        Raises RemoteProtocolError where there can be none any more: 431 when it is too large, 400 when it does not
        begin like one, or has ended within.
        """
        if not self.skip_empty_lines():
            return None
        if self._bytes[0] < _PRINTABLE_MIN and self._bytes != b"\r":
            raise h11.RemoteProtocolError("A request begins with its method.")
        end = _END.search(self._bytes, self._searched, self._head_bytes_max)
        if end is not None:
            head, rest = self._bytes[: end.end()], self._bytes[end.end() :]
            self.take()
            self.put(rest)
            self.begin_request()
            return head
        self._searched = max(0, min(len(self._bytes), self._head_bytes_max) - _END_BYTES_MAX)
        if len(self._bytes) >= self._head_bytes_max:
            raise h11.RemoteProtocolError(
                "The head is too large.", error_status_hint=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )
        if self._has_ended:
            raise h11.RemoteProtocolError("The client ended its side within a head.")
        return None
