"""The observer's endpoints: `/event`, `/stats`, `/health` on a port of its own, as the original's clients ask them.

With a token, the same and more at `/api/observer/…` on the main port.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from quart import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from actors.observer.failures import FailureGroup
from actors.observer.operation import OperationRefused, as_members
from actors.observer.playbooks import Playbook
from actors.observer.ring import Chosen, Observed, Ring
from actors.observer.settings import ObserverSettings
from actors.sessions.outcomes import unavailable
from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import (
    ProblemError,
    Reader,
    check_arguments,
    number_argument,
    text_argument,
)
from central_command.http.requests.replies import HttpProblem, Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.format import times
from persistence.journals.journal import AppendRefused

API_PATH: Final = "/api/observer"
EVENT_PATH: Final = f"{API_PATH}/event"
STATS_PATH: Final = f"{API_PATH}/stats"
HEALTH_PATH: Final = f"{API_PATH}/health"
FAILURES_PATH: Final = f"{API_PATH}/failures"
PLAYBOOKS_PATH: Final = f"{API_PATH}/playbooks"
OPERATIONS_PATH: Final = f"{API_PATH}/operations"

OPERATIONS_DEFAULT: Final = 100
OPERATIONS_MAX: Final = 500
"""Operations of one answer."""
LINE_NUMBER_MAX: Final = 999_999_999

_TRUTH: Final = re.compile(r"\A(?:true|false)\Z")

OUR_HOST: Final = re.compile(r"\A(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?\Z")


class ObserverDesk(Protocol):
    """What is asked of the observer."""

    ring: Ring
    failures: tuple[FailureGroup, ...]
    playbooks: tuple[Playbook, ...]

    async def record(self, members: dict[str, Any], size_bytes: int) -> int | AppendRefused:
        """Store an operation; the answer comes after it is on disk."""
        ...


class Observing(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, and the bounds."""

    desk: ObserverDesk
    gate: TokenCheck
    settings: ObserverSettings


class _Questions:
    """What both ports answer alike."""

    def __init__(self, desk: ObserverDesk, settings: ObserverSettings, reader: Reader, replies: Replies) -> None:
        self._desk = desk
        self._settings = settings
        self._reader = reader
        self._replies = replies

    async def event(self) -> Reply:
        body = await self._reader.body()
        if len(body) > self._settings.body_bytes_max:
            sentence = f"An event may have {self._settings.body_bytes_max:,} bytes."
            raise ProblemError(HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", sentence))
        try:
            stored = await self._desk.record(self._reader.members(body), len(body))
        except OperationRefused as refused:
            return error(HTTPStatus.BAD_REQUEST, str(refused))
        if isinstance(stored, AppendRefused):
            return self._replies.unable(unavailable(stored))
        return json_reply({"accepted": True, "ring_size": stored})

    def stats(self) -> Reply:
        return json_reply(self._desk.ring.figures())

    def health(self) -> Reply:
        return json_reply({"status": "ok", "ops_in_ring": len(self._desk.ring)})

    def operations(self) -> Reply:
        check_arguments("limit", "before", "source", "endpoint", "success")
        page = page_of_operations(self._desk, request.args)
        listed = [
            {"n": each.n, "received_at": times.to_text(each.at), "operation": as_members(each.operation)}
            for each in page.shown
        ]
        return json_reply({"operations": listed, "next": page.next_before})


class OperationPage(msgspec.Struct, frozen=True):
    """Operations, the last first, and before which line's number the next page begins; None on the last page."""

    shown: list[Observed]
    next_before: int | None


def page_of_operations(desk: ObserverDesk, given: MultiDict[str, str]) -> OperationPage:
    """The operations that a query string chooses; raises ProblemError for what it may not."""
    limit = number_argument("limit", default=OPERATIONS_DEFAULT, maximum=OPERATIONS_MAX, given=given)
    before = number_argument("before", default=LINE_NUMBER_MAX, maximum=LINE_NUMBER_MAX, given=given)
    success = text_argument("success", _TRUTH, "true or false", given)
    chosen = Chosen(
        source=given.get("source") or None,
        endpoint=given.get("endpoint") or None,
        success=None if success is None else success == "true",
    )
    page = desk.ring.page(before_n=before, limit=limit + 1, chosen=chosen)
    shown = page[:limit]
    return OperationPage(shown, shown[-1].n if len(page) > limit else None)


def observer_routes(observing: Observing | None, http: HttpSettings, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints of the main port; without an observer there is nobody to ask, and the answer is 404."""
    routes = Blueprint("observer", __name__)
    door = Door(
        observing, lambda known: (known.gate, known.settings), Scope.INTAKE, Scope.READ, http=http, replies=replies
    )

    async def admitted(scope: Scope) -> tuple[ObserverDesk, _Questions]:
        known, _ = await door.admit(scope)
        return known.desk, _Questions(known.desk, known.settings, reader, replies)

    @routes.post(EVENT_PATH)
    async def event() -> Response:
        _, questions = await admitted(Scope.INTAKE)
        return (await questions.event()).response()

    @routes.get(STATS_PATH)
    async def stats() -> Response:
        _, questions = await admitted(Scope.READ)
        return questions.stats().response()

    @routes.get(HEALTH_PATH)
    async def health() -> Response:
        _, questions = await admitted(Scope.READ)
        return questions.health().response()

    @routes.get(FAILURES_PATH)
    async def failures() -> Response:
        desk, _ = await admitted(Scope.READ)
        return _listed("failures", desk.failures).response()

    @routes.get(PLAYBOOKS_PATH)
    async def playbooks() -> Response:
        desk, _ = await admitted(Scope.READ)
        return _listed("playbooks", desk.playbooks).response()

    @routes.get(OPERATIONS_PATH)
    async def operations() -> Response:
        _, questions = await admitted(Scope.READ)
        return questions.operations().response()

    return routes


def observer_port_routes(desk: ObserverDesk, settings: ObserverSettings, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints of the observer's own port: on loopback, and open to whoever is there but pages in browsers."""
    routes = Blueprint("observer_port", __name__)
    questions = _Questions(desk, settings, reader, replies)

    @routes.before_app_request
    async def refuse_pages() -> Response | None:
        """A page of somebody else's may send requests to loopback: none of them is answered.

        Its browser says whose the page is (`Origin`, `Sec-Fetch-Site`), or was led here by another name (`Host`).
        """
        site = request.headers.get("Sec-Fetch-Site", "none")
        is_ours = OUR_HOST.match(request.headers.get("Host", ""))
        if "Origin" in request.headers or site not in {"none", "same-origin"} or not is_ours:
            return error(HTTPStatus.FORBIDDEN, "This port is for programs on this machine, not for pages.").response()
        return None

    @routes.post("/event")
    async def event() -> Response:
        return (await questions.event()).response()

    @routes.get("/stats")
    async def stats() -> Response:
        return questions.stats().response()

    @routes.get("/health")
    async def health() -> Response:
        return questions.health().response()

    return routes


def _listed(name: str, rows: Sequence[FailureGroup] | Sequence[Playbook]) -> Reply:
    return json_reply({name: rows})
