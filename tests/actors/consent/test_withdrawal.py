"""Withdrawn: envelopes are refused, their numbers are used up, nothing of them is kept, and open sessions end."""

from pathlib import Path
from typing import Any

import pytest
import trio

from actors.consent.register import Said, Statement
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, Closed
from persistence.format.consent_events import CURRENT_CONSENT_VERSION, ConsentSource, Decision
from persistence.format.records import JournalName
from tests.running_service import Running, running
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

OTHER = "f" * 32
SECRET = "what nobody may read"


async def says(run: Running, decision: Decision, contributor_id: str = CONTRIBUTOR) -> None:
    statement = Statement(
        contributor_id=contributor_id,
        decision=decision,
        version=CURRENT_CONSENT_VERSION,
        source=ConsentSource.API,
    )
    assert isinstance(await run.service.desk.say(statement), Said)


def code(outcome: object) -> RefusalCode | None:
    return outcome.code if isinstance(outcome, Refusal) else None


def holding(root: Path, text: str) -> list[Path]:
    """The files that hold a text."""
    return [path for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def ended(run: Running) -> None:
    """Wait until nobody who has withdrawn has an open session."""
    await run.service.ends.close_withdrawn()
    await run.projected()


async def test_from_the_answer_on_envelopes_are_refused_and_use_up_their_numbers(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await says(run, Decision.WITHDRAWN)
        client = await run.open()
        assert code(await run.send(client.chunk())) is RefusalCode.CONSENT_WITHDRAWN
        assert code(await run.send(client.chunk())) is RefusalCode.CONSENT_WITHDRAWN
        await says(run, Decision.GIVEN)
        assert isinstance(await run.send(client.chunk()), Accepted), "the third number is the next one"
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("broken", [False, True], ids=["right", "breaks the schema"])
async def test_nothing_of_what_was_refused_is_kept(tmp_path: Path, *, broken: bool) -> None:
    async with running(tmp_path) as run:
        await says(run, Decision.WITHDRAWN)
        client = await run.open()
        step = client.step(content=SECRET, **({"token_count": -1} if broken else {}))
        assert code(await run.send(client.chunk_of([step]))) is RefusalCode.CONSENT_WITHDRAWN
        (letter,) = run.lines(JournalName.REFUSED)
        assert "body" not in letter
        assert "body_deflate" not in letter
        await run.projected()
    assert not holding(tmp_path, SECRET)


@pytest.mark.parametrize("is_active", [True, False], ids=["in memory", "passivated"])
async def test_open_sessions_end_without_a_trajectory(tmp_path: Path, *, is_active: bool) -> None:
    async with running(tmp_path) as run:
        client, other = await run.open(), await run.open("sess_2", contributor_id=OTHER)
        await run.send(client.chunk())
        await run.send(other.chunk())
        if not is_active:
            run.service._directory._make_room(2)
            await trio.testing.wait_all_tasks_blocked()
        await says(run, Decision.WITHDRAWN)
        await ended(run)
        assert run.lines(JournalName.ENVELOPES)[-1]["closed_by"] == "withdrawn"
        assert code(await run.send(client.chunk())) is RefusalCode.SESSION_CLOSED
        assert code(await run.send(client.feedback())) is RefusalCode.CONSENT_WITHDRAWN
        closed = await run.service.close_session("sess_1")
        assert closed == Closed(already_closed=True, credit=None)
        assert isinstance(await run.service.close_session("sess_2"), Closed)
        trajectories = run.lines(JournalName.TRAJECTORIES)
        assert [line["session_id"] for line in trajectories] == ["sess_2"]
    assert await findings(tmp_path) == []


async def test_what_a_start_finds_open_of_who_has_withdrawn_ends_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash may have come between the event and the closes; the start after it has nothing to say of that."""
    caplog.set_level("INFO")
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        await run.projected()
        run.service._consent.withdrawn = trio.Event()  # as if it crashed here: nobody waits for this one
        await says(run, Decision.WITHDRAWN)
        assert run.rows("sessions.db", "SELECT status FROM sessions") == [("active",)]
    async with running(tmp_path) as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.projected()
        assert run.rows("sessions.db", "SELECT status, closed_by FROM sessions") == [("closed", "withdrawn")]
        assert run.lines(JournalName.TRAJECTORIES) == []
    assert "somebody has withdrawn: 1 open session(s) were closed" in caplog.text
    caplog.clear()
    async with running(tmp_path) as run:
        await trio.testing.wait_all_tasks_blocked()
        assert run.lines(JournalName.TRAJECTORIES) == []
    assert "somebody has withdrawn" not in caplog.text
    assert await findings(tmp_path) == []


async def test_a_chunk_that_was_being_stored_meanwhile_is_no_way_to_stay_open(tmp_path: Path) -> None:
    """Its actor looks who has withdrawn after the line is on disk."""
    async with running(tmp_path) as run:
        client = await run.open()
        append = run.service._storage.envelopes.append_many
        going, go_on = trio.Event(), trio.Event()

        async def slow(lines: object) -> object:
            going.set()
            await go_on.wait()
            return await append(lines)  # type: ignore[arg-type]

        run.service._storage.envelopes.append_many = slow  # type: ignore[method-assign, assignment]
        outcomes: list[object] = []

        async def send() -> None:
            outcomes.append(await run.send(client.chunk()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await going.wait()
            await says(run, Decision.WITHDRAWN)
            go_on.set()
        assert isinstance(outcomes[0], Accepted)
        await ended(run)
        assert run.lines(JournalName.ENVELOPES)[-1]["closed_by"] == "withdrawn"
    assert await findings(tmp_path) == []


async def test_what_ended_before_keeps_its_credit(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        first = await run.service.close_session("sess_1")
        assert isinstance(first, Closed)
        assert first.credit is not None
        await says(run, Decision.WITHDRAWN)
        await ended(run)
        assert await run.service.close_session("sess_1") == Closed(already_closed=True, credit=first.credit)
    assert await findings(tmp_path) == []


async def test_a_withdrawal_within_a_batch_leaves_no_chunk_behind_the_end(tmp_path: Path) -> None:
    """What was decided before it is stored, and only then the session ends."""
    async with running(tmp_path) as run:
        client = await run.open()
        envelopes = [read_envelope(client.chunk(), nesting_max=64) for _ in range(3)]
        append = run.service._storage.envelopes.append_many

        async def withdrawn_meanwhile(lines: Any) -> Any:
            await says(run, Decision.WITHDRAWN)
            return await append(lines)

        run.service._storage.envelopes.append_many = withdrawn_meanwhile  # type: ignore[method-assign]
        assert all(isinstance(each, Envelope) for each in envelopes)
        outcomes = await run.service.ingest_many("sess_1", tuple(envelopes))  # type: ignore[arg-type]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        await ended(run)
        kinds = [line.get("closed_by", "chunk") for line in run.lines(JournalName.ENVELOPES)]
        assert kinds == ["chunk"] * 3 + ["withdrawn"]
    assert await findings(tmp_path) == []
