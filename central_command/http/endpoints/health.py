"""`GET /health` (the process lives) and `GET /ready` (it can take envelopes in)."""

from quart import Blueprint, Response

from central_command.http.gateway import Gateway
from central_command.http.requests.replies import Replies, json_reply


def health_routes(gateway: Gateway, replies: Replies) -> Blueprint:
    """The endpoints; neither waits for anything, so that they answer under any load."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    async def health() -> Response:
        return json_reply({"status": "ok", "uptime": gateway.uptime_s}).response()

    @routes.get("/ready")
    async def ready() -> Response:
        return replies.ready(gateway.readiness()).response()

    return routes
