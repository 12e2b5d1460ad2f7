"""`/api/admin/refused`: dead letters listed, shown, and tried again. With a token of the scope `admin`."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import msgspec
from quart import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from actors.sessions.letter_desk import LetterContents, LetterPage
from actors.sessions.outcomes import ActorFailed, Busy, LetterOutcome, RetryOutcome, StaysRefused, StorageFull, TakenIn
from central_command.access.audit import Audit
from central_command.access.tokens import Scope
from central_command.http.endpoints.consent import CONTRIBUTOR_ID
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import (
    ProblemError,
    Reader,
    bad_query,
    check_arguments,
    number_argument,
    text_argument,
)
from central_command.http.requests.first_bytes import SESSION_ID
from central_command.http.requests.replies import HttpProblem, Replies, json_reply
from central_command.http.settings import HttpSettings
from persistence.databases.letters import LetterFilter
from persistence.format import times
from persistence.format.consent_events import subject_digest

REFUSED_PATH: Final = "/api/admin/refused"
LETTER_PATH: Final = f"{REFUSED_PATH}/<letter_id>"
RETRY_PATH: Final = f"{LETTER_PATH}/retry"

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200
"""Letters in one answer: some 100 KB."""

FILTERS: Final = {
    "code": (re.compile(r"\A[a-z_]{1,64}\Z"), "the code of a refusal: lower-case letters and _"),
    "day": (re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z"), "a day such as 2026-11-20"),
    "session": (SESSION_ID, "the id of a session"),
    "machine": (re.compile(r"\A[A-Za-z0-9_.:-]{1,128}\Z"), "the fingerprint of a machine"),
    "contributor": (CONTRIBUTOR_ID, "32 hexadecimal digits"),
}
"""By what letters are chosen: what each may be, and the words for it."""

_CURSOR: Final = re.compile(r"\A[1-9][0-9]{0,17}\Z")
T = TypeVar("T")


class LetterDesk(Protocol):
    """What is asked of the dead letters."""

    async def page(self, chosen: LetterFilter, limit: int, *, before_n: int = ...) -> LetterPage:
        """At most `limit` letters of lines before number `before_n`, newest first."""
        ...

    async def contents(self, letter_id: str) -> LetterContents | None:
        """One of them with what it holds; None for one that there is not."""
        ...

    async def retry(self, letter_id: str) -> RetryOutcome | None:
        """Try to take one in; None for one that there is not."""
        ...


class Refused(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, how often, and who is told of tries."""

    desk: LetterDesk
    gate: TokenCheck
    audit: Audit
    requests_per_minute: int
    requests_per_hour: int


def refused_routes(refused: Refused | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoints; without dead letters there is nobody to ask, and the answer is 404."""
    routes = Blueprint("refused", __name__)
    door = Door(refused, lambda known: (known.gate, known), Scope.ADMIN, http=http, replies=replies)

    async def admitted() -> tuple[Refused, str]:
        known, by = await door.admit(Scope.ADMIN)
        return known, by.token_id

    @routes.get(REFUSED_PATH)
    async def letters() -> Response:
        known, _ = await admitted()
        check_arguments(*FILTERS, "cursor", "limit")
        return json_reply(await page_of_letters(known, request.args)).response()

    @routes.get(LETTER_PATH)
    async def letter(letter_id: str) -> Response:
        known, _ = await admitted()
        return json_reply(shown(found_letter(await known.desk.contents(letter_id)))).response()

    @routes.post(RETRY_PATH)
    async def retry(letter_id: str) -> Response:
        known, by = await admitted()
        return json_reply(await try_letter(known, letter_id, by, replies)).response()

    return routes


async def page_of_letters(refused: Refused, given: MultiDict[str, str]) -> LetterPage:
    """The letters that a query string chooses; raises ProblemError for what it may not."""
    limit = number_argument("limit", default=PAGE_DEFAULT, maximum=PAGE_MAX, given=given)
    cursor = text_argument("cursor", _CURSOR, "what next_cursor of the page before says", given)
    try:
        chosen = chosen_letters({name: given[name] for name in FILTERS if name in given})
    except ValueError as wrong:
        raise bad_query(str(wrong)) from None
    if cursor is None:
        return await refused.desk.page(chosen, limit)
    return await refused.desk.page(chosen, limit, before_n=int(cursor))


async def try_letter(refused: Refused, letter_id: str, by: str, replies: Replies) -> dict[str, object]:
    """Try to take a letter in, by whom a token's or a session's id says, and note that; return what is answered.

    Raises ProblemError for a letter that there is not, and where it cannot be tried now.
    """
    outcome = await refused.desk.retry(letter_id)
    if isinstance(outcome, Busy | StorageFull | ActorFailed):
        raise ProblemError(replies.inability(outcome))
    found = found_letter(retried(letter_id, outcome))
    await refused.audit.note(by, "letter_tried", letter_id, Reader.address())
    return found


def found_letter(found: T | None) -> T:
    """What was found of a letter; raises ProblemError for one that there is not."""
    if found is None:
        raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "There is no such dead letter."))
    return found


def chosen_letters(given: Mapping[str, str]) -> LetterFilter:
    """The filter that arguments by their names are; raises ValueError, with a sentence, for what cannot be one."""
    for name, value in given.items():
        allowed, words = FILTERS[name]
        if allowed.fullmatch(value) is None or (name == "day" and not times.is_day(value)):
            raise ValueError(f"{name} must be {words}.")
    contributor = given.get("contributor")
    return LetterFilter(
        code=given.get("code"),
        day=given.get("day"),
        session=given.get("session"),
        machine=given.get("machine"),
        subject=None if contributor is None else subject_digest(contributor.lower()),
    )


def shown(found: LetterContents | None) -> dict[str, object] | None:
    """What is answered of a letter and what it holds; None for one that there is not."""
    return None if found is None else msgspec.structs.asdict(found.letter) | {"body": found.body}


def retried(letter_id: str, outcomes: Sequence[LetterOutcome] | None) -> dict[str, object] | None:
    """What is answered of a try; None for a letter that there is not."""
    results = [_result(each) for each in outcomes or ()]
    asked = next((each for each in results if each["id"] == letter_id), None)
    if asked is None:
        return None
    return {"ok": asked["taken_in"], "message": asked["message"], "results": results}


def _result(outcome: TakenIn | StaysRefused) -> dict[str, object]:
    members = {"id": outcome.letter_id, "taken_in": isinstance(outcome, TakenIn), "message": message_of(outcome)}
    if isinstance(outcome, TakenIn):
        return members | {"taken_in_as": outcome.envelope_id, "already": outcome.already}
    return members | {"code": outcome.code}


def message_of(outcome: TakenIn | StaysRefused) -> str:
    """One sentence: what became of it."""
    if isinstance(outcome, StaysRefused):
        return outcome.reason
    if outcome.already:
        return f"It was taken in before, as {outcome.envelope_id}."
    late = "" if outcome.is_stitched else "; the session's trajectory was written before, and stays as it is"
    return f"It is taken in as {outcome.envelope_id}{late}."
