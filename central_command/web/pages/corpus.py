"""`/corpus`, `/tools`, `/contributors`: what came in and what was left out of it, in numbers; nobody by their id."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeVar, cast

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.corpus.index_filters import Choice
from central_command.http.requests.bodies import ProblemError, bad_query, number_argument
from central_command.http.requests.replies import HttpProblem
from central_command.search.questions import NO_INDEX, Refusal, Unable
from central_command.tallies.tallies import OFFSET_MAX, Tallies
from central_command.web.pages.chosen_sessions import chosen_sessions
from central_command.web.site import Site, part
from persistence.databases.figures_reading import CONTRIBUTOR_KEYS, TOOL_KEYS, ContributorKey, ToolKey, ToolPage

T = TypeVar("T")

PAGE: Final = 100
TOOL_FILTERS: Final = ("model", "provider")
EMPTY_TOOLS: Final = ToolPage([], 0, 0, 0, has_more=False)

PERIODS: Final = (("today", 0, 1), ("yesterday", 1, 0), ("7 days", 6, 1), ("30 days", 29, 1))
"""Times that one click asks for: from so many days ago, up to the beginning of the day in so many days."""


def corpus_pages(site: Site) -> Blueprint:
    """The pages; without figures there are none, and the answer is 404."""
    routes = Blueprint("pages_corpus", __name__)

    async def admitted() -> Tallies:
        await site.admit(Scope.READ)
        return part(site.sources.offered.get("tallies"), "This server tells no figures.")

    @routes.get("/corpus")
    async def corpus() -> Response:
        tally = _answered(site, await (await admitted()).corpus())
        return site.page("corpus.html", title="Corpus", tally=tally, lag=site.sources.gateway.curation_lag)

    @routes.get("/tools")
    async def tools() -> Response:
        tallies = await admitted()
        key, descending, sort = _order(TOOL_KEYS, "-total_ms")
        chosen = chosen_sessions(Choice, TOOL_FILTERS)
        offset = number_argument("cursor", default=0, maximum=OFFSET_MAX)
        found = await tallies.tools(chosen, cast("ToolKey", key), descending=descending, offset=offset, limit=PAGE)
        page = EMPTY_TOOLS if found == NO_INDEX else _answered(site, found)
        today = datetime.fromtimestamp(site.sources.clock(), UTC).date()
        return site.page(
            "tools.html",
            title="Tools",
            shown=page,
            sort=sort,
            chosen=chosen,
            is_chosen=chosen != Choice(),
            cursor=offset + PAGE if page.has_more and offset + PAGE <= OFFSET_MAX else None,
            is_first=not offset,
            most_ms=max((each.total_ms for each in page.tools), default=0),
            models=[*await site.sources.gateway.models()],
            providers=[*await site.sources.gateway.providers()],
            periods=[
                (name, str(today - timedelta(days=since)), str(today + timedelta(days=until)))
                for name, since, until in PERIODS
            ],
        )

    @routes.get("/contributors")
    async def contributors() -> Response:
        tallies = await admitted()
        key, descending, sort = _order(CONTRIBUTOR_KEYS, "-points")
        offset = number_argument("cursor", default=0, maximum=OFFSET_MAX)
        found = _answered(
            site,
            await tallies.contributors(cast("ContributorKey", key), descending=descending, offset=offset, limit=PAGE),
        )
        return site.page(
            "contributors.html",
            title="Contributors",
            found=found,
            sort=sort,
            rank=offset,
            cursor=offset + PAGE if found.has_more and offset + PAGE <= OFFSET_MAX else None,
            is_first=not offset,
            consent=msgspec.structs.asdict(site.sources.settings().consent),
        )

    return routes


def _order(keys: tuple[str, ...], otherwise: str) -> tuple[str, bool, str]:
    """By what the address sorts, whether the largest come first, and both as it says them."""
    sort = request.args.get("sort", otherwise)
    key = sort.removeprefix("-")
    if key not in keys:
        raise bad_query(f"sort must be one of {', '.join(keys)}, with - before it for the largest first.")
    return key, sort.startswith("-"), sort


def _answered(site: Site, found: T | Refusal) -> T:
    """The answer; raises ProblemError for a refusal."""
    if isinstance(found, Refusal):
        is_missing = found.code is Unable.NO_INDEX
        raise ProblemError(
            HttpProblem(HTTPStatus.NOT_FOUND, found.code, found.sentence)
            if is_missing
            else site.replies.overloaded(found.code, found.sentence)
        )
    return found
