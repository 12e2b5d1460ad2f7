"""How many requests an address may send, and who does not use that up.

Theory of operation. Every request takes a token of its address, before its body is awaited. What turns out to be an
accepted envelope gives it back: envelopes are bounded by their session and its machine, and forty agents behind one
address are a normal thing. So the budget is for openings, forgeries, refusals, resends and reading.

One forger among the forty would still use it up for all. So a session that has shown itself on an address, by being
opened from there or by an accepted envelope, has a small budget of its own there: its envelopes and its close take from
that first, and from the address's only when it is empty. Who forges in the name of such a session uses up that
session's budget. When the address has nothing left, the session is looked for in the first bytes of the body.

A browser that is signed in behind such an address would be kept out before anybody has looked at its cookie. So a
cookie that was found right on an address has a small budget of its own there, too, by its digest: where the address has
nothing left, its requests take from that. What is found right again gives it back, as it does to an address, and is
counted for the session; so this budget is for what needs no session (styles, a picture), and for a cookie that is right
no more.

What one address can send without anything being accepted is bounded all the same: its own budget, for each session that
it opened, which took a token, `session_requests_per_hour` more, and for each cookie that was right there
`browser_requests_per_minute`.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import trio

from central_command.access.tokens import COOKIE, token_sha256
from central_command.http.requests.buckets import Clock, Rate, TokenBuckets
from central_command.http.requests.replies import BATCH_PATH, HttpProblem
from central_command.http.settings import HttpSettings

_MINUTE_S, _HOUR_S = 60.0, 3_600.0


class Charge:
    """What one request costs, or one line of a batch: a token of a budget, kept or given back; `FREE` costs nothing."""

    __slots__ = ("_address", "_budget", "_key", "_limits")

    def __init__(
        self, limits: "AddressLimits | None", address: str, budget: TokenBuckets | None, key: str | tuple[str, str]
    ) -> None:
        self._limits = limits
        self._address = address
        self._budget = budget
        self._key = key

    def __repr__(self) -> str:
        return f"<Charge {'kept' if self._budget is not None else 'given back'}>"

    def opened(self, session_id: str) -> None:
        """The request opened a session, which from now on has a budget of its own on this address."""
        if self._limits is not None:
            self._limits.sessions.know(self._address, session_id)

    def belongs_to(self, session_id: str) -> None:
        """The request is a session's: if that has a budget of its own here, it takes from there, and not from all."""
        if self._limits is None or isinstance(self._key, tuple):
            return
        if self._limits.sessions.take(self._address, session_id):
            self.give_back()
            self._budget, self._key = self._limits.sessions.buckets, (self._address, session_id)

    def accepted(self, session_id: str) -> None:
        """What the request brought was accepted: give back what it cost, and know the session from now on."""
        if self._limits is not None:
            self.give_back()
            self._limits.sessions.know(self._address, session_id)

    def another(self, session_id: str | None) -> "Charge | HttpProblem":
        """Take for one more envelope in the same request, of this session if it is one that could be."""
        if self._limits is None:
            return self
        return self._limits.take_for_session(self._address, session_id) or self._limits.take(self._address, BATCH_PATH)

    def give_back(self) -> None:
        """Give back what it cost, once."""
        if self._budget is not None:
            self._budget.give_back(self._key)
            self._budget = None


FREE: Final = Charge(None, "", None, "")
"""Costs nothing: probes, preflights, and everything where limits are off."""


class OwnBudgets:
    """Budgets of what is known on an address, beside the address's: of sessions by their ids, of cookies by digests."""

    def __init__(self, rates: Sequence[Rate], *, known_max: int, clock: Clock) -> None:
        """Past `known_max` what was not heard of for longest is forgotten."""
        self.buckets = TokenBuckets(rates, keys_max=known_max, clock=clock)
        self._known_at: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<OwnBudgets of {len(self)}>"

    def __len__(self) -> int:
        return len(self.buckets)

    def is_any_at(self, address: str) -> bool:
        """Whether anything is known on this address."""
        return address in self._known_at

    def take(self, address: str, name: str) -> bool:
        """Take one request from what is known so on this address; False when it is not, or nothing is left."""
        key = (address, name)
        return key in self.buckets and self.buckets.take(key) is None

    def know(self, address: str, name: str) -> None:
        """Give it a budget of its own on this address, if it has none."""
        if (address, name) in self.buckets:
            return
        self._known_at[address] = self._known_at.get(address, 0) + 1
        forgotten = self.buckets.add((address, name))
        if isinstance(forgotten, tuple):
            left = self._known_at.pop(forgotten[0]) - 1
            if left:
                self._known_at[forgotten[0]] = left


class AddressLimits:
    """The budgets of all addresses: for embeddings, for everything else, and of sessions and browsers known there."""

    def __init__(
        self, settings: HttpSettings, *, embed_paths: frozenset[str], clock: Clock = trio.current_time
    ) -> None:
        def buckets(rates: Sequence[Rate], keys_max: int) -> TokenBuckets:
            return TokenBuckets(rates, keys_max=keys_max, clock=clock)

        general, embed, of_session, of_browser = _rates(settings)
        self._is_enabled = settings.limits_enabled
        self._embed_paths = embed_paths
        self._general = buckets(general, settings.addresses_max)
        self._embed = buckets(embed, settings.addresses_max)
        self.sessions = OwnBudgets(of_session, known_max=settings.known_sessions_max, clock=clock)
        self.browsers = OwnBudgets(of_browser, known_max=settings.known_browsers_max, clock=clock)
        self._clock = clock
        self._wrong_tokens: TokenBuckets | None = None

    def __repr__(self) -> str:
        known = f"{len(self.sessions)} sessions, {len(self.browsers)} browsers"
        return f"<AddressLimits {len(self._general)} addresses, {known}>"

    def reconfigure(self, settings: HttpSettings) -> None:
        """Go on with other rates; who has used up what there was finds what comes back at the new rate."""
        all_buckets = (self._general, self._embed, self.sessions.buckets, self.browsers.buckets)
        for buckets, rates in zip(all_buckets, _rates(settings), strict=True):
            buckets.set_rates(rates)

    def take(self, address: str, path: str) -> Charge | HttpProblem:
        """Take one request of an address, or return the 429 for one too many."""
        if not self._is_enabled:
            return FREE
        budget = self._embed if path in self._embed_paths else self._general
        retry_after_s = budget.take(address)
        return _too_many(retry_after_s) if retry_after_s is not None else Charge(self, address, budget, address)

    def take_wrong_token(self, address: str, rates: Sequence[Rate], *, addresses_max: int) -> int | None:
        """Count a wrong token, wherever this address has shown it; the whole seconds to wait after one too many.

        The bounds are the same at every call: they belong to whoever looks tokens up. Where limits are off, this one is
        on.
        """
        if self._wrong_tokens is None:
            self._wrong_tokens = TokenBuckets(rates, keys_max=addresses_max, clock=self._clock)
        return self._wrong_tokens.take(address)

    def take_for_session(self, address: str, session_id: str | None) -> Charge | None:
        """Take a request from a session's own budget on this address; None when it has none, or nothing is left."""
        if session_id is None or not self.sessions.take(address, session_id):
            return None
        return Charge(self, address, self.sessions.buckets, (address, session_id))

    def take_for_browser(self, address: str, cookie: str | None) -> Charge | None:
        """The same from that of a cookie, which is looked at only where one was right."""
        digest = token_sha256(cookie) if cookie is not None and COOKIE.match(cookie) else None
        if digest is None or not self.browsers.take(address, digest):
            return None
        return Charge(self, address, self.browsers.buckets, (address, digest))

    def know_browser(self, address: str, cookie: str) -> None:
        """Give a cookie, which was found right, a budget of its own on this address, if it has none."""
        if self._is_enabled:
            self.browsers.know(address, token_sha256(cookie))


def _rates(settings: HttpSettings) -> tuple[Sequence[Rate], Sequence[Rate], Sequence[Rate], Sequence[Rate]]:
    """The rates of everything, of embeddings, of one session, and of one browser."""

    def by_address(per_minute: int, per_hour: int) -> Sequence[Rate]:
        return (Rate(per_minute, _MINUTE_S), Rate(per_hour, _HOUR_S))

    return (
        by_address(settings.requests_per_minute, settings.requests_per_hour),
        by_address(settings.embed_requests_per_minute, settings.embed_requests_per_hour),
        (Rate(settings.session_requests_per_hour, _HOUR_S),),
        (Rate(settings.browser_requests_per_minute, _MINUTE_S),),
    )


def _too_many(retry_after_s: int) -> HttpProblem:
    sentence = "Too many requests from this address; come back later."
    return HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, retry_after_s=retry_after_s)
