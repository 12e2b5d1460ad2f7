"""`POST /v1/training/ingest/batch`: each line is answered as if it had come alone, in order, as soon as can be."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, cast

import msgspec
import pytest
import trio
from quart_trio import QuartTrio

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from actors.sessions.outcomes import Accepted, ActorFailed, Busy, BusyReason, FullReason, IngestOutcome, StorageFull
from central_command.http.app import create_app
from central_command.http.endpoints.batch import ENVELOPE_BYTES, TURN_BYTES, BatchEndpoint
from central_command.http.endpoints.ingest import EnvelopeIntake, EnvelopeReader
from central_command.http.requests.direct import ReceivedBody
from central_command.http.requests.limits import FREE, Charge
from central_command.http.requests.replies import HttpProblem, Replies, refusal, result_line
from central_command.http.requests.request_figures import RequestFigures
from central_command.http.settings import HttpSettings
from tests.running_service import running
from tests.signing_client import SigningClient

PATH = "/v1/training/ingest/batch"
SINGLE = "/v1/training/ingest"
NDJSON = "application/x-ndjson"
OUTCOMES: list[IngestOutcome] = [
    Accepted("env_1"),
    Accepted("env_1", duplicate=True),
    *(Refusal(code, "Because.") for code in RefusalCode),
    *(Busy(reason) for reason in BusyReason),
    *(StorageFull(reason) for reason in FullReason),
    ActorFailed(),
]


def envelope(number: int, session_id: str = "sess_1") -> bytes:
    return b'{"session_id":"%s","chunk_sequence":%d}' % (session_id.encode(), number)


async def results(answer: Any) -> list[dict[str, Any]]:
    """The lines of an answer, all of them whole."""
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == NDJSON
    text = await answer.get_data()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


async def test_the_result_of_a_line_is_the_answer_to_it_alone_and_its_status(client: Any, gateway: Any) -> None:
    """Whatever comes of it; `Retry-After` becomes a member."""
    for outcome in OUTCOMES:
        gateway.ingesting = outcome
        alone = await client.post(SINGLE, data=envelope(0))
        [found] = await results(await client.post(PATH, data=envelope(0)))
        expected = {**(await alone.get_json()), "status": alone.status_code}
        if "Retry-After" in alone.headers:
            expected["retry_after"] = int(alone.headers["Retry-After"])
        assert found == expected


async def test_envelopes_of_one_session_go_together_and_in_order(client: Any, gateway: Any) -> None:
    """Also when those of others stand between them; each answer is on its own line."""

    async def ingest_many(session_id: str, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        gateway.asked.append((session_id, [each.body for each in envelopes]))
        return tuple(Accepted(f"{session_id} {each.body[-2:-1].decode()}") for each in envelopes)

    gateway.ingest_many = ingest_many
    order = [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("b", 1), ("a", 2)]
    body = b"\n".join(envelope(number, session) for session, number in order)
    found = await results(await client.post(PATH, data=body))
    assert [each["envelope_id"] for each in found] == [f"{session} {number}" for session, number in order]
    assert sorted(gateway.asked) == [
        ("a", [envelope(n, "a") for n in range(3)]),
        ("b", [envelope(n, "b") for n in range(2)]),
        ("c", [envelope(0, "c")]),
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "invalid_json"),
        (b"   ", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xef\xbb\xbf{}", "byte_order_mark"),
        (b'{"session_id":"\xff"}', "invalid_utf8"),
        (b'{"session_id":NaN}', "not_a_number"),
        (b"[]", "not_an_object"),
        (b"{}", "missing_session_id"),
        (b'{"session_id":"a","session_id":"b"}', "duplicate_member"),
        (b'{"session_id":"a","x":' + b"[" * 100 + b"]" * 100 + b"}", "nesting_too_deep"),
        (b'{"session_id":"a"' + b"".join(b',"%d":0' % n for n in range(64)) + b"}", "too_many_members"),
        (b'{"session_id":"a b"}', "unknown_session"),
    ],
)
@pytest.mark.parametrize("place", range(3))
async def test_a_line_that_is_no_envelope_is_refused_and_the_others_are_not(
    line: bytes, code: str, place: int, client: Any, gateway: Any
) -> None:
    """At the beginning, in the middle and at the end; a last line that is empty counts when its end is there."""
    lines = [envelope(0), envelope(1)]
    lines.insert(place, line)
    found = await results(await client.post(PATH, data=b"\n".join(lines) + b"\n"))
    alone = await (await client.post(SINGLE, data=line)).get_json()
    assert found.pop(place) == {**alone, "status": 200 if code == "unknown_session" else 400}
    assert alone["code"] == code
    assert [each["accepted"] for each in found] == [True, True]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("separator", [b"\n", b"\r\n"])
async def test_lines_may_end_in_cr_lf_and_the_last_one_in_nothing(
    separator: bytes, end: bytes, client: Any, gateway: Any
) -> None:
    """The carriage return is no part of what was signed."""
    found = await results(await client.post(PATH, data=separator.join([envelope(0), envelope(1)]) + end))
    assert len(found) == 2
    [(_, (_, envelopes))] = gateway.asked
    assert [each.body for each in envelopes] == [envelope(0), envelope(1)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_batch"),
        (b"\n".join([envelope(0)] * 65), "too_many_lines"),
        (b"\n".join([envelope(0)] * 65) + b"\n", "too_many_lines"),
        (b"\n" * 65, "too_many_lines"),
        (b"\n" * 1_000_000, "too_many_lines"),
        (b"\n".join([envelope(0)] * 64) + b"\n\r\n", "too_many_lines"),
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(body: bytes, code: str, client: Any, gateway: Any) -> None:
    """One sentence and a code, and nothing is passed on."""
    answer = await client.post(PATH, data=body)
    assert answer.status_code == 400
    refusal = await answer.get_json()
    assert (refusal["accepted"], refusal["code"]) == (False, code)
    assert refusal["reason"]
    assert gateway.asked == []


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_as_many_lines_as_are_allowed_are_taken(end: bytes, client: Any) -> None:
    """64, however the last one ends."""
    body = b"\n".join([envelope(number) for number in range(64)]) + end
    assert len(await results(await client.post(PATH, data=body))) == 64


async def test_the_number_of_lines_is_a_setting(make_app: Callable[..., QuartTrio]) -> None:
    """`http.batch_lines_max`."""
    client: Any = make_app(batch_lines_max=2).test_client()
    assert len(await results(await client.post(PATH, data=b"\n".join([envelope(0)] * 2)))) == 2
    assert (await client.post(PATH, data=b"\n".join([envelope(0)] * 3))).status_code == 400


async def test_a_batch_may_be_as_large_as_any_body(client: Any, make_app: Callable[..., QuartTrio]) -> None:
    """5 MB in lines; one byte more is 413 and not passed on."""
    length = 5_242_880
    lines = [b'{"session_id":"sess_%d","x":"' % number for number in range(64)]
    room = (length - sum(map(len, lines)) - 64 * 2 - 63) // 64
    body = b"\n".join(line + b"x" * room + b'"}' for line in lines)
    body += b" " * (length - len(body))
    assert len(body) == length
    assert len(await results(await client.post(PATH, data=body))) == 64
    answer = await client.post(PATH, data=body + b" ")
    assert (answer.status_code, (await answer.get_json())["code"]) == (413, "body_too_large")


async def test_what_is_wrong_as_http_is_answered_as_on_ingest(client: Any, gateway: Any) -> None:
    """415, 405 and OPTIONS."""
    answer = await client.post(PATH, data=envelope(0), headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, (await answer.get_json())["code"]) == (415, "unsupported_encoding")
    answer = await client.get(PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")
    assert (await answer.get_json())["code"] == "method_not_allowed"
    assert (await client.options(PATH)).status_code == 204
    assert gateway.asked == []


async def test_each_line_counts_against_the_budget_of_its_address(
    make_app: Callable[..., QuartTrio], gateway: Any
) -> None:
    """Lines past it get the 429 that they would have got alone, and are not passed on; then the request itself does."""
    gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")  # what is accepted is given back
    client: Any = make_app(requests_per_minute=5).test_client()
    found = await results(await client.post(PATH, data=b"\n".join([envelope(n) for n in range(3)])))
    assert [each["status"] for each in found] == [200] * 3
    found = await results(await client.post(PATH, data=b"\n".join([envelope(n) for n in range(4)])))
    assert [each["status"] for each in found] == [200, 200, 429, 429]
    assert found[2]["code"] == "rate_limited"
    assert found[2]["retry_after"] == found[2]["retryAfter"] >= 1
    [_, (_, (_, envelopes))] = gateway.asked
    assert [each.body for each in envelopes] == [envelope(0), envelope(1)]
    answer = await client.post(PATH, data=envelope(0))
    assert (answer.status_code, (await answer.get_json())["code"]) == (429, "rate_limited")
    assert (await client.post(SINGLE, data=envelope(0))).status_code == 429


async def test_a_budget_that_comes_back_in_the_middle_is_not_used(gateway: Any) -> None:
    """A later envelope of the same session would be told that its sequence is wrong, which is final."""

    class ChargeAgain(Charge):
        left: ClassVar = [HttpProblem(429, "rate_limited", "Too many.", retry_after_s=1), FREE, FREE]

        def another(self, _session_id: str | None) -> Charge | HttpProblem:
            return cast("Charge | HttpProblem", self.left.pop(0))

    written = b""

    async def write(piece: bytes, *, more: bool) -> None:
        nonlocal written
        await trio.lowlevel.checkpoint()
        written += piece

    settings, read = HttpSettings(), EnvelopeReader(SchemaSettings(), lambda: 0.0)
    intake = EnvelopeIntake(gateway, read, inline_bytes_max=settings.body_bytes_max)
    endpoint = BatchEndpoint(gateway, Replies(settings), settings, intake, RequestFigures())
    body = b"\n".join([envelope(n) for n in range(4)])
    await endpoint(write, ReceivedBody(body, "192.0.2.1", charge=ChargeAgain(None, "", None, "")))
    assert [json.loads(line)["status"] for line in written.splitlines()] == [200, 429, 429, 429]


async def test_what_is_no_batch_counts_once(make_app: Callable[..., QuartTrio]) -> None:
    """Nobody may send 5 MB of nothing for free."""
    client: Any = make_app(requests_per_minute=2).test_client()
    assert [(await client.post(PATH, data=b"")).status_code for _ in range(3)] == [400, 400, 429]


async def test_a_fault_below_is_that_sessions_alone(
    client: Any, gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """500 on its lines, which says nothing about itself; the others are answered."""

    async def ingest_many(session_id: str, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        await trio.lowlevel.checkpoint()
        if session_id == "a":
            raise RuntimeError("secret")
        return (Accepted("env_1"),) * len(envelopes)

    gateway.ingest_many = ingest_many
    body = b"\n".join([envelope(0, "a"), envelope(0, "b"), envelope(1, "a")])
    found = await results(await client.post(PATH, data=body))
    assert [(each["status"], each.get("code")) for each in found] == [
        (500, "internal_error"),
        (200, None),
        (500, "internal_error"),
    ]
    assert "secret" not in json.dumps(found)
    assert "secret" in caplog.text


# Served

Serve = Callable[..., AbstractAsyncContextManager[Any]]


class Chunks:
    """Reads a chunked answer piece by piece."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = b""

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`, with it."""
        while end not in self._received:
            piece = await self._stream.receive_some(65_536)
            assert piece, self._received
            self._received += piece
        found, _, self._received = self._received.partition(end)
        return found + end

    async def head(self) -> bytes:
        return (await self.until(b"\r\n\r\n")).lower()

    async def chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        size = int(await self.until(b"\r\n"), 16)
        while len(self._received) < size + 2:
            piece = await self._stream.receive_some(65_536)
            assert piece
            self._received += piece
        found, self._received = self._received[:size], self._received[size + 2 :]
        return found


class Gates:
    """A gateway's `ingest_many` that answers a session once its gate is open."""

    def __init__(self) -> None:
        self._opened: dict[str, trio.Event] = {}
        self._asked: dict[str, trio.Event] = {}
        self._at_work = 0
        self.all_ended = trio.Event()

    def of(self, session_id: str) -> trio.Event:
        return self._opened.setdefault(session_id, trio.Event())

    async def asked(self, session_id: str) -> None:
        """Return once the session was asked."""
        await self._asked.setdefault(session_id, trio.Event()).wait()

    async def ingest_many(self, session_id: str, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        self._asked.setdefault(session_id, trio.Event()).set()
        self._at_work += 1
        try:
            await self.of(session_id).wait()
        finally:
            self._at_work -= 1
            if not self._at_work:
                self.all_ended.set()
        return tuple(Accepted(session_id) for _ in envelopes)


async def test_a_result_is_sent_while_a_later_session_is_still_at_work(served: Serve, gateway: Any) -> None:
    """In order: what is ready behind one that is not waits for it, and then comes with it."""
    gates = Gates()
    gateway.ingest_many = gates.ingest_many
    async with served() as server:
        client = await server.connect()
        await client.post(PATH, b"\n".join([envelope(0, each) for each in ("a", "b", "c")]))
        answer = Chunks(client.stream)
        gates.of("a").set()
        head = await answer.head()
        assert head.startswith(b"http/1.1 200")
        assert b"content-type: application/x-ndjson" in head
        assert b"access-control-allow-origin: *" in head
        assert json.loads(await answer.chunk())["envelope_id"] == "a"
        gates.of("c").set()
        await trio.testing.wait_all_tasks_blocked()
        gates.of("b").set()
        rest = await answer.chunk()
        assert [json.loads(line)["envelope_id"] for line in rest.splitlines()] == ["b", "c"]
        assert await answer.chunk() == b""
        await client.get("/health")
        assert (await client.answer()).status == 200


async def whole_answer(answer: Chunks) -> tuple[list[bytes], list[str]]:
    """An answer's head, line by line, with neither date nor drawn id, and the sessions that its results name."""
    lines = [re.sub(rb"\A(x-request-id: )[0-9a-f]{24}\Z", rb"\1", line) for line in (await answer.head()).splitlines()]
    head = [line for line in lines if not line.startswith(b"date")]
    assert b"x-request-id: " in head
    text = b""
    while piece := await answer.chunk():
        text += piece
    return head, [json.loads(line)["envelope_id"] for line in text.splitlines()]


async def test_batches_after_the_first_are_answered_alike_and_in_place(
    served: Serve, gateway: Any, in_place: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """By the connection itself (`connections.http1`): the same head, the same pieces, the same line."""
    caplog.set_level("INFO", logger="central_command.access")
    gates = Gates()
    gateway.ingest_many = gates.ingest_many
    for session_id in "abc":
        gates.of(session_id).set()
    async with served() as server:
        client = await server.connect()
        answer = Chunks(client.stream)
        body = b"\n".join([envelope(0, each) for each in ("a", "b", "c")])
        await client.post(PATH, body)
        first = await whole_answer(answer)
        await trio.testing.wait_all_tasks_blocked()
        await client.post(PATH, body)
        assert await whole_answer(answer) == first
        assert first[1] == ["a", "b", "c"]
        # A piece at a time, as they become known.
        await client.post(PATH, b"\n".join([envelope(0, each) for each in ("a", "d", "b")]))
        await answer.head()
        assert json.loads(await answer.chunk())["envelope_id"] == "a"
        gates.of("d").set()
        assert [json.loads(line)["envelope_id"] for line in (await answer.chunk()).splitlines()] == ["d", "b"]
        assert await answer.chunk() == b""
        await client.post(PATH, b"")
        assert (await client.answer()).json["code"] == "empty_batch"
        await client.get("/health")
        assert (await client.answer()).status == 200
    assert len(in_place) == 3
    lines = [record.getMessage().partition("] ")[2].rpartition(" ")[0] for record in caplog.records]
    assert lines == [*[f"POST {PATH} 200"] * 3, f"POST {PATH} 400", "GET /health 200"]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_fault_in_place_is_seen_by_the_client(
    served: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, begun: bool
) -> None:
    """As 500, or, once the answer has begun, as one that never ends."""
    async with served() as server:
        client = await server.connect()
        answer = Chunks(client.stream)
        await client.post(PATH, envelope(0))
        await whole_answer(answer)
        await trio.testing.wait_all_tasks_blocked()

        async def failing(_endpoint: BatchEndpoint, write: Any, _received: ReceivedBody) -> None:
            if begun:
                await write(b"{}\n", more=True)
            raise RuntimeError("inside")

        monkeypatch.setattr(BatchEndpoint, "__call__", failing)
        await client.post(PATH, envelope(0))
        if begun:
            assert (await client.read_to_end()).endswith(b"\r\n\r\n3\r\n{}\n\r\n")
        else:
            found = await client.answer()
            assert (found.status, found.json["code"]) == (500, "internal_error")
    assert "inside" in caplog.text


async def test_the_bytes_and_the_request_are_counted_until_the_last_result(served: Serve, gateway: Any) -> None:
    """A second batch for which there is no memory is 503; once the first is answered it is taken."""
    gates = Gates()
    gateway.ingest_many = gates.ingest_many
    body = envelope(0, "a")
    async with served(bodies_bytes_max=len(body) + 10, body_bytes_max=len(body) + 5) as server:
        first, second = await server.connect(), await server.connect()
        await first.post(PATH, body)
        await gates.asked("a")
        await second.post(PATH, body)
        refused = await second.answer()
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        gates.of("a").set()
        answer = Chunks(first.stream)
        await answer.head()
        while await answer.chunk():
            pass
        # The last byte may be here before the server has let go of the request.
        status = 503
        while status == 503:
            await second.post(SINGLE, body)
            status = (await second.answer()).status
        assert status == 200


async def test_a_client_that_goes_away_ends_the_waiting(served: Serve, gateway: Any) -> None:
    """Nobody waits for answers that nobody reads; what the sessions do is theirs."""
    gates = Gates()
    gateway.ingest_many = gates.ingest_many
    async with served() as server:
        client = await server.connect()
        await client.post(PATH, b"\n".join([envelope(0, "a"), envelope(0, "b")]))
        with trio.fail_after(10):
            await gates.asked("a")
            await gates.asked("b")
            await client.stream.aclose()
            await gates.all_ended.wait()


async def test_http_1_0_gets_the_lines_until_the_end_of_the_connection(served: Serve) -> None:
    """It knows no chunks."""
    async with served() as server:
        client = await server.connect()
        body = b"\n".join([envelope(0, "a"), envelope(0, "b")])
        await client.send(b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body)
        head, _, text = (await client.read_to_end()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert [json.loads(line)["status"] for line in text.splitlines()] == [200, 200]


# Above the real service


@asynccontextmanager
async def whole_service(root: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The application on the running service, and a client of it."""
    async with running(root) as run:
        http = HttpSettings(limits_enabled=False)
        app = create_app(run.service, http, schema=SchemaSettings(), clock=run.clock)
        yield run, app.test_client()


async def test_sessions_that_are_interleaved_are_each_taken_in_order(tmp_path: Any) -> None:
    """Three sessions, ten chunks each, in turn; then all of it again."""
    async with whole_service(tmp_path) as (run, client):
        clients: list[SigningClient] = [await run.open(f"sess_{n}") for n in range(3)]
        body = b"\n".join(each.chunk() for _ in range(10) for each in clients)
        first = await results(await client.post(PATH, data=body))
        assert [each["accepted"] for each in first] == [True] * 30
        assert len({each["envelope_id"] for each in first}) == 30
        again = await results(await client.post(PATH, data=body))
        assert again == [{**each, "duplicate": True} for each in first]


async def test_crlf_and_a_wrong_line_between_signed_ones(tmp_path: Any) -> None:
    """What is no JSON takes no sequence number, so the rest goes on."""
    async with whole_service(tmp_path) as (run, client):
        signing = await run.open()
        body = b"\r\n".join([signing.chunk(), b"no", b'{"session_id":"\xff"}', signing.chunk(), b"", signing.close()])
        found = await results(await client.post(PATH, data=body))
        assert [each["status"] for each in found] == [200, 400, 400, 200, 400, 200]


async def test_a_large_batch_leaves_the_loop_to_others(make_app: Callable[..., QuartTrio], gateway: Any) -> None:
    """While 5 MB are read, others get their turn about every 128 KiB."""
    turns_at_ingest: list[int] = []
    turns = 0

    async def ingest_many(_session_id: str, envelopes: Sequence[Envelope]) -> tuple[IngestOutcome, ...]:
        turns_at_ingest.append(turns)
        await trio.lowlevel.checkpoint()
        return (Accepted("env_1"),) * len(envelopes)

    async def wait(awaited: Callable[[], Awaitable[Any]], done: trio.Event) -> None:
        assert len(await results(await awaited())) == 50
        done.set()

    gateway.ingest_many = ingest_many
    client: Any = make_app().test_client()
    line = b'{"session_id":"a","x":"' + b"x" * 100_000 + b'"}'
    done = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, lambda: client.post(PATH, data=b"\n".join([line] * 50)), done)
        while not done.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()
    assert turns_at_ingest[0] >= 5_000_000 // 131_072 - 2


@pytest.mark.parametrize("size_bytes", [1_000, 20_000])
async def test_many_batches_leave_the_loop_to_others(size_bytes: int, gateway: Any) -> None:
    """In a turn of the event loop no more than one of them is read, but for the beginning of each."""

    class Turns(trio.abc.Instrument):
        number = 0

        def after_io_wait(self, timeout: float) -> None:
            self.number += 1

    turns = Turns()
    bytes_by_turn: Counter[int] = Counter()
    reader = EnvelopeReader(SchemaSettings(), lambda: 0.0)

    def read(text: bytes, permit: Any = None, *, deep: bool = False) -> Envelope | Refusal:
        bytes_by_turn[turns.number] += len(text) + ENVELOPE_BYTES
        return reader(text, permit, deep=deep)

    async def write(_piece: bytes, *, more: bool) -> None:
        await trio.lowlevel.checkpoint()

    settings = HttpSettings()
    intake = EnvelopeIntake(gateway, cast("EnvelopeReader", read), inline_bytes_max=settings.body_bytes_max)
    endpoint = BatchEndpoint(gateway, Replies(settings), settings, intake, RequestFigures())
    line = b'{"session_id":"a","x":"' + b"x" * size_bytes + b'"}'
    body = b"\n".join([line] * 60)
    trio.lowlevel.add_instrument(turns)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(endpoint, write, ReceivedBody(body, "192.0.2.1"))
    finally:
        trio.lowlevel.remove_instrument(turns)
    first, *later = [count for _, count in sorted(bytes_by_turn.items())]
    assert sum(bytes_by_turn.values()) == 5 * 60 * (len(line) + ENVELOPE_BYTES)
    assert first <= 5 * TURN_BYTES
    assert max(later) <= TURN_BYTES


def test_a_result_is_one_line() -> None:
    """Whatever text a reason quotes: line breaks in it are escaped."""
    line = result_line(refusal(400, "a\nb\r\u2028c", "invalid_json"))
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert msgspec.json.decode(line)["reason"] == "a\nb\r\u2028c"
