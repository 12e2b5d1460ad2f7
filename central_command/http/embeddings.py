"""`POST /v1/embed` (contract, section 4): sentence embeddings, as far as there is a model to make them."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from quart import Blueprint, Response

from central_command.http.replies import Replies, error, json_reply, problem
from central_command.http.requests import Reader
from central_command.http.settings import HttpSettings

EMBED_PATH = "/v1/embed"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The name answered, whatever the client asked for: newer clients name another one (decisions, "What the clients")."""


class Embedder(Protocol):
    """What makes embeddings."""

    async def embed(self, text: str) -> Sequence[float] | None:
        """The embedding of `text`; None while there is no model, or no room for one more text."""
        ...


class _EmbedBody(msgspec.Struct):
    input: Any = None


_EMBED = msgspec.json.Decoder(_EmbedBody)


def embedding_routes(embedder: Embedder | None, reader: Reader, replies: Replies, settings: HttpSettings) -> Blueprint:
    """The endpoint; without an embedder each answer is 503, and clients fall back to keywords."""
    routes = Blueprint("embeddings", __name__)
    unavailable = replies.overloaded("embedding_unavailable", "Embeddings are not available now.")

    @routes.post(EMBED_PATH)
    async def embed() -> Response:
        text = (await reader.json(_EMBED)).input
        if not isinstance(text, str) or text == "":
            return error(400, "The field input is required, as text.", required=["input"]).response()
        vector = None if embedder is None else await embedder.embed(text[: settings.embed_input_chars_max])
        if vector is None:
            return problem(EMBED_PATH, unavailable).response()
        return json_reply({"data": [{"embedding": vector, "index": 0}], "model": MODEL}).response()

    return routes
