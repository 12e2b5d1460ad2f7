"""`/observer`: failures in groups with what to do, how endpoints that do well are used, and the last operations."""

from typing import Final

from quart import Blueprint, Response, request

from actors.observer.operation import as_members
from central_command.access.tokens import Scope
from central_command.http.endpoints.observer import Observing, page_of_operations
from central_command.http.requests.bodies import filled_in
from central_command.web.site import Site, part

PATH: Final = "/observer"
GROUPS_SHOWN: Final = 50
PLAYBOOKS_SHOWN: Final = 50


def observer_pages(site: Site) -> Blueprint:
    """The page; without an observer there is none, and the answer is 404."""
    routes = Blueprint("pages_observer", __name__)

    async def admitted() -> Observing:
        await site.admit(Scope.READ)
        sentence = "This server has no observer: observer.enabled in its settings says so."
        return part(site.sources.offered.get("observing"), sentence)

    @routes.get(PATH)
    async def observer() -> Response:
        desk = (await admitted()).desk
        figures = desk.ring.figures()
        operations = page_of_operations(desk, filled_in())
        sources = [*figures["by_source"]]
        endpoint = request.args.get("endpoint", "")
        groups = [each for each in desk.failures if not endpoint or each.endpoint == endpoint]
        return site.page(
            "observer.html",
            title="Observer",
            figures=figures,
            groups=groups[:GROUPS_SHOWN],
            groups_count=len(groups),
            own_sample_every=site.sources.settings().observer.own_sample_every,
            playbooks=desk.playbooks[:PLAYBOOKS_SHOWN],
            operations=[(each, as_members(each.operation)) for each in operations.shown],
            cursor=operations.next_before,
            is_first="before" not in request.args,
            sources=[("", "All sources"), *((each, each) for each in sources)],
            chosen={name: request.args.get(name, "") for name in ("source", "endpoint", "success")},
            url=request.host_url.rstrip("/"),
        )

    return routes
