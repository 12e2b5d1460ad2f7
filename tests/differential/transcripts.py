"""What a client sees of a connection, without what differs from one second or one packet to the next."""

import re

import msgspec

_DATE = re.compile(rb"(?im)^date: [^\r]*\r\n")
_DRAWN_ID = re.compile(rb"(?im)^(x-request-id: )[0-9a-f]{24}(?=\r\n)")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n", re.IGNORECASE)


class Answer(msgspec.Struct, frozen=True):
    """One answer: its first line, its headers as they are written but for the date and a drawn id, its whole body."""

    status: str
    headers: tuple[str, ...]
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} | {' | '.join(self.headers)} | {self.body!r}"


class Transcript(msgspec.Struct, frozen=True):
    """A connection from beginning to end."""

    answers: tuple[Answer, ...]
    rest: bytes
    """What came behind the last whole answer."""
    closed_by_server: bool
    """Whether the server ended the connection, while the client had not (or ended no more than its own side)."""
    asked: tuple[tuple[str, bytes], ...]
    """What the gateway and the embedder were asked, in order."""
    logged: tuple[str, ...]
    """The request log, without times."""
    failures: tuple[str, ...]
    """What was logged with a traceback, and whether the connection outlived its client."""

    def __str__(self) -> str:
        lines = [*map(str, self.answers), f"rest {self.rest!r}", f"closed by the server: {self.closed_by_server}"]
        lines += [f"asked {what} {body!r}" for what, body in self.asked]
        return "\n".join([*lines, *(f"logged {line}" for line in self.logged), *self.failures])


def answers_in(sent: bytes) -> tuple[tuple[Answer, ...], bytes]:
    """The answers in what a server sent, and what is left behind them.

    An answer to HEAD has a length and no body: it is known by what follows, because no body here begins like an answer.
    """
    found: list[Answer] = []
    sent = _DRAWN_ID.sub(rb"\1drawn", _DATE.sub(b"", sent))
    while b"\r\n\r\n" in sent:
        head, _, rest = sent.partition(b"\r\n\r\n")
        status, *headers = head.decode("latin-1").split("\r\n")
        body, after = _body(status, headers, rest)
        found.append(Answer(status, tuple(headers), body))
        sent = after
    return tuple(found), sent


def _body(status: str, headers: list[str], rest: bytes) -> tuple[bytes, bytes]:
    values = dict(line.lower().split(": ", 1) for line in headers if ": " in line)
    if status.split()[1] in {"100", "204"}:
        return b"", rest
    if values.get("transfer-encoding") == "chunked":
        return _dechunked(rest)
    if "content-length" not in values:
        return rest, b""
    length = int(values["content-length"])
    if not rest or rest.startswith(b"HTTP/1."):
        return b"", rest
    return rest[:length], rest[length:]


def _dechunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while (size := _CHUNK.match(rest)) is not None:
        count = int(size[1], 16)
        end = size.end() + count
        body += rest[size.end() : end]
        rest = rest[end + 2 :]
        if count == 0:
            return body, rest
    return body + b" (cut short)", rest
