"""`POST /v1/sessions/open` and `/close` (contract, sections 1 and 2)."""

import re
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final

import msgspec
from quart import Blueprint, Response

from actors.consent.desk import OpeningClaim
from actors.consent.register import NotSigned, RegisterFailed, TooManyContributors
from actors.consent.signatures import decoded_key
from actors.envelopes.settings import SchemaSettings
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Opened, UnknownSession
from central_command.access.bans import BanList
from central_command.access.labels import is_label
from central_command.http.endpoints.consent import CONTRIBUTOR_ID, Desk, not_recorded, not_signed
from central_command.http.gateway import Gateway
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.direct import DirectEndpoint, ReceivedBody
from central_command.http.requests.first_bytes import SESSION_ID
from central_command.http.requests.replies import CLOSE_PATH, Replies, Reply, error, problem
from persistence.journals.journal import AppendRefused

_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/=_-]{1,256}")
_DIGEST = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

OPEN_FIELDS = tuple(name for name in OpenSession.__struct_fields__ if name != "signed_by")
"""The fields that an opening must have, in the contract's order."""

BANNED_CODE: Final = "banned"
BANNED: Final = "This machine, contributor or address may open no sessions here: the server's operator has banned it."

CLAIM_FIELDS: Final = ("contributor_id", "contributor_key", "contributor_signature")
"""The fields that say for whom it is opened: the first alone, or all of them."""

Check = Callable[[str], str | None]


class _CloseBody(msgspec.Struct):
    session_id: Any = None


_OpenBody = msgspec.defstruct(
    "_OpenBody",
    [*((name, Any, None) for name in OPEN_FIELDS), *((name, Any, msgspec.UNSET) for name in CLAIM_FIELDS)],
)
_OPEN = msgspec.json.Decoder(_OpenBody)
_CLOSE = msgspec.json.Decoder(_CloseBody)


class OpeningReader:
    """Reads the fields of an opening; lengths of the model and the version are bounded as in envelopes."""

    def __init__(self, schema: SchemaSettings) -> None:
        self.reconfigure(schema)

    def reconfigure(self, schema: SchemaSettings) -> None:
        """Read what comes from now on within other bounds, and take other agents' sessions."""
        self._checks = _open_checks(schema)

    def __call__(self, fields: dict[str, Any]) -> OpenSession | Reply:
        """The opening, or what is wrong with it."""
        missing = [name for name, value in fields.items() if not isinstance(value, str) or value == ""]
        if missing:
            noun = "field" if len(missing) == 1 else "fields"
            return error(400, f"Missing as text: {noun} {', '.join(missing)}.", required=list(OPEN_FIELDS))
        for name, check in self._checks.items():
            if (allowed := check(fields[name])) is not None:
                return error(400, f"{name} must be {allowed}.")
        return OpenSession(**fields)


def session_routes(
    gateway: Gateway,
    reader: Reader,
    replies: Replies,
    read: OpeningReader,
    desk: Desk | None = None,
    bans: BanList | None = None,
) -> Blueprint:
    """What opens sessions."""
    routes = Blueprint("sessions", __name__)

    @routes.post("/v1/sessions/open")
    async def open_session() -> Response:
        fields = msgspec.structs.asdict(await reader.json(_OPEN))
        claim = _read_claim({name: fields.pop(name) for name in CLAIM_FIELDS})
        message = read(fields)
        if not isinstance(message, Reply) and not isinstance(claim, Reply) and bans is not None:
            message = await _unless_banned(message, claim, bans, gateway)
        if not isinstance(message, Reply):
            message = claim if isinstance(claim, Reply) else await _claimed(message, claim, desk, replies)
        if isinstance(message, Reply):
            return message.response()
        outcome = await gateway.open_session(message)
        if isinstance(outcome, Opened):
            reader.charge().opened(message.session_id)
        return replies.opened(outcome).response()

    return routes


def close_endpoint(gateway: Gateway, reader: Reader, replies: Replies) -> DirectEndpoint:
    """What answers a request to close a session."""

    async def close(received: ReceivedBody) -> Reply:
        try:
            session_id = reader.decoded(_CLOSE, received.text).session_id
        except ProblemError as found:
            return problem(CLOSE_PATH, found.problem)
        if not isinstance(session_id, str) or session_id == "":
            return error(400, "The field session_id is required, as text.", required=["session_id"])
        if not SESSION_ID.fullmatch(session_id):
            return replies.closed(UnknownSession())
        return replies.closed(await gateway.close_session(session_id))

    return close


def _read_claim(fields: dict[str, Any]) -> OpeningClaim | Reply | None:
    contributor_id, key, signature = fields.values()
    absent = [name for name, value in fields.items() if value is msgspec.UNSET]
    if len(absent) == len(fields):
        return None
    if not isinstance(contributor_id, str) or not CONTRIBUTOR_ID.fullmatch(contributor_id):
        return error(HTTPStatus.BAD_REQUEST, "contributor_id must be 32 hexadecimal digits.")
    if absent == [*CLAIM_FIELDS[1:]]:
        return OpeningClaim(contributor_id, None, None)
    if not isinstance(key, str) or decoded_key(key) is None:
        return error(HTTPStatus.BAD_REQUEST, "contributor_key must be base64 of the 32 bytes of an Ed25519 key.")
    if not isinstance(signature, str):
        return error(HTTPStatus.BAD_REQUEST, "contributor_signature must be base64 of 64 bytes.")
    return OpeningClaim(contributor_id, key, signature)


async def _unless_banned(
    message: OpenSession, claim: OpeningClaim | None, bans: BanList, gateway: Gateway
) -> OpenSession | Reply:
    """The opening, or that it is refused; a resend for a session that is open is answered as it was."""
    contributor_id = None if claim is None else claim.contributor_id
    is_banned = await bans.refuses(
        machine=message.machine_fingerprint, contributor_id=contributor_id, address=Reader.address()
    )
    if not is_banned or await gateway.is_open(message.session_id):
        return message
    return error(HTTPStatus.FORBIDDEN, BANNED, counted_as=BANNED_CODE, code=BANNED_CODE)


async def _claimed(
    message: OpenSession, claim: OpeningClaim | None, desk: Desk | None, replies: Replies
) -> OpenSession | Reply:
    """The opening with who has signed it, or why it is refused."""
    if claim is None or desk is None:
        return message
    found = await desk.claimed(message.session_id, message.public_key, claim)
    match found:
        case NotSigned():
            return not_signed(found)
        case TooManyContributors() | AppendRefused() | RegisterFailed():
            return not_recorded(found, replies)
        case _:
            return msgspec.structs.replace(message, signed_by=found)


def _open_checks(schema: SchemaSettings) -> dict[str, Check]:
    """For each field, what says what is allowed when a value is not."""
    return {
        "session_id": _matching(SESSION_ID, "1 to 128 letters, digits or any of _ . : -"),
        "public_key": _matching(_PUBLIC_KEY, "base64 of at most 256 characters"),
        "provider": _one_of(schema.providers),
        "model": _printable(schema.model_engine_chars_max),
        "machine_fingerprint": _matching(_DIGEST, "1 to 128 letters, digits or any of _ . : -"),
        "app_version_hash": _matching(_DIGEST, "1 to 128 letters, digits or any of _ . : -"),
        "groove_version": _printable(schema.groove_version_chars_max),
    }


def _matching(pattern: re.Pattern[str], allowed: str) -> Check:
    return lambda value: None if pattern.fullmatch(value) else allowed


def _one_of(values: Collection[str]) -> Check:
    allowed = f"one of {', '.join(values)}"
    return lambda value: None if value in values else allowed


def _printable(chars_max: int) -> Check:
    allowed = f"at most {chars_max} printable characters"
    return lambda value: None if is_label(value, chars_max) else allowed
