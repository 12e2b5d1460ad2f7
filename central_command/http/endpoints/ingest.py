"""`POST /v1/training/ingest`: envelopes come in (contract, section 3)."""

from collections.abc import Callable, Iterable

from quart import Blueprint, Response

from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import ChunkReader
from actors.envelopes.settings import SchemaSettings
from central_command.http.gateway import Gateway
from central_command.http.requests.bodies import SESSION_ID
from central_command.http.requests.direct import DirectEndpoint
from central_command.http.requests.replies import UNKNOWN_SESSION, Replies, Reply

_UNKNOWN = Refusal(RefusalCode.UNKNOWN_SESSION, UNKNOWN_SESSION)


class EnvelopeReader:
    """Reads one envelope's text; `schema` bounds how deep and how wide it may be, `clock` is for its steps' age."""

    def __init__(self, schema: SchemaSettings, clock: Callable[[], float]) -> None:
        self._schema = schema
        self._known = ChunkReader(schema, clock)

    def __call__(self, text: bytes) -> Envelope | Refusal:
        """The envelope, or why it is none that a session could take."""
        limits = self._schema
        envelope = read_envelope(
            text, nesting_max=limits.nesting_max, members_max=limits.members_max, known=self._known
        )
        if isinstance(envelope, Envelope) and not SESSION_ID.fullmatch(envelope.session_id):
            return _UNKNOWN
        return envelope


def ingest_endpoint(gateway: Gateway, replies: Replies, read: EnvelopeReader) -> DirectEndpoint:
    """What answers an envelope."""

    async def ingest(body: bytes) -> Reply:
        envelope = read(body)
        return replies.ingested(envelope if isinstance(envelope, Refusal) else await gateway.ingest(envelope))

    return ingest


def direct_routes(paths: Iterable[str]) -> Blueprint:
    """The framework's routes of what the exchange asks past it: for preflights and for methods other than `POST`."""
    routes = Blueprint("direct", __name__)

    async def never() -> Response:
        raise NotImplementedError("The exchange answers every POST on this path.")

    for path in paths:
        routes.add_url_rule(path, path.strip("/").replace("/", "_"), never, methods=["POST"])
    return routes
