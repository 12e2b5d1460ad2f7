"""`GET /health` (the process lives) and `GET /ready` (it can take envelopes in)."""

from quart import Blueprint, Response

from central_command.http.gateway import Gateway
from central_command.http.requests.replies import Replies, json_reply
from persistence.format import times


def health_routes(gateway: Gateway, replies: Replies) -> Blueprint:
    """The endpoints; neither waits for anything, so that they answer under any load."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    async def health() -> Response:
        checked_at = gateway.last_full_check_at
        last_full_check = None if checked_at is None else times.second_text(int(checked_at)) + "Z"
        lag = gateway.curation_lag
        body = {
            "status": "ok",
            "uptime": gateway.uptime_s,
            "last_full_check": last_full_check,
            "curation_lag": lag,
        }
        return json_reply(body).response()

    @routes.get("/ready")
    async def ready() -> Response:
        return replies.ready(gateway.readiness()).response()

    return routes
