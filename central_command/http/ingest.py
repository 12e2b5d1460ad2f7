"""`POST /v1/training/ingest`: envelopes come in (contract, section 3)."""

from collections.abc import Callable, Mapping

from quart import Blueprint, Response

from actors.envelope import ChunkReader
from actors.outcomes import Refusal, RefusalCode
from actors.reading import read_envelope
from actors.settings import SchemaSettings
from central_command.gateway import Gateway
from central_command.http.direct import DirectEndpoint
from central_command.http.replies import UNKNOWN_SESSION, Replies, Reply
from central_command.http.requests import SESSION_ID, Reader

_UNKNOWN = Refusal(RefusalCode.UNKNOWN_SESSION, UNKNOWN_SESSION)


def ingest_endpoint(
    gateway: Gateway, replies: Replies, schema: SchemaSettings, clock: Callable[[], float]
) -> DirectEndpoint:
    """What answers an envelope; `schema` bounds how deep and how wide it may be."""
    known = ChunkReader(schema, clock)

    async def ingest(body: bytes) -> Reply:
        envelope = read_envelope(body, nesting_max=schema.nesting_max, members_max=schema.members_max, known=known)
        if isinstance(envelope, Refusal):
            return replies.ingested(envelope)
        if not SESSION_ID.fullmatch(envelope.session_id):
            return replies.ingested(_UNKNOWN)
        return replies.ingested(await gateway.ingest(envelope))

    return ingest


def direct_routes(endpoints: Mapping[str, DirectEndpoint], reader: Reader) -> Blueprint:
    """The framework's routes of the direct endpoints, for what the exchange does not take past it."""
    routes = Blueprint("direct", __name__)
    for path, endpoint in endpoints.items():

        async def answer(endpoint: DirectEndpoint = endpoint) -> Response:
            return (await endpoint(await reader.body())).response()

        routes.add_url_rule(path, path.strip("/").replace("/", "_"), answer, methods=["POST"])
    return routes
