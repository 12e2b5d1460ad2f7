"""What is past its time is erased, without anybody asking."""

from pathlib import Path

from actors.consent.register import Said, Statement
from actors.sessions.outcomes import Accepted
from persistence.format.consent_events import ConsentSource, Decision
from persistence.upkeep.verification import verify
from tests.actors.erasure.test_job import AT, OTHER, THEIRS, holding
from tests.curated import leave_session
from tests.running_service import Clock, running, settings_with

DAY_S = 86_400
HELD = settings_with(consent={"mode": "required", "hold_days": 30})


async def test_what_was_held_without_consent_is_erased_after_its_days(tmp_path: Path) -> None:
    """That of who has agreed stays, and so do totals; who is erased so may go on."""
    root, clock = tmp_path / "data", Clock()
    async with running(root, settings=HELD, clock=clock) as run:
        for number, contributor in enumerate((THEIRS, OTHER)):
            await leave_session(run, f"sess_held_{number}_0123456789", ["words"], contributor_id=contributor)
        said = Statement(contributor_id=OTHER, decision=Decision.GIVEN, version="1.0", source=ConsentSource.API)
        assert isinstance(await run.service.desk.say(said), Said)
        await run.projected()
        clock.now += 20 * DAY_S
        await leave_session(run, "sess_held_2_0123456789", ["later words"], contributor_id=THEIRS)
        await run.projected()
        before = run.rows("sessions.db", "SELECT envelopes, steps, sessions, points FROM totals")
        await run.service.expiry.sweep()
        assert holding(root, "sess_held_0")
        clock.now += 11 * DAY_S
        await run.service.expiry.sweep()
        assert holding(root, "sess_held_0") == []
        assert {name for (name,) in run.rows("sessions.db", "SELECT session_id FROM sessions") if "held" in name} == {
            "sess_held_1_0123456789",
            "sess_held_2_0123456789",
        }
        assert run.rows("sessions.db", "SELECT envelopes, steps, sessions, points FROM totals") == before
        assert await verify(root, HELD.storage, applied_at=AT) == []
        client = await run.open("sess_more_of_theirs", contributor_id=THEIRS)
        assert isinstance(await run.send(client.chunk()), Accepted)
        (request,) = run.service.eraser._erasure.register.all()
        assert request.counts == {"envelopes": 2, "trajectories": 1}


async def test_nothing_is_held_where_clients_have_asked_or_for_ever(tmp_path: Path) -> None:
    for number, consent in enumerate(({"mode": "client"}, {"mode": "required", "hold_days": 0})):
        root, clock = tmp_path / str(number), Clock()
        async with running(root, settings=settings_with(consent=consent), clock=clock) as run:
            await leave_session(run, "sess_kept_0123456789", ["words"], contributor_id=THEIRS)
            await run.projected()
            clock.now += 1_000 * DAY_S
            await run.service.expiry.sweep()
            assert run.service.eraser._erasure.register.all() == []
