"""`/sign-in` and `/sign-out`: pages for browsers, of plain HTML without a script, and the forms that these send.

A link only shows a page with a button: what fetches links before anybody follows them does not use it up. Its code
stands in the query, which no log line has.
"""

import re
from collections.abc import Callable, Collection
from functools import partial
from html import escape
from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, request

from central_command.access.audit import Audit
from central_command.access.desk import SignedIn
from central_command.access.tokens import Scope
from central_command.http.endpoints.access import Access, door_of, storage_watched
from central_command.http.endpoints.pages import Pages
from central_command.http.requests.authorization import note_scopes
from central_command.http.requests.bodies import Reader, check_arguments
from central_command.http.requests.browsers import SIGN_IN_PATH, check_site, path_back, presented_cookie, set_cookie
from central_command.http.requests.replies import HTML_TYPE, Headers, HttpProblem, Replies
from central_command.http.settings import HttpSettings
from persistence.databases.browser_sessions import NoSuchKey, StoredBrowserSession

LINK_PATH: Final = f"{SIGN_IN_PATH}/link"
SIGN_OUT_PATH: Final = "/sign-out"

FORM_BYTES_MAX: Final = 4_096
FORM_FIELDS_MAX: Final = 8
WRONG_KEY: Final = "This is no valid token, and no link that can still be used: each works once, and for some minutes."

_CODE: Final = re.compile(r"\A[0-9A-Za-z_-]{1,100}\Z")

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="same-origin">
<title>{title} - Central Command</title>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
_KEY_FORM: Final = """<form method="post" action="/sign-in">
<p><label for="token">Token</label><br>
<input id="token" name="key" type="password" size="50" autocomplete="off" required autofocus{described}></p>
<input type="hidden" name="next" value="{back}">
<p><button type="submit">Sign in</button></p>
</form>
<p><code>central-command token create</code> makes a token,
<code>central-command sign-in</code> a link that works once.</p>
"""
_WRONG: Final = '<p id="wrong" role="alert">{sentence}</p>\n'
_LINK_FORM: Final = """<form method="post" action="/sign-in">
<input type="hidden" name="key" value="{code}">
<p>This link works once.</p>
<p><button type="submit" autofocus>Sign in</button></p>
</form>
"""
_NO_PAGE: Final = """<p>No page is for what you are signed in for: sign out, and sign in with the scope
<code>read</code>, <code>export</code> or <code>admin</code>.</p>
"""
_SIGNED_IN: Final = """<p>You are signed in until {until} (UTC), for: {scopes}.</p>
<form method="post" action="/sign-out">
<p><button type="submit" class="button">Sign out</button></p>
</form>
"""


def sign_in_routes(
    access: Access | None, http: HttpSettings, reader: Reader, replies: Replies, pages: Pages | None = None
) -> Blueprint:
    """The pages, in the frame of the others where there are any; without access nobody signs in: 404."""
    routes = Blueprint("sign_in", __name__)
    door = door_of(access, http, replies)
    home, framed = (SIGN_IN_PATH, _framed) if pages is None else ("/", pages.framed)
    page, refused = partial(_page, framed), partial(_refused, framed)

    @routes.get(SIGN_IN_PATH)
    async def form() -> Response:
        known_access, _ = door.found()
        check_arguments("next")
        back = path_back(request.args.get("next", ""), home)
        async with storage_watched(replies):
            session = await known_access.desk.signed_in(presented_cookie() or "")
        if session is not None:
            note_scopes(session.scopes)
            until = str(session.expires_at)[:16].replace("T", " ")
            shown = _SIGNED_IN.format(until=until, scopes=escape(", ".join(session.scopes)))
            return page("Signed in", shown if _first_page(session.scopes) != SIGN_IN_PATH else _NO_PAGE + shown)
        return page("Sign in", _key_form(back))

    @routes.get(LINK_PATH)
    async def link() -> Response:
        door.found()
        check_arguments("code")
        code = request.args.get("code", "")
        return page("Sign in", _LINK_FORM.format(code=escape(code if _CODE.match(code) else "")))

    @routes.post(SIGN_IN_PATH)
    async def sign_in() -> Response:
        known_access, asked = door.found()
        check_site()
        form = await reader.form(bytes_max=FORM_BYTES_MAX, fields_max=FORM_FIELDS_MAX)
        fields = {name: values[0] for name, values in form.items() if len(values) == 1}
        async with storage_watched(replies):
            outcome = await known_access.desk.sign_in(fields.get("key", ""))
        back = path_back(fields.get("next", ""), home)
        if isinstance(outcome, SignedIn):
            reader.charge().give_back()
            if back == "/":
                back = _first_page(outcome.session.scopes)
            await _note(known_access.audit, "browser_session_opened", outcome.session)
            cookie = set_cookie(outcome.cookie, outcome.lasting_s)
            return _sent_to(back, cookie)
        if isinstance(outcome, NoSuchKey):
            return refused(asked.wrong(), back)
        sentence = "There are as many browser sessions as access.browser_sessions_max allows; end one first."
        return refused(HttpProblem(HTTPStatus.INSUFFICIENT_STORAGE, "too_many_sessions", sentence), back)

    @routes.post(SIGN_OUT_PATH)
    async def sign_out() -> Response:
        known_access, _ = door.found()
        check_site()
        async with storage_watched(replies):
            ended = await known_access.desk.sign_out(presented_cookie() or "")
        await _note(known_access.audit, "browser_session_ended", ended)
        return _sent_to(SIGN_IN_PATH, set_cookie("", 0))

    return routes


def _first_page(scopes: Collection[str]) -> str:
    """The first page that somebody with these scopes may see; where there is none, the one that says who they are."""
    if {Scope.READ, Scope.ADMIN}.intersection(scopes):
        return "/"
    return "/exports" if Scope.EXPORT in scopes else SIGN_IN_PATH


async def _note(audit: Audit, action: str, session: StoredBrowserSession | None) -> None:
    """Note that a session was opened, by its token or link, or ended, by itself."""
    if session is not None:
        await audit.note(session.origin, action, session.session_id, Reader.address())


def _framed(title: str, content: str) -> str:
    return _PAGE.format(title=title, content=content)


def _page(
    framed: Callable[[str, str], str], title: str, content: str, status: int = HTTPStatus.OK, headers: Headers = ()
) -> Response:
    return Response(framed(title, content), status, dict(headers), content_type=HTML_TYPE)


def _key_form(back: str, wrong: str = "") -> str:
    """What a token is typed into, under what was wrong with the last one."""
    described = ' aria-describedby="wrong" aria-invalid="true"' if wrong else ""
    said = _WRONG.format(sentence=escape(wrong)) if wrong else ""
    return said + _KEY_FORM.format(back=escape(back), described=described)


def _refused(framed: Callable[[str, str], str], found: HttpProblem, back: str) -> Response:
    """Why nobody was signed in, over the form to try again; it still leads back to the page that was asked for."""
    headers = found.headers
    if found.retry_after_s is not None:
        headers = (*headers, ("Retry-After", str(found.retry_after_s)))
    sentence = WRONG_KEY if found.status == HTTPStatus.UNAUTHORIZED else found.sentence
    return _page(framed, "Sign in", _key_form(back, sentence), found.status, headers)


def _sent_to(path: str, cookie: tuple[str, str]) -> Response:
    return Response(b"", HTTPStatus.SEE_OTHER, dict((("Location", path), cookie)), content_type=HTML_TYPE)
