"""`POST /v1/training/ingest`: envelopes come in (contract, section 3)."""

from quart import Blueprint, Response

from actors.outcomes import Refusal, RefusalCode
from actors.reading import read_envelope
from actors.settings import SchemaSettings
from central_command.gateway import Gateway
from central_command.http.replies import INGEST_PATH, UNKNOWN_SESSION, Replies
from central_command.http.requests import SESSION_ID, Reader

_UNKNOWN = Refusal(RefusalCode.UNKNOWN_SESSION, UNKNOWN_SESSION)


def ingest_routes(gateway: Gateway, reader: Reader, replies: Replies, schema: SchemaSettings) -> Blueprint:
    """The endpoint; `schema` bounds how deep and how wide an envelope may be."""
    routes = Blueprint("ingest", __name__)

    @routes.post(INGEST_PATH)
    async def ingest() -> Response:
        body = await reader.body()
        envelope = read_envelope(body, nesting_max=schema.nesting_max, members_max=schema.members_max)
        if isinstance(envelope, Refusal):
            return replies.ingested(envelope).response()
        if not SESSION_ID.fullmatch(envelope.session_id):
            return replies.ingested(_UNKNOWN).response()
        return replies.ingested(await gateway.ingest(envelope)).response()

    return routes
