"""Patience: tried again with the same bytes where that can help, and within bounds; one server's patience is shared.

No test sleeps: each names the clock that jumps, because pytest-trio uses only one that the test itself asks for.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.endpoints import CLOSE_PATH, INGEST_PATH, OPEN_PATH
from central_command.client.contract.signing import draft_envelope
from central_command.client.delivering.deliverer import Deliverer, Waiting
from central_command.client.delivering.exchange import SessionDelivery
from central_command.client.delivering.posting import Delivery, RetryPolicy
from central_command.client.delivering.progress import Nothing, One, Resting, Sent
from central_command.client.spool.records import Opening
from central_command.client.spool.spool import Spool
from tests.central_command.client.inline import inline

OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
SERVER_KEY = generate_key_pair().public_key_base64

Fault = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Delivering:
    """Delivers from a spool to a server that lets `faults` answer first; what was asked and waited for is on record."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.faults: deque[Fault] = deque()
        self.asked: list[tuple[str, float]] = []
        self.bodies: list[bytes] = []
        self.waits: list[Waiting] = []
        self.progress: list[One] = []
        self.policy = RetryPolicy()
        self.ended = trio.Event()
        """Set when nothing waits any more, or what waits is given up."""

    def session(self, session_id: str, path: str = INGEST_PATH) -> None:
        """A session of which the next request goes to `path`."""
        self.spool.add_session(session_id, url="http://server.test", opening=OPENING)
        if path != OPEN_PATH:
            self.spool.opened(session_id, SERVER_KEY)
        if path == CLOSE_PATH:
            self.spool.end(session_id)
        else:
            head = {"envelope_id": "env_1", "session_id": session_id}
            self.spool.put(session_id, "CHUNK", draft_envelope(head, {"trajectory_log": []}), steps=1)

    def deliverer(
        self,
        client: httpx.AsyncClient,
        *,
        gives_up: bool = True,
        on_progress: Callable[[str, One], None] | None = None,
    ) -> Deliverer:
        return Deliverer(
            SessionDelivery(self.spool, Delivery(client), offload=inline),
            policy=self.policy,
            random=lambda: 0.0,
            on_progress=on_progress or self._note,
            on_wait=lambda _session_id, waiting: self.waits.append(waiting),
            at_once=4,
            gives_up=gives_up,
        )

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(self._handle))

    async def run(self) -> One:
        """Deliver one envelope of one session, until that is done or given up; what came of it."""
        self.session("sess_1")
        async with self.client() as client, trio.open_nursery() as nursery:
            deliverer = self.deliverer(client)
            deliverer.add("sess_1")
            nursery.start_soon(deliverer.run)
            await self.ended.wait()
            nursery.cancel_scope.cancel()
        return self.progress[0] if isinstance(self.progress[-1], Nothing) else self.progress[-1]

    async def run_four(self, *, for_s: float) -> None:
        """Deliver four sessions, which are there, at once for so long."""
        async with self.client() as client, trio.open_nursery() as nursery:
            deliverer = self.deliverer(client)
            nursery.start_soon(deliverer.run)
            for number in range(4):
                deliverer.add(f"sess_{number}")
            await trio.sleep(for_s)
            nursery.cancel_scope.cancel()

    def _note(self, _session_id: str, progress: One) -> None:
        self.progress.append(progress)
        if isinstance(progress, Nothing | Resting):
            self.ended.set()

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, trio.current_time()))
        self.bodies.append(request.content)
        if self.faults:
            return await self.faults.popleft()(request)
        return httpx.Response(200, json={"accepted": True})


@pytest.fixture
def delivering(tmp_path: Path) -> Iterator[Delivering]:
    """An empty spool and a server without faults."""
    with Spool(tmp_path / "spool.db") as spool:
        yield Delivering(spool)


def answering(status: int, body: dict[str, Any] | None = None, **headers: str) -> Fault:
    async def fault(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body or {}, headers=headers)

    return fault


async def passing(_request: httpx.Request) -> httpx.Response:
    """A server's usual answer."""
    return httpx.Response(200, json={"accepted": True})


# One session


async def test_a_lost_answer_is_followed_by_the_same_bytes(delivering: Delivering, autojump_clock: MockClock) -> None:
    """The server may have taken them in, and recognises nothing else."""

    async def lose_answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("connection reset")

    delivering.faults.append(lose_answer)
    await delivering.run()
    assert Sent("sess_1", steps=1) in delivering.progress
    first, second = delivering.bodies
    assert first == second
    assert [wait.reason for wait in delivering.waits] == ["the connection failed: connection reset"]


async def test_every_temporary_failure_is_tried_again(delivering: Delivering, autojump_clock: MockClock) -> None:
    """Refused connection, time-out, 408, 429 and every 5xx: backoff that doubles, with the same bytes each time."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def hang(_request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    delivering.faults.extend([refuse, hang, *map(answering, (408, 429, 500, 502, 503, 507))])
    delivering.policy = RetryPolicy(attempts_max=9)
    await delivering.run()
    assert Sent("sess_1", steps=1) in delivering.progress
    assert [wait.seconds for wait in delivering.waits] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [wait.attempt for wait in delivering.waits] == list(range(1, 9))
    (_, started), *_, (_, ended) = delivering.asked
    assert ended - started == pytest.approx(91.5 + 30.0)
    assert delivering.bodies == [delivering.bodies[0]] * 9


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed(delivering: Delivering, autojump_clock: MockClock, status: int) -> None:
    """The next try comes no sooner than the server asks, and not much later."""
    delivering.faults.append(answering(status, {"error": "Slow down."}, **{"Retry-After": "42"}))
    await delivering.run()
    (_, first), (_, second) = delivering.asked
    assert second - first == pytest.approx(42.0)
    assert delivering.waits == [Waiting("Slow down.", 42.0, 1)]


async def test_tries_are_bounded(delivering: Delivering, autojump_clock: MockClock) -> None:
    """After the last, the reason says how many they were."""
    delivering.faults.extend([answering(503)] * 9)
    delivering.policy = RetryPolicy(attempts_max=4)
    outcome = await delivering.run()
    assert outcome == Resting("", "the server answered with status 503 (4 tries)", unreachable=True, status=503)
    assert len(delivering.bodies) == 4


async def test_a_server_that_never_answered_is_given_up_sooner(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """And what to set is said; once it has answered, the same failure is an outage, which is waited for."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    delivering.faults.append(refuse)
    delivering.policy = RetryPolicy(first_attempts_max=1)
    outcome = await delivering.run()
    assert outcome == Resting(
        "",
        "the connection failed: refused",
        unreachable=True,
        advice="--url or GROOVE_CENTRAL_URL says where the server is",
    )
    assert delivering.waits == []


async def test_an_outage_of_a_server_that_has_answered_is_waited_for(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """However short patience is at the first contact; what no waiting mends is given up at once even then."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def distrust(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("CERTIFICATE_VERIFY_FAILED", request=request)

    delivering.faults.extend([answering(503), refuse, refuse, distrust])
    delivering.policy = RetryPolicy(first_attempts_max=1)
    outcome = await delivering.run()
    assert len(delivering.waits) == 3
    assert outcome == Resting("", "the server's certificate is not trusted", unreachable=True)


async def test_a_wait_that_is_too_long_is_reported_instead(delivering: Delivering, autojump_clock: MockClock) -> None:
    """Nobody waits for a day."""
    delivering.faults.append(answering(429, {"error": "Too many sessions."}, **{"Retry-After": "86400"}))
    outcome = await delivering.run()
    assert outcome == Resting("", "Too many sessions., and asks to wait 86400 s", unreachable=True, status=429)
    assert delivering.waits == []
    assert len(delivering.bodies) == 1


@pytest.mark.parametrize(
    ("status", "retry_after"), [(429, {"Retry-After": "7"}), (503, {"Retry-After": "7"}), (429, {})]
)
async def test_being_asked_for_time_is_no_failed_try(
    delivering: Delivering, autojump_clock: MockClock, status: int, retry_after: dict[str, str]
) -> None:
    """However often; what does fail is counted as if it had not been asked in between."""
    asks = answering(status, {"error": "Slow down."}, **retry_after)
    delivering.faults.extend([asks, answering(500), asks, asks, asks, answering(500), asks, answering(500)])
    delivering.policy = RetryPolicy(attempts_max=3)
    outcome = await delivering.run()
    assert outcome == Resting("", "the server answered with status 500 (3 tries)", unreachable=True, status=500)
    assert not delivering.faults


async def test_a_server_that_only_ever_asks_for_time_is_given_up(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """Once it did so for as long as one is ready to wait in all, and no later."""
    delivering.faults.extend([answering(429, {"error": "Slow down."}, **{"Retry-After": "600"})] * 9)
    outcome = await delivering.run()
    reason = "Slow down. (the server has asked for time for 3600 s, and nothing was delivered)"
    assert outcome == Resting("", reason, unreachable=True, status=429)
    assert [at - delivering.asked[0][1] for _, at in delivering.asked] == [pytest.approx(600.0 * n) for n in range(7)]


async def test_who_was_under_way_when_a_server_asked_for_an_hour_waits_as_well(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """Each is told so on its own, and they do not add up."""

    async def ask_late(_request: httpx.Request) -> httpx.Response:
        await trio.sleep(20)
        return httpx.Response(429, headers={"Retry-After": "3600"}, json={"error": "Too many sessions."})

    delivering.faults.extend([answering(429, {"error": "Too many sessions."}, **{"Retry-After": "3600"}), ask_late])
    for number in range(2):
        delivering.session(f"sess_{number}")
    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client)
        for number in range(2):
            deliverer.add(f"sess_{number}")
        nursery.start_soon(deliverer.run)
        await trio.sleep(3_700)
        nursery.cancel_scope.cancel()
    assert [delivering.spool.session(f"sess_{number}").envelopes_accepted for number in range(2)] == [1, 1]


async def test_whatever_is_delivered_renews_patience(delivering: Delivering, autojump_clock: MockClock) -> None:
    """Also of another session: the server gives everybody their turn."""
    asks = answering(429, **{"Retry-After": "3000"})
    delivering.faults.extend([asks, passing, asks, passing])
    for number in range(2):
        delivering.session(f"sess_{number}")
    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client)
        deliverer.add("sess_0")
        nursery.start_soon(deliverer.run)
        await delivering.ended.wait()
        deliverer.add("sess_1")
        await trio.sleep(4_000)
        nursery.cancel_scope.cancel()
    assert [delivering.spool.session(f"sess_{number}").envelopes_accepted for number in range(2)] == [1, 1]


async def test_what_is_given_up_may_be_added_again(delivering: Delivering, autojump_clock: MockClock) -> None:
    """Once it was dropped; until then it rests."""
    delivering.faults.extend([answering(503)])
    delivering.policy = RetryPolicy(attempts_max=1)
    delivering.session("sess_1")
    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client)
        deliverer.add("sess_1")
        nursery.start_soon(deliverer.run)
        await wait_all_tasks_blocked()
        deliverer.add("sess_1")
        await wait_all_tasks_blocked()
        assert len(delivering.asked) == 1
        assert not deliverer.is_done
        deliverer.drop("sess_1")
        assert deliverer.is_done
        deliverer.add("sess_1")
        await wait_all_tasks_blocked()
        assert delivering.spool.session("sess_1").envelopes_accepted == 1
        nursery.cancel_scope.cancel()


# Several sessions


async def times_after(
    delivering: Delivering, first: Fault, limited: str, others: tuple[str, ...]
) -> tuple[float, dict[str, float]]:
    """When `limited` was answered by `first`, and when each path was asked for after that."""
    delivering.session("sess_0", limited)
    for number, path in enumerate(others, start=1):
        delivering.session(f"sess_{number}", path)
    delivering.faults.append(first)
    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client)
        nursery.start_soon(deliverer.run)
        deliverer.add("sess_0")
        while not (delivering.waits or delivering.progress):
            await trio.lowlevel.checkpoint()
        began = trio.current_time()
        for number in range(1, len(others) + 1):
            deliverer.add(f"sess_{number}")
        await trio.sleep(4_000)
        nursery.cancel_scope.cancel()
    return began, {path: next(at for each, at in delivering.asked[1:] if each == path) for path in others}


@pytest.mark.parametrize(
    ("limited", "waits"),
    [
        (OPEN_PATH, {OPEN_PATH: True, INGEST_PATH: False, CLOSE_PATH: False}),
        (INGEST_PATH, {OPEN_PATH: True, INGEST_PATH: True, CLOSE_PATH: True}),
        (CLOSE_PATH, {OPEN_PATH: True, INGEST_PATH: True, CLOSE_PATH: True}),
    ],
)
async def test_a_429_holds_up_what_it_is_about(
    delivering: Delivering, autojump_clock: MockClock, limited: str, waits: dict[str, bool]
) -> None:
    """All requests; after one for opening a session only openings, because that may be the machine's own limit."""
    limit = answering(429, {"code": "rate_limited"}, **{"Retry-After": "3000"})
    began, first_of_others = await times_after(delivering, limit, limited, tuple(waits))
    assert {path: at - began >= 2_999 for path, at in first_of_others.items()} == waits


@pytest.mark.parametrize("retry_after", [None, "1000000", "soon"])
async def test_a_429_that_names_no_bearable_time_holds_up_nobody_else(
    delivering: Delivering, autojump_clock: MockClock, retry_after: str | None
) -> None:
    """The one that got it waits or gives up by itself."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    limit = answering(429, {"code": "rate_limited"}, **headers)
    began, asked = await times_after(delivering, limit, INGEST_PATH, (INGEST_PATH, CLOSE_PATH))
    assert asked == {INGEST_PATH: began, CLOSE_PATH: began}


async def test_a_full_session_is_no_pause(delivering: Delivering, autojump_clock: MockClock) -> None:
    """Its 429 is final and about itself."""
    limit = answering(429, {"code": "envelope_limit"}, **{"Retry-After": "3000"})
    began, asked = await times_after(delivering, limit, INGEST_PATH, (CLOSE_PATH,))
    assert asked == {CLOSE_PATH: began}


async def test_a_pause_may_become_longer_while_one_waits(delivering: Delivering, autojump_clock: MockClock) -> None:
    """And never shorter."""
    for number in range(4):
        delivering.session(f"sess_{number}")

    def slow(seconds: str) -> Fault:
        async def fault(_request: httpx.Request) -> httpx.Response:
            await trio.sleep(int(seconds) / 1_000)  # one after the other
            return httpx.Response(429, headers={"Retry-After": seconds})

        return fault

    delivering.faults.extend([slow("5"), slow("10"), slow("20"), slow("7")])
    await delivering.run_four(for_s=30)
    later = [at for _, at in delivering.asked[4:]]
    assert len(later) == 4
    assert later == [pytest.approx(20.02)] * 4


@pytest.mark.parametrize("limited", [OPEN_PATH, INGEST_PATH])
async def test_after_a_pause_one_request_goes_first(
    delivering: Delivering, autojump_clock: MockClock, limited: str
) -> None:
    """The others follow once it was taken, and wait again unasked where it was not."""
    under_way, together = 0, [0]

    def slow(answer: Fault) -> Fault:
        async def fault(request: httpx.Request) -> httpx.Response:
            nonlocal under_way
            under_way += 1
            together.append(under_way)
            await trio.sleep(0.01)
            under_way -= 1
            return await answer(request)

        return fault

    async def taken(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"accepted": True, "server_public_key": SERVER_KEY})

    asks = answering(429, **{"Retry-After": "5"})
    for number in range(4):
        delivering.session(f"sess_{number}", limited)
    delivering.faults.extend([slow(asks)] * 6 + [slow(taken)] * 20)
    await delivering.run_four(for_s=60)
    assert together[:8] == [0, 1, 2, 3, 4, 1, 1, 1]
    assert [delivering.spool.session(f"sess_{number}").envelopes_accepted for number in range(4)] == [1] * 4


@pytest.mark.parametrize("limited", [OPEN_PATH, INGEST_PATH])
async def test_what_was_under_way_before_a_pause_does_not_end_its_turns(
    delivering: Delivering, autojump_clock: MockClock, limited: str
) -> None:
    """It was asked for before the limit was reached, so that the first afterwards still goes alone."""

    def after(seconds: float, status: int) -> Fault:
        async def fault(_request: httpx.Request) -> httpx.Response:
            await trio.sleep(seconds)
            body = {"accepted": True, "server_public_key": SERVER_KEY}
            return httpx.Response(status, json=body if status == 200 else {}, headers={"Retry-After": "5"})

        return fault

    for number in range(4):
        delivering.session(f"sess_{number}", limited)
    delivering.faults.extend([after(0.1, 429), after(0.1, 429), after(0.1, 429), after(0.2, 200)])
    delivering.faults.extend([after(1.0, 200)] * 9)
    await delivering.run_four(for_s=60)
    later = [at for path, at in delivering.asked[4:] if path == limited]
    assert later[:2] == [pytest.approx(5.1, abs=0.01), pytest.approx(6.1, abs=0.01)]


async def test_a_limit_that_lets_few_through_is_kept_to_until_all_is_delivered(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """300 sessions, four at once, at a server that takes 100 requests and then 100 a minute."""
    tokens, counted_at = 100.0, trio.current_time()

    async def limit(request: httpx.Request) -> httpx.Response:
        nonlocal tokens, counted_at
        await trio.sleep(0.003)
        now = trio.current_time()
        tokens, counted_at = min(100.0, tokens + (now - counted_at) * 100 / 60), now
        if tokens < 1:
            return httpx.Response(429, json={"error": "Too many requests."}, headers={"Retry-After": "1"})
        tokens -= 1
        return httpx.Response(200, json={"accepted": True, "server_public_key": SERVER_KEY})

    delivering.faults.extend([limit] * 2_000)
    names = [f"sess_{number}" for number in range(300)]
    for name in names:
        delivering.session(name, OPEN_PATH)
    left = iter(names)
    given_up: list[Resting] = []

    def note(_session_id: str, progress: One) -> None:
        if isinstance(progress, Resting):
            given_up.append(progress)
        if isinstance(progress, Resting | Nothing):  # all that waited of it is delivered
            if (name := next(left, None)) is None:
                delivering.ended.set()
            else:
                deliverer.add(name)

    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client, on_progress=note)
        for _ in range(4):
            deliverer.add(next(left))
        nursery.start_soon(deliverer.run)
        await delivering.ended.wait()
        await trio.sleep(10)  # for the last of the four
        nursery.cancel_scope.cancel()
    assert given_up == []
    assert deliverer.steps_accepted == 300


async def test_a_recording_never_gives_up(delivering: Delivering, autojump_clock: MockClock) -> None:
    """However long it takes, and whatever the server asks for."""
    delivering.faults.extend([answering(503)] * 30)
    delivering.faults.append(answering(429, **{"Retry-After": "999999"}))
    delivering.session("sess_1")
    async with delivering.client() as client, trio.open_nursery() as nursery:
        deliverer = delivering.deliverer(client, gives_up=False)
        deliverer.add("sess_1")
        nursery.start_soon(deliverer.run)
        await delivering.ended.wait()
        nursery.cancel_scope.cancel()
    assert Sent("sess_1", steps=1) in delivering.progress
    assert len(delivering.asked) == 32


async def test_what_was_under_way_when_it_is_cancelled_is_not_done(
    delivering: Delivering, autojump_clock: MockClock
) -> None:
    """Nothing came of it, so it waits as it did."""

    async def hangs(_request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    delivering.faults.append(hangs)
    delivering.session("sess_1")
    async with delivering.client() as client:
        deliverer = delivering.deliverer(client)
        deliverer.add("sess_1")
        with trio.move_on_after(5):
            await deliverer.run()
    assert not deliverer.is_done
