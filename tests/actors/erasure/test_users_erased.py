"""A user of an application is erased: nothing of theirs is left in any file, and nothing is taken any more."""

from pathlib import Path
from typing import Any

import pytest

from actors.erasure.job import Report
from actors.intake.desk import IntakeDesk
from actors.intake.reading import RecordRefusal, RefusedRecord, SubmittedRecord
from persistence.databases.erased_rows import ErasedRows
from persistence.format.consent_events import Decision
from persistence.format.records import JournalName
from persistence.journals.erasure_register import ErasureState
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.verification import verify
from tests.actors.erasure.test_job import AT, SETTINGS, Killed, done, holding
from tests.curated import corpus_lines, corpus_rows, curate, leave_session
from tests.running_service import Running, running
from tests.submitted_texts import OTHER, USER, record, say, submit

WORDS = "words that only the one who goes has ever said to an application"


async def filled(run: Running) -> list[str]:
    """Texts of both; return the ids of those that are to go."""
    await say(run)
    await say(run, user_id=OTHER)
    theirs = await submit(run, record(f"{WORDS} 1"), record(f"{WORDS} 2", session_id="sess_shared"))
    await submit(run, record("somebody else", user_id=OTHER, session_id="sess_shared"))
    await leave_session(run, "sess_shared", ["a session of that very name"])
    await run.projected()
    return theirs


async def erased(run: Running) -> Report:
    asked = await run.service.erase_user(USER)
    assert isinstance(asked, Report)
    return await done(run, asked.erasure.request)


def contents(root: Path) -> list[str]:
    return [line.get("content", "") for line in corpus_lines(root) if line.get("kind") == "text"]


async def test_nothing_of_an_erased_user_is_left_and_nothing_of_the_others_is_changed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        theirs = await filled(run)
    await curate(root)
    async with running(root, settings=SETTINGS) as run:
        report = await erased(run)
        assert (report.hindered, report.erasure.counts) == (None, {"intake": 2, "corpus": 2})
        [first, second, other] = run.lines(JournalName.INTAKE)
        assert [*first, *second] == ["erased", "received", "crc32"] * 2
        assert other["content"] == "somebody else"
        assert run.lines(JournalName.CONSENT)[-1]["state"] == "withdrawn"
        assert await run.service.erase_user(USER) == report, "asked again, it is the same request"
    assert holding(root, USER, WORDS, *theirs) == []
    assert contents(root) == ["somebody else"]
    assert corpus_rows(root, "SELECT count(*) FROM texts") == [(1,)]
    assert corpus_rows(root, "SELECT session_id FROM records") == [("sess_shared",)]
    assert await verify(root, SETTINGS.storage, applied_at=AT) == []
    await rebuild(root, SETTINGS.storage, applied_at=AT)
    assert await verify(root, SETTINGS.storage, applied_at=AT) == []
    assert (await curate(root, anew=True)).text_records == 0
    assert contents(root) == ["somebody else"]


async def test_nothing_of_an_erased_user_is_taken_any_more_also_after_a_restart(tmp_path: Path) -> None:
    text = SubmittedRecord(USER, "s", "prompt", b'"x"', b"{}")
    async with running(tmp_path, settings=SETTINGS) as run:
        await filled(run)
        await erased(run)
    async with running(tmp_path, settings=SETTINGS) as run:
        await say(run, Decision.GIVEN)
        outcomes = await run.service.intake.desk.submit([text], token_id="tok_1")
        assert [each.code for each in outcomes if isinstance(each, RefusedRecord)] == [RecordRefusal.ERASED]
        assert len(run.lines(JournalName.INTAKE)) == 3


async def test_who_has_said_nothing_is_erased_without_an_event(tmp_path: Path) -> None:
    async with running(tmp_path, settings=SETTINGS) as run:
        report = await erased(run)
        assert (report.erasure.state, report.erasure.counts) == (ErasureState.DONE, {})
        assert run.lines(JournalName.CONSENT) == []


async def test_from_the_request_on_no_record_is_made(tmp_path: Path) -> None:
    """Also before the erasure has come to the lines."""
    async with running(tmp_path, settings=SETTINGS) as run:
        await filled(run)
        assert isinstance(await run.service.erase_user(USER), Report)
        await curate(tmp_path)
        assert contents(tmp_path) == ["somebody else"]
        assert corpus_rows(tmp_path, "SELECT * FROM texts_passed_over") == []


@pytest.mark.parametrize("step", ["rename_texts", "compact"])
async def test_a_request_that_was_interrupted_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    theirs: list[str] = []

    async def killed(*_arguments: Any) -> None:
        raise Killed

    async def dies() -> None:
        async with running(tmp_path, settings=SETTINGS) as run:
            theirs.extend(await filled(run))
            await erased(run)

    with monkeypatch.context() as patch:
        patch.setattr(ErasedRows, step, killed)
        with pytest.raises(BaseExceptionGroup):
            await dies()
    async with running(tmp_path, settings=SETTINGS) as run:
        [request] = run.service._storage.erasure.register.all()
        await done(run, request.request)
    assert holding(tmp_path, USER, WORDS, *theirs) == []
    assert await verify(tmp_path, SETTINGS.storage, applied_at=AT) == []


async def test_what_an_older_backup_brings_back_is_erased_again(tmp_path: Path) -> None:
    root, older, back = (tmp_path / name for name in ("data", "older", "back"))
    async with running(root, settings=SETTINGS) as run:
        theirs = await filled(run)
        back_up(root, older, SETTINGS.storage, created_at=AT, with_key=True)
        report = await erased(run)
    restored = await restore(older, back, SETTINGS.storage, applied_at=AT, erasures=root / "erasures.jsonl")
    assert (restored.findings, restored.erasures) == ([], 1)
    async with running(back, settings=SETTINGS) as run:
        await done(run, report.erasure.request)
    assert holding(back, WORDS, *theirs) == []
    assert await verify(back, SETTINGS.storage, applied_at=AT) == []


async def test_what_could_not_be_recorded_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, settings=SETTINGS) as run:
        await filled(run)
        refused = object()

        async def fail(*_arguments: Any) -> object:
            return refused

        monkeypatch.setattr(IntakeDesk, "withdraw", fail)
        assert await run.service.erase_user(USER) is refused
        assert run.service.eraser.pending() == []
