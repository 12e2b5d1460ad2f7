"""`/api/corpus`: the corpus a page at a time, for programs that train elsewhere. With a token for exports."""

from http import HTTPStatus
from typing import Any, Final

from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.corpus.asked_members import read_members
from central_command.corpus.cursors import CursorError
from central_command.corpus.desk import SENTENCES, Unable
from central_command.corpus.filters import ARGUMENTS, FOR_RECORDS, Filters, check_values
from central_command.corpus.paging import Asked, Kind
from central_command.http.endpoints.exports import Exports
from central_command.http.requests.authorization import Door
from central_command.http.requests.bodies import ProblemError, bad_query, check_arguments, number_argument
from central_command.http.requests.replies import NDJSON_TYPE, Replies
from central_command.http.settings import HttpSettings

CORPUS_TRAJECTORIES_PATH: Final = "/api/corpus/trajectories"
CORPUS_RECORDS_PATH: Final = "/api/corpus/records"
LIMIT_DEFAULT: Final = 100
PAGE: Final = ("cursor", "limit")
VALUES_MAX: Final = 64
VALUE_CHARS_MAX: Final = 1_000


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
        except CursorError as error:
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
    taken = [name for name, member in ARGUMENTS.items() if kind == "trajectories" or member in FOR_RECORDS]
    repeated = [name for name in taken if isinstance(getattr(Filters(), ARGUMENTS[name]), tuple)]
    once = [name for name in taken if name not in repeated]
    check_arguments(*PAGE, *once, repeated=repeated)
    members: dict[str, Any] = {}
    if sum(1 for _ in request.args.items(multi=True)) > VALUES_MAX:
        raise bad_query(f"The query string has more than {VALUES_MAX} values.")
    for name, values in request.args.lists():
        if any(len(value) > VALUE_CHARS_MAX for value in values):
            raise bad_query(f"A value of {name} is longer than {VALUE_CHARS_MAX:,} characters.")
        if name in repeated:
            members[ARGUMENTS[name]] = values
        elif name in once:
            members[ARGUMENTS[name]] = values[0]
    try:
        names = {member: name for name, member in ARGUMENTS.items()}
        filters = read_members(members, Filters, names=names, of_texts=True)
        check_values(filters, for_records=kind == "records")
    except ValueError as error:
        raise bad_query(str(error)) from None
    return Asked(kind=kind, filters=filters)
