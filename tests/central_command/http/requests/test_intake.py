"""What comes in is counted from its first byte until nobody has it any more, whatever happens in between."""

import gc
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.envelopes.reading import Envelope
from actors.sessions.outcomes import Accepted
from central_command.http.requests import exchange
from central_command.http.requests.admission import AdmissionStatistics
from central_command.http.requests.exchange import BODY_FAILED, EXCHANGE_KEY, Edge, Exchange
from central_command.http.requests.replies import BATCH_PATH, CLOSE_PATH, INGEST_PATH, Reply

OPEN_PATH = "/v1/sessions/open"
NOTHING_HELD = (0, 0, 0, 0)


def held(edge: Edge) -> tuple[int, int, int, int]:
    """What is held now."""
    found: AdmissionStatistics = edge.admission.statistics()
    return found.requests_in_flight, found.bodies_bytes, found.large_bodies, found.bodies_addresses


class Conversation:
    """One request as a server hands it on: its body in parts, then silence until it is over."""

    def __init__(self, path: str, parts: list[bytes], *, more: bool = False, address: str = "192.0.2.1") -> None:
        self.scope = cast(
            "Any",
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": path,
                "raw_path": path.encode(),
                "query_string": b"",
                "root_path": "",
                "headers": [(b"host", b"test")],
                "client": (address, 5_000),
                "server": ("127.0.0.1", 80),
                "extensions": {},
                "state": {},
            },
        )
        self.messages: Iterator[Any] = iter(
            [
                {"type": "http.request", "body": part, "more_body": more or index + 1 < len(parts)}
                for index, part in enumerate(parts)
            ]
        )
        self.statuses: list[int] = []
        self.gone = trio.Event()

    async def receive(self) -> Any:
        await trio.lowlevel.checkpoint()
        message = next(self.messages, None)
        if message is None:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])

    async def had_with(self, edge: Edge) -> list[int]:
        """Have it answered; returns the statuses of what was sent."""
        await edge(self.scope, self.receive, self.send)
        return self.statuses


class Sessions:
    """A gateway that keeps envelopes waiting for as long as it is told, as a mailbox does."""

    def __init__(self) -> None:
        self.waiting: list[Envelope] = []
        self.go_on = trio.Event()
        self.open_sessions = {"sess_1"}

    async def is_open(self, session_id: str) -> bool:
        await trio.lowlevel.checkpoint()
        return session_id in self.open_sessions

    async def ingest(self, envelope: Envelope) -> Accepted:
        self.waiting.append(envelope)
        await self.go_on.wait()
        return Accepted("env_1")

    async def ingest_many(self, _session_id: str, envelopes: tuple[Envelope, ...]) -> tuple[Accepted, ...]:
        self.waiting += envelopes
        await self.go_on.wait()
        return (Accepted("env_1"),) * len(envelopes)


def body_of(length: int) -> bytes:
    """An envelope of so many bytes."""
    start = b'{"session_id":"sess_1","x":"'
    return start + b"x" * (length - len(start) - 2) + b'"}'


@pytest.fixture
def sessions() -> Sessions:
    """What the application is built on."""
    return Sessions()


@pytest.fixture
def edge(make_app: Any, sessions: Sessions, gateway: Any) -> Edge:
    """The edge of an application with small bounds."""
    gateway.ingest, gateway.ingest_many, gateway.is_open = sessions.ingest, sessions.ingest_many, sessions.is_open
    bounds = {"body_bytes_max": 2_000, "body_bytes_hard_max": 10_000, "bodies_bytes_max": 20_000}
    return cast("Edge", make_app(**bounds).asgi_app)


@pytest.mark.parametrize("path", [INGEST_PATH, BATCH_PATH])
async def test_a_body_is_counted_while_it_waits_also_when_its_client_has_gone(
    edge: Edge, sessions: Sessions, path: str
) -> None:
    """The request is over, the envelope is not: its address holds it until it is dropped."""
    conversation = Conversation(path, [body_of(500), body_of(500)[:0]])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.had_with, edge)
        await trio.testing.wait_all_tasks_blocked()
        assert held(edge) == (1, 500, 0, 1)
        conversation.gone.set()
    assert held(edge) == (0, 500, 0, 1)
    sessions.waiting.clear()
    assert held(edge) == NOTHING_HELD


async def test_an_address_that_abandons_bodies_is_refused_and_others_are_not(edge: Edge, sessions: Sessions) -> None:
    """What waits in its name counts for it alone."""
    statuses = []
    for _ in range(20):
        conversation = Conversation(INGEST_PATH, [body_of(1_000)])
        conversation.gone.set()
        statuses += await conversation.had_with(edge)
    assert set(statuses) == {503}
    assert held(edge) == (0, 5_000, 0, 1)
    async with trio.open_nursery() as nursery:
        other = Conversation(INGEST_PATH, [body_of(1_000)], address="192.0.2.2")
        nursery.start_soon(other.had_with, edge)
        await trio.testing.wait_all_tasks_blocked()
        sessions.go_on.set()
    assert other.statuses == [200]


async def test_what_was_read_of_a_body_is_given_back_when_the_client_goes_whoever_keeps_the_request(
    edge: Edge,
) -> None:
    """A framework may keep it, in a traceback or a cycle, for as long as it likes."""
    kept: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        kept.append(scope)
        exchange: Exchange = scope[EXCHANGE_KEY]
        while (message := await receive())["type"] == "http.request":
            assert exchange.hold(len(message["body"]))
        assert held(edge) == (1, 150, 0, 1)

    edge._application = application
    conversation = Conversation(OPEN_PATH, [b"x" * 100, b"x" * 50], more=True)
    conversation.gone.set()
    assert await conversation.had_with(edge) == []
    assert len(kept) == 1
    assert held(edge) == NOTHING_HELD


async def test_a_refusal_does_not_wait_for_the_rest_of_a_body_that_has_failed(
    edge: Edge, autojump_clock: MockClock
) -> None:
    """Nothing more can come of it."""
    conversation = Conversation(INGEST_PATH, [b"{"], more=True)
    conversation.scope["headers"].append((b"content-encoding", b"gzip"))
    conversation.messages = chain(conversation.messages, [{"type": BODY_FAILED}])
    began_at = trio.current_time()
    assert await conversation.had_with(edge) == [415]
    assert trio.current_time() == began_at


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        ("http://test/health", [405]),
        ("https://test/health", [405]),
        ("ftp://test/health", [400]),
        ("http:///health", [400]),
        ("*", [400]),
        ("health", [400]),
        ("http://[/health", [400]),
    ],
)
async def test_a_target_is_a_path_or_that_of_an_address(target: str, statuses: list[int], edge: Edge) -> None:
    """RFC 9112, section 3.2: with a scheme of HTTP's and a host."""
    assert await Conversation(target, [b""]).had_with(edge) == statuses


async def test_a_websocket_is_closed_and_what_is_no_request_is_the_framework_s(edge: Edge) -> None:
    """A lifespan, for one."""
    handed_on: list[str] = []
    sent: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        handed_on.append(scope["type"])

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    edge._application = application
    for kind in ("websocket", "lifespan"):
        await edge(cast("Any", {"type": kind}), cast("Any", trio.sleep_forever), send)
    assert sent == [{"type": "websocket.close", "code": 1000, "reason": None}]
    assert handed_on == ["lifespan"]


class Noted(Conversation):
    """Notes the pieces of what is answered."""

    def __init__(self, path: str, parts: list[bytes]) -> None:
        super().__init__(path, parts)
        self.pieces: list[bytes] = []

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "http.response.body":
            self.pieces.append(message["body"])


async def test_a_session_s_envelope_over_its_bound_is_told_that_bound(edge: Edge, sessions: Sessions) -> None:
    """Not the one of all other bodies."""
    conversation = Noted(INGEST_PATH, [body_of(1_500), b" " * 1_000, b" " * 8_000])
    assert await conversation.had_with(edge) == [413]
    assert b"larger than 10000 bytes" in b"".join(conversation.pieces)


@pytest.mark.parametrize(("length", "pieces"), [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10])])
async def test_a_large_answer_is_sent_in_pieces_of_a_bound(
    length: int, pieces: list[int], edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "WRITTEN_BYTES", 10)

    async def answer(_body: Any) -> Reply:
        await trio.lowlevel.checkpoint()
        return Reply(200, b"x" * length)

    monkeypatch.setitem(cast("Any", edge.direct), INGEST_PATH, answer)
    conversation = Noted(INGEST_PATH, [body_of(40)])
    assert await conversation.had_with(edge) == [200]
    assert [len(piece) for piece in conversation.pieces] == pieces


class FailingLate(Conversation):
    """Its body stops coming, and fails while the answer to that is sent."""

    is_whole = False

    async def receive(self) -> Any:
        message = await super().receive()
        return {"type": BODY_FAILED} if message["type"] == "http.disconnect" else message

    async def send(self, message: Any) -> None:
        self.gone.set()
        await trio.testing.wait_all_tasks_blocked()
        await super().send(message)
        self.is_whole = message["type"] == "http.response.body" and not message["more_body"]


@pytest.mark.parametrize("path", [OPEN_PATH, INGEST_PATH])
async def test_a_body_that_fails_after_it_was_refused_takes_nothing_from_the_answer(
    path: str, edge: Edge, autojump_clock: MockClock
) -> None:
    conversation = FailingLate(path, [b"{"], more=True)
    assert await conversation.had_with(edge) == [408]
    assert conversation.is_whole


async def test_the_first_bytes_of_a_body_are_those_that_there_are(
    edge: Edge, sessions: Sessions, autojump_clock: MockClock
) -> None:
    """A body that has ended before its first bytes are complete is not waited for."""
    sessions.go_on.set()
    _prepare(edge, is_spent=True)
    began_at = trio.current_time()
    assert await Conversation(INGEST_PATH, [body_of(40)]).had_with(edge) == [200]
    assert trio.current_time() == began_at


async def test_a_visit_gives_back_what_it_holds_when_it_leaves(edge: Edge) -> None:
    """Not only when it is forgotten: its connection may keep it until the next request."""
    visit = edge.enter_in_place(Conversation(INGEST_PATH, []).scope, 100)
    assert visit is not None
    assert visit.hold(100)
    assert held(edge) == (1, 100, 0, 1)
    visit.leave()
    assert held(edge) == NOTHING_HELD


CASES = {
    "an envelope": (INGEST_PATH, [b"", body_of(100)[:50], body_of(100)[50:]]),
    "a batch": (BATCH_PATH, [body_of(100) + b"\n" + body_of(100)]),
    "a large envelope": (INGEST_PATH, [body_of(5_000)[:1_500], body_of(5_000)[1_500:]]),
    "a body that is too large": (BATCH_PATH, [body_of(5_000)]),
    "what nests deeply": (INGEST_PATH, [b'{"session_id":"sess_1","x":' + b"[" * 90 + b"]" * 90 + b"}"]),
    "no JSON": (INGEST_PATH, [b"{"]),
    "a close": (CLOSE_PATH, [b'{"session_id"', b':"sess_1"}']),
    "an opening": (OPEN_PATH, [b"{}"]),
}


@pytest.mark.parametrize("is_spent", [False, True], ids=["with budget", "on the session's own budget"])
@pytest.mark.parametrize("name", CASES)
async def test_nothing_is_held_after_a_cancellation_at_any_point(
    edge: Edge, sessions: Sessions, name: str, *, is_spent: bool
) -> None:
    """Every suspension is tried; what was held is given back at once, by no garbage collection."""
    path, parts = CASES[name]
    sessions.go_on.set()
    gc.collect()
    gc.disable()
    try:
        for number in range(1_000):
            _prepare(edge, is_spent=is_spent)
            conversation = Conversation(path, parts)
            done = await _cancelled_at(number, conversation, edge)
            sessions.waiting.clear()
            assert await _comes_to_nothing(edge), f"{held(edge)} is held after {number} suspensions"
            if done:
                break
        else:
            raise AssertionError("it never ends")
        assert number > 3
        assert len(conversation.statuses) == 1
    finally:
        gc.enable()
    assert held(edge) == NOTHING_HELD


async def _comes_to_nothing(edge: Edge) -> bool:
    """Whether nothing is held, at once or as soon as the thread that read a large body has let go of it."""
    for _ in range(1_000):
        if held(edge) == NOTHING_HELD:
            return True
        await trio.to_thread.run_sync(time.sleep, 0.001)
    return False


def _prepare(edge: Edge, *, is_spent: bool) -> None:
    limits = edge.limits
    limits._general._buckets.clear()
    limits.sessions.buckets._buckets.clear()
    limits.sessions._known_at.clear()
    if is_spent:
        limits.sessions.know("192.0.2.1", "sess_1")
        while limits._general.take("192.0.2.1") is None:
            pass


async def _cancelled_at(number: int, conversation: Conversation, edge: Edge) -> bool:
    """Cancel the request when its tasks have been suspended so many times; True when it ended before."""
    left = number

    class Counting(trio.abc.Instrument):
        def after_task_step(self, _task: trio.lowlevel.Task) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                scope.cancel()

    counting = Counting()
    with trio.CancelScope() as scope:
        trio.lowlevel.add_instrument(counting)
        try:
            await conversation.had_with(edge)
        finally:
            trio.lowlevel.remove_instrument(counting)
    return not scope.cancelled_caught
