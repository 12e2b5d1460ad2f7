"""`POST /theme`: how pages look, light, dark or as the system says; kept in a cookie, so that nothing flashes.

It works without a script and for whoever is not signed in.
"""

from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response

from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.browsers import check_site, path_back
from central_command.http.requests.replies import HTML_TYPE, HttpProblem
from central_command.web.site import THEME_COOKIE, THEMES, Site

KEPT_S: Final = 31_536_000


def theme_pages(site: Site) -> Blueprint:
    """The form that each page has."""
    routes = Blueprint("pages_theme", __name__)

    @routes.post("/theme")
    async def theme() -> Response:
        check_site()
        fields = await site.form()
        chosen = "".join(fields.get("theme", []))
        if chosen not in THEMES:
            sentence = f"The theme must be one of {', '.join(THEMES)}."
            raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_form", sentence))
        secure = "; Secure" if Reader.front().is_secure else ""
        cookie = f"{THEME_COOKIE}={chosen}; Path=/; Max-Age={KEPT_S}; SameSite=Lax{secure}"
        headers = {"Location": path_back("".join(fields.get("next", [])), "/"), "Set-Cookie": cookie}
        return Response(b"", HTTPStatus.SEE_OTHER, headers, content_type=HTML_TYPE)

    return routes
