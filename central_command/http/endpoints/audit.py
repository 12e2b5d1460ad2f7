"""`GET /api/admin/audit`: what administrators have changed, for the scope `admin`, some at a time."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from quart import Blueprint, Response

from central_command.access.audit import UNABLE
from central_command.access.tokens import Scope
from central_command.http.endpoints.access import Access, door_of
from central_command.http.requests.bodies import ProblemError, check_arguments, number_argument
from central_command.http.requests.replies import Replies, json_reply
from central_command.http.settings import HttpSettings

AUDIT_PATH: Final = "/api/admin/audit"
ENTRIES_MAX: Final = 1_000
ENTRIES_DEFAULT: Final = 100
AFTER_MAX: Final = 999_999_999

log = logging.getLogger("central_command.audit")


def audit_routes(access: Access | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoint; without access there is nobody to ask, and the answer is 404."""
    routes = Blueprint("audit", __name__)
    door = door_of(access, http, replies)

    @routes.get(AUDIT_PATH)
    async def audit() -> Response:
        known, _ = await door.admit(Scope.ADMIN)
        check_arguments("after", "limit")
        after_n = number_argument("after", default=0, maximum=AFTER_MAX)
        limit = number_argument("limit", default=ENTRIES_DEFAULT, maximum=ENTRIES_MAX)
        async with journal_watched(replies):
            entries = await known.audit.entries(after_n=after_n, limit=limit + 1)
        shown = entries[:limit]
        return json_reply({"entries": shown, "next": shown[-1].n if len(entries) > limit else None}).response()

    return routes


@asynccontextmanager
async def journal_watched(replies: Replies) -> AsyncIterator[None]:
    """Answer 503 where the audit journal cannot be read now."""
    try:
        yield
    except UNABLE as failure:
        log.error("%s", failure)  # noqa: TRY400 (the sentence says it all)
        sentence = "The audit journal cannot be read now; the log says why."
        raise ProblemError(replies.overloaded("storage_failed", sentence)) from None
