"""An erasure of an id that somebody has chosen comes to its end, and the operator can settle one that does not."""

import hashlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from actors.sessions.outcomes import Accepted
from persistence.corpus_erasing import StoppedCorpus
from persistence.databases.jobs_database import JobsDatabase
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from tests.actors.erasure.test_job import OTHER, SETTINGS, THEIRS, done, erased, filled, findings, session_id
from tests.curated import curate, leave_sessions
from tests.indexed import index_async
from tests.running_service import Running, running
from tests.submitted_texts import leave_token

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


OF_ANOTHER = hashlib.sha256(b"another").hexdigest()
OF_NOBODY = OF_ANOTHER[:32]


async def with_all_databases(root: Path) -> None:
    await leave_sessions(root, "sess_a")
    await curate(root)
    await index_async(root)
    leave_token(root, "read")
    with closing(JobsDatabase(root / "jobs.db", time.time)) as jobs, jobs.snapshot():
        pass


def gone_row(path: Path, table: str) -> None:
    """A table that had a row with an id beside other digits, which is gone from it and not from its page."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"CREATE TABLE {table} (a TEXT, b TEXT)")
        rows = [(OF_NOBODY, "7" * 64), ("x", OF_ANOTHER), ("y", "7" * 64)]
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
        connection.execute(f"DELETE FROM {table} WHERE a = ?", (OF_NOBODY,))
        connection.commit()
    assert times_held(path, table) == (2, 1)


def times_held(path: Path, table: str) -> tuple[int, int]:
    """How often the files of a database hold the id, and how often its live rows do."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        rows = connection.execute(f"SELECT b FROM {table}").fetchall()
    return path.read_bytes().count(OF_NOBODY.encode()), sum(OF_NOBODY in text for (text,) in rows)


@pytest.mark.parametrize("name", ["sessions.db", "ledger.db", "access.db", "jobs.db", "search.db"])
async def test_no_page_holds_an_id_whose_digits_somebody_elses_row_has_too(tmp_path: Path, name: str) -> None:
    """Nothing was theirs, so no row of theirs says that a database has to be written anew."""
    root = tmp_path / "data"
    await with_all_databases(root)
    async with running(root, settings=SETTINGS) as run:
        gone_row(root / name, "of_a_test")
        report = await erased(run, ErasureSubject.CONTRIBUTOR, OF_NOBODY)
        assert (report.hindered, report.erasure.state) == (None, ErasureState.DONE)
        assert times_held(root / name, "of_a_test") == (1, 1)


async def test_the_index_is_written_anew_once_for_a_request_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be large, and who asks for an id that stands in others' texts must not have it written all the time."""
    root, written = tmp_path / "data", list[str]()
    write_index_anew = StoppedCorpus.write_index_anew

    async def noted(stopped: StoppedCorpus) -> None:
        written.append("search.db")
        await write_index_anew(stopped)

    monkeypatch.setattr(StoppedCorpus, "write_index_anew", noted)
    await with_all_databases(root)
    async with running(root, settings=SETTINGS) as run:
        gone_row(root / "search.db", "of_a_test")
        (root / "server.log").write_text(f"somebody named {OF_NOBODY} was here")
        report = await erased(run, ErasureSubject.CONTRIBUTOR, OF_NOBODY)
        assert report.hindered == "something of it is left in server.log: remove it from there"
        assert await done(run, report.erasure.request) == report
        assert written == ["search.db"]
        (root / "server.log").unlink()
        assert (await done(run, report.erasure.request)).erasure.state is ErasureState.DONE
        assert written == ["search.db"]


async def test_a_damaged_file_of_tokens_keeps_an_erasure_waiting_and_no_server_from_going_on(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as run:
        leave_token(root, "read")
        content = (root / "access.db").read_bytes()
        damaged = content[:16] + b"\xff" * 84 + content[100:] + OF_ANOTHER.encode()
        (root / "access.db").write_bytes(damaged)
        report = await erased(run, ErasureSubject.CONTRIBUTOR, OF_NOBODY)
        assert report.hindered == "something of it is left in access.db: remove it from there"
