"""Requests whose head repeats that of one before: answered in place, and to the client no different from any other."""

from collections.abc import Iterable
from typing import Any

import h11
import pytest
import trio
import trio.testing
from hypercorn.protocol.http_stream import HTTPStream
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.envelopes.refusals import Refusal, RefusalCode
from central_command.http.connections.http1 import Http1Protocol
from central_command.http.connections.repeated import AnswerHeads, RepeatedHead, RepeatedHeads, repeated_head
from central_command.http.connections.strict_parsing import StrictConnection
from central_command.http.requests.exchange import Edge
from central_command.http.requests.replies import Reply

DIFFERS = {"date": "", "x-request-id": ""}
"""What each answer has a value of its own of."""

INGEST, CLOSE = "/v1/training/ingest", "/v1/sessions/close"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'
LONG = b'{"session_id":"sess_1","chunk_sequence":0,"more":"%s"}' % (b"x" * 200_000)


async def first(client: Any, body: bytes = BODY) -> Any:
    """Send the request that the others repeat; return its answer once the connection waits for the next."""
    await client.post(INGEST, body)
    answer = await client.answer()
    await trio.testing.wait_all_tasks_blocked()
    return answer


async def test_the_second_of_two_alike_is_answered_in_place(
    served: Any, gateway: Any, in_place: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Their answers are the same, header by header, and so are their lines in the log."""
    caplog.set_level("INFO", logger="central_command.access")
    async with served() as server:
        client = await server.connect()
        answers = [await first(client)]
        for body in (BODY, LONG, BODY):
            await client.post(INGEST, body)
            answers.append(await client.answer())
    assert in_place == [BODY, LONG, BODY]
    assert [envelope.body for _, envelope in gateway.asked] == [BODY, BODY, LONG, BODY]
    for other in answers:
        assert (other.status, other.body, list(other.headers)) == (200, answers[0].body, list(answers[0].headers))
        assert {**other.headers, **DIFFERS} == {**answers[0].headers, **DIFFERS}
    lines = [record.getMessage().partition("] ")[2].rpartition(" ")[0] for record in caplog.records]
    assert lines == [f"POST {INGEST} 200"] * 4


async def test_paths_that_take_turns_are_each_answered_in_place(
    served: Any, gateway: Any, in_place: list[bytes]
) -> None:
    """An uploader's connection: envelopes, the close of their session, and the next; whatever is asked between."""
    closing = b'{"session_id":"sess_1"}'
    async with served() as server:
        client = await server.connect()
        for _ in range(3):
            for path, body in ((INGEST, BODY), (CLOSE, closing)):
                await client.post(path, body)
                answer = await client.answer()
                assert answer.status == 200
                await trio.testing.wait_all_tasks_blocked()
            await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer()).json["status"] == "ok"
    assert in_place == [BODY, closing] * 2
    assert [kind for kind, _ in gateway.asked if kind in {"ingest", "close"}] == ["ingest", "close"] * 3


async def test_a_connection_remembers_one_head_of_each_path() -> None:
    """Whatever a client asks for, in whatever form, there are no more of them than paths; the last one counts."""
    seen = RepeatedHeads()
    assert not seen
    targets = [b"/v1/training/ingest", b"http://x/v1/training/ingest", b"/v1/training/ingest?a=1"]
    for target in targets:
        found = _repeated(HEAD.replace(b"/v1/training/ingest", target))
        assert found is not None
        seen.add(found)
        for other in targets:
            match = seen.match(HEAD.replace(b"/v1/training/ingest", other))
            assert (match is not None) == (other == target)
    close = HEAD.replace(b"training/ingest", b"sessions/close")
    request = _request(close)
    found = repeated_head(close, request, {**SCOPE, "path": CLOSE, "headers": list(request.headers)}, 1_000)
    assert found is not None
    seen.add(found)
    assert seen.match(close)
    assert seen.match(HEAD.replace(b"/v1/training/ingest", targets[-1]))
    assert repr(seen) == f"<RepeatedHeads {[CLOSE, INGEST]}>"


async def test_many_in_one_packet_are_answered_in_their_order(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """Pipelining: whole requests, a half one, and one with another head among them."""
    bodies = [b'{"session_id":"sess_%d"}' % number for number in range(6)]
    head = f"POST {INGEST} HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
    requests = [(head % len(body)).encode() + body for body in bodies]
    async with served() as server:
        client = await server.connect()
        await first(client, bodies[0])
        await client.send(b"".join(requests[1:4]) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + requests[4][:-3])
        answers = [await client.answer() for _ in range(4)]
        assert answers[3].json["status"] == "ok"
        await client.send(requests[4][-3:] + requests[5])
        answers += [await client.answer() for _ in range(2)]
    assert [answer.status for answer in answers] == [200] * 6
    assert [envelope.body for _, envelope in gateway.asked] == bodies
    assert in_place[:3] == bodies[1:4]


async def test_many_in_one_packet_leave_turns_to_others(
    served: Any, in_place: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused waits for nothing, and neither does sending its answer."""
    order: list[str] = []
    log = Edge.log_in_place

    def noted(edge: Edge, *arguments: Any) -> None:
        order.append("answered")
        log(edge, *arguments)

    monkeypatch.setattr(Edge, "log_in_place", noted)

    async def other() -> None:
        while True:
            order.append("turn")
            await trio.lowlevel.checkpoint()

    async with served() as server, trio.open_nursery() as nursery:
        client = await server.connect()
        await first(client)
        nursery.start_soon(other)
        await client.send(f"POST {INGEST} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n{{".encode() * 20)
        assert [(await client.answer()).status for _ in range(20)] == [400] * 20
        nursery.cancel_scope.cancel()
    assert len(in_place) == order.count("answered") == 20
    # Within a turn of the loop the order is chance: an answer may come last in one and first in the next.
    assert "answered answered answered" not in " ".join(order)


async def test_a_body_that_takes_its_time_goes_the_ordinary_way(
    served: Any, gateway: Any, in_place: list[bytes], autojump_clock: Any
) -> None:
    """Nothing of what had come is lost, and its bounds are that way's: here it is 408."""
    autojump_clock.autojump_threshold = 0.02  # sockets are real: let them deliver before time jumps
    async with served(body_timeout_s=5) as server:
        client = await server.connect()
        await first(client)
        head = f"POST {INGEST} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        await client.send(head + BODY[:5])
        await trio.sleep(3)
        await client.send(BODY[5:])
        assert (await client.answer()).status == 200
        await client.send(head + BODY[:5])
        assert (await client.answer()).status == 408
    assert in_place == []
    assert [envelope.body for _, envelope in gateway.asked] == [BODY, BODY]


async def test_limits_and_bounds_hold_in_place(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """The address's limit counts every request once, and what is too large is refused as ever."""
    gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")  # what is accepted is given back
    async with served(requests_per_minute=4, body_bytes_max=1_000, limits_enabled=True) as server:
        client = await server.connect()
        statuses = [(await first(client, body)).status for body in (BODY, BODY, b" " * 1_001, BODY, BODY)]
    assert statuses == [200, 200, 413, 200, 429]
    assert len(in_place) == 3


async def test_a_full_server_refuses_and_says_so(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """Memory for bodies and places for requests are those of all requests together."""
    async with served(bodies_bytes_max=len(BODY), requests_in_flight_max=1) as server:
        one, other = await server.connect(), await server.connect()
        await first(one)
        await first(other)
        gateway.blocked = trio.Event()
        gateway.entered = trio.Event()
        await one.post(INGEST, BODY)
        await gateway.entered.wait()
        await other.post(INGEST, BODY)
        assert (await other.answer()).json["code"] == "overloaded"
        gateway.blocked.set()
        assert (await one.answer()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        await other.post(INGEST, BODY)
        assert (await other.answer()).status == 200
    assert len(in_place) == 2


async def test_refusals_and_failures_are_answered_in_place(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """Whatever the endpoint says, and 500 when it fails; the connection goes on."""
    async with served() as server:
        client = await server.connect()
        await first(client)
        gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")
        await client.post(INGEST, BODY)
        assert (await client.answer()).json == {"accepted": False, "reason": "No.", "code": "invalid_hmac"}
        await client.post(INGEST, b"{")
        assert (await client.answer()).status == 400
        gateway.ingesting = RuntimeError("inside")
        await client.post(INGEST, BODY)
        answer = await client.answer()
        assert (answer.status, answer.json["code"]) == (500, "internal_error")
        gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")
        await client.post(INGEST, BODY)
        assert (await client.answer()).status == 200
    assert len(in_place) == 4


async def test_a_connection_at_its_last_request_is_closed(served: Any, in_place: list[bytes]) -> None:
    """The last one goes the ordinary way, which says so and closes."""
    async with served(keep_alive_requests_max=4) as server:
        client = await server.connect()
        for _ in range(4):
            answer = await first(client)
        assert answer.headers["connection"] == "close"
        assert await client.read_to_end() == b""
    assert len(in_place) == 2


async def test_the_end_of_the_server_waits_for_the_answer(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """What was taken in is answered, and then the connection is closed."""
    async with served() as server:
        client = await server.connect()
        await first(client)
        gateway.blocked = trio.Event()
        gateway.entered = trio.Event()
        await client.post(INGEST, BODY)
        await gateway.entered.wait()
        server.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        gateway.blocked.set()
        assert (await client.answer()).status == 200
        assert await client.read_to_end() == b""
    assert len(in_place) == 1


def _request(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


SCOPE: Any = {"method": "POST", "path": INGEST}


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nExpect: 100-continue\r\n",
        b"Content-Length: 2\r\nConnection: close\r\n",
        b"Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Content-Length: 2\r\nContent-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"",
        b"X: a\nContent-Length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"X-Other: a\r\n Content-Length: 3\r\nContent-Length:\r\n 2\r\n",
        # A lone line feed takes a line away, and a folded field adds one: there are as many as there are fields.
        b"X-One: a\nX-Other: b\r\n folded\r\nContent-Length: 2\r\n",
    ],
)
def test_an_unusual_head_is_never_compared_with(lines: bytes) -> None:
    """Whatever makes more of a request than a body and its answer is h11's each time."""
    head = b"POST /v1/training/ingest HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"
    assert _repeated(head) is None


HEAD = (
    b"POST /v1/training/ingest HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id:1\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n"
)


def _repeated(head: bytes = HEAD, bytes_max: int = 1_000) -> RepeatedHead | None:
    request = _request(head)
    return repeated_head(head, request, {**SCOPE, "headers": list(request.headers)}, bytes_max)


@pytest.mark.parametrize("header", [b"Content-Length: 2", b"content-length:2", b"CONTENT-LENGTH: \t 2"])
def test_the_length_may_differ_and_must_be_digits(header: bytes) -> None:
    """Names, their order and the request line stay as they were."""
    head = HEAD.replace(b"Content-Length: 2", header)
    found = _repeated(head)
    assert found is not None
    for text, length in ((b"2", 2), (b"123456789", 123_456_789), (b"007", 7)):
        other = head.replace(header, header[:-1] + text)
        match = found.match(other + b"{}")
        assert match is not None
        assert match[:2] == (len(other), length)
    for text in (b"1234567890", b"", b"-2", b"+2", b"2 ", b"2, 2", b"2\r\nContent-Length: 3", "٢".encode()):
        assert found.match(head.replace(header, header[:-1] + text)) is None


def test_values_of_fields_may_differ() -> None:
    """What a proxy says of each request is that request's own; all else is the first one's."""
    found = _repeated()
    assert found is not None
    for value in (b"192.0.2.1, 198.51.100.7", b"2001:db8::1", b"", b" \t padded \t ", b"\xe4", b"a"):
        other = HEAD.replace(b"192.0.2.1", value).replace(b"X-Request-Id:1", b"X-Request-Id:" + value)
        match = found.match(other)
        assert match is not None
        assert match[0] == len(other)
        # As h11 reads the very same head.
        assert match[2]["headers"] == list(_request(other).headers)
    match = found.match(HEAD)
    assert match is not None
    assert match[2]["headers"] == list(_request(HEAD).headers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST /", b"PUT /"),
        (b"/v1/training/ingest", b"/v1/training/ingest?a"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Host: x", b"Host: y"),
        (b"keep-alive", b"close"),
        (b"X-Request-Id:1", b"X-Request-Id: 1\r\nX-More: 1"),
        (b"X-Request-Id:1\r\n", b""),
        (b"X-Request-Id:1", b"X-Request-I:1"),
        (b"X-Request-Id:1", b"Transfer-Encoding: chunked"),
        (b"X-Request-Id:1", b"x-request-id:1"),
        (b"X-Request-Id:1", b"X-Request-Id 1"),
        (b"X-Request-Id:1", b" folded: 1"),
        (b"X-Request-Id:1", b"X-Request-Id:1\x00"),
        (b"X-Request-Id:1", b"X-Request-Id:1\x7f"),
        (b"X-Request-Id:1", b"X-Request-Id:1\nExpect: 100-continue"),
        (b"X-Request-Id:1", b"X-Request-Id:1\rExpect: 100-continue"),
        (b"X-Request-Id:1", b"X-Request-Id:" + b"a" * 1_000),
        (b"\r\n\r\n", b"\r\n"),
        (HEAD, b""),
    ],
)
def test_whatever_else_differs_is_the_parser_s(old: bytes, new: bytes) -> None:
    found = _repeated()
    assert found is not None
    other = HEAD.replace(old, new)
    assert other != HEAD
    assert found.match(other) is None


PIECES = [b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"0", b"9", b"-", b"a", b","]
PIECES += [b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff"]
NAMES = [b"Transfer-Encoding: chunked", b"Content-Length: 3", b"Expect: 100-continue", b"Connection: close", b"Host: y"]


EDITS = st.tuples(st.integers(0, len(HEAD)), st.integers(0, 12), st.sampled_from(PIECES + NAMES))
"""Where a piece is put in, and how many bytes it takes the place of."""


@settings(max_examples=500, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_what_is_taken_for_a_repetition_is_read_by_h11_in_the_same_way(edits: list[tuple[int, int, bytes]]) -> None:
    """Whatever is done to a head: it is the parser's, or both find the same request and the same length."""
    found = _repeated()
    assert found is not None
    head = HEAD
    for position, removed, inserted in edits:
        head = head[:position] + inserted + head[position + removed :]
    match = found.match(head)
    if match is None:
        return
    end, length, scope, has_id = match
    connection = StrictConnection(1_000)
    connection.receive_data(head[:end])
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (b"POST", INGEST.encode(), b"1.1")
    # The length in the scope is the first request's: the limits do not look at it.
    assert _without_length(event.headers) == _without_length(scope["headers"])
    assert int(dict(event.headers)[b"content-length"]) == length
    assert has_id == (b"x-request-id" in dict(event.headers))
    assert connection.trailing_data == (b"", False)


def _without_length(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name != b"content-length"]


async def test_each_request_counts_for_its_own_address(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """Behind a proxy the connection is the proxy's, and only the header tells whose request it is."""
    gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")  # what is accepted is given back
    async with served(requests_per_minute=2, limits_enabled=True) as server:
        client = await server.connect()
        statuses = []
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.2"):
            await client.post(INGEST, BODY, f"X-Forwarded-For: {address}\r\n")
            statuses.append((await client.answer()).status)
            await trio.testing.wait_all_tasks_blocked()
    assert statuses == [200, 200, 200, 429, 200, 429]
    assert len(in_place) == 5


def test_an_answers_head_is_written_once_a_second() -> None:
    """Its date is never older, and what differs in anything else is written for itself."""
    now, dates = 0.0, iter(range(100))
    heads = AnswerHeads(lambda: [(b"date", b"%d" % next(dates))], clock=lambda: now)
    reply = Reply(200, b"{}")
    first = heads.of(reply)
    assert first.startswith(b"HTTP/1.1 200 \r\n")
    assert b"content-length: 2\r\n" in first.lower()
    assert first.endswith(b"\r\n\r\n")
    assert heads.of(Reply(200, b"[]")) is first
    assert heads.of(Reply(200, b"{ }")) != first
    assert b"retry-after: 5" in heads.of(Reply(503, b"{}", (("Retry-After", "5"),))).lower()
    now = 1.0
    assert heads.of(reply) != first


def test_the_heads_kept_are_bounded() -> None:
    """Lengths are the clients' to choose."""
    heads = AnswerHeads(list, clock=lambda: 0.0)
    for length in range(2_000):
        heads.of(Reply(200, b" " * length))
    assert len(heads._heads) <= 256


def test_the_protocol_is_hypercorns() -> None:
    """What is overridden is still there: a new hypercorn that calls it otherwise is noticed here."""
    base = Http1Protocol.__mro__[1]
    assert base.__module__ == "hypercorn.protocol.h11"
    for name in ("handle", "_send_h11_event", "_check_protocol", "_create_stream", "_send_error_response"):
        assert name in vars(base)
    for name in ("stream_send", "_maybe_recycle", "_close_stream"):
        assert name in vars(base)
    assert "_send_error_response" in vars(HTTPStream)
    assert len(h11.Connection(h11.SERVER)._receive_buffer) == 0
