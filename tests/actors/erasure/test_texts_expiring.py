"""What applications handed in, and the records of it, go when their time is over."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from actors.audit.examination import Examination
from actors.consent.settings import ConsentSettings
from actors.erasure.job import Report
from central_command.settings.configuration import Settings
from persistence.format.consent_events import Decision
from persistence.format.records import JournalName
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.actors.erasure.test_expiring import DAY_S, ends, rows
from tests.actors.erasure.test_job import AT, done, holding
from tests.curated import corpus_lines, corpus_rows, curate
from tests.running_service import Clock, running, settings_with
from tests.submitted_texts import OTHER, USER, record, say, submit

WORDS = "what somebody has told an application, at length"
SHARED = "sess_of_both_0123456789abcdef"


def kept(**retention: int) -> Settings:
    return settings_with(retention=retention, sessions={"abandon_after_h": 10_000.0})


async def filled(root: Path) -> Clock:
    """Leave texts of two days and two users, beside an open session that has the name of theirs; and their records."""
    clock = Clock()
    async with running(root, settings=kept(), clock=clock) as run:
        await say(run)
        await say(run, user_id=OTHER)
        client = await run.open(SHARED)
        await run.send(client.chunk())
        await submit(run, record(f"{WORDS} 1", session_id=SHARED), record(f"{WORDS} 2", user_id=OTHER))
        clock.now += 10 * DAY_S
        await submit(run, record(f"{WORDS} 3"))
        await run.projected()
    await curate(root)
    assert contents(root) == [f"{WORDS} {number}" for number in (1, 2, 3)]
    return clock


async def swept(root: Path, clock: Clock, **retention: int) -> dict[str, int]:
    async with running(root, settings=kept(**retention), clock=clock) as run:
        gone = await run.service.expiry.sweep()
        assert await run.service.expiry.sweep() == {}, "all of it was done at once"
    return dict(gone)


def contents(root: Path) -> list[str]:
    """What the records say that corpus.db knows, in the order of their texts."""
    known = {record_id for (record_id,) in corpus_rows(root, "SELECT record_id FROM texts")}
    said = {line["record_id"]: line for line in corpus_lines(root) if line.get("record_id") in known}
    return sorted(line["content"] for line in said.values())


async def well(root: Path) -> bool:
    return await verify(root, kept().storage, applied_at=AT, closer_look=Examination(kept().scoring)) == []


def in_intake(root: Path) -> list[str]:
    return [path for path in holding(root, WORDS) if path.startswith("intake/")]


async def test_a_text_loses_what_it_held_after_its_days_and_no_row_changes(tmp_path: Path) -> None:
    """Also where an open session has the name that the application gave; its record stays, and is not made anew."""
    root = tmp_path / "data"
    clock = await filled(root)
    before, shown = rows(root), contents(root)
    sizes = [path.stat().st_size for path in sorted((root / "intake").glob("*.jsonl"))]
    clock.now += 5 * DAY_S
    assert await swept(root, clock, intake_days=10) == {"intake": 2}
    assert await swept(root, clock, intake_days=10) == {}
    assert len(in_intake(root)) == 1
    assert await well(root)
    assert (rows(root), contents(root)) == (before, shown)
    assert [path.stat().st_size for path in sorted((root / "intake").glob("*.jsonl"))] == sizes
    await rebuild(root, kept().storage, applied_at=AT)
    assert await curate(root, anew=True)
    assert (rows(root), contents(root)) == (before, shown)
    assert await well(root)


async def test_a_text_that_is_past_its_time_before_curation_comes_to_it_has_no_record(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    shutil.rmtree(root / "corpus")
    for path in root.glob("corpus.db*"):
        path.unlink()
    clock.now += 5 * DAY_S
    await swept(root, clock, intake_days=10)
    await curate(root)
    assert contents(root) == [f"{WORDS} 3"]
    assert corpus_rows(root, "SELECT reason FROM texts_passed_over") == [("expired",)] * 2
    assert await well(root)


async def test_what_a_user_says_is_heeded_when_their_lines_have_no_text_any_more(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    clock.now += 50 * DAY_S
    await swept(root, clock, intake_days=10)
    for decision, expected in ((Decision.WITHDRAWN, [2]), (Decision.GIVEN, [2])):
        async with running(root, settings=kept(), clock=clock) as run:
            await say(run, decision)
            await run.projected()
        await curate(root)
        assert contents(root) == [f"{WORDS} {number}" for number in expected]
    assert corpus_rows(root, "SELECT reason FROM texts_passed_over") == [("expired",)] * 2
    await curate(root, consent=ConsentSettings(current_version="2.0"))
    assert contents(root) == [], "to the new terms nobody has agreed"
    assert await well(root)


async def test_a_user_is_erased_whose_lines_are_past_their_time(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    theirs = [record_id for record_id, _ in owned(root, USER)]
    clock.now += 5 * DAY_S
    async with running(root, settings=kept(intake_days=10), clock=clock) as run:
        await run.service.expiry.sweep()
        asked = await run.service.erase_user(USER)
        assert isinstance(asked, Report)
        report = await done(run, asked.erasure.request)
        assert (report.hindered, report.erasure.counts) == (None, {"intake": 2, "corpus": 2})
        lines = run.lines(JournalName.INTAKE)
        assert ["kept" in line["erased"] for line in lines] == [False, True, False]
    assert holding(root, f"{WORDS} 1", f"{WORDS} 3", *theirs) == []
    assert contents(root) == [f"{WORDS} 2"]
    assert await well(root)


def owned(root: Path, user_id: str) -> list[tuple[str, str]]:
    """The records of a user and their contents, as the corpus has them; by what they wrote."""
    numbers = {USER: (1, 3), OTHER: (2,)}[user_id]
    wanted = {f"{WORDS} {number}" for number in numbers}
    return [(line["record_id"], line["content"]) for line in corpus_lines(root) if line.get("content") in wanted]


@pytest.mark.parametrize("at_once", [1, 2, 100_000])
async def test_records_of_texts_leave_the_corpus_by_when_they_were_handed_over(tmp_path: Path, at_once: int) -> None:
    """They do not come back; the texts themselves stay, unless they have days of their own."""
    root = tmp_path / "data"
    clock = await filled(root)
    before = rows(root)
    clock.now += 5 * DAY_S
    since = clock.now - 10 * DAY_S
    bounds = {"records_at_once_max": at_once, "lines_at_once_max": at_once}
    assert await swept(root, clock, corpus_days=10, **bounds) == {"corpus": 2}
    assert contents(root) == [f"{WORDS} 3"]
    assert {path.split("/")[0] for path in holding(root, f"{WORDS} 1", f"{WORDS} 2")} == {"intake"}
    await curate(root, anew=True, kept_since=lambda: since)
    assert contents(root) == [f"{WORDS} 3"]
    assert corpus_rows(root, "SELECT reason FROM texts_passed_over") == [("expired",)] * 2
    assert rows(root) == before
    assert await well(root)
    clock.now += 10 * DAY_S
    assert await swept(root, clock, corpus_days=10, intake_days=10, **bounds) == {"corpus": 1, "intake": 3}
    assert (contents(root), holding(root, WORDS)) == ([], [])
    assert await well(root)


async def test_a_record_whose_time_is_over_is_taken_back_when_it_is_looked_at_again(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await filled(root)
    await curate(root, anew=True, kept_since=lambda: float("inf"))
    assert contents(root) == []
    assert corpus_rows(root, "SELECT reason FROM texts_passed_over") == [("expired",)] * 3
    assert await well(root)


async def test_where_it_is_not_known_up_to_where_it_was_done_everything_is_looked_at_once_more(tmp_path: Path) -> None:
    root = tmp_path / "data"
    clock = await filled(root)
    clock.now += 50 * DAY_S
    (root / "retention.json").write_text('{"lines":{},"corpus_before":"2099-01-01T00:00:00.000000Z"}')
    assert await swept(root, clock, corpus_days=10) == {"corpus": 3}


async def test_a_sweep_that_was_interrupted_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    """The process ends at operations on files in turn."""
    template, kill_at, ended = tmp_path / "template", 1, True
    clock = await filled(template)
    before = rows(template)
    clock.now += 50 * DAY_S
    days: dict[str, Any] = {"intake_days": 10, "corpus_days": 20}
    while ended:
        root = Path(shutil.copytree(template, tmp_path / str(kill_at)))
        ended = await ends(root, kept(**days), clock, kill_at)
        await swept(root, clock, **days)
        assert (contents(root), holding(root, WORDS)) == ([], [])
        assert rows(root) == before
        assert await verify(root, kept().storage, applied_at=AT) == []
        kill_at += 7
    assert kill_at > 8
