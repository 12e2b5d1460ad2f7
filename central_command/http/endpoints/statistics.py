"""`GET /v1/stats/...` (contract, section 5)."""

from quart import Blueprint, Response

from central_command.http.gateway import Gateway
from central_command.http.requests.bodies import number_argument
from central_command.http.requests.replies import json_reply
from central_command.http.settings import HttpSettings


def statistics_routes(gateway: Gateway, settings: HttpSettings) -> Blueprint:
    """The endpoints; each answers from counters, at a cost that does not grow with what is stored."""
    routes = Blueprint("statistics", __name__, url_prefix="/v1/stats")

    @routes.get("/summary")
    async def summary() -> Response:
        return json_reply(await gateway.summary()).response()

    @routes.get("/daily")
    async def daily() -> Response:
        days = number_argument("days", default=settings.daily_days_default, maximum=settings.daily_days_max)
        return json_reply(await gateway.daily(days)).response()

    @routes.get("/models")
    async def models() -> Response:
        return json_reply(await gateway.models()).response()

    @routes.get("/providers")
    async def providers() -> Response:
        return json_reply(await gateway.providers()).response()

    @routes.get("/leaderboard")
    async def leaderboard() -> Response:
        default, maximum = settings.leaderboard_limit_default, settings.leaderboard_limit_max
        limit = number_argument("limit", default=default, maximum=maximum)
        return json_reply(await gateway.leaderboard(limit)).response()

    return routes
