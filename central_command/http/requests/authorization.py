"""Who may ask endpoints that are not open: with a token (RFC 6750), or a browser with the cookie of its session.

Whatever is wrong with a token or a cookie (its form, unknown, revoked, expired) is answered alike, and counted by
address, whichever endpoints are asked: past `access.wrong_per_minute` and `wrong_per_hour` the answer is 429. A right
one is not kept out by that, because behind the same address may be others, and nobody guesses 256 bits; and it gives
back what its request cost the address: what one token may send is bounded by a budget of its own.

What holds for cookies alone is in `browsers`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar, assert_never

import trio
from quart import g, request

from central_command.access.gate import Admitted, CannotTell, CheckOutcome, NotAdmitted, OutOfScope
from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.browsers import check_site, presented_cookie, sent_to_sign_in
from central_command.http.requests.buckets import Clock, Rate, TokenBuckets
from central_command.http.requests.replies import HttpProblem, Replies
from central_command.http.settings import HttpSettings

T = TypeVar("T")

REALM: Final = 'Bearer realm="central-command"'
NEEDS_TOKEN: Final = "This endpoint needs a valid token: Authorization: Bearer cc_..."  # noqa: S105 (a sentence)

_MINUTE_S, _HOUR_S = 60.0, 3_600.0


class TokenCheck(Protocol):
    """What looks tokens up."""

    @property
    def settings(self) -> AccessSettings:
        """How many there may be, and how often somebody may be wrong."""
        ...

    async def check(self, token: str, scope: Scope) -> CheckOutcome:
        """Whether who presents this token may do that."""
        ...

    async def check_session(self, cookie: str, scope: Scope) -> CheckOutcome:
        """Whether the browser that presents this cookie may do that."""
        ...


def known_scopes() -> frozenset[str] | None:
    """All scopes of who sends the current request; None before anybody has looked, and of who has shown nothing right.

    What is shown can go by it; who may do something is asked of `Authorization` alone.
    """
    scopes: frozenset[str] | None = g.get("scopes")
    return scopes


def note_scopes(scopes: Iterable[str]) -> None:
    """Have `known_scopes` name these, of who sends the current request."""
    g.scopes = frozenset(scopes)


class Authorization:
    """Admits requests to what needs a scope, each scope with a budget for each token."""

    def __init__(
        self,
        gate: TokenCheck,
        budgets: Mapping[Scope, tuple[int, int]],
        replies: Replies,
        *,
        addresses_max: int,
        clock: Clock = trio.current_time,
    ) -> None:
        """`budgets` are requests in a minute and in an hour, by scope."""
        settings = gate.settings
        self._gate = gate
        self._replies = replies
        self._addresses_max = addresses_max
        self._wrong_rates = _rates(settings.wrong_per_minute, settings.wrong_per_hour)
        self._by_token = {
            scope: TokenBuckets(_rates(*budget), keys_max=settings.tokens_max, clock=clock)
            for scope, budget in budgets.items()
        }

    def __repr__(self) -> str:
        return f"<Authorization of {', '.join(self._by_token)}>"

    async def admit(self, scope: Scope, *others: Scope) -> Admitted:
        """Who sends the current request; raises ProblemError for who may not.

        One of the scopes is enough; the budget is that of the first.
        """
        presented = _presented()
        cookie = presented_cookie() if presented is None else None
        if cookie is not None:
            check_site()
        found: CheckOutcome = NotAdmitted()
        for each in (scope, *others):
            if presented is not None:
                found = await self._gate.check(presented, each)
            elif cookie is not None:
                found = await self._gate.check_session(cookie, each)
            if not isinstance(found, OutOfScope):
                break
        match found:
            case NotAdmitted():
                refused = self._refused(is_wrong=presented is not None or cookie is not None)
                raise ProblemError(refused if presented is not None else sent_to_sign_in(refused, cookie))
            case OutOfScope():
                note_scopes(found.scopes)
                challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
                wanted = " or ".join((scope, *others))
                sentence = f"The token has not the scope {wanted}, which this endpoint needs."
                raise ProblemError(
                    HttpProblem(
                        HTTPStatus.FORBIDDEN, "insufficient_scope", sentence, (("WWW-Authenticate", challenge),)
                    )
                )
            case CannotTell():
                sentence = "Tokens cannot be looked up now; send this request again later."
                raise ProblemError(self._replies.overloaded("storage_failed", sentence))
            case Admitted():
                self._let_in(scope, found, cookie)
                return found
            case unreachable:
                assert_never(unreachable)

    def asked_again(self, scope: Scope) -> Callable[[], Awaitable[bool]]:
        """What says, later, whether who sends the current request may still do that; it is no request, and not counted.

        For answers that last: the token may be revoked meanwhile. Who cannot be looked up may not.
        """
        presented = _presented()
        cookie = presented_cookie() if presented is None else None

        async def may_still() -> bool:
            if presented is not None:
                return isinstance(await self._gate.check(presented, scope), Admitted)
            return cookie is not None and isinstance(await self._gate.check_session(cookie, scope), Admitted)

        return may_still

    def wrong(self) -> HttpProblem:
        """The answer to who has shown something wrong elsewhere than in a header; it is counted."""
        return self._refused(is_wrong=True)

    def _refused(self, *, is_wrong: bool) -> HttpProblem:
        """The answer to whoever has no token, or a wrong one, which is counted."""
        retry_after_s = None
        if is_wrong:
            retry_after_s = Reader.limits().take_wrong_token(
                Reader.address(), self._wrong_rates, addresses_max=self._addresses_max
            )
        if retry_after_s is not None:
            sentence = "Too many wrong tokens came from this address; come back later."
            return HttpProblem(
                HTTPStatus.TOO_MANY_REQUESTS, "too_many_wrong_tokens", sentence, retry_after_s=retry_after_s
            )
        challenge = f'{REALM}, error="invalid_token"' if is_wrong else REALM
        return HttpProblem(HTTPStatus.UNAUTHORIZED, "unauthorized", NEEDS_TOKEN, (("WWW-Authenticate", challenge),))

    def _let_in(self, scope: Scope, admitted: Admitted, cookie: str | None) -> None:
        """Count the request for who sends it, and no longer for its address; raises ProblemError for one too many."""
        note_scopes(admitted.scopes)
        Reader.charge().give_back()
        if cookie is not None:
            Reader.limits().know_browser(Reader.address(), cookie)
        budget = self._by_token.get(scope)
        retry_after_s = None if budget is None else budget.take(admitted.token_id)
        if retry_after_s is not None:
            sentence = "Too many requests were sent with this token; come back later."
            raise ProblemError(
                HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, retry_after_s=retry_after_s)
            )


class Budget(Protocol):
    """How often one token may ask."""

    @property
    def requests_per_minute(self) -> int:
        """So many at once, all of which come back in a minute."""
        ...

    @property
    def requests_per_hour(self) -> int:
        """The same in an hour."""
        ...


class Door(Generic[T]):
    """Lets requests in to something that a server may offer; where it does not, there is no such endpoint."""

    def __init__(
        self,
        offered: T | None,
        asked: Callable[[T], tuple[TokenCheck, Budget]],
        *scopes: Scope,
        http: HttpSettings,
        replies: Replies,
    ) -> None:
        """`asked` says who looks tokens up, and how often each may ask with one of the scopes."""
        self._inside: tuple[T, Authorization] | None = None
        if offered is not None:
            gate, budget = asked(offered)
            rates = (budget.requests_per_minute, budget.requests_per_hour)
            budgets = dict.fromkeys(scopes, rates)
            self._inside = offered, Authorization(gate, budgets, replies, addresses_max=http.addresses_max)

    def __repr__(self) -> str:
        return f"<Door {'to nothing' if self._inside is None else self._inside[1]}>"

    def found(self) -> tuple[T, Authorization]:
        """What is offered, for whoever asks, and who is let in to what needs a scope; raises ProblemError for a 404."""
        if self._inside is None:
            raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "There is no such endpoint."))
        return self._inside

    async def admit(self, scope: Scope, *others: Scope) -> tuple[T, Admitted]:
        """What is offered, and who sends the current request; raises ProblemError as `Authorization.admit`, or 404."""
        offered, authorization = self.found()
        return offered, await authorization.admit(scope, *others)


def _presented() -> str | None:
    """What stands for a token in the current request; None where nothing does, "" for what cannot be one."""
    headers = request.headers.getlist("Authorization")
    if not headers:
        return None
    scheme, _, token = headers[0].partition(" ")
    return token.strip(" ") if len(headers) == 1 and scheme.lower() == "bearer" else ""


def _rates(per_minute: int, per_hour: int) -> tuple[Rate, Rate]:
    return Rate(per_minute, _MINUTE_S), Rate(per_hour, _HOUR_S)
