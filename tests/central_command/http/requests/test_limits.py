"""Limits by address: whose request it is, how many are allowed, and how little memory that takes."""

from typing import Any

import pytest

from central_command.http.requests.addresses import client_key, parse_networks
from central_command.http.requests.limits import AddressBudget, BoundedWindows

TRUSTED = parse_networks(["127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:aaaa::/48"])


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
    assert client_key(peer, forwarded, TRUSTED) == key


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_has_a_budget_for_the_minute_and_one_for_the_hour() -> None:
    """Each answers with the seconds until its window ends, and begins anew then."""
    clock = ManualClock()
    budget = AddressBudget(per_minute=2, per_hour=3, addresses_max=10, clock=clock)
    assert [budget.take("a"), budget.take("a"), budget.take("a")] == [None, None, 60]
    assert budget.take("b") is None
    clock.now += 59.5
    assert budget.take("a") == 1
    clock.now += 0.5
    assert budget.take("a") is None
    assert budget.take("a") == 3_540
    clock.now += 3_540
    assert budget.take("a") is None


def test_refused_requests_use_nothing_up() -> None:
    """A client that keeps asking in a full minute still has its hour."""
    clock = ManualClock()
    budget = AddressBudget(per_minute=1, per_hour=2, addresses_max=10, clock=clock)
    assert budget.take("a") is None
    assert all(budget.take("a") == 60 for _ in range(1_000))
    clock.now += 60
    assert budget.take("a") is None


def test_what_is_given_back_can_be_taken_again_and_nobody_gains_by_it() -> None:
    """In the windows that it was counted in; in one that has begun anew it was not."""
    clock = ManualClock()
    budget = AddressBudget(per_minute=2, per_hour=3, addresses_max=10, clock=clock)
    for _ in range(10):
        assert budget.take("a") is None
        budget.give_back("a")
    budget.give_back("a")
    assert [budget.take("a") for _ in range(3)] == [None, None, 60]
    clock.now += 60
    budget.give_back("a")
    assert [budget.take("a") for _ in range(3)] == [None, None, 3_540]


def test_memory_is_bounded_and_the_least_recent_address_is_forgotten() -> None:
    """However many addresses there are."""
    budget = AddressBudget(per_minute=1, per_hour=1, addresses_max=10, clock=ManualClock())
    assert all(budget.take(str(n)) is None for n in range(1_000))
    assert budget.statistics() == 20
    assert budget.take("999") is not None
    assert budget.take("0") is None


def test_windows_end_with_their_own_clock() -> None:
    """The storage that `limits` counts in keeps its contract: counts, expiries, clearing."""
    clock = ManualClock()
    windows = BoundedWindows(windows_max=10, clock=clock)
    assert windows.incr("k", 60) == 1
    assert windows.incr("k", 60, amount=2) == 3
    assert (windows.get("k"), windows.get_expiry("k")) == (3, 1_060.0)
    clock.now += 60
    assert (windows.get("k"), windows.get_expiry("k")) == (0, 1_060.0)
    windows.incr("k", 60)
    windows.clear("k")
    assert windows.get("k") == 0
    windows.incr("k", 60)
    assert windows.check()
    assert windows.reset() == 1


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
