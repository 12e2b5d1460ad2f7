"""What is erased leaves the corpus, whoever writes it at that moment, and is never made again."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from actors.erasure import job
from actors.erasure.job import Report
from persistence.corpus import Corpus
from persistence.files.lock import single_curation
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.verification import verify
from tests.actors.erasure.test_job import AT, OTHER, SETTINGS, THEIRS, DyingFiles, Killed, done, erased, holding
from tests.curated import corpus_lines, corpus_rows, curate, curation, leave_session, refused, shown
from tests.running_service import Running, running

NAMED_BY_NOBODY = ("sess_theirs_1", "sess_theirs_2", "sess_theirs_3")
"""The first one is named by whoever has copied from it."""

WORDS = "words that only the one who goes has ever said to an agent, number"


async def filled(run: Running) -> None:
    """Sessions of both, of which some say nearly the same, so that they are of one cluster."""
    for number in range(3):
        same = [f"{WORDS} {number} {step}" for step in range(6)]
        await leave_session(run, f"sess_theirs_{number}_0123456789", same, contributor_id=THEIRS)
        others = same if not number else [f"somebody else {number} {step}" for step in range(6)]
        await leave_session(run, f"sess_other_{number}_0123456789", others, contributor_id=OTHER)
    await run.projected()


async def left_curated(root: Path) -> None:
    """A corpus with a record that was made anew, one that was taken back, one passed over, and one being made."""
    async with running(root, settings=SETTINGS) as run:
        await filled(run)
    await curate(root)
    await curate(root, anew=True, consented=refused(THEIRS))
    await curate(root, anew=True)
    async with running(root, settings=SETTINGS) as run:
        await leave_session(
            run, "sess_theirs_3_0123456789", [f"{WORDS} {step}" for step in range(5)], contributor_id=THEIRS
        )
        await run.projected()
    await curate(root, consented=refused(THEIRS))
    async with curation(root) as (_, corpus):
        await corpus.attempt("traj_of_nobody")


def others(root: Path) -> dict[str, Any]:
    return {name: line for name, line in shown(root).items() if "other" in name}


async def test_nothing_of_an_erased_contributor_is_left_in_the_corpus(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await left_curated(root)
    before, lines = others(root), len(corpus_lines(root))
    theirs = sum("sess_theirs" in line["session_id"] for line in corpus_lines(root))
    assert theirs > 6
    async with running(root, settings=SETTINGS) as run:
        report = await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is None
        assert report.erasure.counts["corpus"] == theirs
    assert others(root) == before
    assert holding(root, THEIRS, f"{WORDS} 1", f"{WORDS} 2") == []
    assert len(corpus_lines(root)) == lines
    assert {name for (name,) in corpus_rows(root, "SELECT session_id FROM records")} == {*before}
    assert corpus_rows(root, "SELECT * FROM passed_over") == []
    assert corpus_rows(root, "SELECT * FROM attempts") == []
    assert await verify(root, SETTINGS.storage, applied_at=AT) == []
    made = [corpus_rows(root, f"SELECT * FROM {table}") for table in ("records", "bands")]
    await rebuild(root, SETTINGS.storage, applied_at=AT)
    assert [corpus_rows(root, f"SELECT * FROM {table}") for table in ("records", "bands")] == made


async def test_of_what_was_erased_no_record_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await left_curated(root)
    before = others(root)
    async with running(root, settings=SETTINGS) as run:
        await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
    figures = await curate(root, anew=True)
    assert figures.followed_n == figures.reached_n == 7
    assert {**others(root)} == before
    assert {*shown(root)} == {*before}
    assert corpus_rows(root, "SELECT * FROM passed_over") == []
    assert await verify(root, SETTINGS.storage, applied_at=AT) == []


async def test_from_the_request_on_no_record_is_made(tmp_path: Path) -> None:
    """Also before the erasure has come to the lines, and when the server ends first."""
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        await filled(run)
        assert isinstance(await run.service.ask_erasure(ErasureSubject.CONTRIBUTOR, THEIRS), Report)
        assert isinstance(await run.service.ask_erasure(ErasureSubject.SESSION, "sess_other_2_0123456789"), Report)
        await curate(root)
        assert {*shown(root)} == {"sess_other_0_0123456789", "sess_other_1_0123456789"}
        assert corpus_rows(root, "SELECT * FROM passed_over") == []


async def test_a_record_that_was_being_made_when_it_was_asked_for_goes_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        await filled(run)
        put = Corpus.put
        asked: list[Report] = []

        async def asks_before(self: Corpus, *arguments: Any, **options: Any) -> bool:
            if not asked:
                report = await run.service.ask_erasure(ErasureSubject.CONTRIBUTOR, THEIRS)
                assert isinstance(report, Report)
                asked.append(report)
            return await put(self, *arguments, **options)

        monkeypatch.setattr(Corpus, "put", asks_before)
        await curate(root)
        assert "sess_theirs_0_0123456789" in shown(root)
        report = await done(run, asked[0].erasure.request)
        assert report.erasure.state is ErasureState.DONE
        assert report.erasure.counts["corpus"] == 1
    assert {*shown(root)} == {f"sess_other_{number}_0123456789" for number in range(3)}
    assert holding(root, THEIRS) == []


async def test_while_another_process_writes_the_corpus_a_request_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CORPUS_LOCKED_S_MAX", 0.0)
    root = tmp_path / "data"
    await left_curated(root)
    async with running(root, settings=SETTINGS) as run:
        with single_curation(root):
            report = await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
            assert report.hindered is not None
            assert "the corpus in" in report.hindered
            assert report.erasure.state is ErasureState.REQUESTED
        report = await done(run, report.erasure.request)
        assert report.erasure.state is ErasureState.DONE
    assert holding(root, THEIRS) == []


async def test_a_request_that_was_interrupted_in_the_corpus_goes_on(tmp_path: Path) -> None:
    """The process ends at each operation on files of the corpus in turn."""
    template = tmp_path / "template"
    await left_curated(template)
    kill_at, root, before = 1, tmp_path / "data", others(template)
    while True:
        shutil.copytree(template, root)
        files = DyingFiles(kill_at, folder="corpus")
        try:
            async with running(root, settings=SETTINGS, files=files) as run:
                files.counts = True
                await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
                files.counts = False
        except* Killed:
            pass
        ended = files.is_dead
        if ended:
            await curate(root)  # which is what comes first at a start
        async with running(root, settings=SETTINGS) as run:
            await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert {*shown(root)} == {*before}
        assert others(root) == before
        assert holding(root, THEIRS, *NAMED_BY_NOBODY) == []
        assert await verify(root, SETTINGS.storage, applied_at=AT) == []
        shutil.rmtree(root)
        if not ended:
            break
        kill_at += 3
    assert kill_at > 4


async def test_a_corpus_that_a_backup_brings_back_is_erased_again(tmp_path: Path) -> None:
    root, older, back = (tmp_path / name for name in ("data", "older", "back"))
    await left_curated(root)
    before = others(root)
    back_up(root, older, SETTINGS.storage, created_at=AT, with_key=True)
    async with running(root, settings=SETTINGS) as run:
        report = await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
    await restore(older, back, SETTINGS.storage, applied_at=AT, erasures=root / "erasures.jsonl")
    assert {*shown(back)} > {*before}
    async with running(back, settings=SETTINGS) as run:
        assert (await done(run, report.erasure.request)).erasure.counts == report.erasure.counts
    assert others(back) == before
    assert holding(back, THEIRS, *NAMED_BY_NOBODY) == []
