"""Requests at once, repeated, cancelled and cut off: nothing is done twice, and nothing acknowledged is lost."""

import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.envelopes import journal_lines
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, ActorFailed, Busy, BusyReason, Closed, IngestOutcome, KeyConflict, Opened
from actors.sessions.settings import SequenceGaps
from persistence.format.records import ClosedBy, JournalName
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import at_once, findings, finished, stored_state

KINDS: dict[str, Callable[[SigningClient], bytes]] = {
    "chunk": SigningClient.chunk,
    "close": SigningClient.close,
    "feedback": SigningClient.feedback,
}


def opening_of(client: SigningClient) -> OpenSession:
    return OpenSession(**client.opening())


# At once


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_hundred_identical_requests_are_one_line_and_a_hundred_equal_answers(
    tmp_path: Path, kind: str, *, is_active: bool
) -> None:
    """Also when the session's actor is not active yet: it is activated once."""
    async with running(tmp_path) as run:
        client = await run.open()
    async with running(tmp_path, clock=run.clock) as run:
        if is_active:
            await run.send(client.chunk())
        body = KINDS[kind](client)
        lines = len(run.lines(JournalName.ENVELOPES))
        outcomes = await at_once([partial(run.send, body)] * 100)
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
        assert len(accepted) == 100
        assert len({outcome.envelope_id for outcome in accepted}) == 1
        assert sum(not outcome.duplicate for outcome in accepted) == 1
        assert len(run.lines(JournalName.ENVELOPES)) == lines + 1
        assert run.service.statistics().sessions.activated == 1
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("second", KINDS)
async def test_of_two_different_requests_with_one_sequence_exactly_one_is_accepted(tmp_path: Path, second: str) -> None:
    async with running(tmp_path) as run:
        for round_ in range(8):
            client = await run.open(f"sess_{round_}")
            bodies = [client.chunk(sequence=0), client.chunk(sequence=0)]
            if second == "close":
                bodies[round_ % 2] = client.close(sequence=0)
            if second == "feedback":
                bodies.insert(round_ % 3, client.feedback(sequence=0))  # which has no part in the sequence
            outcomes = await at_once([partial(run.send, body) for body in bodies])
            refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
            assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == len(bodies) - 1
            assert [refusal.code in (RefusalCode.SEQUENCE_MISMATCH, RefusalCode.SESSION_CLOSED) for refusal in refused]
            await finished(run, client.session_id)
    assert await findings(tmp_path) == []


async def test_opening_twice_at_once_is_one_session_with_one_key(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = SigningClient("sess_1")
        outcomes = await at_once([partial(run.service.open_session, opening_of(client))] * 20)
        assert all(isinstance(outcome, Opened) for outcome in outcomes)
        assert len(set(outcomes)) == 1
        assert len(run.rows("sessions.db", "SELECT * FROM sessions")) == 1


async def test_of_two_keys_for_one_session_the_first_wins_and_the_other_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for round_ in range(8):
            clients = [SigningClient(f"sess_{round_}") for _ in range(2)]
            outcomes = await at_once([partial(run.service.open_session, opening_of(each)) for each in clients * 2])
            winner = 0 if isinstance(outcomes[0], Opened) else 1
            opened = outcomes[winner]
            assert isinstance(opened, Opened)
            assert outcomes[winner + 2] == opened
            assert outcomes[1 - winner] == outcomes[3 - winner] == KeyConflict()
            clients[winner].opened(opened.server_public_key)
            assert isinstance(await run.send(clients[winner].chunk()), Accepted)


async def test_past_the_mailboxes_bound_requests_are_told_to_come_back(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"mailbox_messages_max": 4})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        body = client.chunk()
        outcomes = await at_once([partial(run.send, body)] * 20)
        accepted = {outcome.envelope_id for outcome in outcomes if isinstance(outcome, Accepted)}
        assert len(accepted) == 1
        busy = [outcome for outcome in outcomes if not isinstance(outcome, Accepted)]
        assert busy == [Busy(BusyReason.MAILBOX_FULL)] * len(busy)
        assert len(busy) >= 14
        assert await run.send(body) == Accepted(accepted.pop(), duplicate=True)


@pytest.mark.parametrize("is_durable", [False, True])
async def test_an_actor_that_fails_ends_alone_and_comes_back_from_what_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, is_durable: bool
) -> None:
    """It fails before its line is handed over, or just after the line is on disk: the retry finds the answer."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    async with running(tmp_path) as run:
        client, other = await run.open(), await run.open("sess_2")
        body = client.chunk()
        with monkeypatch.context() as patched:
            if is_durable:
                patched.setattr(run.service._directory._entries["sess_1"].actor._state.buffer, "add", fail)  # type: ignore[attr-defined]
            else:
                patched.setattr(journal_lines, "envelope_received", fail)
            assert await at_once([partial(run.send, body)] * 3) == [ActorFailed()] * 3
        assert isinstance(await run.send(other.chunk()), Accepted)
        outcome = await run.send(body)
        assert isinstance(outcome, Accepted)
        assert outcome.duplicate is is_durable
        assert isinstance(await run.send(client.chunk()), Accepted)
        assert len(run.lines(JournalName.ENVELOPES)) == 3
        statistics = run.service.statistics().sessions
        assert (statistics.failed, statistics.activated) == (1, 3)
    assert caplog.text.count("the actor of session sess_1 failed") == 1
    assert await findings(tmp_path) == []


# Replays and resends


def whole_session(client: SigningClient) -> list[bytes]:
    """Every kind of envelope, accepted and refused, in the order in which a client sends them."""
    return [
        client.chunk(),
        client.feedback("modified", sequence=50),
        client.chunk(team_size=0),
        client.chunk(),
        client.feedback("applauded", sequence=51),
        client.close(),
        client.feedback(),
    ]


async def replay(root: Path, order: Sequence[int], sent: int, *, restart: bool) -> None:
    """Send the first `sent` envelopes of a session; then those in `order` again: all of it stays as it was."""
    clock = Clock()
    async with running(root, clock=clock) as run:
        client = await run.open()
        bodies = whole_session(client)
        first = [await run.send(body) for body in bodies[:sent]]
        await finished(run)
        before = await stored_state(run)
        if not restart:
            await send_again(run, bodies, first, order)
            assert await stored_state(run) == before
    if restart:
        async with running(root, clock=clock) as run:
            await send_again(run, bodies, first, order)
            assert await stored_state(run) == before
    assert await findings(root) == []


async def send_again(run: Running, bodies: list[bytes], first: list[IngestOutcome], order: Sequence[int]) -> None:
    for index in order:
        if index < len(first):
            outcome, before = await run.send(bodies[index]), first[index]
            if isinstance(before, Accepted):
                assert outcome == Accepted(before.envelope_id, duplicate=True)
            else:
                assert isinstance(outcome, Refusal)


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(7)), sent=st.integers(1, 7), restart=st.booleans())
def test_a_replay_in_any_order_changes_nothing_on_disk_or_in_the_rows(
    order: list[int], sent: int, *, restart: bool
) -> None:
    """Of a whole session or of its beginning, in the same process or after a restart."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(partial(replay, Path(folder), order, sent, restart=restart))


MOMENTS = ("at once", "after the close", "after passivation", "after a restart")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_retry_after_a_lost_answer_gets_the_first_answer(
    tmp_path: Path, kind: str, moment: str, autojump_clock: MockClock
) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as run:
        client = await run.open()
        await run.send(client.chunk())
        body = KINDS[kind](client)
        first = await run.send(body)
        if moment == "after the close":
            await run.service.close_session("sess_1")
        if moment == "after passivation":
            await trio.sleep(301)
            assert run.service.statistics().sessions.active == 0
        if moment != "after a restart":
            await retry(run, client, body, first)
    if moment == "after a restart":
        async with running(tmp_path, clock=clock) as run:
            await retry(run, client, body, first)
    assert await findings(tmp_path) == []


async def retry(run: Running, client: SigningClient, body: bytes, first: IngestOutcome) -> None:
    assert isinstance(first, Accepted)
    await finished(run)
    before = await stored_state(run)
    assert await run.send(body) == Accepted(first.envelope_id, duplicate=True)
    outcome = await run.service.open_session(opening_of(client))
    assert isinstance(outcome, Opened)
    secret = client.secret
    client.opened(outcome.server_public_key)
    assert client.secret == secret
    assert await stored_state(run) == before


async def test_a_retried_close_by_http_gets_the_same_credit(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        first, *others = await at_once([partial(run.service.close_session, "sess_1")] * 5)
        assert isinstance(first, Closed)
        assert first.credit is not None
        outcomes = [first, *others]
        assert sum(outcome == Closed(already_closed=False, credit=first.credit) for outcome in outcomes) == 1
        assert sum(outcome == Closed(already_closed=True, credit=first.credit) for outcome in outcomes) == 4
    async with running(tmp_path, clock=run.clock) as run:
        assert await run.service.close_session("sess_1") == Closed(already_closed=True, credit=first.credit)
        assert len(run.lines(JournalName.TRAJECTORIES)) == 1


@pytest.mark.parametrize("restart", [False, True])
async def test_another_body_with_an_accepted_hmac_is_not_called_a_duplicate(tmp_path: Path, *, restart: bool) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        bodies = [client.chunk(), client.feedback()]
        tampered = [bodies[0].replace(b"step 1", b"step 9"), bodies[1].replace(b"done", b"gone")]
        for body in bodies:
            assert isinstance(await run.send(body), Accepted)
        if not restart:
            await refused_as_forged(run, tampered)
    if restart:
        async with running(tmp_path, clock=run.clock) as run:
            await refused_as_forged(run, tampered)


async def refused_as_forged(run: Running, tampered: list[bytes]) -> None:
    before = await stored_state(run)
    for body in tampered:
        outcome = await run.send(body)
        assert isinstance(outcome, Refusal)
        assert outcome.code is RefusalCode.INVALID_HMAC
    assert await stored_state(run) == before


# A close and late chunks


async def close_among_chunks(root: Path, how: str, delays: Sequence[int], *, gaps: bool) -> None:
    chosen = settings_with(sessions={"sequence_gaps": SequenceGaps.ACCEPT if gaps else SequenceGaps.REFUSE})
    clock = Clock()
    async with running(root, settings=chosen, clock=clock) as run:
        client = await run.open()
        chunks = [client.chunk(2) for _ in range(4)]
        first = await run.send(chunks[0])
        clock.now += 25 * 3_600
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "session_close": partial(run.send, client.close(sequence=4 if gaps else 2)),
            "http_close": partial(run.service.close_session, "sess_1"),
            "abandoned": run.service.ends.close_abandoned,
        }
        calls: list[Callable[[], Awaitable[Any]]] = [ways[how]]
        calls += [partial(run.send, chunk) for chunk in chunks[1:]]
        closed, *late = await at_once(calls, delays)
        accepted = {0} | {index for index, outcome in enumerate(late, start=1) if isinstance(outcome, Accepted)}
        assert isinstance(first, Accepted)
        assert all(isinstance(outcome, Accepted | Refusal) for outcome in late)
        is_closed = {"session_close": isinstance(closed, Accepted), "abandoned": closed == 1}.get(how, True)
        assert is_closed or how != "http_close"
        stored = [line["chunk_sequence"] for line in run.lines(JournalName.ENVELOPES) if "trajectory_log" in line]
        assert set(stored) == accepted
        assert len(stored) == len(accepted)
        if is_closed:
            await finished(run)
            (trajectory,) = run.lines(JournalName.TRAJECTORIES)
            steps = [step["step"] for step in trajectory["trajectory_log"]]
            assert steps == sorted(2 * chunk + step for chunk in accepted for step in (1, 2))
            assert trajectory["closed_by"] == how
        else:
            assert run.lines(JournalName.TRAJECTORIES) == []
            assert isinstance(await run.service.close_session("sess_1"), Closed)
    assert await findings(root) == []


@pytest.mark.parametrize("how", [how for how in ClosedBy if how is not ClosedBy.WITHDRAWN])
@settings(max_examples=25, deadline=None)
@given(delays=st.lists(st.integers(0, 6), min_size=4, max_size=4), gaps=st.booleans())
def test_of_chunks_that_race_a_close_each_is_in_the_trajectory_or_refused(
    how: str, delays: list[int], *, gaps: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(partial(close_among_chunks, Path(folder), how, delays, gaps=gaps))


# Cancelled requesters


async def undisturbed(call: Callable[[], Awaitable[object]], steps: int) -> bool:
    """Make a call and cancel it after so many steps of the scheduler; return whether it was done by then."""
    is_done = False

    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        await call()
        is_done = True
        nursery.cancel_scope.cancel()
    return is_done


@pytest.mark.parametrize("room", [1, 100])
@pytest.mark.parametrize("kind", [*KINDS, "refused chunk", "open", "http close"])
async def test_a_requester_may_go_away_at_any_point_of_its_request(
    tmp_path: Path, kind: str, room: int, autojump_clock: MockClock
) -> None:
    """With room for one actor only, the request also waits for another session to be passivated."""
    chosen = settings_with(sessions={"active_actors_max": room})
    async with running(tmp_path, settings=chosen) as run:
        other = await run.open("sess_other")
        steps, is_done = 0, False
        while not is_done:
            client = await run.open(f"sess_{steps}")
            await run.send(client.chunk())
            await run.send(other.chunk())  # and so this one is active, where there is room for one
            call = request_of(kind, run, client, steps)
            is_done = await undisturbed(call, steps)
            assert_answered(kind, await call())
            if kind == "http close":
                assert_answered("refused", await run.send(client.chunk()))
            steps += 1
            assert steps < 200
        assert steps > 2
        lines = len(run.lines(JournalName.ENVELOPES))
        assert lines == steps * {"open": 2, "refused chunk": 2}.get(kind, 3)
        assert len(run.lines(JournalName.REFUSED)) == (steps if kind == "refused chunk" else 0)
    assert await findings(tmp_path) == []


def request_of(kind: str, run: Running, client: SigningClient, number: int) -> Callable[[], Awaitable[object]]:
    match kind:
        case "open":
            return partial(run.service.open_session, opening_of(SigningClient(f"sess_new_{number}")))
        case "http close":
            return partial(run.service.close_session, client.session_id)
        case "refused chunk":
            return partial(run.send, client.chunk(team_size=0))
        case _:
            return partial(run.send, KINDS[kind](client))


def assert_answered(kind: str, outcome: object) -> None:
    match kind:
        case "open":
            assert isinstance(outcome, Opened)
        case "http close":
            assert isinstance(outcome, Closed)
        case "refused" | "refused chunk":
            assert isinstance(outcome, Refusal)
        case _:
            assert isinstance(outcome, Accepted)


# Shutdown and crash


async def session_in_flight(run: Running, client: SigningClient, answered: list[tuple[bytes, IngestOutcome]]) -> None:
    for body in (client.chunk(), client.chunk(), client.close(), client.feedback()):
        outcome = await run.send(body)
        answered.append((body, outcome))
        if not isinstance(outcome, Accepted):
            return


async def all_acknowledged_is_there(root: Path, clock: Clock, answered: list[tuple[bytes, IngestOutcome]]) -> None:
    async with running(root, clock=clock) as run:
        accepted = [(body, outcome) for body, outcome in answered if isinstance(outcome, Accepted)]
        ids = {line["envelope_id"] for line in run.lines(JournalName.ENVELOPES)}
        assert {outcome.envelope_id for _, outcome in accepted} <= ids
        for body, outcome in accepted:
            assert await run.send(body) == Accepted(outcome.envelope_id, duplicate=True)
        await run.projected()
        closed = {json.loads(body)["session_id"] for body, _ in accepted if b"SESSION_CLOSE" in body}
        credited = [session_id for (session_id,) in run.rows("ledger.db", "SELECT session_id FROM credits")]
        assert closed <= set(credited)
        assert len(set(credited)) == len(credited) == len(run.lines(JournalName.TRAJECTORIES))
    assert await findings(root) == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_shutdown_answers_each_request_in_flight_with_what_is_on_disk_or_busy(
    tmp_path: Path, steps: int
) -> None:
    clock = Clock()
    answered: list[tuple[bytes, IngestOutcome]] = []
    async with trio.open_nursery() as nursery, running(tmp_path, clock=clock) as run:
        clients = [await run.open(f"sess_{number}") for number in range(5)]
        for client in clients:
            nursery.start_soon(session_in_flight, run, client, answered)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
    busy = [outcome for _, outcome in answered if not isinstance(outcome, Accepted)]
    assert all(outcome == Busy(BusyReason.SHUTTING_DOWN) for outcome in busy)
    assert len(busy) == 5 or steps > 20
    await all_acknowledged_is_there(tmp_path, clock, answered)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 21, 26, 34, 42])
async def test_a_process_that_ends_without_notice_loses_nothing_acknowledged(tmp_path: Path, steps: int) -> None:
    """Everything is cancelled where it stands: no draining, no projecting, no checkpoint."""
    clock = Clock()
    answered: list[tuple[bytes, IngestOutcome]] = []
    with trio.CancelScope() as process:
        async with running(tmp_path, clock=clock) as run, trio.open_nursery() as nursery:
            clients = [await run.open(f"sess_{number}") for number in range(5)]
            for client in clients:
                nursery.start_soon(session_in_flight, run, client, answered)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            process.cancel()
    assert process.cancelled_caught
    await all_acknowledged_is_there(tmp_path, clock, answered)
