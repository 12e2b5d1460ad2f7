"""Requests whose head has been seen before, and the heads of their answers.

A client that sends one envelope after the other over one connection writes the same head each time, but for the digits
of `Content-Length` and for what a proxy on the way says (`X-Forwarded-For`, request and trace ids). h11 reads and
checks the first of them; the next ones need no parser: they are compared, line by line, with the one that was found
good, and only a value that differs is looked at. Whatever differs in anything else is h11's again.
"""

import re
import time
from collections.abc import Callable
from http import HTTPStatus

import h11
from hypercorn.typing import HTTPScope

from central_command.http.requests.exchange import CORS_HEADERS
from central_command.http.requests.replies import NDJSON_TYPE, Headers, Reply
from central_command.http.requests.request_ids import REQUEST_ID_HEADER

HEAD_END = b"\r\n\r\n"

_LENGTH_DIGITS_MAX = 9
_LENGTH_LINE = re.compile(rb"(content-length:[ \t]*)[0-9]{1,9}", re.IGNORECASE)
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
# Narrower than h11's (no control characters at all): what differs is h11's to judge.
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
_CHANGES_THE_EXCHANGE = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection", b"content-encoding"})
"""What makes an exchange more than a body and its answer; a `Connection: keep-alive` alone does not."""
_NEVER_VARIES = frozenset({b"host", b"connection"})

_ANSWER_HEADS_MAX = 256
_ID_FIELD = REQUEST_ID_HEADER + b": "


Repetition = tuple[int, int, HTTPScope, bool]
"""Where a request's body begins, its length in bytes, the request, and whether it brings an id of its own."""


class RepeatedHead:
    """A head that h11 accepted, line by line: the next ones may differ from it in the values of fields, not in more.

    Names, their order and the request line stay; `Content-Length` may have other digits, `Host` and `Connection` do not
    vary at all. `scope` is the request as the limits look at it, with the length of the first one.
    """

    def __init__(self, lines: list[bytes], length_line: int, scope: HTTPScope, bytes_max: int) -> None:
        found = _LENGTH_LINE.fullmatch(lines[length_line])
        assert found is not None
        self._lines = lines
        self._names = [b"", *map(_varying_name, lines[1:], scope["headers"])]
        """How each line begins that may have another value; empty for one that may not."""
        self._length_line = length_line
        self._length_prefix = found[1]
        self._scope = scope
        self._bytes_max = bytes_max
        self._has_id = any(name == REQUEST_ID_HEADER for name, _ in scope["headers"])

    def __repr__(self) -> str:
        return f"<RepeatedHead of {len(self._lines)} lines>"

    @property
    def path(self) -> str:
        """What was asked for."""
        return self._scope["path"]

    def match(self, data: bytes) -> Repetition | None:
        """What `data` begins with, if that is a request with this head."""
        if not data.startswith(self._lines[0]):
            return None
        end = data.find(HEAD_END, 0, self._bytes_max)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        if len(lines) != len(self._lines):
            return None
        length_line = lines[self._length_line]
        digits = length_line[len(self._length_prefix) :]
        if not (length_line.startswith(self._length_prefix) and digits.isdigit() and len(digits) <= _LENGTH_DIGITS_MAX):
            return None
        lines[self._length_line] = self._lines[self._length_line]
        scope = self._scope if lines == self._lines else self._varied(lines)
        return None if scope is None else (end + len(HEAD_END), int(digits), scope, self._has_id)

    def _varied(self, lines: list[bytes]) -> HTTPScope | None:
        """The request with values of its own; None when these lines are not like those that were seen."""
        headers = list(self._scope["headers"])
        for index, line in enumerate(lines):
            if line == self._lines[index]:
                continue
            name = self._names[index]
            value = line[len(name) :]
            if not (name and line.startswith(name) and _FIELD_VALUE.fullmatch(value)):
                return None
            headers[index - 1] = (headers[index - 1][0], value.strip(b" \t"))
        varied = self._scope.copy()
        varied["headers"] = headers
        return varied


class RepeatedHeads:
    """The heads that a connection has seen: of each path that is answered in place the last."""

    def __init__(self) -> None:
        self._of_path: dict[str, RepeatedHead] = {}

    def __bool__(self) -> bool:
        return bool(self._of_path)

    def __repr__(self) -> str:
        return f"<RepeatedHeads {sorted(self._of_path)}>"

    def add(self, head: RepeatedHead) -> None:
        """Look for this one from now on."""
        self._of_path[head.path] = head

    def match(self, data: bytes) -> Repetition | None:
        """What `data` begins with, if that is a request with one of these heads."""
        for head in self._of_path.values():
            if (found := head.match(data)) is not None:
                return found
        return None


def _varying_name(line: bytes, header: tuple[bytes, bytes]) -> bytes:
    """How the line of a header begins, up to and with the colon; empty for one whose value never varies."""
    return b"" if header[0] in _NEVER_VARIES else line[: line.find(b":") + 1]


def repeated_head(head: bytes, request: h11.Request, scope: HTTPScope, bytes_max: int) -> RepeatedHead | None:
    """What to compare the next requests with; None for a request with anything unusual about it.

    `head` is what the connection received up to and with the empty line, `request` what h11 made of it; heads of more
    than `bytes_max` bytes are h11's to refuse.
    """
    names = [name for name, value in request.headers if (name, value.lower()) != (b"connection", b"keep-alive")]
    lines = head.removesuffix(HEAD_END).split(b"\r\n")
    lengths = [index for index, line in enumerate(lines) if _LENGTH_LINE.fullmatch(line)]
    if (
        request.http_version != b"1.1"
        or names.count(b"content-length") != 1
        or len(lengths) != 1
        or not _CHANGES_THE_EXCHANGE.isdisjoint(names)
        # A field folded over several lines (obs-fold) is one of h11's headers.
        or len(lines) != len(request.headers) + 1
        # h11 also takes bare line feeds, and then its head may have ended before the empty line that we found.
        or _BARE_LINE_FEED.search(head)
    ):
        return None
    return RepeatedHead(lines, lengths[0], scope, bytes_max)


def identified(head: bytes, request_id: bytes, body: bytes = b"") -> bytes:
    """The head of an answer with the id of its request, first of its headers, and what follows it."""
    headers_start = head.index(b"\n") + 1
    return b"".join((head[:headers_start], _ID_FIELD, request_id, b"\r\n", head[headers_start:], body))


class AnswerHeads:
    """The heads of answers as h11 writes them; each is written once a second, for their `Date`.

    `server_headers` are those that the server adds to every answer. `identified` adds the id of the request.
    """

    def __init__(
        self, server_headers: Callable[[], list[tuple[bytes, bytes]]], clock: Callable[[], float] = time.time
    ) -> None:
        self._server_headers = server_headers
        self._clock = clock
        self._second = 0
        self._heads: dict[tuple[int, Headers, int | None], bytes] = {}

    def of(self, reply: Reply) -> bytes:
        """The head of a reply, with its length and the empty line."""
        return self._head((reply.status, reply.headers, len(reply.body)), reply.raw_headers)

    def of_stream(self) -> bytes:
        """The head of an answer in chunks, as NDJSON with status 200."""
        return self._head((HTTPStatus.OK, (), None), lambda: [(b"content-type", NDJSON_TYPE.encode())])

    def _head(self, key: tuple[int, Headers, int | None], headers: Callable[[], list[tuple[bytes, bytes]]]) -> bytes:
        second = int(self._clock())
        if second != self._second or len(self._heads) >= _ANSWER_HEADS_MAX:
            self._second = second
            self._heads.clear()
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._written(key[0], headers())
        return head

    def _written(self, status: int, own_headers: list[tuple[bytes, bytes]]) -> bytes:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.next_event()
        headers = [*own_headers, *CORS_HEADERS, *self._server_headers()]
        head = connection.send(h11.Response(status_code=status, headers=headers))
        assert head is not None
        return head
