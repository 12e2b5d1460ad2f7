"""Where forms are sent to: who loads such an address, or comes back to it, is led to the page that has the form."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from quart import Blueprint, Response

from central_command.web.site import Site

FORM_PATHS: Final[Mapping[str, str]] = {
    "/access/tokens": "/access",
    "/access/tokens/<token_id>/revoke": "/access",
    "/access/sessions/<session_id>/revoke": "/access/sessions",
    "/access/bans/<ban_id>/lift": "/access/bans",
    "/exports/<export_id>/remove": "/exports",
    "/jobs/<job_id>/<change>": "/jobs",
    "/jobs/queues/<name>/<change>": "/jobs",
    "/refused/<letter_id>/retry": "/refused",
    "/sign-out": "/sign-in",
    "/theme": "/",
}
"""Paths that take forms alone, and the pages that have these."""


def form_path_pages(site: Site) -> Blueprint:
    """The way back from each of them; who may see the page is asked there."""
    routes = Blueprint("pages_form_paths", __name__)
    for number, (path, page) in enumerate(FORM_PATHS.items()):
        routes.add_url_rule(path, f"from_{number}", partial(_led_back, site, page), methods=["GET"])
    return routes


async def _led_back(site: Site, page: str, **_of_path: str) -> Response:
    return site.sent_to(page)
