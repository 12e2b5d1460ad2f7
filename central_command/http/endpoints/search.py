"""`GET /api/search`: the corpus by words, by meaning or by both. With a token for reading."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
from quart import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import (
    ProblemError,
    Reader,
    bad_query,
    check_arguments,
    check_lengths,
    number_argument,
)
from central_command.http.requests.replies import HttpProblem, Replies, json_reply
from central_command.http.settings import HttpSettings
from central_command.search.questions import Answer, Question, Refusal, Unable, question_of
from persistence.settings.search import SearchSettings

SEARCH_PATH: Final = "/api/search"
LIMIT_DEFAULT: Final = 20

FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "provider": "providers",
        "model": "models",
        "domain": "domains",
        "tier": "tiers",
        "outcome": "outcomes",
        "contributor": "contributors",
        "tool": "tools",
    }
)
"""Arguments that may be given several times, by the members of a question."""

ONCE: Final = ("q", "mode", "order", "after", "before")
PAGE: Final = ("cursor", "limit")


class Desk(Protocol):
    """What is asked."""

    @property
    def settings(self) -> SearchSettings:
        """How many hits a page may have, and how often somebody may ask."""
        ...

    async def ask(self, question: Question, *, limit: int, cursor: str | None, address: str) -> Answer | Refusal:
        """The answer, or why there is none."""
        ...


class Search(msgspec.Struct, frozen=True):
    """What the endpoint needs: who answers, and who says who may ask."""

    desk: Desk
    gate: TokenCheck


def search_routes(search: Search | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoint; without a search there is nobody to ask, and the answer is 404."""
    routes = Blueprint("search", __name__)
    door = Door(search, lambda known: (known.gate, known.desk.settings), Scope.READ, http=http, replies=replies)

    @routes.get(SEARCH_PATH)
    async def ask() -> Response:
        known, _ = await door.admit(Scope.READ)
        hits_max = known.desk.settings.hits_max
        limit = number_argument("limit", default=min(LIMIT_DEFAULT, hits_max), maximum=hits_max)
        question = question_asked(request.args)
        cursor = request.args.get("cursor")
        answer = await known.desk.ask(question, limit=limit, cursor=cursor, address=Reader.address())
        if isinstance(answer, Refusal):
            raise ProblemError(_problem(answer, replies))
        return json_reply(answer).response()

    return routes


def question_asked(given: MultiDict[str, str]) -> Question:
    """What a query string asks; raises ProblemError for what it may not."""
    check_arguments(*ONCE, *PAGE, repeated=FILTERS)
    members: dict[str, Any] = {}
    check_lengths(given)
    for name, values in given.lists():
        if name in FILTERS:
            members[FILTERS[name]] = values
        elif name in ONCE:
            members[name] = values[0]
    if "q" not in members:
        raise bad_query("q, what is looked for, is missing.")
    try:
        return question_of(members, names={member: name for name, member in FILTERS.items()})
    except ValueError as wrong:
        raise bad_query(str(wrong)) from None


def _problem(refusal: Refusal, replies: Replies) -> HttpProblem:
    match refusal.code:
        case Unable.NOT_READABLE:
            return HttpProblem(HTTPStatus.BAD_REQUEST, refusal.code, refusal.sentence)
        case Unable.NO_EMBEDDINGS:
            return HttpProblem(HTTPStatus.NOT_IMPLEMENTED, refusal.code, refusal.sentence)
        case _:
            return replies.overloaded(refusal.code, refusal.sentence)
