"""A wall clock that is set: nothing is closed for it, files and lines stay in order, and a restart finds all of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Closed, MachineLimit, Opened
from central_command.process.clock_jumps import STEPS_MAX, ClockJumps
from persistence.format import times
from persistence.format.records import JournalName
from tests.running_service import Clock, Running, running
from tests.signing_client import SigningClient
from tests.stored_state import findings

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def clock() -> Clock:
    """Noon, UTC, so that the day is the test's to change."""
    at = Clock()
    at.jump(NOON - at.now)
    return at


def client_now(client: SigningClient, clock: Clock) -> SigningClient:
    """Let the client's timestamps follow the server's clock: how far they may differ is another rule."""
    client.now_s = clock.now
    return client


async def send(run: Running, client: SigningClient) -> None:
    """Send a chunk, which must be accepted."""
    assert isinstance(await run.send(client_now(client, run.clock).chunk()), Accepted)


# Abandonment


async def test_a_clock_set_a_day_ahead_abandons_nobody(tmp_path: Path, clock: Clock) -> None:
    """Sessions that were active a minute ago go on; those that really fall silent are closed a day later."""
    async with running(tmp_path, clock=clock) as run:
        going_on, silent = await run.open("sess_1"), await run.open("sess_2")
        await send(run, going_on)
        await send(run, silent)
        await run.projected()
        clock.jump(2 * DAY_S)
        clock.now += 60
        assert await run.service.ends.close_abandoned() == 0
        clock.now += 23 * HOUR_S
        await send(run, going_on)
        await run.projected()
        assert await run.service.ends.close_abandoned() == 0
        clock.now += HOUR_S
        assert await run.service.ends.close_abandoned() == 1
        await send(run, going_on)
        await run.projected()
        assert run.rows("sessions.db", "SELECT session_id FROM sessions WHERE status = 'closed'") == [("sess_2",)]
    assert await findings(tmp_path) == []


async def test_a_session_opened_while_the_clock_was_behind_is_not_abandoned_when_it_is_right_again(
    tmp_path: Path, clock: Clock
) -> None:
    """Its opening looks two days old then."""
    async with running(tmp_path, clock=clock) as run:
        clock.jump(-2 * DAY_S)
        client = await run.open()
        clock.jump(2 * DAY_S)
        clock.now += 60
        assert await run.service.ends.close_abandoned() == 0
        await send(run, client)
        clock.now += 25 * HOUR_S
        await run.projected()
        assert await run.service.ends.close_abandoned() == 1
    assert await findings(tmp_path) == []


async def test_time_that_passes_abandons_as_before(tmp_path: Path, clock: Clock) -> None:
    """Without a step of the clock nothing changes; after one, only for as long as it matters."""
    async with running(tmp_path, clock=clock) as run:
        await run.open("sess_1")
        clock.jump(DAY_S)
        assert await run.service.ends.close_abandoned() == 0
        clock.now += 24 * HOUR_S + 1
        assert await run.service.ends.close_abandoned() == 1
        await run.projected()
        await run.open("sess_2")
        clock.now += 24 * HOUR_S + 1
        assert await run.service.ends.close_abandoned() == 1


def test_steps_forward_count_for_their_time_and_corrections_do_not() -> None:
    """Steps back are not set off, slow corrections are none, and the number that is kept is bounded."""
    clock = Clock()
    jumps = ClockJumps(clock, clock.monotonic, window_s=DAY_S)
    for _ in range(10):
        clock.now += 300
        clock.jump(0.1)
        assert jumps.forward_s() == 0
    clock.jump(HOUR_S)
    assert jumps.forward_s() == pytest.approx(HOUR_S)
    clock.now += DAY_S / 2
    clock.jump(-HOUR_S)
    assert jumps.forward_s() == pytest.approx(HOUR_S)
    clock.jump(10)
    assert jumps.forward_s() == pytest.approx(HOUR_S + 10)
    clock.now += DAY_S / 2
    assert jumps.forward_s() == pytest.approx(10)
    for _ in range(3 * STEPS_MAX):
        clock.jump(2)
        jumps.observe()
    assert jumps.forward_s() == pytest.approx(10 + 6 * STEPS_MAX)
    assert repr(jumps) == f"<ClockJumps steps={STEPS_MAX}>"


# Files, lines and days


async def test_a_day_ahead_and_back_leaves_lines_in_order_and_a_restart_goes_on(tmp_path: Path, clock: Clock) -> None:
    """A file a day, never an older one again; numbers without a gap; nothing is lost in five restarts."""
    sent = 0
    for jump_s in (0.0, DAY_S, -DAY_S, -3 * DAY_S, 3 * DAY_S, DAY_S):
        clock.jump(jump_s)
        async with running(tmp_path, clock=clock) as run:
            client = await run.open(f"sess_{sent}")
            await send(run, client)
            clock.jump(HOUR_S)
            await send(run, client)
            assert isinstance(await run.service.close_session(client.session_id), Closed)
            sent += 1
            lines = run.lines(JournalName.ENVELOPES)
            assert [line["received"]["n"] for line in lines] == list(range(1, 3 * sent + 1))
        assert await findings(tmp_path) == []
    days = sorted(path.stem for path in (tmp_path / "envelopes").iterdir())
    assert days == ["2026-11-20", "2026-11-21", "2026-11-22"][: len(days)]
    assert len(days) >= 2
    credited = {path.stem for path in (tmp_path / "trajectories").iterdir()}
    assert credited <= set(days)


async def test_days_are_counted_by_the_clock_of_their_time(tmp_path: Path, clock: Clock) -> None:
    """What came under a wrong clock is counted there once, and the right day goes on when the clock is right."""
    async with running(tmp_path, clock=clock) as run:
        client = await run.open()
        for jump_s in (0.0, DAY_S, -DAY_S):
            clock.jump(jump_s)
            await send(run, client)
        await run.projected()
        clock.jump(DAY_S)
        daily = {day.date: day.envelopes for day in await run.service.daily(7)}
        assert (daily["2026-11-20"], daily["2026-11-21"]) == (2, 1)
        assert sum(daily.values()) == 3
        summary = await run.service.summary()
        assert summary.total_envelopes == 3
    assert await findings(tmp_path) == []


async def test_a_line_says_when_it_came_by_the_clock_and_stands_where_it_came(tmp_path: Path, clock: Clock) -> None:
    """The order is the number's; the time is what the clock said, also when that was less than before."""
    async with running(tmp_path, clock=clock) as run:
        client = await run.open()
        at: list[float] = []
        for jump_s in (0.0, DAY_S, -DAY_S):
            clock.jump(jump_s)
            await send(run, client)
            at.append(clock.now)
        lines = run.lines(JournalName.ENVELOPES)
        assert [times.from_text(line["received"]["at"]) for line in lines] == pytest.approx(at, abs=1e-5)
        assert [line["chunk_sequence"] for line in lines] == [0, 1, 2]


# What is limited by the hour


async def test_sessions_opened_under_a_clock_that_was_ahead_do_not_keep_their_machine_out(
    tmp_path: Path, clock: Clock
) -> None:
    """Twenty of tomorrow are none of this hour, and twenty of this hour still are."""
    async with running(tmp_path, clock=clock) as run:
        clock.jump(DAY_S)
        assert await opened_by_one_machine(run, 20, "tomorrow") == 20
        clock.jump(-DAY_S)
        assert await opened_by_one_machine(run, 21, "today") == 20


async def opened_by_one_machine(run: Running, count: int, name: str) -> int:
    """Open sessions until one is refused; return how many were opened."""
    for number in range(count):
        client = SigningClient(f"sess_{name}_{number}")
        outcome = await run.service.open_session(OpenSession(**client.opening(machine_fingerprint="c" * 64)))
        if isinstance(outcome, MachineLimit):
            assert 1 <= outcome.retry_after_s <= HOUR_S
            return number
        assert isinstance(outcome, Opened)
    return count
