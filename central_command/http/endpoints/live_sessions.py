"""`GET /api/sessions/{id}`: a session as it is now, open ones too, in figures; its conversation, from the corpus.

With a token of the scope `read`, or `admin`: figures hold no text of anybody, and the corpus is scrubbed.
"""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import ProblemError, check_arguments
from central_command.http.requests.first_bytes import SESSION_ID
from central_command.http.requests.replies import HttpProblem, Replies, json_reply
from central_command.http.settings import HttpSettings
from central_command.live_sessions.desk import FiguresOutcome, TooMany, Unreadable
from central_command.live_sessions.history import HISTORY_FORMATS, NoHistory
from central_command.live_sessions.settings import LiveSettings
from persistence.databases.database import DatabaseFailure

SESSION_PATH: Final = "/api/sessions/<session_id>"
HISTORY_PATH: Final = f"{SESSION_PATH}/history"

_NOT_NOW: Final = "The session cannot be read now; come back later."


class Figures(Protocol):
    """Who knows the figures of sessions."""

    @property
    def settings(self) -> LiveSettings:
        """How often somebody may ask."""
        ...

    async def figures(self, session_id: str) -> FiguresOutcome:
        """Those of one; raises DatabaseFailure."""
        ...


class Histories(Protocol):
    """Who hands conversations out."""

    async def history(self, session_id: str) -> AsyncIterator[bytes] | NoHistory:
        """One as pieces of JSON, or why there is none."""
        ...


class LiveSessions(msgspec.Struct, frozen=True):
    """What the endpoints need: who is asked, and who says who may ask."""

    figures: Figures
    histories: Histories
    gate: TokenCheck


def live_session_routes(live: LiveSessions | None, http: HttpSettings, replies: Replies) -> Blueprint:
    """The endpoints; without anybody to ask, the answer is 404."""
    routes = Blueprint("live_sessions", __name__)
    door = Door(
        live, lambda known: (known.gate, known.figures.settings), Scope.READ, Scope.ADMIN, http=http, replies=replies
    )

    @routes.get(SESSION_PATH)
    async def figures(session_id: str) -> Response:
        known, _ = await door.admit(Scope.READ, Scope.ADMIN)
        _check_id(session_id)
        try:
            found = await known.figures.figures(session_id)
        except DatabaseFailure:
            found = Unreadable()
        match found:
            case None:
                raise _absent(f"There is no session {session_id}.")
            case TooMany():
                sentence = "Too many sessions wait to be counted; come back later."
                raise ProblemError(replies.overloaded("sessions_busy", sentence))
            case Unreadable():
                raise ProblemError(replies.overloaded("storage_failed", _NOT_NOW))
            case _:
                return json_reply(found).response()

    @routes.get(HISTORY_PATH)
    async def history(session_id: str) -> Response:
        known, _ = await door.admit(Scope.READ, Scope.ADMIN)
        _check_id(session_id)
        check_arguments("format")
        asked = request.args.get("format", HISTORY_FORMATS[0])
        if asked not in HISTORY_FORMATS:
            sentence = f"There is no format {asked[:40]!r}; there is {', '.join(HISTORY_FORMATS)}."
            raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_format", sentence))
        found = await known.histories.history(session_id)
        if isinstance(found, NoHistory):
            raise _no_history(found, replies)
        return Response(found, HTTPStatus.OK, content_type="application/json")

    return routes


def _check_id(session_id: str) -> None:
    if not SESSION_ID.fullmatch(session_id):
        raise _absent("There is no such session: ids are 1 to 128 letters, digits or any of _ . : -.")


def _absent(sentence: str) -> ProblemError:
    return ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "no_session", sentence))


def _no_history(found: NoHistory, replies: Replies) -> ProblemError:
    match found.why:
        case "absent":
            return _absent(found.sentence)
        case "large":
            return ProblemError(HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "history_too_large", found.sentence))
        case "damaged":
            return ProblemError(HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, "record_damaged", found.sentence))
        case "busy":
            return ProblemError(replies.overloaded("histories_busy", found.sentence))
        case "failed":
            return ProblemError(replies.overloaded("storage_failed", found.sentence))
