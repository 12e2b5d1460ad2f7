"""`/api/access/…`: the tokens and browser sessions that there are, made and ended with the scope `admin`.

No answer shows a token, but the one to whoever made it, once.
"""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from quart import Blueprint, Response

from central_command.access.audit import Audit
from central_command.access.bans import BanList
from central_command.access.desk import SignInOutcome
from central_command.access.labels import is_label
from central_command.access.making import NAME_CHARS_MAX, NewLink, NewToken
from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Authorization, Door, TokenCheck
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.replies import HttpProblem, Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.databases.access_tokens import StoredToken, TooManyTokens
from persistence.databases.browser_sessions import StoredBrowserSession, TooManyLinks
from persistence.databases.database import DatabaseFailure
from persistence.format.times import duration_s

TOKENS_PATH: Final = "/api/access/tokens"
TOKEN_PATH: Final = f"{TOKENS_PATH}/<token_id>"
BROWSER_SESSIONS_PATH: Final = "/api/access/sessions"
BROWSER_SESSION_PATH: Final = f"{BROWSER_SESSIONS_PATH}/<session_id>"

ASKED_BYTES_MAX: Final = 4_096
TOO_MANY_TOKENS: Final = "There are as many tokens as access.tokens_max allows: revoke one first."

log = logging.getLogger("central_command.tokens")

TOKEN_ID: Final = re.compile(r"\Atok_[0-9a-f]{16}\Z")
BROWSER_SESSION_ID: Final = re.compile(r"\Ases_[0-9a-f]{16}\Z")


class AskedToken(msgspec.Struct):
    """What somebody asks of a token, as it came."""

    scopes: Any = None
    name: Any = ""
    expires: Any = None


class WantedToken(msgspec.Struct, frozen=True):
    """What a token is to be; it lasts for ever without a duration."""

    scopes: list[Scope]
    name: str
    lasting_s: float | None


class Objection(msgspec.Struct, frozen=True):
    """What is wrong with what is asked, in a sentence, and the members that must be there."""

    sentence: str
    required: tuple[str, ...] = ()


class Desk(Protocol):
    """What is asked of access; every method raises DatabaseFailure."""

    async def sign_in(self, key: str) -> SignInOutcome:
        """Open a browser session for who shows a token, or the code of a link, which then works no more."""
        ...

    async def signed_in(self, cookie: str) -> StoredBrowserSession | None:
        """The session of a cookie; None where it is over, or was none."""
        ...

    async def sign_out(self, cookie: str) -> StoredBrowserSession | None:
        """End the session of a cookie; None where there was none to end."""
        ...

    async def tokens(self) -> list[StoredToken]:
        """All tokens, oldest first."""
        ...

    async def make_token(
        self, scopes: Collection[Scope], name: str, lasting_s: float | None
    ) -> NewToken | TooManyTokens:
        """Make a token."""
        ...

    async def make_link(self, scopes: Collection[Scope]) -> NewLink | TooManyLinks:
        """Make a link that one browser may sign in with."""
        ...

    async def revoke_token(self, token_id: str) -> str | None:
        """Revoke a token, and the browser sessions opened with it; None for one that there is not."""
        ...

    async def sessions(self) -> list[StoredBrowserSession]:
        """All browser sessions that are kept, oldest first."""
        ...

    async def revoke_session(self, session_id: str) -> str | None:
        """End a browser session; None for one that there is not."""
        ...


class Access(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, and who may open no sessions."""

    desk: Desk
    gate: TokenCheck
    bans: BanList
    audit: Audit
    machines: Callable[[str], Awaitable[Sequence[str]]]
    """The machines that have opened sessions, by the beginning of their fingerprints: two of them at most."""


def access_routes(access: Access | None, http: HttpSettings, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints; without access there is nobody to ask, and the answer is 404."""
    routes = Blueprint("access", __name__)
    door = door_of(access, http, replies)

    async def admitted() -> tuple[Access, Authorization, str]:
        known, asked_of = door.found()
        by = await asked_of.admit(Scope.ADMIN)
        return known, asked_of, by.token_id

    @routes.get(TOKENS_PATH)
    async def tokens() -> Response:
        known, _, _ = await admitted()
        async with storage_watched(replies):
            return json_reply({"tokens": await known.desk.tokens()}).response()

    @routes.post(TOKENS_PATH)
    async def make_token() -> Response:
        known, asked_of, by = await admitted()
        wanted = wanted_token(reader.asked(AskedToken, await small_body(reader)))
        if isinstance(wanted, Objection):
            required: dict[str, Any] = {"required": wanted.required} if wanted.required else {}
            return error(HTTPStatus.BAD_REQUEST, wanted.sentence, **required).response()
        async with storage_watched(replies):
            made = await make_token_noted(known, asked_of, by, wanted)
        if isinstance(made, TooManyTokens):
            return error(HTTPStatus.INSUFFICIENT_STORAGE, TOO_MANY_TOKENS).response()
        members = {"token": made.text, **msgspec.structs.asdict(made.stored)}
        return json_reply(members, HTTPStatus.CREATED).response()

    @routes.delete(TOKEN_PATH)
    async def revoke_token(token_id: str) -> Response:
        known, _, by = await admitted()
        async with storage_watched(replies):
            revoked = await revoke_token_noted(known, by, token_id)
        return _revoked(revoked, "token").response()

    @routes.get(BROWSER_SESSIONS_PATH)
    async def sessions() -> Response:
        known, _, _ = await admitted()
        async with storage_watched(replies):
            return json_reply({"sessions": await known.desk.sessions()}).response()

    @routes.delete(BROWSER_SESSION_PATH)
    async def revoke_session(session_id: str) -> Response:
        known, _, by = await admitted()
        async with storage_watched(replies):
            revoked = await revoke_session_noted(known, by, session_id)
        return _revoked(revoked, "browser session").response()

    return routes


def door_of(access: Access | None, http: HttpSettings, replies: Replies) -> Door[Access]:
    """Lets whoever has the scope `admin` in, each token as often as the settings say."""
    return Door(access, lambda known: (known.gate, known.gate.settings), Scope.ADMIN, http=http, replies=replies)


@asynccontextmanager
async def storage_watched(replies: Replies) -> AsyncIterator[None]:
    """Answer 503 where access.db can do nothing now."""
    try:
        yield
    except DatabaseFailure as failure:
        log.error("%s", failure)  # noqa: TRY400 (the sentence says it all)
        sentence = "Tokens and sessions cannot be looked up or changed now; send this request again later."
        raise ProblemError(replies.overloaded("storage_failed", sentence)) from None


async def small_body(reader: Reader) -> bytes:
    """The body, which is small; raises ProblemError for a larger one."""
    body = await reader.body()
    if len(body) > ASKED_BYTES_MAX:
        sentence = f"The body is larger than {ASKED_BYTES_MAX:,} bytes, which no request here is."
        raise ProblemError(HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", sentence))
    return body


def wanted_token(body: AskedToken) -> WantedToken | Objection:
    """What a token is to be; or what is wrong with that."""
    known = [scope.value for scope in Scope]
    if not isinstance(body.scopes, list) or not body.scopes or any(each not in known for each in body.scopes):
        return Objection(f"scopes must be a list of one or more of {', '.join(known)}.", ("scopes",))
    if not isinstance(body.name, str) or not is_label(body.name, NAME_CHARS_MAX):
        return Objection(f"name must be at most {NAME_CHARS_MAX} characters that can be printed.")
    lasting_s = duration_s(body.expires) if isinstance(body.expires, str) else None
    if body.expires is not None and lasting_s is None:
        return Objection("expires must be a whole number and h, d or w, such as 90d, or null for never.")
    return WantedToken(sorted({Scope(each) for each in body.scopes}), body.name, lasting_s)


async def make_token_noted(
    known: Access, asked_of: Authorization, by: str, wanted: WantedToken
) -> NewToken | TooManyTokens:
    """Make a token for who may give its scopes, and note it.

    Raises ProblemError for who may not, DatabaseFailure, and NotNotedError.
    """
    for scope in wanted.scopes:
        await _admit_to_give(scope, asked_of)
    made = await known.desk.make_token(wanted.scopes, wanted.name, wanted.lasting_s)
    if isinstance(made, NewToken):
        await known.audit.note(by, "token_made", made.stored.token_id, Reader.address())
    return made


async def revoke_token_noted(known: Access, by: str, token_id: str) -> str | None:
    """Revoke a token, and note it; None for one that there is not. Raises DatabaseFailure and NotNotedError."""
    revoked = await known.desk.revoke_token(token_id) if TOKEN_ID.match(token_id) else None
    if revoked is not None:
        await known.audit.note(by, "token_revoked", revoked, Reader.address())
    return revoked


async def revoke_session_noted(known: Access, by: str, session_id: str) -> str | None:
    """End a browser session, and note it; None for one that there is not. Raises DatabaseFailure and NotNotedError."""
    revoked = await known.desk.revoke_session(session_id) if BROWSER_SESSION_ID.match(session_id) else None
    if revoked is not None:
        await known.audit.note(by, "browser_session_revoked", revoked, Reader.address())
    return revoked


async def _admit_to_give(scope: Scope, asked_of: Authorization) -> None:
    """Raise ProblemError for who has not themselves what they would give."""
    try:
        await asked_of.admit(scope)
    except ProblemError as error:
        if error.problem.code != "insufficient_scope":
            raise
        sentence = f"Only who has the scope {scope} can give it."
        raise ProblemError(msgspec.structs.replace(error.problem, sentence=sentence)) from None


def _revoked(revoked: str | None, kind: str) -> Reply:
    if revoked is None:
        return error(HTTPStatus.NOT_FOUND, f"There is no such {kind}.")
    return json_reply({"revoked": revoked})
