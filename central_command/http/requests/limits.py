"""How many requests an address may send, and who does not use that up.

Theory of operation. Every request takes a token of its address, before its body is awaited. What turns out to be an
accepted envelope gives it back: envelopes are bounded by their session and its machine, and forty agents behind one
address are a normal thing. So the budget is for openings, forgeries, refusals, resends and reading.

One forger among the forty would still use it up for all. So a session that has shown itself on an address, by being
opened from there or by an accepted envelope, has a small budget of its own there: its envelopes and its close take from
that first, and from the address's only when it is empty. Who forges in the name of such a session uses up that
session's budget. When the address has nothing left, the session is looked for in the first bytes of the body.

What one address can send without anything being accepted is bounded all the same: its own budget, and for each session
that it opened, which took a token, `session_requests_per_hour` more.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import trio

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
            self._limits.know(self._address, session_id)

    def belongs_to(self, session_id: str) -> None:
        """The request is a session's: if that has a budget of its own here, it takes from there, and not from all."""
        if self._limits is None or isinstance(self._key, tuple):
            return
        if self._limits.take_own(self._address, session_id):
            self.give_back()
            self._budget, self._key = self._limits.sessions, (self._address, session_id)

    def accepted(self, session_id: str) -> None:
        """What the request brought was accepted: give back what it cost, and know the session from now on."""
        if self._limits is not None:
            self.give_back()
            self._limits.know(self._address, session_id)

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


class AddressLimits:
    """The budgets of all addresses: one for embeddings, one for everything else, and those of sessions known there."""

    def __init__(
        self, settings: HttpSettings, *, embed_paths: frozenset[str], clock: Clock = trio.current_time
    ) -> None:
        def buckets(rates: Sequence[Rate], keys_max: int) -> TokenBuckets:
            return TokenBuckets(rates, keys_max=keys_max, clock=clock)

        general, embed, own = _rates(settings)
        self._is_enabled = settings.limits_enabled
        self._embed_paths = embed_paths
        self._general = buckets(general, settings.addresses_max)
        self._embed = buckets(embed, settings.addresses_max)
        self.sessions = buckets(own, settings.known_sessions_max)
        self._clock = clock
        self._wrong_tokens: TokenBuckets | None = None
        self._sessions_at: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<AddressLimits {len(self._general)} addresses, {len(self.sessions)} sessions>"

    def reconfigure(self, settings: HttpSettings) -> None:
        """Go on with other rates; who has used up what there was finds what comes back at the new rate."""
        for buckets, rates in zip((self._general, self._embed, self.sessions), _rates(settings), strict=True):
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

    def knows_sessions_at(self, address: str) -> bool:
        """Whether any session has a budget of its own on this address."""
        return address in self._sessions_at

    def take_own(self, address: str, session_id: str) -> bool:
        """Take one request from a session's own budget on this address; False when it has none, or nothing is left."""
        key = (address, session_id)
        return key in self.sessions and self.sessions.take(key) is None

    def take_for_session(self, address: str, session_id: str | None) -> Charge | None:
        """The same for a request that has no other charge."""
        if session_id is None or not self.take_own(address, session_id):
            return None
        return Charge(self, address, self.sessions, (address, session_id))

    def know(self, address: str, session_id: str) -> None:
        """Give a session a budget of its own on this address, if it has none."""
        if (address, session_id) in self.sessions:
            return
        self._sessions_at[address] = self._sessions_at.get(address, 0) + 1
        forgotten = self.sessions.add((address, session_id))
        if isinstance(forgotten, tuple):
            left = self._sessions_at.pop(forgotten[0]) - 1
            if left:
                self._sessions_at[forgotten[0]] = left


def _rates(settings: HttpSettings) -> tuple[Sequence[Rate], Sequence[Rate], Sequence[Rate]]:
    """The rates of everything, of embeddings, and of one session."""

    def by_address(per_minute: int, per_hour: int) -> Sequence[Rate]:
        return (Rate(per_minute, _MINUTE_S), Rate(per_hour, _HOUR_S))

    return (
        by_address(settings.requests_per_minute, settings.requests_per_hour),
        by_address(settings.embed_requests_per_minute, settings.embed_requests_per_hour),
        (Rate(settings.session_requests_per_hour, _HOUR_S),),
    )


def _too_many(retry_after_s: int) -> HttpProblem:
    sentence = "Too many requests from this address; come back later."
    return HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, retry_after_s=retry_after_s)
