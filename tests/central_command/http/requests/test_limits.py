"""Limits by address: whose request it is, how many are allowed, and how little memory that takes."""

import os
from typing import Any, cast

import pytest
from hypercorn.typing import HTTPScope

from central_command.access.tokens import new_cookie
from central_command.http.requests.addresses import ClientKeys
from central_command.http.requests.cookies import cookie_in
from central_command.http.requests.limits import AddressLimits, Charge
from central_command.http.requests.replies import INGEST_PATH, HttpProblem
from central_command.http.settings import HttpSettings

KEYS = ClientKeys(HttpSettings(trusted_proxies=("127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:aaaa::/48")))


@pytest.mark.parametrize(
    ("peer", "forwarded", "key"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # not a proxy of ours: may say anything
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the left one came from the client
        ("127.0.0.1", ["203.0.113.9", "198.51.100.7,10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["10.1.2.3, 10.1.2.4"], "127.0.0.1"),
        ("127.0.0.1", ["garbage, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7, garbage"], "127.0.0.1"),  # nothing left of it is vouched for
        ("127.0.0.1", ["198.51.100.7, "], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7:5000"], "198.51.100.7"),
        ("127.0.0.1", ["[2001:db8:1:2:3::4]:5000"], "2001:db8:1:2::/64"),
        ("::1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("2001:db8:aaaa::1", ["2001:db8:bbbb::1"], "2001:db8:bbbb::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),  # IPv4 on a socket of both kinds
        (None, ["198.51.100.7"], "unknown"),
    ],
)
def test_the_address_is_the_right_most_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], key: str
) -> None:
    """Decisions, "Limits and addresses"."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = cast("HTTPScope", {"client": None if peer is None else (peer, 40_000), "headers": headers})
    assert KEYS.of(scope) == key


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Address:
    """The limits as one address meets them; the charges of its requests are kept, as requests under way keep them."""

    def __init__(self, name: str = "192.0.2.1", limits: AddressLimits | None = None, **settings: Any) -> None:
        self.clock = ManualClock()
        embed_paths = frozenset({"/v1/embed"})
        self.limits = limits or AddressLimits(HttpSettings(**settings), embed_paths=embed_paths, clock=self.clock)
        self.name = name
        self.charges: list[Charge] = []

    def asks(self, times: int = 1, path: str = INGEST_PATH) -> int:
        """How many of so many requests are let in."""
        taken = [self.limits.take(self.name, path) for _ in range(times)]
        self.charges += [each for each in taken if isinstance(each, Charge)]
        return sum(isinstance(each, Charge) for each in taken)

    def asks_as(self, session_id: str, times: int = 1) -> int:
        """How many are let in on a session's own budget."""
        taken = [self.limits.take_for_session(self.name, session_id) for _ in range(times)]
        self.charges += [each for each in taken if each is not None]
        return sum(each is not None for each in taken)


def test_what_was_accepted_is_given_back_and_all_else_counts() -> None:
    """A thousand accepted envelopes, one after the other, leave the budget as it was; refusals use it up."""
    address = Address(requests_per_minute=3)
    for _ in range(1_000):
        assert address.asks() == 1
        address.charges.pop().accepted("sess_1")
    assert address.asks(4) == 3


def test_under_way_at_once_there_are_never_more_than_the_budget_holds() -> None:
    """Room is given back when an envelope is accepted, not before: there is no overdraft at all."""
    address = Address(requests_per_minute=3)
    assert address.asks(5) == 3
    address.charges.pop().accepted("sess_1")
    assert address.asks(5) == 1
    address.charges[0].accepted("sess_2")
    address.charges[0].accepted("sess_2")
    assert address.asks(5) == 1, "a charge is given back once"


def test_a_budget_is_never_more_than_full() -> None:
    """What came back with time meanwhile is not there twice."""
    address = Address(requests_per_minute=3)
    address.asks(3)
    address.clock.now += 3_600
    for charge in address.charges:
        charge.accepted("sess_1")
    assert address.asks(10) == 3


def test_a_known_session_gets_through_where_its_address_has_nothing_left() -> None:
    """One forger behind the same address uses up what is everybody's, not what is the session's."""
    address = Address(requests_per_minute=2, session_requests_per_hour=3)
    address.asks()
    address.charges.pop().accepted("sess_1")
    assert address.asks(5) == 2
    assert address.limits.sessions.is_any_at(address.name)
    for _ in range(100):
        assert address.asks_as("sess_1") == 1
        address.charges.pop().accepted("sess_1")
    assert address.asks_as("sess_forged") == 0
    assert address.asks_as("sess_1", 9) == 3, "what is forged in its name uses up its own"
    assert Address("192.0.2.2", address.limits).asks_as("sess_1") == 0, "it is known on its own address alone"


def test_an_opening_makes_a_session_known_and_costs_what_it_costs() -> None:
    """The first envelope of a session that has just been opened finds room; the opening itself is not given back."""
    address = Address(requests_per_minute=1)
    assert address.asks(1, "/v1/sessions/open") == 1
    address.charges[0].opened("sess_1")
    assert address.asks(1) == 0
    assert address.asks_as("sess_1") == 1


def test_a_known_session_takes_from_its_own_before_it_takes_from_all() -> None:
    """Forty agents with an envelope under way each leave their address's budget to others."""
    address = Address(requests_per_minute=2, session_requests_per_hour=3)
    address.asks()
    address.charges.pop().opened("sess_1")
    for _ in range(3):
        assert address.asks() == 1
        address.charges[-1].belongs_to("sess_1")
        address.charges[-1].belongs_to("sess_1")
    assert address.asks(5) == 1, "one is the opening's"
    address.charges[0].accepted("sess_1")
    assert address.asks(1) == 0, "its own is given back to itself"
    assert address.asks_as("sess_1", 5) == 1


def test_further_envelopes_of_a_request_count_each() -> None:
    """Each line of a batch: from its session's budget, else from the address's, else it is refused."""
    address = Address(requests_per_minute=4, session_requests_per_hour=1)
    address.limits.sessions.know(address.name, "sess_1")
    address.asks()
    taken = [address.charges[0].another(session_id) for session_id in ("sess_1", "sess_1", None, "sess_2", "sess_2")]
    assert [isinstance(each, Charge) for each in taken] == [True, True, True, True, False]
    refused = taken[-1]
    assert isinstance(refused, HttpProblem)
    assert (refused.status, refused.retry_after_s) == (429, 15)


def test_a_client_that_comes_again_as_published_ones_do_finds_room() -> None:
    """After 1, 2, 4, 8 and 16 s; forty of them that were refused at once all get in, in the minute and in the hour."""
    for settings in ({"requests_per_minute": 100}, {"requests_per_minute": 10_000, "requests_per_hour": 5_000}):
        address = Address(**settings)
        address.asks(10_000)
        waiting = 40
        for wait_s in (1, 2, 4, 8, 16):
            address.clock.now += wait_s
            waiting -= address.asks(waiting)
        assert waiting == 0


def test_the_sessions_known_are_bounded_and_the_least_recent_is_forgotten() -> None:
    """However many there are; an address whose last one was forgotten has none."""
    address = Address(known_sessions_max=2)
    for number in range(100):
        address.limits.sessions.know(f"192.0.2.{number}", "sess_1")
    assert len(address.limits.sessions) == 2
    assert [address.limits.sessions.is_any_at(f"192.0.2.{number}") for number in (0, 97, 98, 99)] == [
        *(False, False, True, True)
    ]
    address.limits.sessions.know("192.0.2.99", "sess_2")
    address.limits.sessions.know("192.0.2.99", "sess_3")
    assert address.limits.sessions.is_any_at("192.0.2.99")
    assert len(address.limits.sessions._known_at) == 1


def test_nothing_costs_anything_when_limits_are_off() -> None:
    """For load tests."""
    address = Address(limits_enabled=False, requests_per_minute=1)
    assert address.asks(5) == 5
    for charge in address.charges:
        charge.belongs_to("sess_1")
        charge.opened("sess_1")
        charge.accepted("sess_1")
        assert charge.another("sess_1") is charge
    assert len(address.limits.sessions) == 0


async def test_one_request_too_many_is_429(make_app: Any) -> None:
    """With the time to wait in header and body, on unknown paths too."""
    client = make_app(requests_per_minute=2).test_client()
    for path in ("/v1/stats/summary", "/nowhere"):
        assert (await client.get(path)).status_code != 429
    answer = await client.get("/v1/stats/summary")
    body = await answer.get_json()
    assert answer.status_code == 429
    assert set(body) == {"error", "retryAfter"}
    assert 1 <= body["retryAfter"] <= 60
    assert answer.headers["Retry-After"] == str(body["retryAfter"])
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_on_ingest_it_has_the_shape_of_a_refusal(make_app: Any, gateway: Any) -> None:
    """And nothing is asked."""
    client = make_app(requests_per_hour=1).test_client()
    await client.post("/v1/training/ingest", data=b"{}")
    answer = await client.post("/v1/training/ingest", data=b'{"session_id":"s"}')
    body = await answer.get_json()
    assert answer.status_code == 429
    assert (body["accepted"], body["code"]) == (False, "rate_limited")
    assert body["reason"]
    assert 1 <= body["retryAfter"] <= 3_600
    assert gateway.asked == []


async def test_embeddings_have_a_budget_of_their_own(make_app: Any) -> None:
    """A client's start does not use up what its envelopes need."""
    client = make_app(requests_per_minute=1, embed_requests_per_minute=2).test_client()
    assert (await client.get("/v1/stats/summary")).status_code == 200
    for status in (503, 503, 429):
        assert (await client.post("/v1/embed", json={"input": "x"})).status_code == status
    assert (await client.get("/v1/stats/summary")).status_code == 429


async def test_probes_and_preflights_are_not_counted(make_app: Any) -> None:
    """A load balancer asks often, and a browser twice."""
    client = make_app(requests_per_minute=1).test_client()
    for _ in range(5):
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 200
        assert (await client.options("/v1/stats/summary")).status_code == 204
    assert (await client.get("/v1/stats/summary")).status_code == 200


async def test_limits_can_be_switched_off(make_app: Any) -> None:
    """For load tests."""
    client = make_app(requests_per_minute=1, limits_enabled=False).test_client()
    for _ in range(5):
        assert (await client.get("/v1/stats/summary")).status_code == 200


async def test_limits_are_per_client_behind_a_trusted_proxy(make_app: Any) -> None:
    """Two clients of one proxy do not share a budget, and a client cannot choose another's."""
    client = make_app(requests_per_minute=1, trusted_proxies=("127.0.0.1/32",)).test_client()
    peer = {"client": ("127.0.0.1", 5000)}

    async def status(forwarded: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        answer = await client.get("/v1/stats/summary", headers=headers, scope_base=peer)
        return int(answer.status_code)

    assert await status("198.51.100.7") == 200
    assert await status("198.51.100.8") == 200
    assert await status("198.51.100.7") == 429
    assert await status("203.0.113.1, 198.51.100.7") == 429


def new_cookies(count: int) -> list[str]:
    return [new_cookie(os.urandom) for _ in range(count)]


def test_a_browser_that_is_signed_in_gets_through_where_its_address_has_nothing_left() -> None:
    """As long as its own budget on that address lasts; what its session lets in comes back."""
    ours, unknown = new_cookies(2)
    address = Address(requests_per_minute=2, browser_requests_per_minute=3)
    address.limits.know_browser(address.name, ours)
    assert address.asks(5) == 2
    for _ in range(100):
        charge = address.limits.take_for_browser(address.name, ours)
        assert charge is not None
        charge.give_back()
    taken = [address.limits.take_for_browser(address.name, ours) is not None for _ in range(5)]
    assert taken == [True, True, True, False, False]
    for other in (unknown, "x" * 9_000, "", None):
        assert address.limits.take_for_browser(address.name, other) is None
    assert address.limits.take_for_browser("192.0.2.2", ours) is None, "it is known where it was right"
    assert len(address.limits.browsers) == 1, "who was not right has none"
    assert ours not in repr([*address.limits.browsers.buckets._buckets]), "it is kept as a digest"


def test_the_browsers_known_are_bounded() -> None:
    address = Address(known_browsers_max=2)
    cookies = new_cookies(3)
    for cookie in cookies:
        address.limits.know_browser(address.name, cookie)
    taken = [address.limits.take_for_browser(address.name, cookie) is not None for cookie in cookies]
    assert taken == [False, True, True]


def test_where_limits_are_off_no_browser_is_remembered() -> None:
    address = Address(limits_enabled=False)
    address.limits.know_browser(address.name, *new_cookies(1))
    assert len(address.limits.browsers) == 0


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([b"theme=dark"], None),
        ([b"central_command=abc"], "abc"),
        ([b"theme=dark;  central_command=abc ; a=b"], "abc"),
        ([b"theme=dark", b"central_command=a=c"], "a=c"),
        ([b"central_command=abc; central_command=abc"], ""),
        ([b"central_command=abc", b"central_command=d"], ""),
        ([b"xcentral_command=abc; __Host-central_command=d; central_command"], ""),
        ([b"central_command=\xff"], "\xff"),
    ],
)
def test_the_cookie_is_found_among_others_and_only_where_there_is_one(headers: list[bytes], found: str | None) -> None:
    raw = [(b"cookie", value) for value in headers]
    assert cookie_in([(b"x-cookie", b"central_command=no"), *raw], is_secure=False) == found
    assert cookie_in([(b"cookie", b"central_command=no; __Host-central_command=d")], is_secure=True) == "d"
