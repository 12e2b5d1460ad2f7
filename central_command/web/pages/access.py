"""`/access`: tokens, browser sessions, bans, and what administrators have changed. For the scope `admin`."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response

from central_command.access.bans import BanKind, NotOne
from central_command.access.making import NAME_CHARS_MAX
from central_command.access.tokens import Scope
from central_command.http.endpoints.access import (
    TOO_MANY_TOKENS,
    AskedToken,
    Objection,
    make_token_noted,
    revoke_session_noted,
    revoke_token_noted,
    storage_watched,
    wanted_token,
)
from central_command.http.endpoints.audit import journal_watched
from central_command.http.endpoints.bans import TOO_MANY_BANS, AskedBan, ban_noted, unban_noted, wanted_ban
from central_command.http.requests.bodies import ProblemError, number_argument
from central_command.http.requests.replies import HttpProblem
from central_command.web.site import CURSOR_MAX, Site, said, sliced
from persistence.databases.access_file import Held
from persistence.databases.access_tokens import TooManyTokens
from persistence.databases.bans import TooManyBans

ROWS_MAX: Final = 100
"""Rows of a page."""

LASTING: Final = (("30d", "30 days"), ("90d", "90 days"), ("365d", "a year"), ("", "without an end"))

SAID: Final = {
    "revoked": "The token works no more, and the sessions that were opened with it have ended.",
    "ended": "The session has ended.",
    "banned": "They can open no session from now on.",
    "unbanned": "The ban is lifted.",
}


def access_pages(site: Site) -> Blueprint:
    """The four pages, and the forms on them."""
    routes = Blueprint("pages_access", __name__)
    _add_tokens(routes, site)
    _add_sessions(routes, site)
    _add_bans(routes, site)
    _add_audit(routes, site)
    return routes


def _add_tokens(routes: Blueprint, site: Site) -> None:
    async def page(made: object = None, wrong: str = "", status: int = HTTPStatus.OK) -> Response:
        known, _ = site.access()
        async with storage_watched(site.replies):
            tokens = await known.desk.tokens()
        return site.page(
            "access_tokens.html",
            title="Access",
            status=status,
            tokens=sliced(_latest_first(tokens, site), ROWS_MAX),
            scopes=[*Scope],
            lasting=LASTING,
            name_chars_max=NAME_CHARS_MAX,
            made=made,
            wrong=wrong,
            said=said(SAID),
            now=site.now(),
        )

    @routes.get("/access")
    async def tokens() -> Response:
        await site.admit(Scope.ADMIN)
        return await page()

    @routes.post("/access/tokens")
    async def make_token() -> Response:
        by = await site.admit(Scope.ADMIN)
        fields = await site.form()
        asked = AskedToken(
            scopes=fields.get("scopes", []), name=_one(fields, "name"), expires=_one(fields, "expires") or None
        )
        wanted = wanted_token(asked)
        if isinstance(wanted, Objection):
            return await page(wrong=wanted.sentence, status=HTTPStatus.BAD_REQUEST)
        known, asked_of = site.access()
        async with storage_watched(site.replies):
            made = await make_token_noted(known, asked_of, by, wanted)
        if isinstance(made, TooManyTokens):
            return await page(wrong=TOO_MANY_TOKENS, status=HTTPStatus.INSUFFICIENT_STORAGE)
        return await page(made=made)

    @routes.post("/access/tokens/<token_id>/revoke")
    async def revoke_token(token_id: str) -> Response:
        by = await site.admit(Scope.ADMIN)
        async with storage_watched(site.replies):
            revoked = await revoke_token_noted(site.access()[0], by, token_id)
        return _changed(site, "/access", "revoked", revoked, "token")


def _add_sessions(routes: Blueprint, site: Site) -> None:
    @routes.get("/access/sessions")
    async def sessions() -> Response:
        by = await site.admit(Scope.ADMIN)
        async with storage_watched(site.replies):
            found = await site.access()[0].desk.sessions()
        rows = sliced(_latest_first(found, site), ROWS_MAX)
        return site.page("access_sessions.html", title="Access", sessions=rows, own=by, said=said(SAID), now=site.now())

    @routes.post("/access/sessions/<session_id>/revoke")
    async def revoke_session(session_id: str) -> Response:
        by = await site.admit(Scope.ADMIN)
        async with storage_watched(site.replies):
            revoked = await revoke_session_noted(site.access()[0], by, session_id)
        return _changed(site, "/access/sessions", "ended", revoked, "session")


def _add_bans(routes: Blueprint, site: Site) -> None:
    async def page(wrong: str = "", status: int = HTTPStatus.OK) -> Response:
        async with storage_watched(site.replies):
            found = await site.access()[0].bans.all()
        return site.page(
            "access_bans.html",
            title="Access",
            status=status,
            bans=sliced(found[::-1], ROWS_MAX),
            kinds=[*BanKind],
            wrong=wrong,
            said=said(SAID),
        )

    @routes.get("/access/bans")
    async def bans() -> Response:
        await site.admit(Scope.ADMIN)
        return await page()

    @routes.post("/access/bans")
    async def ban() -> Response:
        by = await site.admit(Scope.ADMIN)
        fields = await site.form()
        days = _one(fields, "days").strip()
        members = {_one(fields, "kind"): _one(fields, "subject").strip()}
        if members.keys() - {*BanKind}:
            return await page(wrong="Choose who is to be banned.", status=HTTPStatus.BAD_REQUEST)
        is_number = days.isascii() and days.isdigit() and len(days) <= 9
        asked = AskedBan(**members, reason=_one(fields, "reason"), days=int(days) if is_number else days or None)
        wanted = wanted_ban(asked)
        if isinstance(wanted, Objection):
            return await page(wrong=wanted.sentence, status=HTTPStatus.BAD_REQUEST)
        async with storage_watched(site.replies):
            made = await ban_noted(site.access()[0], by, wanted)
        if isinstance(made, NotOne):
            return await page(wrong=made.sentence, status=HTTPStatus.NOT_FOUND)
        if isinstance(made, TooManyBans):
            return await page(wrong=TOO_MANY_BANS, status=HTTPStatus.INSUFFICIENT_STORAGE)
        return site.sent_to("/access/bans", said="banned")

    @routes.post("/access/bans/<ban_id>/lift")
    async def lift(ban_id: str) -> Response:
        by = await site.admit(Scope.ADMIN)
        async with storage_watched(site.replies):
            removed = await unban_noted(site.access()[0], by, ban_id)
        return _changed(site, "/access/bans", "unbanned", removed, "ban")


def _add_audit(routes: Blueprint, site: Site) -> None:
    @routes.get("/access/audit")
    async def audit() -> Response:
        await site.admit(Scope.ADMIN)
        before_n = number_argument("before", default=CURSOR_MAX, maximum=CURSOR_MAX)
        async with journal_watched(site.replies):
            entries = await site.access()[0].audit.latest(
                before_n=None if before_n == CURSOR_MAX else before_n, limit=ROWS_MAX
            )
        return site.page(
            "access_audit.html",
            title="Access",
            entries=entries,
            cursor=str(entries[-1].n) if entries and entries[-1].n > 1 else None,
            is_first=before_n == CURSOR_MAX,
        )


def _latest_first(held: Sequence[Held], site: Site) -> list[Held]:
    """Those that can be used first, of each the latest first."""
    now = site.sources.clock()
    latest = held[::-1]
    return [each for each in latest if each.is_valid(now)] + [each for each in latest if not each.is_valid(now)]


def _one(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _changed(site: Site, path: str, code: str, changed: object, kind: str) -> Response:
    if changed is None:
        sentence = f"There is no such {kind}, or it has ended already. Nothing was changed."
        raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", sentence))
    return site.sent_to(path, said=code)
