"""What a recorder says of itself when it was left: whether all was delivered, and what the next one finds."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from central_command.client.spool.records import SpoolError
from central_command.client.spool.spool import Spool
from tests.central_command.client.recording.recorded import CLOSE, INGEST, OPEN, Opener, thought


async def test_leftovers_of_a_closed_recorder_go_with_the_next(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """Leaving is bounded, ends open sessions with SHUTDOWN, and loses no step."""

    async def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    fake_server.faults.extend([refused] * 1_000)
    began = trio.current_time()
    async with opener() as recorder:
        session = recorder.session()
        for _ in range(300):
            session.record(thought())
    assert trio.current_time() - began <= 11
    assert fake_server.envelopes == []
    fake_server.faults.clear()
    async with opener() as recorder:
        await trio.sleep(1)
        await recorder.wait_delivered()
        assert recorder.statistics().steps_delivered == 300
    assert fake_server.envelopes[-1]["outcome"]["status"] == "SHUTDOWN"


@pytest.mark.parametrize("under_way", [OPEN, INGEST, CLOSE])
async def test_what_is_under_way_when_the_time_is_over_is_not_delivered(
    opener: Opener, fake_server: Any, one_by_one: None, autojump_clock: MockClock, under_way: str
) -> None:
    """Whichever request it is: the spool still holds what it was about."""

    async def hangs(request: httpx.Request) -> None:
        if request.url.path == under_way:
            await trio.sleep_forever()

    fake_server.faults.extend([hangs] * 10)
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
    assert fake_server.requests[-1][0] == under_way
    assert not recorder.is_delivered
    fake_server.faults.clear()
    async with opener() as recorder:
        await trio.sleep(1)
    assert recorder.is_delivered


async def test_what_is_answered_and_not_noted_is_not_said_to_be_delivered(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again, with the same bytes: neither is anything where the spool cannot be asked."""

    def broken(*_arguments: object, **_named: object) -> None:
        raise SpoolError("The disk is broken.")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "closed", broken)
        async with opener() as recorder:
            with recorder.session() as session:
                session.record(thought())
    assert len(fake_server.envelopes) == 2
    assert not recorder.is_delivered
    async with opener() as recorder:
        await trio.sleep(1)
        await recorder.wait_delivered()
        monkeypatch.setattr(Spool, "has_unfinished", broken)
    assert not recorder.is_delivered


async def test_what_others_left_is_looked_for_before_all_is_said_to_be_delivered(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """A recorder that is left at once has taken it over already, or is about to."""

    async def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async def slow(call: Callable[[], Any]) -> Any:
        await trio.sleep(0.5)
        return call()

    fake_server.faults.extend([refused] * 1_000)
    async with opener() as recorder:
        recorder.session().record(thought())
    fake_server.faults.clear()
    async with opener(offload=slow) as recorder:
        pass
    assert (len(fake_server.envelopes), recorder.is_delivered) == (2, True)


async def test_why_nothing_is_delivered_is_logged_once_and_again_when_it_changes(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At WARNING, which a program sees without any setting; a server that asks for time is well."""

    def failing(why: str) -> Callable[[httpx.Request], Any]:
        async def fail(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError(why, request=request)

        return fail

    async def busy(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, json={"error": "Later."}, headers={"Retry-After": "1"})

    async def works(_request: httpx.Request) -> None:
        return None

    fake_server.faults.extend([*[failing("broken")] * 3, failing("torn"), busy, works, failing("torn")])
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    beginning = "nothing is delivered for now, and tried again: the connection failed:"
    assert said == [f"{beginning} {why}" for why in ("broken", "torn", "torn")]


async def test_what_was_refused_for_good_is_not_left(
    opener: Opener, fake_server: Any, one_by_one: None, autojump_clock: MockClock
) -> None:
    """It is counted: nothing of it waits any more."""
    fake_server.refuse = lambda envelope: "No." if "trajectory_log" in envelope else None
    async with opener() as recorder:
        with recorder.session() as session:
            session.record(thought())
        await recorder.wait_delivered()
    assert (recorder.is_delivered, recorder.statistics().envelopes_refused) == (True, 1)


async def test_what_waits_for_the_next_start_is_not_waited_for(
    opener: Opener, fake_server: Any, autojump_clock: MockClock
) -> None:
    """Nothing more would come of it, by this recorder or by others that took it over."""

    async def refused(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": "provider must be one of codex."})

    fake_server.faults.extend([refused] * 2)
    for steps in (1, 0):
        async with opener(provider="my-agent") as recorder:
            for _ in range(steps):
                with recorder.session() as session:
                    session.record(thought())
            await trio.sleep(2)
            began = trio.current_time()
        assert (recorder.is_delivered, trio.current_time() - began < 1) == (False, True)
    assert len(fake_server.requests) == 2
