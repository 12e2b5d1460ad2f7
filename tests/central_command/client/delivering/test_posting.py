"""One body against a server in memory: tried again with the same bytes where that can help, and within bounds.

No test sleeps: each names the clock that jumps, because pytest-trio uses only one that the test itself asks for.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from central_command.client.delivering.posting import Answer, Delivery, RetryPolicy, Undelivered, Waiting

PATH = "/v1/training/ingest"
BODY = b'{"envelope_id":"env_1"}'
ACCEPTED = Answer(200, {"accepted": True})

Fault = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Posting:
    """Posts `BODY` to a server that lets `faults` answer first; what was posted and waited for is on record."""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.bodies: list[bytes] = []
        self.waits: list[Waiting] = []

    async def run(self, policy: RetryPolicy | None = None) -> Answer | Undelivered:
        transport = httpx.MockTransport(self._handle)
        async with httpx.AsyncClient(base_url="http://server.test", transport=transport) as client:
            delivery = Delivery(client, policy=policy or RetryPolicy(), random=lambda: 0.0, on_wait=self.waits.append)
            return await delivery.post(PATH, BODY, timeout_s=30.0)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == PATH
        self.bodies.append(request.content)
        if self.faults:
            return await self.faults.popleft()(request)
        return httpx.Response(200, json={"accepted": True})


@pytest.fixture
def posting() -> Posting:
    """A server without faults."""
    return Posting()


def answering(status: int, body: dict[str, Any] | None = None, **headers: str) -> Fault:
    async def fault(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body or {}, headers=headers)

    return fault


async def test_a_lost_answer_is_followed_by_the_same_bytes(posting: Posting, autojump_clock: MockClock) -> None:
    """The server may have taken them in, and recognises nothing else."""

    async def lose_answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("connection reset")

    posting.faults.append(lose_answer)
    assert await posting.run() == ACCEPTED
    assert posting.bodies == [BODY, BODY]
    assert [wait.reason for wait in posting.waits] == ["the connection failed: connection reset"]


async def test_every_temporary_failure_is_tried_again(posting: Posting, autojump_clock: MockClock) -> None:
    """Refused connection, time-out, 408, 429 and every 5xx: backoff that doubles, with the same bytes each time."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def hang(_request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    posting.faults.extend([refuse, hang, *map(answering, (408, 429, 500, 502, 503, 507))])
    started = trio.current_time()
    assert await posting.run(RetryPolicy(attempts_max=9)) == ACCEPTED
    assert [wait.seconds for wait in posting.waits] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [wait.attempt for wait in posting.waits] == list(range(1, 9))
    assert trio.current_time() - started == pytest.approx(91.5 + 30.0)
    assert posting.bodies == [BODY] * 9


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed(posting: Posting, autojump_clock: MockClock, status: int) -> None:
    """The next try comes no sooner than the server asks, and not much later."""
    posting.faults.append(answering(status, {"error": "Slow down."}, **{"Retry-After": "42"}))
    started = trio.current_time()
    assert await posting.run() == ACCEPTED
    assert trio.current_time() - started == pytest.approx(42.0)
    assert posting.waits == [Waiting("Slow down.", 42.0, 1)]


async def test_tries_are_bounded(posting: Posting, autojump_clock: MockClock) -> None:
    """After the last, the reason says how many they were."""
    posting.faults.extend([answering(503)] * 9)
    outcome = await posting.run(RetryPolicy(attempts_max=4))
    assert outcome == Undelivered("the server answered with status 503 (4 tries)")
    assert len(posting.bodies) == 4


async def test_a_wait_that_is_too_long_is_reported_instead(posting: Posting, autojump_clock: MockClock) -> None:
    """Nobody waits for a day."""
    posting.faults.append(answering(429, {"error": "Too many sessions."}, **{"Retry-After": "86400"}))
    assert await posting.run() == Undelivered("Too many sessions., and asks to wait 86400 s")
    assert posting.waits == []
    assert len(posting.bodies) == 1


@pytest.mark.parametrize(
    ("status", "members", "reason"),
    [
        (413, {"error": "The body is too large."}, "The body is too large."),
        (200, {"ok": True}, "the server answered with status 200"),
        (302, {}, "the server answered with status 302"),
        (429, {"code": "envelope_limit", "reason": "That is \x1b[31menough."}, "That is [31menough."),
    ],
)
async def test_a_final_answer_is_not_tried_again(
    posting: Posting, autojump_clock: MockClock, status: int, members: dict[str, Any], reason: str
) -> None:
    """A retry cannot mend it; its reason is fit for a terminal."""
    posting.faults.append(answering(status, members, **{"Retry-After": "1"}))
    outcome = await posting.run()
    assert outcome == Answer(status, members, 1.0)
    assert isinstance(outcome, Answer)
    assert outcome.reason == reason
    assert len(posting.bodies) == 1


@pytest.mark.parametrize(
    "content", [b'{"accepted":true,"x":"' + b"y" * 200_000 + b'"}', b"<html>", b'["accepted"]', b"[" * 60_000]
)
async def test_answers_that_are_odd_or_endless_are_bounded(
    posting: Posting, autojump_clock: MockClock, content: bytes
) -> None:
    """They are read up to a bound and count as an answer without members."""

    async def flood(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content)

    posting.faults.append(flood)
    assert await posting.run() == Answer(200, {})


def test_waits_grow_to_a_cap_and_jitter_only_shortens_backoff() -> None:
    """What the server asks for is never cut short."""
    policy = RetryPolicy()
    assert [policy.wait_s(n, None, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [policy.wait_s(n, None, 0.0) for n in (1, 9)] == [0.5, 30]
    assert policy.wait_s(1, 7.0, 0.25) == 7.25
