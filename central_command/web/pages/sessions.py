"""`/sessions`: all sessions of the corpus as a table, chosen and sorted by the address."""

from functools import partial
from typing import Annotated, Final, TypeVar, get_args

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.corpus.cursors import CursorError, Cursors, digest_of
from central_command.corpus.filters import KNOWN_VALUES
from central_command.http.endpoints.search import FILTERS
from central_command.http.requests.bodies import ProblemError, bad_query
from central_command.viewing.desk import UnableError
from central_command.viewing.listing import COUNTED_MAX, Chosen, page_of
from central_command.web.looking import desk_of, problem_of
from central_command.web.pages.chosen_sessions import TIMES, chosen_sessions
from central_command.web.session_steps import session_path
from central_command.web.site import Site, part
from persistence.databases.session_reading import SortKey

P = TypeVar("P")

DEFAULT_SORT: Final = "-started_at"


class Sorted(msgspec.Struct, frozen=True, array_like=True):
    """Behind a session in the order of a value that it has."""

    value: str | float
    n: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


CURSORS: Final[Cursors[Sorted]] = Cursors(Sorted, "table")


TIME_S_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """Behind an open session, from the newest to the oldest."""

    created_at: Annotated[float, msgspec.Meta(ge=0, le=TIME_S_MAX)]
    session_id: str


OPEN_CURSORS: Final[Cursors[Opened]] = Cursors(Opened, "table")
OPEN_DIGEST: Final = digest_of("open")


def sessions_pages(site: Site) -> Blueprint:
    """The table."""
    routes = Blueprint("pages_sessions", __name__)

    @routes.get("/sessions")
    async def sessions() -> Response:
        await site.admit(Scope.READ)
        is_administrator = site.sources.offered.get("open_sessions") is not None and await site.may(Scope.ADMIN)
        if request.args.get("state") == "open":
            return await _open_sessions(site)
        desk = desk_of(site)
        sort = request.args.get("sort", DEFAULT_SORT)
        chosen = _chosen(sort)
        digest = digest_of(chosen)
        last = _place(CURSORS, digest)
        begin = None if last is None else (last.value, last.n)
        try:
            found = await desk.look(partial(page_of, chosen=chosen, behind=begin))
        except UnableError as error:
            if error.code != "no_index":
                raise ProblemError(problem_of(error)) from None
            found = None
        behind = None if found is None else found.behind
        return site.page(
            "sessions.html",
            title="Sessions",
            found=found,
            chosen=chosen,
            sort=sort,
            cursor=None if behind is None else CURSORS.text(digest, Sorted(*behind)),
            is_first="cursor" not in request.args,
            is_chosen=any(request.args.get(name) for name in (*FILTERS, *TIMES)),
            counted_max=COUNTED_MAX,
            tiers=KNOWN_VALUES["tiers"][1],
            outcomes=KNOWN_VALUES["outcomes"][1],
            path_of=session_path,
            is_administrator=is_administrator,
        )

    return routes


async def _open_sessions(site: Site) -> Response:
    """The sessions that are still open, for who administers: who knows an open one's id can close it."""
    await site.admit(Scope.ADMIN)
    sessions = part(site.sources.offered.get("open_sessions"))
    last = _place(OPEN_CURSORS, OPEN_DIGEST)
    try:
        found = await sessions.listed(None if last is None else (last.created_at, last.session_id))
    except UnableError as error:
        raise ProblemError(problem_of(error)) from None
    limit = sessions.settings.sessions_max
    rows = found[:limit]
    behind = Opened(rows[-1].created_at, rows[-1].session_id) if len(found) > limit else None
    return site.page(
        "sessions_open.html",
        title="Open sessions",
        rows=rows,
        cursor=None if behind is None else OPEN_CURSORS.text(OPEN_DIGEST, behind),
        is_first=last is None,
        path_of=session_path,
    )


def _chosen(sort: str) -> Chosen:
    key = sort.removeprefix("-")
    if key not in get_args(SortKey):
        raise bad_query(f"Sessions cannot be sorted by {key[:40]!r}.")
    return chosen_sessions(Chosen, key=key, descending=sort.startswith("-"))


def _place(cursors: Cursors[P], digest: str) -> P | None:
    """Where the page begins; None for the first one."""
    cursor = request.args.get("cursor")
    try:
        return cursors.place(cursor, digest) if cursor else None
    except CursorError as error:
        raise bad_query(str(error)) from None
