"""What is answered: one table from outcomes and errors to statuses and bodies (decisions, "Answers").

Clients take any 2xx as delivered and send anything else again, up to five times, with everything behind it waiting.
So a refusal that no retry can mend is a 200 with `accepted: false`, and only what may pass later is a 429, 503 or 507.
"""

from http import HTTPStatus
from typing import Any, assert_never

import msgspec
from quart import Response

from actors.envelopes.refusals import InvalidPublicKey, Refusal, RefusalCode
from actors.sessions.outcomes import (
    Accepted,
    ActorFailed,
    Busy,
    BusyReason,
    Closed,
    CloseOutcome,
    FullReason,
    IngestOutcome,
    KeyConflict,
    MachineLimit,
    Opened,
    OpenOutcome,
    StorageFull,
    UnknownSession,
)
from central_command.http.gateway import Readiness
from central_command.http.requests.admission import BodyPermit
from central_command.http.settings import HttpSettings

JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
HTML_TYPE = "text/html; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
INGEST_PATH = "/v1/training/ingest"
BATCH_PATH = "/v1/training/ingest/batch"
CLOSE_PATH = "/v1/sessions/close"
EMBEDDINGS_PATH = "/v1/embeddings"
MODELS_PATH = "/v1/models"
INTERNAL_ERROR = "The server failed to handle this request."
UNKNOWN_SESSION = "The session is not known."

_INGEST_PATHS = frozenset({INGEST_PATH, BATCH_PATH})

Headers = tuple[tuple[str, str], ...]


CONTENT_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
"""What a page of ours may load, and who may frame it: nothing inline, nothing from elsewhere, nobody."""

GUARD_HEADERS: Headers = (
    ("Content-Security-Policy", CONTENT_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
)
NO_STORE: Headers = (("Cache-Control", "no-store"),)

PROBE_PATHS = frozenset({"/health", "/ready", "/livez", "/readyz"})
"""Asked by load balancers, also and just then when there is too much to do: neither limited nor refused."""

PUBLIC_PATHS = frozenset({"/openapi.json"})
"""Outside of `/v1/`: what everybody may see, and caches may keep."""


SESSION_TAKEN = "The session is already open with another public key."


def guard_headers(path: str) -> Headers:
    """What every answer on a path has that browsers open as a page of ours, or ask with their cookie.

    The contract's endpoints, and what stands beside them below `/v1/`, know no cookie, and stay as they are.
    """
    if path.startswith("/v1/") or path in PROBE_PATHS:
        return ()
    return GUARD_HEADERS if path in PUBLIC_PATHS else (*GUARD_HEADERS, *NO_STORE)


class Reply(msgspec.Struct, frozen=True):
    """An answer: its status, its text, which is JSON but where a type is named, and the headers that belong to it."""

    status: int
    body: bytes
    headers: Headers = ()
    permit: BodyPermit | None = None
    """What a large body is counted by, until it is written."""
    code: str = ""
    """Of a refusal, why: what refusals are counted by."""
    content_type: str = JSON_TYPE

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as a server takes them, with the body's type and length."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers]
        return [*headers, (b"content-type", self.content_type.encode()), (b"content-length", b"%d" % len(self.body))]

    def response(self) -> "CodedResponse":
        """The answer as Quart's type."""
        return CodedResponse(self)


class CodedResponse(Response):
    """An answer as Quart's type, which still knows what it is refused for."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body, reply.status, dict(reply.headers), content_type=reply.content_type)
        self.refusal_code = reply.code


def json_reply(body: object, status: int = HTTPStatus.OK, headers: Headers = (), *, code: str = "") -> Reply:
    """Encode an answer."""
    return Reply(int(status), msgspec.json.encode(body), headers, code=code)


def error(status: int, sentence: str, *, headers: Headers = (), counted_as: str = "", **members: Any) -> Reply:
    """A refusal on any endpoint but ingest; `members` are added to the body. Without a code its status counts."""
    return json_reply({"error": sentence, **members}, status, headers, code=counted_as)


def openai_error(
    status: int, sentence: str, *, code: str, param: str | None = None, headers: Headers = (), **members: object
) -> Reply:
    """A refusal in the form that OpenAI's clients read (embeddings, "Errors on /v1/embeddings").

    `code` is stable, `param` the member that is wrong, the type what OpenAI's API has for the status.
    """
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "rate_limit_error"
    found = {"message": sentence, "type": kind, "param": param, "code": code}
    return json_reply({"error": found, **members}, status, headers, code=code)


def is_openai_path(path: str) -> bool:
    """Whether a path is one that OpenAI's clients ask."""
    return path in {EMBEDDINGS_PATH, MODELS_PATH} or path.startswith(f"{MODELS_PATH}/")


def refusal(status: int, sentence: str, code: str, *, headers: Headers = (), **members: object) -> Reply:
    """A refusal on ingest: `code` is stable, `sentence` is for people."""
    body = {"accepted": False, "reason": sentence, "code": code, **members}
    return json_reply(body, status, headers, code=code)


class HttpProblem(msgspec.Struct, frozen=True):
    """What is wrong with a request as HTTP, before any endpoint looks at it."""

    status: int
    code: str
    sentence: str
    headers: Headers = ()
    retry_after_s: int | None = None
    param: str | None = None
    """The member of the body that is wrong, where OpenAI's clients are told."""

    @property
    def all_headers(self) -> Headers:
        """Its headers, and when to come again where that is known."""
        if self.retry_after_s is None:
            return self.headers
        return (*self.headers, ("Retry-After", str(self.retry_after_s)))


def problem(path: str, found: HttpProblem) -> Reply:
    """The answer to a request that is wrong as HTTP, in the form that `path` answers with."""
    headers = found.all_headers
    members: dict[str, object] = {}
    if found.retry_after_s is not None and found.status == HTTPStatus.TOO_MANY_REQUESTS:
        members["retryAfter"] = found.retry_after_s
    if path in _INGEST_PATHS:
        return refusal(found.status, found.sentence, found.code, headers=headers, **members)
    if is_openai_path(path):
        return openai_error(
            found.status, found.sentence, code=found.code, param=found.param, headers=headers, **members
        )
    return json_reply({"error": found.sentence, **members}, found.status, headers, code=found.code)


def result_line(answered: Reply) -> bytes:
    """The answer to one envelope of a batch, as a line: the answer's JSON, its status and its `Retry-After`."""
    more = b',"status":%d' % answered.status
    for name, value in answered.headers:
        if name == "Retry-After":
            more += b',"retry_after":%s' % value.encode()
    return b"%s%s}\n" % (answered.body.removesuffix(b"}"), more)


class Replies:
    """The table; the settings say how long a client is told to wait."""

    def __init__(self, settings: HttpSettings) -> None:
        self._retry_after_s = settings.retry_after_s
        self._envelope_limit_retry_after_s = settings.envelope_limit_retry_after_s

    def opened(self, outcome: OpenOutcome) -> Reply:
        """The answer of `POST /v1/sessions/open`."""
        match outcome:
            case Opened():
                return json_reply({"server_public_key": outcome.server_public_key})
            case KeyConflict():
                return error(HTTPStatus.CONFLICT, SESSION_TAKEN, counted_as="key_conflict")
            case InvalidPublicKey():
                return error(HTTPStatus.BAD_REQUEST, outcome.reason, counted_as="invalid_public_key")
            case MachineLimit():
                found = HttpProblem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "machine_limit",
                    "This machine has opened too many sessions within an hour.",
                    retry_after_s=max(1, outcome.retry_after_s),
                )
                return problem("", found)
            case Busy() | StorageFull() | ActorFailed():
                return problem("", self.inability(outcome))
            case _:
                assert_never(outcome)

    def closed(self, outcome: CloseOutcome) -> Reply:
        """The answer of `POST /v1/sessions/close`; `points` and `steps` only when the session held a chunk.

        What else there is to know of a credit is said where it is: copied steps, a model without a tier.
        """
        match outcome:
            case Closed():
                body: dict[str, object] = {"closed": True}
                if outcome.already_closed:
                    body["already_closed"] = True
                credit = outcome.credit
                if credit is not None:
                    body |= {"points": credit.total_points, "steps": credit.total_steps}
                    if credit.copied_steps:
                        body |= {"copied_steps": credit.copied_steps, "copied_from": credit.copied_from}
                    if not credit.has_model_tier:
                        body["model_tier"] = None
                return json_reply(body)
            case UnknownSession():
                return error(HTTPStatus.NOT_FOUND, UNKNOWN_SESSION)
            case Busy() | StorageFull() | ActorFailed():
                return problem("", self.inability(outcome))
            case _:
                assert_never(outcome)

    def ingested(self, outcome: IngestOutcome) -> Reply:
        """The answer of `POST /v1/training/ingest`."""
        match outcome:
            case Accepted():
                body: dict[str, object] = {"accepted": True, "envelope_id": outcome.envelope_id}
                if outcome.duplicate:
                    body["duplicate"] = True
                return json_reply(body)
            case Refusal():
                return self._refused(outcome)
            case Busy() | StorageFull() | ActorFailed():
                return problem(INGEST_PATH, self.inability(outcome))
            case _:
                assert_never(outcome)

    def ready(self, readiness: Readiness) -> Reply:
        """The answer of `GET /ready`."""
        return self._ready(readiness, {"ready": readiness.ready, "checks": readiness.checks})

    def ready_by_check(self, readiness: Readiness, uptime_s: float | None) -> Reply:
        """The answer of `GET /readyz`; with `uptime_s` it has all checks, each with what it says."""
        body: dict[str, Any] = {"ready": readiness.ready}
        if uptime_s is not None:
            body["uptime"] = uptime_s
            body["checks"] = [
                {"name": name, "ok": found == "ok", "needed": name not in readiness.not_needed, "detail": found}
                for name, found in readiness.checks.items()
            ]
        return self._ready(readiness, body)

    def _ready(self, readiness: Readiness, body: dict[str, Any]) -> Reply:
        sentence = "The service cannot take envelopes in now."
        return json_reply(body) if readiness.ready else self._not_now(sentence, body)

    def live(self, stalled: dict[str, float]) -> Reply:
        """The answer of `GET /livez`; `stalled` are the journals whose writers do not move, and since when in s."""
        if not stalled:
            return json_reply({"live": True})
        said = ", ".join(f"{name} (for {for_s:.0f} s)" for name, for_s in stalled.items())
        sentence = f"Lines wait, and nothing is written to these journals: {said}."
        return self._not_now(sentence, {"live": False})

    def _not_now(self, sentence: str, body: dict[str, Any]) -> Reply:
        return error(HTTPStatus.SERVICE_UNAVAILABLE, sentence, headers=self.later, **body)

    @property
    def later(self) -> tuple[tuple[str, str], ...]:
        """The header of a 503 that says when to come again."""
        return (("Retry-After", str(self._retry_after_s)),)

    def unable(self, outcome: Busy | StorageFull | ActorFailed) -> Reply:
        """The answer of any other endpoint that could not do now what it was asked."""
        return problem("", self.inability(outcome))

    def overloaded(self, code: str, sentence: str, retry_after_s: int | None = None) -> HttpProblem:
        """A 503 that tells the client when to come again: as the settings say, unless it is known better."""
        retry_after_s = self._retry_after_s if retry_after_s is None else retry_after_s
        return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, code, sentence, retry_after_s=retry_after_s)

    def bodies_full(self) -> HttpProblem:
        """The 503 for a body that there is no memory for now."""
        return self.overloaded("overloaded", "The server holds too many bodies; send this request again later.")

    def large_bodies_full(self) -> HttpProblem:
        """The 503 for a large body that there is no place for now."""
        return self.overloaded("overloaded", "The server holds too many large bodies; send this request again later.")

    def _refused(self, outcome: Refusal) -> Reply:
        match outcome.code:
            case (
                RefusalCode.BYTE_ORDER_MARK
                | RefusalCode.INVALID_UTF8
                | RefusalCode.NOT_A_NUMBER
                | RefusalCode.INVALID_JSON
                | RefusalCode.NOT_AN_OBJECT
                | RefusalCode.DUPLICATE_MEMBER
                | RefusalCode.NESTING_TOO_DEEP
                | RefusalCode.TOO_MANY_MEMBERS
                | RefusalCode.MISSING_SESSION_ID
            ):
                return refusal(HTTPStatus.BAD_REQUEST, outcome.reason, outcome.code)
            case (
                RefusalCode.UNKNOWN_SESSION
                | RefusalCode.SESSION_CLOSED
                | RefusalCode.MISSING_ATTESTATION
                | RefusalCode.INVALID_HMAC
                | RefusalCode.SEQUENCE_MISMATCH
                | RefusalCode.SCHEMA
                | RefusalCode.UNKNOWN_TYPE
                | RefusalCode.RESERVED_MEMBER
                | RefusalCode.SESSION_TOO_LARGE
                | RefusalCode.CONSENT_WITHDRAWN
                | RefusalCode.CONTRIBUTOR_KEY_REQUIRED
                | RefusalCode.CONTRIBUTOR_ERASED
            ):
                return refusal(HTTPStatus.OK, outcome.reason, outcome.code)
            case RefusalCode.ENVELOPE_LIMIT:
                found = HttpProblem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    outcome.code,
                    outcome.reason,
                    retry_after_s=self._envelope_limit_retry_after_s,
                )
                return problem(INGEST_PATH, found)
            case _:
                assert_never(outcome.code)

    def inability(self, outcome: Busy | StorageFull | ActorFailed) -> HttpProblem:
        """What keeps the server from doing now what it was asked."""
        match outcome:
            case Busy():
                return self.overloaded(outcome.reason, _busy_sentence(outcome.reason))
            case StorageFull():
                return HttpProblem(HTTPStatus.INSUFFICIENT_STORAGE, outcome.reason, _full_sentence(outcome.reason))
            case ActorFailed():
                return HttpProblem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", INTERNAL_ERROR)
            case _:
                assert_never(outcome)


def _busy_sentence(reason: BusyReason) -> str:
    match reason:
        case BusyReason.MAILBOX_FULL:
            return "Too many requests for this session are waiting; send this one again later."
        case BusyReason.SESSIONS_FULL:
            return "Too many sessions are active; send this request again later."
        case BusyReason.JOURNAL_FULL:
            return "Too much is waiting to be stored; send this request again later."
        case BusyReason.SHUTTING_DOWN:
            return "The server is shutting down; send this request again later."
        case BusyReason.STORAGE_FAILED:
            return "The storage is out of order; send this request again later."
        case BusyReason.SET_ASIDE:
            return "Closing this session ended the server before, so it is left until the operator tries it again."
        case BusyReason.BEING_ERASED:
            return "This session is being erased; send this request again later."
        case _:
            assert_never(reason)


def _full_sentence(reason: FullReason) -> str:
    match reason:
        case FullReason.QUOTA:
            return "The storage quota is reached; nothing more can be stored."
        case FullReason.UNUSED_SESSIONS:
            return "Too many sessions are open that nothing came from yet; try again later."
        case FullReason.CONTRIBUTORS:
            return "The server keeps no more keys, or withdrawals, of contributors; its operator can raise the bound."
        case FullReason.DISK_FULL:
            return "The disk is full; nothing more can be stored."
        case _:
            assert_never(reason)
