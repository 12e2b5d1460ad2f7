"""Sequences of requests on one connection, drawn from a seed: valid, broken, cut anywhere.

Most of a sequence is what a client really sends, the same head again and again, because only then is the short way
taken; to some of it something is done that a parser could take in two ways.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from tests.simulation.randomness import Stream, stream

HEAD_BYTES_MAX = 1_024
BODY_BYTES_MAX = 2_000
LINES_MAX = 4

INGEST, BATCH = "/v1/training/ingest", "/v1/training/ingest/batch"
OPEN, CLOSE, EMBED = "/v1/sessions/open", "/v1/sessions/close", "/v1/embed"

SESSIONS = ("a", "b", "none", "busy", "full", "over", "slow", "not/allowed")


class Piece(msgspec.Struct, frozen=True):
    """What arrives at once, and what happens then: nothing, all that can happen (1), or also some time (2)."""

    data: bytes
    pause: int = 0


class Drawn(msgspec.Struct, frozen=True):
    """A sequence: its requests, how their bytes are cut into pieces, and whether the client ends its side."""

    seed: int
    requests: tuple[bytes, ...]
    pieces: tuple[Piece, ...]
    half_closed: bool


class Head:
    """A request's head before it is written: lines that can be tampered with."""

    def __init__(self, method: str, target: str, version: str = "HTTP/1.1") -> None:
        self.first = f"{method} {target} {version}"
        self.lines: list[str] = []
        self.ends: dict[int, bytes] = {}
        """Other line ends than CR LF, by line; the first line is 0."""

    def written(self) -> bytes:
        """The bytes, with the empty line."""
        lines = [self.first, *self.lines, ""]
        return b"".join(line.encode("latin-1") + self.ends.get(n, b"\r\n") for n, line in enumerate(lines))


def drawn(seed: int) -> Drawn:
    """The sequence of a seed."""
    chance = stream(seed, "requests")
    client = _client(chance)
    usual = chance.any_of((_ingest, _ingest, _ingest, _batch))
    odd_one_in = chance.any_of((2, 6, 20))
    count = chance.any_of((1, 2, 2, 3, 3, 4, 5, 6, 8, 14))
    requests = tuple(_request(chance, client, usual, odd_one_in) for _ in range(count))
    return Drawn(seed, requests, _cut(requests, stream(seed, "cuts")), chance.one_in(4))


def _cut(requests: Sequence[bytes], chance: Stream) -> tuple[Piece, ...]:
    """The bytes in pieces: a request each, all as one, in a few, in many, or one by one."""
    kind = chance.any_of(("requests", "requests", "few", "few", "many", "bytes", "ends", "whole"))
    pauses = chance.any_of(((0,), (1,), (0, 1), (0, 0, 0, 1, 2)))
    if kind == "requests":
        return tuple(Piece(request, chance.any_of(pauses)) for request in requests)
    data = b"".join(requests)
    if kind == "whole" or len(data) < 2:
        return (Piece(data, chance.any_of(pauses)),)
    if kind == "few":
        places = {chance.randrange(1, len(data)) for _ in range(chance.randint(1, 6))}
    elif kind == "many":
        places = {chance.randrange(1, len(data)) for _ in range(len(data) // chance.any_of((4, 20, 60)))}
    elif kind == "ends":  # where a head, a line or a body ends, or a byte beside it
        ends = [at + chance.randint(-1, 3) for at in range(len(data)) if data[at : at + 2] == b"\r\n"]
        places = {at for at in ends if 0 < at < len(data) and chance.one_in(2)}
    else:
        places = set(range(1, len(data))) if len(data) < 700 else set(range(1, len(data), chance.randint(1, 9)))
        pauses = (0, 0, 0, 0, 0, 0, 1)
    if len(places) > 100 and 0 not in pauses:
        pauses = (0, 0, 0, 0, 1)
    bounds = [0, *sorted(places), len(data)]
    return tuple(Piece(data[start:end], chance.any_of(pauses)) for start, end in pairwise(bounds))


def _client(chance: Stream) -> list[str]:
    """The headers that all requests of a client have, in their order."""
    headers = ["Host: localhost"]
    if chance.one_in(1.5):
        headers.append("Content-Type: application/json")
    if chance.one_in(3):
        headers.append("User-Agent: groove/0.27")
    if chance.one_in(2):
        headers.append("Connection: keep-alive")
    if chance.one_in(3):
        headers.append("X-Forwarded-For: 192.0.2.{n}")
    if chance.one_in(3):
        chance.shuffle(headers)
    return headers


def _request(chance: Stream, client: Sequence[str], usual: "Kind", odd_one_in: int) -> bytes:
    """What a client usually sends, or now and then something else, or with something done to it."""
    if chance.one_in(20 * odd_one_in):
        return chance.any_of(NOISE)
    is_other = chance.one_in(3)
    method, target, body = (chance.any_of(KINDS) if is_other else usual)(chance)
    head = Head(method, target)
    head.lines = [line.format(n=chance.randint(1, 3)) for line in client]
    has_body = method in {"POST", "post", "PUT"} or chance.one_in(15)
    if has_body and chance.one_in(3 if is_other else 3 * odd_one_in):
        sent = _chunked(chance, body)
        _insert(chance, head, "Transfer-Encoding: chunked", anywhere=False)
    else:
        sent = body if has_body else b""
        if has_body:
            head.lines.append(f"Content-Length: {'0' * chance.one_in(20)}{len(body)}")
    if chance.one_in(8):
        _other_connection(chance, head)
    if chance.one_in(odd_one_in):
        for _ in range(chance.any_of((1, 1, 1, 2))):
            sent = chance.any_of(TAMPERINGS)(chance, head, sent)
    before = chance.any_of(EMPTY_LINES) if chance.one_in(3 * odd_one_in) else b""
    behind = chance.any_of(BEHIND) if chance.one_in(4 * odd_one_in) else b""
    return before + head.written() + sent + behind


NOISE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9\r\n",
    b"GET /health\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00",
    b"noise",
    b" GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.1 \r\nHost: x\r\n\r\n",
    b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"B(A)D / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
)
EMPTY_LINES = (b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r\n\n\r\n", b"\r", b"\r\n" * 8, b"\r\n" * 9, b"\n" * 30, b" ")
BEHIND = (
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"x",
    b"}",
    b"0\r\n\r\n",
    b"\x00" * 40,
    b"GET /health HTTP/1.1\r\n",
)


# What is asked for: method, target, body.

Kind = Callable[[Stream], tuple[str, str, bytes]]


def _envelope(chance: Stream) -> bytes:
    session = chance.any_of(SESSIONS)
    more = "x" * chance.any_of((0, 0, 1, 7, 80, 400))
    return f'{{"session_id":"{session}","chunk_sequence":{chance.randint(0, 3)},"more":"{more}"}}'.encode()


def _ingest(chance: Stream) -> tuple[str, str, bytes]:
    body = chance.any_of(BROKEN_BODIES) if chance.one_in(8) else _envelope(chance)
    return "POST", INGEST, body


def _batch(chance: Stream) -> tuple[str, str, bytes]:
    lines = [_envelope(chance) for _ in range(chance.randint(0, LINES_MAX + 1))]
    if chance.one_in(6):
        lines.append(chance.any_of(BROKEN_BODIES))
    return "POST", BATCH, chance.any_of((b"\n", b"\r\n")).join(lines) + chance.any_of((b"", b"\n"))


def _open(chance: Stream) -> tuple[str, str, bytes]:
    fields = {"session_id": "a", "public_key": chance.any_of(("key", "none")), "provider": "codex", "model": "m"}
    fields |= {"machine_fingerprint": "f", "app_version_hash": "h", "groove_version": "1"}
    if chance.one_in(4):
        fields.pop(chance.any_of(tuple(fields)))
    return "POST", OPEN, msgspec.json.encode(fields)


def _close(chance: Stream) -> tuple[str, str, bytes]:
    return "POST", CLOSE, msgspec.json.encode({"session_id": chance.any_of(SESSIONS)})


def _embed(chance: Stream) -> tuple[str, str, bytes]:
    texts = [chance.any_of(("text", "more text", "busy", "")) for _ in range(chance.randint(0, 2))]
    format_ = chance.any_of(("float", "base64"))
    return (
        "POST",
        chance.any_of((EMBED, EMBED + "dings")),
        msgspec.json.encode({"input": texts, "encoding_format": format_}),
    )


def _other(chance: Stream) -> tuple[str, str, bytes]:
    method = chance.any_of(("GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "post", "get", "options"))
    return method, chance.any_of(TARGETS), chance.any_of((b"{}", b"x" * 30, _envelope(chance)))


def _elsewhere(chance: Stream) -> tuple[str, str, bytes]:
    return "POST", chance.any_of(TARGETS), _envelope(chance)


KINDS: tuple[Kind, ...] = (_ingest, _batch, _open, _close, _embed, _other, _other, _other, _elsewhere, _elsewhere)

BROKEN_BODIES = (
    b"",
    b"{",
    b"[]",
    b'{"session_id":1}',
    b"\xff",
    b"x" * (BODY_BYTES_MAX - 1),
    b"x" * BODY_BYTES_MAX,
    b"x" * (BODY_BYTES_MAX + 1),
    b" " * 5_000,
)
TARGETS = (
    "/health",
    "/health",
    "/nowhere",
    INGEST,
    BATCH,
    CLOSE,
    EMBED,
    INGEST + "?query",
    "/v1/training/inges%74",
    "/" + INGEST,
    "//health",
    INGEST + "/",
    "http://localhost" + INGEST,
    "http://localhost/health",
    "http://[",
    "ftp://localhost/health",
    "*",
    "?",
    "localhost:80",
    "/v1/stats/daily?days=x",
    "/%0d%0a",
    "/" + "long" * 200,
)


# What is done to a request.

Tampering = Callable[[Stream, Head, bytes], bytes]


def _insert(chance: Stream, head: Head, line: str, *, anywhere: bool = True) -> None:
    head.lines.insert(chance.randint(0, len(head.lines)) if anywhere else len(head.lines), line)


def _bare_line_feeds(chance: Stream, head: Head, sent: bytes) -> bytes:
    count = len(head.lines) + 2
    for number in range(count) if chance.one_in(3) else [chance.randrange(count)]:
        head.ends[number] = chance.any_of((b"\n", b"\n", b"\n", b"\r\r\n", b"\r"))
    return sent


def _fold(chance: Stream, head: Head, sent: bytes) -> bytes:
    head.lines.insert(chance.randint(0, len(head.lines)), chance.any_of((" folded", "\tfolded", " ", " 7")))
    return sent


def _header(chance: Stream, head: Head, sent: bytes) -> bytes:
    _insert(chance, head, chance.any_of(HEADERS))
    return sent


def _other_value(chance: Stream, head: Head, sent: bytes) -> bytes:
    at = chance.randrange(len(head.lines))
    name = head.lines[at].partition(":")[0]
    head.lines[at] = name + ":" + chance.any_of(VALUES)
    return sent


def _other_connection(chance: Stream, head: Head) -> None:
    """Where this client says something of the connection in each head, say something else in this one."""
    value = chance.any_of(("close", "Close", "keep-alive", "x, close", "upgrade"))
    head.lines = [f"Connection: {value}" if line.startswith("Connection:") else line for line in head.lines]


def _other_version(chance: Stream, head: Head, sent: bytes) -> bytes:
    version = chance.any_of(("HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/11"))
    head.first = head.first.rpartition(" ")[0] + " " + version
    return sent


def _drop_a_line(chance: Stream, head: Head, sent: bytes) -> bytes:
    del head.lines[chance.randrange(len(head.lines))]
    return sent


def _long_head(chance: Stream, head: Head, sent: bytes) -> bytes:
    """Padded to about the bound, or far beyond it."""
    size = len(head.written()) + len("X: \r\n")
    wanted = HEAD_BYTES_MAX + chance.any_of((-3, -2, -1, 0, 1, 2, 3, 300, 2_000))
    _insert(chance, head, "X: " + "x" * max(0, wanted - size))
    return sent


def _other_body(chance: Stream, head: Head, sent: bytes) -> bytes:
    return sent[: chance.randint(0, len(sent))] if chance.one_in(2) else sent + chance.any_of(BEHIND)


def _tamper_with_a_byte(chance: Stream, head: Head, sent: bytes) -> bytes:
    at = chance.randrange(len(head.lines))
    line = head.lines[at]
    place = chance.randint(0, len(line))
    head.lines[at] = line[:place] + chance.any_of("\x00\r\n\t\x0b\x7f\xff :,0a") + line[place + chance.randint(0, 1) :]
    return sent


TAMPERINGS: tuple[Tampering, ...] = (
    *[_header] * 7,
    *[_bare_line_feeds] * 3,
    _fold,
    _other_value,
    _other_version,
    _drop_a_line,
    *[_long_head] * 3,
    _other_body,
    _tamper_with_a_byte,
)

HEADERS = (
    *["Connection: close"] * 4,
    "connection: Close",
    "Connection: keep-alive",
    "Connection: keep-alive, close",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Connection: Upgrade\r\nUpgrade: websocket",
    *["Expect: 100-continue"] * 5,
    "Expect: something",
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: 99999",
    "Content-Length: 10000000000",
    "Content-Length: -1",
    "Content-Length : 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: gzip, chunked",
    "Content-Encoding: gzip",
    "Content-Encoding: identity",
    "Host: other",
    "No colon",
    ": no name",
    "X-Request-Id: 1",
    "Origin: https://app.example",
)
VALUES = (
    "",
    " ",
    " other",
    "\tother \t",
    " \xe4",
    " a,b",
    " 3",
    " 03",
    " 3, 3",
    " 3 3",
    " +3",
    " 1e1",
    " \x01",
    " chunked",
)


def _chunked(chance: Stream, body: bytes) -> bytes:
    """A body in chunks; now and then something is wrong with one of them."""
    sent, at = b"", 0
    while at < len(body):
        count = min(chance.any_of((1, 2, 16, 100, 5_000)), len(body) - at)
        extension = chance.any_of((b"", b"", b"", b";a=b", b" ", b";" + b"x" * chance.randint(900, 1_100)))
        end = b"\r\n"
        if chance.one_in(40):
            extension = chance.any_of((b"x", b"\n", b";\n", b"\r"))
        if chance.one_in(40):
            end = chance.any_of((b"\n", b"", b"xx", b"\r"))
        sent += b"%x%b\r\n" % (count, extension) + body[at : at + count] + end
        at += count
    if chance.one_in(6):
        return sent + chance.any_of((b"-1\r\n", b"0x0\r\n", b"\r\n", b"f" * 21 + b"\r\n", b"0\n\r\n", b""))
    trailers = chance.any_of(
        (b"", b"", b"", b"X: y\r\n", b"X: y\n", b"bad\r\n", b"X: " + b"x" * chance.randint(990, 1_040) + b"\r\n")
    )
    return sent + b"0\r\n" + trailers + chance.any_of((b"\r\n", b"\r\n", b"\r\n", b"\n"))
