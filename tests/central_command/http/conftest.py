"""A gateway that answers what a test wants, the application on it, and a raw connection to a served application."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from quart_trio import QuartTrio

from actors.consent.register import NotSigned, SayOutcome
from actors.consent.signatures import RequestProof
from actors.envelopes.reading import Envelope
from actors.envelopes.settings import SchemaSettings
from actors.erasure.job import Report, TooManyErasures
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Closed, CloseOutcome, IngestOutcome, Opened, OpenOutcome
from central_command.http.app import create_app
from central_command.http.connections.server import serve
from central_command.http.connections.server_config import hypercorn_config
from central_command.http.gateway import CurationLag, Readiness
from central_command.http.requests.exchange import Edge
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from persistence.databases.reports import DayReport, LeaderboardEntry, ModelReport, ProviderReport, Summary
from persistence.journals.erasure_register import Erasure, ErasureSubject

NOON = 1_795_176_737.123  # 2026-11-20T12:12:17.123Z
NO_TLS: Any = None


def noted(envelope: Envelope) -> Envelope:
    """An envelope to keep: without its permit, which counts memory for as long as it is kept."""
    return msgspec.structs.replace(envelope, permit=None)


OPENING = {
    "session_id": "sess_6f1c",
    "public_key": "BHk+/w==",
    "provider": "claude-code",
    "model": "claude-opus-4-6",
    "machine_fingerprint": "ab" * 32,
    "app_version_hash": "cd" * 32,
    "groove_version": "0.27.113",
}
"""What opens a session."""


class FakeGateway:
    """Satisfies `Gateway`: notes what it was asked and answers with the outcome set on it, or raises it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.opening: OpenOutcome | BaseException = Opened("server-key")
        self.ingesting: IngestOutcome | BaseException = Accepted("env_1")
        self.closing: CloseOutcome | BaseException = Closed(already_closed=False, credit=None)
        self.erasing: Report | TooManyErasures | NotSigned = Report(
            erasure=Erasure(
                request="er_0123456789abcdef",
                subject=ErasureSubject.CONTRIBUTOR,
                sha256="0" * 64,
                requested_at="2026-11-20T12:12:17.123000Z",
            )
        )
        self.open_sessions: set[str] = set()
        self.blocked: trio.Event | None = None
        self.entered = trio.Event()
        self.stalls: dict[str, float] = {}
        self.ready = Readiness(ready=True, checks={"journal": "ok"})

    async def open_session(self, message: OpenSession) -> OpenOutcome:
        return await self._answer("open", message, self.opening)

    async def is_open(self, session_id: str) -> bool:
        await trio.lowlevel.checkpoint()
        return session_id in self.open_sessions

    async def ingest(self, envelope: Envelope) -> IngestOutcome:
        return await self._answer("ingest", noted(envelope), self.ingesting)

    async def ingest_many(self, session_id: str, envelopes: tuple[Envelope, ...]) -> tuple[IngestOutcome, ...]:
        outcome = await self._answer("ingest_many", (session_id, tuple(map(noted, envelopes))), self.ingesting)
        return (outcome,) * len(envelopes)

    async def close_session(self, session_id: str) -> CloseOutcome:
        return await self._answer("close", session_id, self.closing)

    async def erase_contributor(
        self, contributor_id: str, proof: RequestProof | None
    ) -> Report | TooManyErasures | NotSigned:
        outcome: Report | TooManyErasures | NotSigned = await self._answer(
            "erase", (contributor_id, proof), self.erasing
        )
        return outcome

    async def erase_user(self, user_id: str) -> Report | TooManyErasures | SayOutcome:
        outcome: Report | TooManyErasures = await self._answer("erase user", user_id, self.erasing)
        return outcome

    def erasure(self, request: str) -> Report | None:
        report = self.erasing if isinstance(self.erasing, Report) else None
        return report if report is not None and report.erasure.request == request else None

    async def summary(self) -> Summary:
        return Summary(
            total_envelopes=1,
            total_steps=2,
            total_sessions=3,
            active_sessions=4,
            unique_contributors=5,
            storage_size_mb=0.25,
            total_points_awarded=6.5,
            unused_sessions=1,
            refused_size_mb=0.5,
            refused_quota_mb=4768.37,
            refused_without_body=2,
            refused_days_dropped=3,
        )

    async def daily(self, days: int) -> list[DayReport]:
        return [DayReport(date=f"day {n}", envelopes=1, steps=2, sessions=3, points=4.0) for n in range(days)]

    async def models(self) -> dict[str, ModelReport]:
        return {"o3": ModelReport(sessions=1, steps=2, points=3.0, percentage=100.0)}

    async def providers(self) -> dict[str, ProviderReport]:
        return {"codex": ProviderReport(sessions=1, steps=2, points=3.0)}

    async def leaderboard(self, limit: int) -> list[LeaderboardEntry]:
        return [LeaderboardEntry(contributor_id=f"{n:08}", total_points=1.0, total_sessions=1) for n in range(limit)]

    def readiness(self) -> Readiness:
        return self.ready

    def stalled(self) -> dict[str, float]:
        return self.stalls

    @property
    def last_full_check_at(self) -> float | None:
        return 1_795_176_000.5

    @property
    def curation_lag(self) -> CurationLag | None:
        return CurationLag(trajectories=2, texts=1, seconds=0.5)

    @property
    def uptime_s(self) -> float:
        return 12.5

    async def _answer(self, what: str, message: Any, outcome: Any) -> Any:
        self.asked.append((what, message))
        self.entered.set()
        if self.blocked is not None:
            await self.blocked.wait()
        await trio.lowlevel.checkpoint()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Answer(msgspec.Struct):
    """An answer read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """Speaks HTTP/1.1 byte by byte, so that a test can do what no client library would."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def post(self, path: str, body: bytes, headers: str = "") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.send(head.encode() + body)

    async def get(self, path: str, headers: str = "") -> None:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())

    async def answer_head(self) -> str:
        """The head of what comes next, if that is an answer without a body."""
        return (await self.read_until(b"\r\n\r\n")).decode()

    async def answer(self) -> Answer:
        head = await self.read_until(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            await self._read_more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(int(status_line.split()[1]), headers, body)

    async def read_to_end(self) -> bytes:
        """What else comes until the server closes; a reset counts as closing."""
        try:
            while data := await self.stream.receive_some(65_536):
                self._buffer += data
        except trio.BrokenResourceError:
            pass
        return self._buffer

    async def read_until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._read_more()
        head, _, self._buffer = self._buffer.partition(end)
        return head

    async def _read_more(self) -> None:
        data = await self.stream.receive_some(65_536)
        assert data, f"the server closed the connection after {self._buffer!r}"
        self._buffer += data


class Served:
    """A served application: where it listens, and how to end it."""

    def __init__(self, shutdown: trio.Event, app: QuartTrio) -> None:
        self.app = app
        self.url = ""
        self.shutdown = shutdown
        self.ended = trio.Event()
        self.streams: list[trio.abc.Stream] = []

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def run(self, start: Callable[..., Awaitable[None]], *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(start)
            task_status.started(url)
        self.ended.set()

    async def connect(self, ssl_context: Any = NO_TLS) -> RawClient:
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_hostname="localhost", https_compatible=True)
        return RawClient(stream)


@pytest.fixture
def gateway() -> FakeGateway:
    """What the application is built on."""
    return FakeGateway()


@pytest.fixture
def make_app(gateway: FakeGateway) -> Callable[..., QuartTrio]:
    """Builds the application with the settings given."""

    def make(*, embedder: Any = None, **settings: Any) -> QuartTrio:
        http = HttpSettings(**settings)
        return create_app(gateway, http, schema=SchemaSettings(), clock=lambda: NOON, embedder=embedder)

    return make


@pytest.fixture
def client(make_app: Callable[..., QuartTrio]) -> Any:
    """A client of the application with its default settings."""
    return make_app().test_client()


@pytest.fixture
def served(gateway: FakeGateway) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Serves the application on a free port of the loopback, with the settings given."""

    @asynccontextmanager
    async def run(*, pages: Any = None, **settings: Any) -> AsyncIterator[Served]:
        http = HttpSettings(host="127.0.0.1", port=0, **settings)
        app = create_app(gateway, http, schema=SchemaSettings(), clock=lambda: NOON, pages=pages)
        shutdown = trio.Event()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                start = partial(serve, app, hypercorn_config(http), shutdown_trigger=shutdown.wait)
                server = Served(shutdown, app)
                server.url = await nursery.start(server.run, start)
                try:
                    yield server
                finally:
                    for stream in server.streams:
                        await trio.aclose_forcefully(stream)
                shutdown.set()

    return run


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were answered in place, in order."""
    bodies: list[bytes] = []
    answer = Edge.answer_in_place

    async def answer_noted(edge: Edge, visit: Any, body: bytes, write: Any) -> Reply | None:
        bodies.append(body)
        return await answer(edge, visit, body, write)

    monkeypatch.setattr(Edge, "answer_in_place", answer_noted)
    return bodies
