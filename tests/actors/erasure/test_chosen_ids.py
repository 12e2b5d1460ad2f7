"""An erasure of an id that somebody has chosen comes to its end, and the operator can settle one that does not."""

from pathlib import Path

import pytest

from actors.sessions.outcomes import Accepted
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from tests.actors.erasure.test_job import OTHER, SETTINGS, THEIRS, done, erased, filled, findings, session_id
from tests.running_service import Running, running

FINGERPRINT = "0123456789abcdef" * 4
ZEROS = "0" * 32
WITHIN_OTHERS = [ZEROS, FINGERPRINT[:32], FINGERPRINT[:32].upper(), FINGERPRINT[8:40]]


async def leave(run: Running, number: int, fingerprint: str, contributor: str = OTHER, words: str = "words") -> None:
    client = await run.open(session_id("other", 100 + number), contributor_id=contributor)
    step = client.step(content=words)
    assert isinstance(await run.send(client.chunk_of([step], machine_fingerprint=fingerprint)), Accepted)
    assert isinstance(await run.send(client.close()), Accepted)


@pytest.mark.parametrize("contributor", WITHIN_OTHERS)
async def test_an_id_that_is_a_part_of_others_digests_is_erased_at_once(tmp_path: Path, contributor: str) -> None:
    """The first line of the consent chain has 64 zeros; rows and lines have a machine's fingerprint."""
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        await leave(run, 0, FINGERPRINT)
        await leave(run, 1, "0" * 64)
        await run.projected()
        assert any("0" * 64 in path.read_text() for path in (root / "consent").iterdir())
        report = await erased(run, ErasureSubject.CONTRIBUTOR, contributor)
        assert (report.hindered, report.erasure.state, report.erasure.counts) == (None, ErasureState.DONE, {})
        assert run.service.readiness().checks["erasures"] == "ok"


@pytest.mark.parametrize("contributor", WITHIN_OTHERS[:2])
async def test_such_an_id_is_erased_also_where_sessions_are_theirs(tmp_path: Path, contributor: str) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        await leave(run, 0, FINGERPRINT)
        await leave(run, 1, "0" * 64)
        await leave(run, 2, FINGERPRINT, contributor, "what they have said, at some length, and nobody else")
        await run.projected()
        report = await erased(run, ErasureSubject.CONTRIBUTOR, contributor)
        assert (report.hindered, report.erasure.state) == (None, ErasureState.DONE)
        assert report.erasure.counts["trajectories"] == 1
        for database, table in (("ledger.db", "balances"), ("ledger.db", "credits"), ("sessions.db", "trajectories")):
            owners = {owner for (owner,) in run.rows(database, f"SELECT contributor_id FROM {table}")}
            assert contributor not in owners
            assert report.erasure.request in owners
    assert await findings(root) == []


async def test_an_erasure_that_is_stuck_is_said_and_can_be_settled_where_nothing_was_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = "feedfacefeedfacefeedfacefeedface"
    async with running(tmp_path / "data", settings=SETTINGS) as run:
        await leave(run, 0, FINGERPRINT, words=f"an id that they have chosen: {chosen}")
        await run.projected()
        report = await erased(run, ErasureSubject.CONTRIBUTOR, chosen)
        assert report.hindered is not None
        assert run.service.readiness().ready
        assert run.service.readiness().checks["erasures"] == "1 cannot be done; the log says why"
        await run.service.eraser.erase_pending(report.erasure.request)
        settled = run.service.erasure(report.erasure.request)
        assert settled is not None
        assert (settled.hindered, settled.erasure.state) == (None, ErasureState.DONE)
        assert run.service.readiness().checks["erasures"] == "ok"
        assert "is settled" in caplog.text
        assert run.service.eraser.is_asked(ErasureSubject.CONTRIBUTOR, chosen), "nothing of it is taken"


async def test_what_may_be_theirs_cannot_be_settled(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        await filled(run)
        (root / "server.log").write_text(f"somebody named {THEIRS} was here")
        report = await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is not None
        await run.service.eraser.erase_pending(report.erasure.request)
        kept = run.service.erasure(report.erasure.request)
        assert kept is not None
        assert kept.erasure.state is ErasureState.REQUESTED
        (root / "server.log").unlink()
        assert (await done(run, report.erasure.request)).erasure.state is ErasureState.DONE
