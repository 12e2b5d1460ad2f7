"""Sessions that were opened and never used: bounded in number, and gone without a trace once they are abandoned."""

from pathlib import Path

import pytest

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Closed, FullReason, KeyConflict, Opened, OpenOutcome, StorageFull
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import at_once, findings, stored_state

HOUR_S = 3_600.0
FEW = settings_with(sessions={"unused_sessions_max": 3})
FULL = StorageFull(FullReason.UNUSED_SESSIONS)


async def opened(run: Running, client: SigningClient) -> OpenOutcome:
    """Open a client's session, or send its opening again: the published clients repeat it until it is answered."""
    return await run.service.open_session(OpenSession(**client.opening()))


async def unused(run: Running) -> int:
    await run.projected()
    return (await run.service.summary()).unused_sessions


async def test_a_session_that_was_never_used_is_forgotten_once_it_is_abandoned(tmp_path: Path) -> None:
    """No line, no row, no trajectory; an opening of the same session begins anew, with another key."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as run:
        before = await stored_state(run)
        client = SigningClient("sess_1", now_s=clock.now)
        first = await opened(run, client)
        assert isinstance(first, Opened)
        clock.now += 25 * HOUR_S
        assert await run.service.ends.close_abandoned() == 1
        assert await stored_state(run) == before
        client.opened(first.server_public_key)
        client.now_s = clock.now
        outcome = await run.send(client.chunk())
        assert isinstance(outcome, Refusal)
        assert outcome.code is RefusalCode.UNKNOWN_SESSION
        again = await opened(run, client)
        assert isinstance(again, Opened)
        assert again.server_public_key != first.server_public_key
        client.opened(again.server_public_key)
        client.sequence = 0
        assert isinstance(await run.send(client.chunk()), Accepted)
    assert await findings(tmp_path) == []


async def test_an_honest_client_keeps_its_session_until_it_is_abandoned(tmp_path: Path) -> None:
    """However full it is, and across a restart: its opening sent again has the same key, its envelope is taken."""
    clock = Clock()
    async with running(tmp_path, settings=FEW, clock=clock) as run:
        client = SigningClient("sess_1", now_s=clock.now)
        first = await opened(run, client)
        clock.now += 23.9 * HOUR_S
        for number in range(2, 8):
            await opened(run, SigningClient(f"sess_{number}", now_s=clock.now))
        assert await run.service.ends.close_abandoned() == 0
        assert await opened(run, client) == first
    async with running(tmp_path, settings=FEW, clock=clock) as run:
        assert await opened(run, client) == first  # also at the bound
        assert isinstance(await opened(run, SigningClient("sess_1", now_s=clock.now)), KeyConflict)
        assert isinstance(first, Opened)
        client.opened(first.server_public_key)
        client.now_s = clock.now
        assert isinstance(await run.send(client.chunk()), Accepted)


async def test_openings_are_refused_past_the_bound_until_one_is_used_or_overdue(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, settings=FEW, clock=clock) as run:
        clients = [await run.open(f"sess_{number}") for number in range(3)]
        assert await unused(run) == 3
        extra = SigningClient("sess_extra", now_s=clock.now)
        assert await opened(run, extra) == FULL
        assert await run.send(clients[0].chunk(team_size=0))  # a dead letter is a use
        assert await unused(run) == 2
        assert isinstance(await opened(run, extra), Opened)
        another = SigningClient("sess_another", now_s=clock.now)
        assert await opened(run, another) == FULL
        clock.now += 24.1 * HOUR_S
        assert isinstance(await opened(run, another), Opened)
        assert await unused(run) == 1
        assert {row[0] for row in run.rows("sessions.db", "SELECT session_id FROM sessions")} == {
            "sess_0",
            "sess_another",
        }
    assert await findings(tmp_path) == []


async def test_openings_at_once_never_pass_the_bound(tmp_path: Path) -> None:
    async with running(tmp_path, settings=FEW) as run:
        clients = [SigningClient(f"sess_{number}", now_s=run.clock.now) for number in range(9)]
        outcomes = await at_once([lambda client=client: opened(run, client) for client in clients])  # type: ignore[misc]
        assert sum(isinstance(outcome, Opened) for outcome in outcomes) == 3
        assert outcomes.count(FULL) == 6
        assert await unused(run) == 3


@pytest.mark.parametrize("used_by", ["a chunk", "a dead letter", "a close by HTTP"])
async def test_what_was_used_is_never_forgotten(tmp_path: Path, used_by: str) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as run:
        client = await run.open()
        if used_by == "a close by HTTP":
            assert isinstance(await run.service.close_session("sess_1"), Closed)
        else:
            await run.send(client.chunk(**({} if used_by == "a chunk" else {"team_size": 0})))
        assert await unused(run) == 0
        clock.now += 25 * HOUR_S
        await run.service.ends.close_abandoned()
        await run.projected()
        assert run.rows("sessions.db", "SELECT session_id, status FROM sessions") == [("sess_1", "closed")]
        assert len(run.lines(JournalName.ENVELOPES)) == (2 if used_by == "a chunk" else 1)
    assert await findings(tmp_path) == []


async def test_an_envelope_and_the_forgetting_of_its_session_come_one_after_the_other(tmp_path: Path) -> None:
    """Whichever comes first: an acknowledged envelope has its session, with its key."""
    for delay in range(6):
        clock = Clock()
        root = tmp_path / str(delay)
        async with running(root, clock=clock) as run:
            client = await run.open()
            clock.now += 25 * HOUR_S
            client.now_s = clock.now
            body = client.chunk()
            outcome, _ = await at_once([lambda: run.send(body), run.service.ends.close_abandoned], [delay, 5 - delay])  # type: ignore[list-item]  # noqa: B023
            await run.projected()
            stored = run.rows("sessions.db", "SELECT placeholder FROM sessions")
            assert stored == ([(0,)] if isinstance(outcome, Accepted) else [])
        assert await findings(root) == []


async def test_a_rebuild_counts_them_alike(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for number in range(3):
            await run.open(f"sess_{number}")
        client = await run.open("sess_used")
        await run.send(client.chunk())
        before = await stored_state(run)
        assert await unused(run) == 3
    await rebuild(tmp_path, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")
    assert await findings(tmp_path) == []
    async with running(tmp_path) as run:
        assert await stored_state(run) == before
