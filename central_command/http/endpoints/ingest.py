"""`POST /v1/training/ingest`: envelopes come in (contract, section 3)."""

from collections.abc import Callable, Iterable
from functools import partial

import trio
from msgspec import structs
from quart import Blueprint, Response

from actors.envelopes.chunk_reading import ChunkReader
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from actors.sessions.outcomes import Accepted, IngestOutcome
from central_command.http.gateway import Gateway
from central_command.http.requests.admission import BodyPermit
from central_command.http.requests.direct import DirectEndpoint, ReceivedBody
from central_command.http.requests.first_bytes import SESSION_ID, session_in
from central_command.http.requests.limits import Charge
from central_command.http.requests.replies import UNKNOWN_SESSION, Replies, Reply

_UNKNOWN = Refusal(RefusalCode.UNKNOWN_SESSION, UNKNOWN_SESSION)


class EnvelopeReader:
    """Reads one envelope's text; `schema` bounds how deep and how wide it may be, `clock` is for its steps' age."""

    def __init__(self, schema: SchemaSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.reconfigure(schema)

    def reconfigure(self, schema: SchemaSettings) -> None:
        """Read what comes from now on within other bounds."""
        self._schema = schema
        self._known = ChunkReader(schema, self._clock)

    def __call__(self, text: bytes, permit: BodyPermit | None = None, *, deep: bool = False) -> Envelope | Refusal:
        """The envelope, or why it is none that a session could take; it carries the permit of its memory.

        `deep` is for what comes from a session that is open: it may nest down to `nesting_hard_max`.
        """
        envelope = self._known(text, permit) or self._read(text, permit, deep=deep)
        if isinstance(envelope, Envelope) and not SESSION_ID.fullmatch(envelope.session_id):
            return _UNKNOWN
        return envelope

    def _read(self, text: bytes, permit: BodyPermit | None, *, deep: bool) -> Envelope | Refusal:
        limits = self._schema
        nesting_max = limits.nesting_hard_max if deep else limits.nesting_max
        return read_envelope(text, nesting_max=nesting_max, members_max=limits.members_max, permit=permit)


class EnvelopeIntake:
    """Reads envelopes with what is only known by asking: whether a session is open, so that its own is not lost.

    A text of more than `inline_bytes_max` is read in a thread, one at a time, so that others get their turn.
    """

    def __init__(self, gateway: Gateway, read: EnvelopeReader, *, inline_bytes_max: int) -> None:
        self._gateway = gateway
        self._read = read
        self._inline_bytes_max = inline_bytes_max
        self._large = trio.CapacityLimiter(1)

    async def __call__(self, text: bytes, permit: BodyPermit | None) -> Envelope | Refusal:
        """The envelope, or why it is none that a session could take."""
        if len(text) <= self._inline_bytes_max:
            envelope = self._read(text, permit)
        else:
            envelope = await self._in_thread(text, permit)
        if (
            isinstance(envelope, Refusal)
            and envelope.code is RefusalCode.NESTING_TOO_DEEP
            and (session_id := session_in(text)) is not None
            and await self._gateway.is_open(session_id)
        ):
            if len(text) <= self._inline_bytes_max:
                return self._read(text, permit, deep=True)
            return await self._in_thread(text, permit, deep=True)
        return envelope

    async def _in_thread(self, text: bytes, permit: BodyPermit | None, *, deep: bool = False) -> Envelope | Refusal:
        # Without the permit: the thread may have the last reference for a moment after the answer is there.
        envelope = await trio.to_thread.run_sync(partial(self._read, text, deep=deep), limiter=self._large)
        return structs.replace(envelope, permit=permit) if isinstance(envelope, Envelope) else envelope


def settle(charge: Charge, session_id: str, outcome: IngestOutcome) -> None:
    """Give back what an accepted envelope cost. A resend of one costs: no bound of its session counts it."""
    if isinstance(outcome, Accepted) and not outcome.duplicate:
        charge.accepted(session_id)


def ingest_endpoint(gateway: Gateway, replies: Replies, read: EnvelopeIntake) -> DirectEndpoint:
    """What answers an envelope."""

    async def ingest(received: ReceivedBody) -> Reply:
        envelope = await read(received.text, received.permit)
        if isinstance(envelope, Refusal):
            return replies.ingested(envelope)
        received.charge.belongs_to(envelope.session_id)
        outcome = await gateway.ingest(envelope)
        settle(received.charge, envelope.session_id, outcome)
        return replies.ingested(outcome)

    return ingest


def direct_routes(paths: Iterable[str]) -> Blueprint:
    """The framework's routes of what the exchange asks past it: for preflights and for methods other than `POST`."""
    routes = Blueprint("direct", __name__)

    async def never() -> Response:
        raise NotImplementedError("The exchange answers every POST on this path.")

    for path in paths:
        routes.add_url_rule(path, path.strip("/").replace("/", "_"), never, methods=["POST"])
    return routes
