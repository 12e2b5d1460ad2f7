"""One body against a server in memory: what comes back is read within bounds, and says whether a retry can mend it."""

from typing import Any

import httpx
import pytest

from central_command.client.delivering.posting import Answer, Delivery, RetryPolicy, Undelivered

PATH = "/v1/training/ingest"
BODY = b'{"envelope_id":"env_1"}'


async def attempt(answer: httpx.Response) -> tuple[Answer | Undelivered, list[bytes]]:
    """What comes of one attempt, and what was posted."""
    bodies: list[bytes] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == PATH
        bodies.append(request.content)
        return answer

    async with httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(handle)) as client:
        return await Delivery(client).attempt(PATH, BODY, timeout_s=30.0), bodies


@pytest.mark.parametrize(
    ("status", "members", "reason"),
    [
        (413, {"error": "The body is too large."}, "The body is too large."),
        (200, {"ok": True}, "the server answered with status 200"),
        (302, {}, "the server answered with status 302"),
        (429, {"code": "envelope_limit", "reason": "That is \x1b[31menough."}, "That is [31menough."),
    ],
)
async def test_a_final_answer_is_not_tried_again(status: int, members: dict[str, Any], reason: str) -> None:
    """A retry cannot mend it; its reason is fit for a terminal."""
    outcome, bodies = await attempt(httpx.Response(status, json=members, headers={"Retry-After": "1"}))
    assert outcome == Answer(status, members, 1.0)
    assert isinstance(outcome, Answer)
    assert not outcome.is_temporary
    assert outcome.reason == reason
    assert bodies == [BODY]


@pytest.mark.parametrize(
    "content", [b'{"accepted":true,"x":"' + b"y" * 200_000 + b'"}', b"<html>", b'["accepted"]', b"[" * 60_000]
)
async def test_answers_that_are_odd_or_endless_are_bounded(content: bytes) -> None:
    """They are read up to a bound and count as an answer without members."""
    outcome, _ = await attempt(httpx.Response(200, content=content))
    assert outcome == Answer(200, {})


def test_waits_grow_to_a_cap_and_jitter_only_shortens_backoff() -> None:
    """What the server asks for is never cut short."""
    policy = RetryPolicy()
    assert [policy.wait_s(n, None, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [policy.wait_s(n, None, 0.0) for n in (1, 9)] == [0.5, 30]
    assert policy.wait_s(1, 7.0, 0.25) == 7.25
