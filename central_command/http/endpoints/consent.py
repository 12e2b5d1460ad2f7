"""`/v1/contributors/{id}/consent`, and `/.well-known/central-command.json` with the receipts' key.

What is asked and answered is in docs/protocol.md, "Contributors".

A contributor's id is a secret of its client, so no answer repeats it, and no log line shows it.
"""

import re
from http import HTTPStatus
from typing import Any, Final, Protocol, assert_never

import msgspec
from quart import Blueprint, Response, request

from actors.consent.desk import ClaimOutcome, OpeningClaim, ReceiptKey, Shown, SignedReceipt
from actors.consent.register import (
    NotLatest,
    NotSigned,
    RegisterFailed,
    Said,
    SayOutcome,
    Statement,
    TooManyContributors,
)
from actors.consent.settings import ConsentSettings
from actors.consent.signatures import RequestProof, body_digest
from actors.sessions.outcomes import ActorFailed, FullReason, StorageFull, unavailable
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.replies import HttpProblem, Replies, Reply, error, json_reply
from persistence.format.consent_events import BEFORE_FIRST, ConsentSource, Decision
from persistence.format.consent_events import shown as shown_event
from persistence.journals.journal import AppendRefused

WELL_KNOWN_PATH: Final = "/.well-known/central-command.json"
CONSENT_PATH: Final = "/v1/contributors/<contributor_id>/consent"
TIME_HEADER: Final = "Signature-Time"
SIGNATURE_HEADER: Final = "Contributor-Signature"

NOT_SIGNED_CODE: Final = "not_signed"
CONTRIBUTOR_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_TIME: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/=]{1,100}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class _Body(msgspec.Struct):
    state: Any = None
    version: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


class Desk(Protocol):
    """What is asked about consent."""

    @property
    def settings(self) -> ConsentSettings:
        """The terms that are current."""
        ...

    async def say(self, statement: Statement) -> SayOutcome:
        """Record what a contributor says: the answer comes after it is on disk."""
        ...

    async def show(self, contributor_id: str, proof: RequestProof | None) -> Shown | NotSigned:
        """What a contributor has said."""
        ...

    async def receipt(self, contributor_id: str, proof: RequestProof | None) -> SignedReceipt | NotSigned | None:
        """A receipt of what a contributor has said; None when that is nothing."""
        ...

    async def claimed(self, session_id: str, public_key: str, claim: OpeningClaim) -> ClaimOutcome:
        """Whether a session may be opened for a contributor; a key that comes first is registered, durably."""
        ...

    def receipt_key(self) -> ReceiptKey:
        """The key that receipts are verified with."""
        ...


def consent_routes(desk: Desk | None, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints; without a desk there is nobody to ask, and the answer is 404."""
    routes = Blueprint("consent", __name__)

    def at_desk() -> Desk:
        if desk is None:
            raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "There is no such endpoint."))
        return desk

    @routes.post(CONSENT_PATH)
    async def say(contributor_id: str) -> Response:
        known = at_desk()
        check_contributor_id(contributor_id)
        body = await reader.body()
        statement = _statement(contributor_id, reader.asked(_Body, body), proof_of(body), known.settings)
        if isinstance(statement, Reply):
            return statement.response()
        return said_reply(await known.say(statement), known.settings, replies).response()

    @routes.get(CONSENT_PATH)
    async def show(contributor_id: str) -> Response:
        known = at_desk()
        check_contributor_id(contributor_id)
        shown = await known.show(contributor_id, proof_of(b""))
        return (not_signed(shown) if isinstance(shown, NotSigned) else _shown(shown, known.settings)).response()

    @routes.get(f"{CONSENT_PATH}/receipt")
    async def receipt(contributor_id: str) -> Response:
        known = at_desk()
        check_contributor_id(contributor_id)
        found = await known.receipt(contributor_id, proof_of(b""))
        if found is None:
            return error(HTTPStatus.NOT_FOUND, "There is no consent to give a receipt of.").response()
        return (not_signed(found) if isinstance(found, NotSigned) else _receipt(found)).response()

    @routes.get(WELL_KNOWN_PATH)
    async def well_known() -> Response:
        known = at_desk()
        key = known.receipt_key()
        body = {
            "receipt_keys": [{"algorithm": "Ed25519", **msgspec.structs.asdict(key)}],
            "consent": {"mode": known.settings.mode, **_terms(known.settings)},
        }
        return json_reply(body).response()

    return routes


def check_contributor_id(contributor_id: str) -> None:
    """Raise ProblemError for what is no contributor's id."""
    if not CONTRIBUTOR_ID.fullmatch(contributor_id):
        sentence = "A contributor's id is 32 hexadecimal digits."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_contributor_id", sentence))


def proof_of(body: bytes) -> RequestProof | None:
    """What the request, which has that body, is signed with; None without a signature.

    Raises ProblemError for one that cannot be.
    """
    times_given, signatures = request.headers.getlist(TIME_HEADER), request.headers.getlist(SIGNATURE_HEADER)
    if not times_given and not signatures:
        return None
    if (
        len(times_given) != 1
        or len(signatures) != 1
        or not _TIME.fullmatch(times_given[0])
        or not _SIGNATURE.fullmatch(signatures[0])
    ):
        sentence = f"A signed request has {TIME_HEADER} (whole seconds) and {SIGNATURE_HEADER} (base64) once each."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_signature_headers", sentence))
    # HEAD is answered as GET is, and signed as what it was sent as.
    return RequestProof(request.method, request.path, body_digest(body), int(times_given[0]), signatures[0])


def _statement(
    contributor_id: str, body: _Body, proof: RequestProof | None, settings: ConsentSettings
) -> Statement | Reply:
    if not isinstance(body.state, str) or body.state not in {*Decision}:
        return error(HTTPStatus.BAD_REQUEST, "state must be given or withdrawn.", required=["state", "version"])
    decision = Decision(body.state)
    version = (
        settings.current_version if body.version is msgspec.UNSET and decision is Decision.WITHDRAWN else body.version
    )
    if version != settings.current_version:
        sentence = f"version must be {settings.current_version}: those are the terms that are current."
        return error(HTTPStatus.BAD_REQUEST, sentence, required=["state", "version"])
    if body.after is not msgspec.UNSET and not (isinstance(body.after, str) and _SHA256.fullmatch(body.after)):
        return error(HTTPStatus.BAD_REQUEST, "after must be the 64 hexadecimal digits of an event's hash.")
    return Statement(
        contributor_id=contributor_id,
        decision=decision,
        version=version,
        source=ConsentSource.API,
        proof=proof,
        after=None if body.after is msgspec.UNSET else body.after,
    )


def said_reply(outcome: SayOutcome, settings: ConsentSettings, replies: Replies) -> Reply:
    """The answer to a contributor or a user who has said something."""
    match outcome:
        case Said():
            return json_reply({"recorded": outcome.is_new, **_terms(settings), "event": shown_event(outcome.event)})
        case NotSigned():
            return not_signed(outcome)
        case NotLatest():
            sentence = "after must be the hash of the contributor's last event, which is another one."
            return error(HTTPStatus.CONFLICT, sentence, last_event_sha256=outcome.last_sha256)
        case TooManyContributors() | AppendRefused() | RegisterFailed():
            return not_recorded(outcome, replies)
        case unreachable:
            assert_never(unreachable)


def not_recorded(outcome: TooManyContributors | AppendRefused | RegisterFailed, replies: Replies) -> Reply:
    """The answer when what a contributor says, or their key, could not be recorded now."""
    match outcome:
        case TooManyContributors():
            return replies.unable(StorageFull(FullReason.CONTRIBUTORS))
        case AppendRefused():
            return replies.unable(unavailable(outcome))
        case RegisterFailed():
            return replies.unable(ActorFailed())
        case unreachable:
            assert_never(unreachable)


def not_signed(refused: NotSigned) -> Reply:
    """The answer to a request in the name of a contributor who has a key, which is not signed as it must be."""
    return error(HTTPStatus.FORBIDDEN, refused.reason, counted_as=NOT_SIGNED_CODE, code=NOT_SIGNED_CODE)


def _terms(settings: ConsentSettings) -> dict[str, Any]:
    """What is agreed to now."""
    notice = {
        "version": settings.notice_version,
        "sha256": settings.notice_sha256,
        "language": settings.language,
        "text": settings.notice_text,
    }
    return {"current_version": settings.current_version, "notice": notice}


def _shown(shown: Shown, settings: ConsentSettings) -> Reply:
    history = [shown_event(event) for event in shown.events]
    last = history[-1] if history else None
    return json_reply(
        {
            "state": shown.state,
            "erased": shown.is_erased,
            "version": None if last is None else last.version,
            "changed_at": None if last is None else last.at,
            "last_event_sha256": BEFORE_FIRST if last is None else last.sha256,
            **_terms(settings),
            "history": history,
        }
    )


def _receipt(found: SignedReceipt) -> Reply:
    signature = {"algorithm": "Ed25519", "key_id": found.key_id, "value": found.signature}
    return json_reply({"receipt": msgspec.Raw(found.text), "signature": signature})
