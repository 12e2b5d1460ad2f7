"""`/api/corpus`: the corpus a page at a time, for programs that train elsewhere. With a token for exports."""

from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.corpus.asked_members import read_members
from central_command.corpus.desk import SENTENCES, Unable
from central_command.corpus.filters import ARGUMENTS, FOR_RECORDS, Filters, check_values
from central_command.corpus.paging import Asked, Kind
from central_command.http.endpoints.exports import Exports
from central_command.http.requests.authorization import Door
from central_command.http.requests.bodies import (
    ProblemError,
    bad_query,
    check_arguments,
    check_lengths,
    number_argument,
)
from central_command.http.requests.replies import NDJSON_TYPE, Replies
from central_command.http.settings import HttpSettings

CORPUS_TRAJECTORIES_PATH: Final = "/api/corpus/trajectories"
CORPUS_RECORDS_PATH: Final = "/api/corpus/records"
LIMIT_DEFAULT: Final = 100
PAGE: Final = ("cursor", "limit")


def corpus_routes(exports: Exports | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoints; without exports there is nobody to ask, and the answer is 404."""
    routes = Blueprint("corpus", __name__)
    door = Door(exports, lambda known: (known.gate, known), Scope.EXPORT, http=http, replies=replies)

    async def page_of(kind: Kind) -> Response:
        known, _ = await door.admit(Scope.EXPORT)
        largest = known.corpus.bounds.records
        limit = number_argument("limit", default=min(LIMIT_DEFAULT, largest), maximum=largest)
        asked = _asked(kind)
        is_packed = bool(request.accept_encodings["gzip"])
        try:
            begun = await known.corpus.open(asked, limit=limit, cursor=request.args.get("cursor"), is_packed=is_packed)
        except ValueError as error:  # a cursor, or a provider
            raise bad_query(str(error)) from None
        if isinstance(begun, Unable):
            raise ProblemError(replies.overloaded(begun, SENTENCES[begun]))
        headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if is_packed else {})}
        return Response(begun.pieces, HTTPStatus.OK, headers, content_type=NDJSON_TYPE)

    @routes.get(CORPUS_TRAJECTORIES_PATH)
    async def trajectories() -> Response:
        return await page_of("trajectories")

    @routes.get(CORPUS_RECORDS_PATH)
    async def records() -> Response:
        return await page_of("records")

    return routes


def _asked(kind: Kind) -> Asked:
    """What the query string asks for; raises ProblemError for what it may not."""
    nothing = Filters()
    taken = {name: member for name, member in ARGUMENTS.items() if kind == "trajectories" or member in FOR_RECORDS}
    many = [name for name, member in taken.items() if isinstance(getattr(nothing, member), tuple)]
    check_arguments(*PAGE, *(name for name in taken if name not in many), repeated=many)
    check_lengths(request.args)
    members = {
        taken[name]: values if name in many else values[0] for name, values in request.args.lists() if name in taken
    }
    try:
        names = {member: name for name, member in ARGUMENTS.items()}
        filters = read_members(members, Filters, names=names, of_texts=True)
        check_values(filters, for_records=kind == "records")
    except ValueError as error:
        raise bad_query(str(error)) from None
    return Asked(kind=kind, filters=filters)
