"""The server that sequences are sent to: the real application and connections, over streams in memory and a stub."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import trio
import trio.testing
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app

from actors.embedding.embedding import (
    EMBEDDING_BYTES,
    Embedded,
    Embedding,
    EmbedOutcome,
    Unavailable,
    UnavailableReason,
)
from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import InvalidPublicKey, Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import (
    Accepted,
    Busy,
    BusyReason,
    Closed,
    CloseOutcome,
    FullReason,
    IngestOutcome,
    Opened,
    OpenOutcome,
    StorageFull,
    UnknownSession,
)
from central_command.http.app import create_app
from central_command.http.connections.connection import Connection
from central_command.http.connections.server_config import hypercorn_config
from central_command.http.requests.exchange import Edge
from central_command.http.settings import HttpSettings
from tests.differential.drawn import BODY_BYTES_MAX, HEAD_BYTES_MAX, LINES_MAX, Piece
from tests.differential.scripted_stream import ScriptedStream
from tests.differential.transcripts import Transcript, answers_in
from tests.simulation.randomness import seeded_scheduling

NOON = 1_795_176_737.123
LONG_S = 36_000.0
"""Longer than any sequence takes: no time-out is part of what is compared."""
PAUSE_S = 0.7
QUIET_PAUSES = 3
"""After so many in which nothing happened nothing will: together they are longer than anything here waits for."""

HTTP = HttpSettings(
    headers_bytes_max=HEAD_BYTES_MAX,
    body_bytes_max=BODY_BYTES_MAX,
    batch_lines_max=LINES_MAX,
    requests_per_minute=9,
    embed_requests_per_minute=3,
    keep_alive_requests_max=12,
    keep_alive_s=LONG_S,
    read_timeout_s=LONG_S,
    write_timeout_s=LONG_S,
    body_timeout_s=LONG_S,
    linger_s=LONG_S,
    half_closed_s=LONG_S,
)


class StubGateway:
    """Answers by what it is asked alone, after as many turns of the event loop as that says."""

    uptime_s = 12.5
    last_full_check_at = None
    curation_lag = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    async def is_open(self, session_id: str) -> bool:
        """Most are."""
        await trio.lowlevel.checkpoint()
        return session_id != "none"

    async def ingest(self, envelope: Envelope) -> IngestOutcome:
        """Take one in, or refuse it, by its session."""
        self.asked.append(("ingest", envelope.body))
        return await self._outcome(envelope)

    async def ingest_many(self, session_id: str, envelopes: tuple[Envelope, ...]) -> tuple[IngestOutcome, ...]:
        """The same for several."""
        # The sessions of a batch are asked at the same time: their order is chance.
        self.asked.append((f"batch of {session_id}", b"\n".join(envelope.body for envelope in envelopes)))
        return tuple([await self._outcome(envelope) for envelope in envelopes])

    async def open_session(self, message: OpenSession) -> OpenOutcome:
        """Open it."""
        self.asked.append(("open", msgspec.json.encode(message)))
        await trio.lowlevel.checkpoint()
        return InvalidPublicKey("No.") if message.public_key == "none" else Opened("key")

    async def close_session(self, session_id: str) -> CloseOutcome:
        """Close it."""
        self.asked.append(("close", session_id.encode()))
        await trio.sleep(0.5 if session_id == "slow" else 0)
        return UnknownSession() if session_id == "none" else Closed(already_closed=False, credit=None)

    async def embed(self, texts: Sequence[str], *, address: str, timeout_s: float) -> EmbedOutcome:
        """Embed them."""
        self.asked.append(("embed", "|".join(texts).encode()))
        await trio.lowlevel.checkpoint()
        if "busy" in texts:
            return Unavailable(UnavailableReason.QUEUE_FULL)
        return Embedded(tuple(Embedding(bytes(EMBEDDING_BYTES), len(text)) for text in texts))

    async def _outcome(self, envelope: Envelope) -> IngestOutcome:
        digest = hashlib.sha256(envelope.body).digest()
        await trio.sleep(0.5 if envelope.session_id == "slow" else 0)
        for _ in range(digest[0] % 3):
            await trio.lowlevel.checkpoint()
        match envelope.session_id:
            case "none":
                return Refusal(RefusalCode.UNKNOWN_SESSION, "The session is not known.")
            case "busy":
                return Busy(BusyReason.MAILBOX_FULL)
            case "full":
                return StorageFull(FullReason.QUOTA)
            case "over":
                return Refusal(RefusalCode.ENVELOPE_LIMIT, "The session is full.")
            case _:
                return Accepted(f"env_{digest.hex()[:12]}")

    def readiness(self) -> Any:
        """Not asked."""
        raise NotImplementedError

    summary = daily = models = providers = leaderboard = readiness


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a request's line without its times, and any failure."""
        if record.name == "central_command.access":
            self.lines.append(record.getMessage().partition("] ")[2].rpartition(" ")[0])
        elif record.levelno >= logging.ERROR:
            self.failures.append(logging.Formatter().format(record))


class Target:
    """A server; use it for as many sequences as you like, one after the other."""

    def __init__(self) -> None:
        self._gateway = StubGateway()
        app = create_app(
            self._gateway,  # type: ignore[arg-type] # what it leaves out is not asked for
            HTTP,
            schema=SchemaSettings(),
            clock=lambda: NOON,
            embedder=self._gateway,
        )
        edge = app.asgi_app
        assert isinstance(edge, Edge)
        self._edge: Any = edge
        for budget in self._budgets():  # else the seconds that a 429 names are those that a sequence took
            budget._clock = lambda: 0.0
        self._app = wrap_app(app, 0, "asgi")
        self._config = hypercorn_config(HTTP)
        self._is_answered_in_place = edge.is_answered_in_place
        self._log = _Kept()
        self.answered_in_place = 0
        answer_in_place = edge.answer_in_place

        async def counted(*arguments: Any) -> Any:
            self.answered_in_place += 1
            return await answer_in_place(*arguments)

        self._edge.answer_in_place = counted

    def transcript(self, pieces: Sequence[Piece], *, half_closed: bool, shortcut: bool, seed: int) -> Transcript:
        """Deliver a sequence on a connection of its own and return what came of it; `seed` orders the tasks."""
        self._edge.is_answered_in_place = self._is_answered_in_place if shortcut else lambda scope: False
        for budget in self._budgets():
            budget._buckets.clear()
        for own in (self._edge.limits.sessions, self._edge.limits.browsers):
            own._known_at.clear()
        self._gateway.asked = []
        self._log.lines, self._log.failures = [], []
        with self._logging(), seeded_scheduling(seed):
            stream, closed = trio.run(
                partial(self._deliver, pieces, half_closed=half_closed), clock=trio.testing.MockClock()
            )
        answers, rest = answers_in(bytes(stream.sent))
        asked = tuple(_sorted_batches(self._gateway.asked))
        lines = tuple(sorted(self._log.lines))  # a line is written when its task gets a turn after its answer
        held = self._edge.admission.statistics()
        if held.requests_in_flight or held.bodies_bytes or held.large_bodies:
            self._log.failures.append(f"still held: {held}")
        return Transcript(answers, rest, closed, asked, lines, tuple(self._log.failures))

    def _budgets(self) -> tuple[Any, ...]:
        limits = self._edge.limits
        return limits._general, limits._embed, limits.sessions.buckets, limits.browsers.buckets

    @contextmanager
    def _logging(self) -> Iterator[None]:
        logger = logging.getLogger("central_command")
        level, propagate, handlers = logger.level, logger.propagate, logger.handlers
        logger.setLevel(logging.INFO)
        logger.propagate, logger.handlers = False, [self._log]
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers

    async def _deliver(self, pieces: Sequence[Piece], *, half_closed: bool) -> tuple[ScriptedStream, bool]:
        stream = ScriptedStream()
        connection = Connection(self._app, self._config, WorkerContext(None), stream, self._edge)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            for piece in pieces:
                stream.put(piece.data)
                if piece.pause:
                    await _pass_time(PAUSE_S if piece.pause > 1 else 0)
            if half_closed:
                stream.end()
            await self._settle(stream)
            closed = stream.has_ended
            stream.end()
            await self._settle(stream)
            if nursery.child_tasks:
                self._log.failures.append("the connection outlived its client")
                nursery.cancel_scope.cancel()
        return stream, closed

    async def _settle(self, stream: ScriptedStream) -> None:
        """Let time pass until nothing happens any more."""
        quiet = 0
        while quiet < QUIET_PAUSES:
            before = len(stream.sent), len(self._gateway.asked), stream.has_ended
            await _pass_time(PAUSE_S)
            quiet = quiet + 1 if before == (len(stream.sent), len(self._gateway.asked), stream.has_ended) else 0


async def _pass_time(seconds: float) -> None:
    """Let everything happen that can, and again after some time."""
    await trio.testing.wait_all_tasks_blocked()
    if seconds:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()


def _sorted_batches(asked: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The sessions of one batch in one order: they are asked at the same time."""
    found: list[tuple[str, bytes]] = []
    together: list[tuple[str, bytes]] = []
    for each in asked:
        if not each[0].startswith("batch"):
            found += [*sorted(together), each]
            together = []
        else:
            together.append(each)
    return found + sorted(together)
