"""What is past its time is erased, without anybody asking."""

import json
import shutil
from pathlib import Path
from typing import Any

from actors.audit.examination import Examination
from actors.consent.register import Said, Statement
from actors.sessions.outcomes import Accepted
from central_command.settings.configuration import Settings
from persistence.format.consent_events import ConsentSource, Decision
from persistence.format.records import JournalName
from persistence.journals.erasure_register import ErasureSubject
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.actors.erasure.test_job import AT, THEIRS, DyingFiles, Killed, dump, erased, holding, used
from tests.curated import corpus_rows, curate, curation, leave_session, refused, shown
from tests.running_service import Clock, running, settings_with

DAY_S = 86_400
OTHER = "5eedca1e" * 4
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


KEPT = {"envelopes_days": 10, "refused_days": 10, "trajectories_days": 20, "corpus_days": 30}
WORDS = "what somebody else has said, at length"


def kept(**retention: int) -> Settings:
    return settings_with(retention=retention, sessions={"sequence_gaps": "accept", "abandon_after_h": 10_000.0})


def rows(root: Path) -> list[dict[str, list[Any]]]:
    return [dump(root / name) for name in ("sessions.db", "ledger.db")]


def tiers_with(root: Path, *words: str) -> set[str]:
    return {path.split("/")[0] for path in holding(root, *words)}


async def filled(root: Path) -> Clock:
    """Leave sessions of two days, with letters, feedback and late feedback, one of them open; and their corpus."""
    clock = Clock()
    async with running(root, settings=kept(), clock=clock) as run:
        for number in range(4):
            await used(run, "other", OTHER, number, closes=number != 1)
            if number == 1:
                clock.now += DAY_S
        await run.projected()
    await curate(root)
    assert len(shown(root)) == 3
    return clock


async def test_each_tier_loses_what_it_held_after_its_days_and_nothing_else_changes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    before, sizes, began_at = rows(root), sizes_of(root), clock.now
    for days, letters, expected in (
        (5, 2, {"envelopes", "trajectories", "corpus"}),
        (12, 1, {"envelopes", "trajectories", "corpus"}),
        (22, 1, {"envelopes", "corpus"}),
        (32, 1, {"envelopes"}),
    ):
        clock.now = began_at + days * DAY_S
        async with running(root, settings=kept(**KEPT), clock=clock) as run:
            await run.service.expiry.sweep()
            assert await run.service.expiry.sweep() == {}, "all of it was done at once"
        assert tiers_with(root, f"{WORDS}, other 0", f"{WORDS}, other 1") == expected, days
        assert len(list((root / "refused").glob("20*.jsonl"))) == letters, "the newest day is never dropped"
        assert await verify(root, kept().storage, applied_at=AT, closer_look=Examination(kept().scoring)) == []
        assert rows(root) == before
    assert shown(root) == {}
    assert tiers_with(root, f"{WORDS}, other 0", f"{WORDS}, other 2") == set()
    assert tiers_with(root, f"{WORDS}, other 1") == {"envelopes"}, "of a session that is open every line is needed"
    assert {name: size for name, size in sizes_of(root).items() if name != "refused"} == sizes
    await rebuild(root, kept().storage, applied_at=AT)
    assert rows(root) == before


def sizes_of(root: Path) -> dict[str, int]:
    """The bytes of each journal of which lines stay where they are."""
    return {
        name: sum(path.stat().st_size for path in (root / name).glob("*.jsonl"))
        for name in ("envelopes", "trajectories", "corpus", "consent")
    }


async def test_a_session_that_was_open_is_closed_and_credited_from_what_was_kept_for_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    clock.now += 100 * DAY_S
    async with running(root, settings=kept(**KEPT), clock=clock) as run:
        await run.service.expiry.sweep()
        await run.service.close_session("sess_other_0001_0123456789abcdef")
        await run.projected()
        assert len(run.rows("ledger.db", "SELECT * FROM credits")) == 4
        assert f"{WORDS}, other 1 0" in json.dumps(run.lines(JournalName.TRAJECTORIES))
        gone = await run.service.expiry.sweep()
        assert gone["envelopes"] == 2
    assert tiers_with(root, f"{WORDS}, other 1") == {"trajectories"}
    assert await verify(root, kept().storage, applied_at=AT) == []


async def ends(root: Path, settings: Settings, clock: Clock, kill_at: int) -> bool:
    """Sweep; return whether the process has ended meanwhile, at that operation on files."""
    files = DyingFiles(kill_at)
    try:
        async with running(root, settings=settings, clock=clock, files=files) as run:
            files.counts = True
            await run.service.expiry.sweep()
            files.counts = False
    except* Killed:
        pass
    return files.is_dead


async def test_a_sweep_that_was_interrupted_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    """The process ends at operations on files in turn."""
    template, kill_at, ended = tmp_path / "template", 1, True
    clock = await filled(template)
    before = rows(template)
    clock.now += 50 * DAY_S
    while ended:
        root = Path(shutil.copytree(template, tmp_path / str(kill_at)))
        ended = await ends(root, kept(**KEPT), clock, kill_at)
        async with running(root, settings=kept(**KEPT), clock=clock) as run:
            await run.service.expiry.sweep()
        assert tiers_with(root, f"{WORDS}, other 0", f"{WORDS}, other 2") == set()
        assert rows(root) == before
        assert await verify(root, kept().storage, applied_at=AT) == []
        kill_at += 11
    assert kill_at > 12


async def test_what_has_kept_its_names_is_erased_when_somebody_asks(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    clock.now += 25 * DAY_S
    async with running(root, settings=kept(**KEPT), clock=clock) as run:
        await run.service.expiry.sweep()
        assert holding(root, OTHER)
        report = await erased(run, ErasureSubject.CONTRIBUTOR, OTHER)
        assert report.hindered is None
        assert report.erasure.counts["trajectories"] == 4
    assert holding(root, OTHER, "sess_other", WORDS) == []
    assert await verify(root, kept().storage, applied_at=AT) == []


async def test_curation_leaves_what_it_has_made_and_makes_nothing_of_names(tmp_path: Path) -> None:
    """Who withdraws leaves the corpus also when the text of their trajectories is gone."""
    root = tmp_path / "data"
    clock = await filled(root)
    before = shown(root)
    clock.now += 25 * DAY_S
    async with running(root, settings=kept(trajectories_days=20), clock=clock) as run:
        await run.service.expiry.sweep()
    await curate(root, anew=True)
    assert shown(root) == before
    await curate(root, anew=True, consented=refused(OTHER))
    assert shown(root) == {}
    await curate(root, anew=True)
    assert corpus_rows(root, "SELECT DISTINCT reason FROM passed_over") == [("expired",)]
    assert await verify(root, kept().storage, applied_at=AT) == []


async def test_a_trajectory_whose_time_is_over_has_no_record_made(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await filled(root)
    async with curation(root, kept_since=lambda: float("inf")) as (curating, _):
        await curating.begin_anew()
        await curating.catch_up()
    assert shown(root) == {}
    assert corpus_rows(root, "SELECT DISTINCT reason FROM passed_over") == [("expired",)]
