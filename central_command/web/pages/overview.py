"""`/`: what came in today and in the last 30 days, and whether the server is well."""

from quart import Blueprint, Response

from central_command.access.tokens import Scope
from central_command.web.site import Site

DAYS = 30


def overview_pages(site: Site) -> Blueprint:
    """The first page."""
    routes = Blueprint("pages_overview", __name__)
    gateway = site.sources.gateway

    @routes.get("/")
    async def overview() -> Response:
        await site.admit(Scope.READ, Scope.ADMIN)
        return site.page(
            "overview.html",
            title="Overview",
            summary=await gateway.summary(),
            days=await gateway.daily(DAYS),
            models=await gateway.models(),
            providers=await gateway.providers(),
            readiness=gateway.readiness(),
            uptime_s=gateway.uptime_s,
            lag=gateway.curation_lag,
        )

    return routes
