"""`GET /v1/models` and `GET /v1/models/…`: what OpenAI's clients look for before they ask for embeddings."""

from http import HTTPStatus

from quart import Blueprint, Response, request

from central_command.http.endpoints.embeddings import MODEL
from central_command.http.requests.replies import MODELS_PATH, json_reply, openai_error


def model_routes(*, is_offered: bool, created_at: float) -> Blueprint:
    """The endpoints; without embeddings there is no model. `created_at` is since when this server offers it."""
    routes = Blueprint("models", __name__)
    offered = {
        "id": MODEL,
        "object": "model",
        "created": int(created_at),
        "owned_by": MODEL.partition("/")[0],
    }

    @routes.get(MODELS_PATH)
    async def models() -> Response:
        return json_reply({"object": "list", "data": [offered] if is_offered else []}).response()

    @routes.get(f"{MODELS_PATH}/<path:model>")
    async def named(model: str) -> Response:  # noqa: ARG001 (werkzeug takes slashes off it)
        if is_offered and request.path == f"{MODELS_PATH}/{MODEL}":
            return json_reply(offered).response()
        sentence = "There is no such model; /v1/models names the one that there is."
        return openai_error(HTTPStatus.NOT_FOUND, sentence, code="model_not_found", param="model").response()

    return routes
