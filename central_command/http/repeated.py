"""Requests whose head has been seen before, and the heads of their answers.

A client that sends one envelope after the other over one connection writes the same head each time, but for the digits
of `Content-Length`. h11 reads and checks the first of them; the next ones need no parser: they are compared, byte for
byte, with the one that was found good. Whatever differs in anything else is h11's again.
"""

import re
import time
from collections.abc import Callable

import h11
import msgspec
from hypercorn.typing import HTTPScope

from central_command.http.exchange import CORS_HEADERS
from central_command.http.replies import Headers, Reply

HEAD_END = b"\r\n\r\n"

_LENGTH_DIGITS_MAX = 9
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_CHANGES_THE_EXCHANGE = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection", b"content-encoding"})
"""What makes an exchange more than a body and its answer; a `Connection: keep-alive` alone does not."""

_ANSWER_HEADS_MAX = 256


class RepeatedHead(msgspec.Struct, frozen=True):
    """A head that h11 accepted, cut at its `Content-Length`: `before` the digits and `after` them, to the empty line.

    `scope` is the request as the limits look at it, with the length of the first one.
    """

    before: bytes
    after: bytes
    scope: HTTPScope

    def match(self, data: bytes) -> tuple[int, int] | None:
        """Where the body begins in `data` and how many bytes it has; None unless `data` begins with this head."""
        before = len(self.before)
        if not data.startswith(self.before):
            return None
        end = data.find(self.after, before, before + _LENGTH_DIGITS_MAX + len(self.after))
        digits = data[before:end] if end > before else b""
        return (end + len(self.after), int(digits)) if digits.isdigit() else None


def repeated_head(head: bytes, request: h11.Request, scope: HTTPScope) -> RepeatedHead | None:
    """What to compare the next requests with; None for a request with anything unusual about it.

    `head` is what the connection received up to and with the empty line, `request` what h11 made of it.
    """
    names = [name for name, value in request.headers if (name, value.lower()) != (b"connection", b"keep-alive")]
    lengths = _CONTENT_LENGTH.findall(head)
    if (
        request.http_version != b"1.1"
        or names.count(b"content-length") != 1
        or len(lengths) != 1
        or not _CHANGES_THE_EXCHANGE.isdisjoint(names)
        # h11 also takes bare line feeds, and then its head may have ended before the empty line that we found.
        or _BARE_LINE_FEED.search(head)
    ):
        return None
    found = _CONTENT_LENGTH.search(head)
    assert found is not None
    return RepeatedHead(head[: found.start(1)], head[found.end(1) :], scope)


class AnswerHeads:
    """The heads of answers as h11 writes them; each is written once a second, for their `Date`.

    `server_headers` are those that the server adds to every answer.
    """

    def __init__(
        self, server_headers: Callable[[], list[tuple[bytes, bytes]]], clock: Callable[[], float] = time.time
    ) -> None:
        self._server_headers = server_headers
        self._clock = clock
        self._second = 0
        self._heads: dict[tuple[int, Headers, int], bytes] = {}

    def of(self, reply: Reply) -> bytes:
        """The head of a reply, with its length and the empty line."""
        second = int(self._clock())
        if second != self._second or len(self._heads) >= _ANSWER_HEADS_MAX:
            self._second = second
            self._heads.clear()
        key = (reply.status, reply.headers, len(reply.body))
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._written(reply)
        return head

    def _written(self, reply: Reply) -> bytes:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.next_event()
        headers = [*reply.raw_headers(), *CORS_HEADERS, *self._server_headers()]
        head = connection.send(h11.Response(status_code=reply.status, headers=headers))
        assert head is not None
        return head
