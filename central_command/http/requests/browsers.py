"""What holds for requests of browsers: the cookie of their session, from whose page they come, the way to sign in.

A browser sends its cookie along with whatever a page makes it ask. So what changes something must come from a page of
ours: the browser says so in `Sec-Fetch-Site` (`same-origin`, or `none` for what its user typed), and one that does not
know that header says in `Origin` whose page it is. A token in `Authorization` no page can send but one that has it.
"""

import re
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from quart import request

from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.cookies import cookie_in, name_of_cookie
from central_command.http.requests.replies import HttpProblem

CROSS_SITE: Final = HttpProblem(
    HTTPStatus.FORBIDDEN,
    "cross_site",
    "A request that changes something must come from a page of this server: Sec-Fetch-Site or Origin says otherwise.",
)
NO_SITE: Final = HttpProblem(
    HTTPStatus.FORBIDDEN,
    "cross_site",
    "A request that changes something must come from a page of this server, and this one says neither in "
    "Sec-Fetch-Site nor in Origin where it comes from.",
)
SIGN_IN_PATH: Final = "/sign-in"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
NEXT_CHARS_MAX: Final = 500
"""Characters of the path that a browser is sent back to after it has signed in."""

_BACK: Final = re.compile(r"\A/(?!/)[0-9A-Za-z._~!$&'()*+,;=:@%/?-]{0,500}\Z")
"""A path of ours to go back to; nothing that a browser could take for another host."""


def check_site() -> None:
    """Raise ProblemError for a request that changes something and does not come from a page of ours."""
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise ProblemError(CROSS_SITE)
        return
    origin = request.headers.get("Origin")
    if origin is None:
        raise ProblemError(NO_SITE)
    if origin.lower() not in Reader.front().origins:
        raise ProblemError(CROSS_SITE)


def presented_cookie() -> str | None:
    """The value of the session's cookie in the current request; None where there is none, "" for several."""
    return cookie_in(request.scope["headers"], is_secure=Reader.front().is_secure)


def set_cookie(value: str, lasting_s: float) -> tuple[str, str]:
    """The header that has the browser keep the session's cookie, or, with nothing for no time, forget it."""
    is_secure = Reader.front().is_secure
    kept = f"{name_of_cookie(is_secure=is_secure)}={value}; Path=/; Max-Age={round(lasting_s)}"
    secure = "; Secure" if is_secure else ""
    return "Set-Cookie", f"{kept}; HttpOnly; SameSite=Lax{secure}"


def path_back(asked: str, otherwise: str) -> str:
    """Where a browser goes after a form: to the path that the form names, if it is one of ours."""
    return asked if _BACK.match(asked) else otherwise


def sent_to_sign_in(refused: HttpProblem, cookie: str | None) -> HttpProblem:
    """The same refusal without a cookie that is worth nothing; for a browser that wants a page, the way to sign in."""
    headers = refused.headers if cookie is None else (*refused.headers, set_cookie("", 0))
    wants_page = request.method in SAFE_METHODS and "text/html" in request.headers.get("Accept", "")
    if refused.status != HTTPStatus.UNAUTHORIZED or not wants_page:
        return msgspec.structs.replace(refused, headers=headers)
    back = quote(request.path) + (f"?{request.query_string.decode('latin-1')}" if request.query_string else "")
    location = f"{SIGN_IN_PATH}?next={quote(back, safe='')}" if len(back) <= NEXT_CHARS_MAX else SIGN_IN_PATH
    headers = (*(each for each in headers if each[0] == "Set-Cookie"), ("Location", location))
    return HttpProblem(HTTPStatus.SEE_OTHER, "sign_in", "Sign in first.", headers)
