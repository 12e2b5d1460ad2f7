"""Whether the process lives (`GET /health`, `GET /livez`), and can take envelopes in (`GET /ready`, `GET /readyz`).

`/health` and `/ready` are older, and stay as they are. `/livez` is the one by which a process is started again: it also
sees a disk that hangs. `/readyz?verbose` says more, a check at a time.
"""

from typing import Final

from quart import Blueprint, Response, request

from central_command.http.gateway import Gateway
from central_command.http.requests.replies import Replies, json_reply
from persistence.format import times

LIVEZ_PATH: Final = "/livez"
READYZ_PATH: Final = "/readyz"


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

    @routes.get(LIVEZ_PATH)
    async def livez() -> Response:
        return replies.live(gateway.stalled()).response()

    @routes.get(READYZ_PATH)
    async def readyz() -> Response:
        uptime_s = gateway.uptime_s if "verbose" in request.args else None
        return replies.ready_by_check(gateway.readiness(), uptime_s).response()

    return routes
