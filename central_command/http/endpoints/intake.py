"""`/v1/intake/…` (docs/protocol.md, "The intake"): for applications that do not run Python, with a token for it.

A user's id is no secret, but names somebody, so no answer repeats it, and no log line shows it.
"""

from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
import trio
from quart import Blueprint, Response

from actors.consent.register import SayOutcome, UserStatement
from actors.consent.settings import ConsentSettings
from actors.erasure.job import Report, TooManyErasures
from actors.intake.desk import RecordOutcome, TakenRecord
from actors.intake.reading import USER_ID, USER_ID_SENTENCE, RefusedRecord, SubmittedRecord, read_record
from actors.intake.settings import IntakeSettings
from actors.sessions.outcomes import unavailable
from central_command.access.gate import Admitted
from central_command.access.tokens import Scope
from central_command.http.endpoints.consent import said_reply
from central_command.http.endpoints.erasures import asked_reply
from central_command.http.gateway import Gateway
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.ndjson import lines_of
from central_command.http.requests.replies import HttpProblem, Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.format.consent_events import Decision
from persistence.journals.journal import AppendRefused

RECORDS_PATH: Final = "/v1/intake/records"
USER_CONSENT_PATH: Final = "/v1/intake/consent"
USER_PATH: Final = "/v1/intake/users/<user_id>"

TURN_BYTES: Final = 131_072
"""Bytes of records that are read before others get their turn."""


class _Consent(msgspec.Struct):
    user_id: Any = None
    state: Any = None
    version: Any = msgspec.UNSET
    purposes: Any = msgspec.UNSET


class Desk(Protocol):
    """What is asked of the intake."""

    @property
    def consent(self) -> ConsentSettings:
        """The terms that are current."""
        ...

    async def say(self, statement: UserStatement) -> SayOutcome:
        """Record what a user says: the answer comes after it is on disk."""
        ...

    async def submit(
        self, records: list[SubmittedRecord | RefusedRecord], *, token_id: str
    ) -> list[RecordOutcome] | AppendRefused:
        """Store what may be stored; one outcome for each, or why nothing could be stored."""
        ...


class Intake(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, and the bounds."""

    desk: Desk
    gate: TokenCheck
    settings: IntakeSettings


def intake_routes(
    intake: Intake | None, gateway: Gateway, http: HttpSettings, reader: Reader, replies: Replies
) -> Blueprint:
    """The endpoints; without an intake there is nobody to ask, and the answer is 404."""
    routes = Blueprint("intake", __name__)
    door = Door(intake, lambda known: (known.gate, known.settings), Scope.INTAKE, http=http, replies=replies)

    async def admitted() -> tuple[Intake, Admitted]:
        return await door.admit(Scope.INTAKE)

    @routes.post(RECORDS_PATH)
    async def submit() -> Response:
        taking, by = await admitted()
        lines = lines_of(await reader.body(), lines_max=taking.settings.records_max, of="record", code="no_record")
        if isinstance(lines, HttpProblem):
            raise ProblemError(lines)
        records = await _read(lines, taking.settings)
        outcomes = await taking.desk.submit(records, token_id=by.token_id)
        if isinstance(outcomes, AppendRefused):
            return replies.unable(unavailable(outcomes)).response()
        return _results(outcomes).response()

    @routes.post(USER_CONSENT_PATH)
    async def say() -> Response:
        taking, _ = await admitted()
        statement = _statement(reader.asked(_Consent, await reader.body()), taking.desk.consent)
        if isinstance(statement, Reply):
            return statement.response()
        return said_reply(await taking.desk.say(statement), taking.desk.consent, replies).response()

    @routes.delete(USER_PATH)
    async def erase(user_id: str) -> Response:
        taking, _ = await admitted()
        return (await _erased(gateway, user_id, taking.desk.consent, replies)).response()

    return routes


async def _erased(gateway: Gateway, user_id: str, settings: ConsentSettings, replies: Replies) -> Reply:
    if not USER_ID.match(user_id):
        return error(HTTPStatus.BAD_REQUEST, USER_ID_SENTENCE)
    asked = await gateway.erase_user(user_id)
    return asked_reply(asked) if isinstance(asked, Report | TooManyErasures) else said_reply(asked, settings, replies)


async def _read(lines: list[bytes], settings: IntakeSettings) -> list[SubmittedRecord | RefusedRecord]:
    """Read the records; the lines go meanwhile, because both would be held."""
    records: list[SubmittedRecord | RefusedRecord] = []
    turn_bytes = 0
    for place, line in enumerate(lines):
        lines[place] = b""
        records.append(read_record(line, bytes_max=settings.record_bytes_max))
        turn_bytes += len(line)
        if turn_bytes > TURN_BYTES:
            turn_bytes = 0
            await trio.lowlevel.checkpoint()
    return records


def _results(outcomes: list[RecordOutcome]) -> Reply:
    results: list[dict[str, object]] = [
        {"index": index, "accepted": True, "id": outcome.record_id}
        if isinstance(outcome, TakenRecord)
        else {"index": index, "accepted": False, "code": outcome.code, "reason": outcome.reason}
        for index, outcome in enumerate(outcomes)
    ]
    accepted = sum(isinstance(outcome, TakenRecord) for outcome in outcomes)
    return json_reply({"accepted": accepted, "rejected": len(outcomes) - accepted, "results": results})


def _statement(body: _Consent, settings: ConsentSettings) -> UserStatement | Reply:
    """What a user says; or what is wrong with it. Consent is to all purposes of the notice, or to none."""
    required = ["user_id", "state", "version"]
    if not isinstance(body.user_id, str) or not USER_ID.match(body.user_id):
        return error(HTTPStatus.BAD_REQUEST, USER_ID_SENTENCE, required=required)
    if not isinstance(body.state, str) or body.state not in {*Decision}:
        return error(HTTPStatus.BAD_REQUEST, "state must be given or withdrawn.", required=required)
    decision = Decision(body.state)
    is_withdrawn = decision is Decision.WITHDRAWN
    version = settings.current_version if body.version is msgspec.UNSET and is_withdrawn else body.version
    if version != settings.current_version:
        sentence = f"version must be {settings.current_version}: those are the terms that are current."
        return error(HTTPStatus.BAD_REQUEST, sentence, required=required)
    if body.purposes is not msgspec.UNSET and not _names(body.purposes, settings.purposes):
        sentence = f"purposes, if it is there, must name those of the notice: {', '.join(settings.purposes)}."
        return error(HTTPStatus.BAD_REQUEST, sentence, required=required)
    return UserStatement(user_id=body.user_id, decision=decision, version=version)


def _names(found: object, purposes: tuple[str, ...]) -> bool:
    """Whether a member names all of the purposes, each once, in any order, and no other."""
    return (
        isinstance(found, list) and all(isinstance(each, str) for each in found) and sorted(found) == sorted(purposes)
    )
