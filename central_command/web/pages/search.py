"""`/search`: the corpus by words, by meaning or by both; the address is that of the API's endpoint. For `read`."""

from http import HTTPStatus
from typing import Any, Final

from quart import Blueprint, Response
from werkzeug.datastructures import MultiDict

from central_command.access.tokens import Scope
from central_command.corpus.filters import KNOWN_VALUES
from central_command.http.endpoints.search import FILTERS, question_asked
from central_command.http.requests.bodies import ProblemError, Reader, filled_in
from central_command.search.questions import Answer, Mode, Order, Refusal, Unable
from central_command.viewing.desk import UnableError
from central_command.web.site import Site
from persistence.databases.summaries import Summary

HITS: Final = 30
"""Hits of a page, where the settings allow so many."""

MODES: Final = ((Mode.TEXT, "Words"), (Mode.SEMANTIC, "Meaning"), (Mode.HYBRID, "Both"))
ORDERS: Final = ((Order.RELEVANCE, "Best first"), (Order.NEWEST, "Latest first"))


def search_pages(site: Site) -> Blueprint:
    """The page; without a search it says so."""
    routes = Blueprint("pages_search", __name__)

    @routes.get("/search")
    async def search() -> Response:
        await site.admit(Scope.READ)
        given = filled_in()
        answer, wrong, status = await _asked(site, given)
        known = {
            "provider": [*await site.sources.gateway.providers()],
            "model": [*await site.sources.gateway.models()],
            "tier": KNOWN_VALUES["tiers"][1],
            "outcome": KNOWN_VALUES["outcomes"][1],
        }
        values: dict[str, Any] = {
            "title": "Search",
            "given": given,
            "filters": [(name, name.capitalize(), known.get(name)) for name in FILTERS],
            "filtered": [
                (name, value) for name, value in given.items(multi=True) if name in (*FILTERS, "after", "before")
            ],
            "modes": MODES,
            "is_semantic": _is_semantic(site),
            "orders": ORDERS,
            "answer": answer,
            "summaries": {} if answer is None else await _summaries(site, {hit.session_id for hit in answer.hits}),
            "wrong": wrong,
            "status": status,
        }
        return site.page("search.html", **values)

    return routes


async def _summaries(site: Site, session_ids: set[str]) -> dict[str, Summary]:
    """Titles of what was found; none where nobody can read them now: the hits are shown without."""
    desk = site.sources.offered.get("viewer")
    if desk is None or not session_ids:
        return {}
    try:
        return await desk.look(lambda records: records.summaries(session_ids))
    except UnableError:
        return {}


def _is_semantic(site: Site) -> bool:
    """Whether sessions can be found by meaning here."""
    known = site.sources.offered.get("search")
    return known is not None and known.desk.settings.semantic


async def _asked(site: Site, given: MultiDict[str, str]) -> tuple[Answer | None, str, int]:
    """What is found, or a sentence, and the status."""
    known = site.sources.offered.get("search")
    if known is None:
        return None, "This server has no search: search.enabled turns it on.", HTTPStatus.OK
    if "q" not in given:
        return None, "", HTTPStatus.OK
    try:
        question = question_asked(given)
    except ProblemError as error:
        return None, error.problem.sentence, HTTPStatus.BAD_REQUEST
    limit = min(HITS, known.desk.settings.hits_max)
    found = await known.desk.ask(question, limit=limit, cursor=given.get("cursor"), address=Reader.address())
    if not isinstance(found, Refusal):
        return found, "", HTTPStatus.OK
    match found.code:
        case Unable.NOT_READABLE:
            return None, found.sentence, HTTPStatus.BAD_REQUEST
        case Unable.NO_EMBEDDINGS | Unable.NO_INDEX:
            return None, found.sentence, HTTPStatus.OK
        case _:
            return None, found.sentence, HTTPStatus.SERVICE_UNAVAILABLE
