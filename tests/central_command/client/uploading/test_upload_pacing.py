"""One `Retry-After` holds for all parallel sessions, and only for what it is about; memory is let in by its size."""

from collections.abc import Callable

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from central_command.client.contract.endpoints import CLOSE_PATH, INGEST_PATH, OPEN_PATH
from central_command.client.delivering.pacing import ByteBudget, PacedDelivery, Pauses
from central_command.client.delivering.posting import Answer, RetryPolicy


class Server:
    """Answers 429 to the first request for `path`, and notes when it was asked for what."""

    def __init__(self, path: str, retry_after: str | None = "3000") -> None:
        self.path: str | None = path
        self.headers = {} if retry_after is None else {"Retry-After": retry_after}
        self.code = "rate_limited"
        self.asked: list[tuple[str, float]] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, trio.current_time()))
        if request.url.path == self.path:
            self.path = None
            return httpx.Response(429, json={"code": self.code}, headers=self.headers)
        return httpx.Response(200, json={})


Deliver = Callable[[], PacedDelivery]


def deliveries(server: Server, client: httpx.AsyncClient) -> Deliver:
    """Deliveries that share their pauses."""
    pauses = Pauses()
    return lambda: PacedDelivery(
        client, policy=RetryPolicy(), random=lambda: 0.5, on_wait=lambda _waiting: None, pauses=pauses
    )


@pytest.mark.parametrize(
    ("limited", "waits"),
    [
        (OPEN_PATH, {OPEN_PATH: True, INGEST_PATH: False, CLOSE_PATH: False}),
        (INGEST_PATH, {OPEN_PATH: True, INGEST_PATH: True, CLOSE_PATH: True}),
        (CLOSE_PATH, {OPEN_PATH: True, INGEST_PATH: True, CLOSE_PATH: True}),
    ],
)
async def test_a_429_holds_up_what_it_is_about(autojump_clock: MockClock, limited: str, waits: dict[str, bool]) -> None:
    """All requests; after one for opening a session only openings, because that may be the machine's own limit."""
    server = Server(limited)
    async with httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(server.handle)) as client:
        deliver = deliveries(server, client)
        async with trio.open_nursery() as nursery:

            async def post(path: str) -> None:
                answer = await deliver().post(path, b"{}", timeout_s=10)
                assert isinstance(answer, Answer)
                assert answer.status == 200

            nursery.start_soon(post, limited)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            for path in waits:
                nursery.start_soon(post, path)
    first_of_others = {path: next(at for at_path, at in server.asked[1:] if at_path == path) for path in waits}
    assert {path: at - began >= 2_999 for path, at in first_of_others.items()} == waits


@pytest.mark.parametrize("retry_after", [None, "1000000", "soon"])
async def test_a_429_that_names_no_bearable_time_holds_up_nobody_else(
    autojump_clock: MockClock, retry_after: str | None
) -> None:
    """The one that got it waits or gives up by itself."""
    server = Server(INGEST_PATH, retry_after)
    async with httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(server.handle)) as client:
        deliver = deliveries(server, client)
        await deliver().attempt(INGEST_PATH, b"{}", timeout_s=10)
        before = trio.current_time()
        await deliver().attempt(INGEST_PATH, b"{}", timeout_s=10)
        assert trio.current_time() == before


async def test_a_full_session_is_no_pause(autojump_clock: MockClock) -> None:
    """Its 429 is final and about itself."""
    server = Server(INGEST_PATH)
    server.code = "envelope_limit"
    async with httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(server.handle)) as client:
        deliver = deliveries(server, client)
        before = trio.current_time()
        assert isinstance(await deliver().post(INGEST_PATH, b"{}", timeout_s=10), Answer)
        await deliver().post(INGEST_PATH, b"{}", timeout_s=10)
        assert trio.current_time() == before


async def test_a_pause_may_become_longer_while_one_waits(autojump_clock: MockClock) -> None:
    """And never shorter."""
    pauses = Pauses()
    began = trio.current_time()
    pauses.ask(INGEST_PATH, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pauses.wait, CLOSE_PATH)
        await wait_all_tasks_blocked()
        pauses.ask(INGEST_PATH, 20)
        pauses.ask(INGEST_PATH, 5)
    assert trio.current_time() - began == pytest.approx(20)


async def test_only_so_many_bytes_are_held_at_once(autojump_clock: MockClock) -> None:
    """What is larger than all of it comes in alone; what is cancelled while it waits holds nothing."""
    budget = ByteBudget(10)
    held: set[int] = set()

    async def hold(number: int, size: int) -> None:
        async with budget.hold(size):
            held.add(number)
            await trio.sleep(10)
            held.discard(number)

    async with trio.open_nursery() as nursery:
        for number, size in enumerate((4, 6, 100)):
            nursery.start_soon(hold, number, size)
            await wait_all_tasks_blocked()
        assert held == {0, 1}
        with trio.move_on_after(1):
            await hold(9, 1)
        await trio.sleep(10.5)
        assert held == {2}
        await trio.sleep(10)
        assert held == set()
