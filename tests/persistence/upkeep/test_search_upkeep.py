"""The index is checked with the corpus, made anew by a rebuild, in no backup, and nothing erased stays in it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from persistence.journals.erasure_register import ErasureSubject
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.search_check import SETTLING_S
from tests.actors.erasure.test_corpus_erased import WORDS, left_curated
from tests.actors.erasure.test_job import AT, OTHER, SETTINGS, THEIRS, erased, holding
from tests.curated import curate, leave_sessions
from tests.indexed import found, index_async
from tests.running_service import running
from tests.stored_state import findings


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    await leave_sessions(root, "sess_a", "sess_b")
    await curate(root)
    await index_async(root)
    return root


def change(root: Path, sql: str) -> None:
    """Change search.db behind everybody's back."""
    with closing(sqlite3.connect(root / "search.db")) as connection:
        connection.executescript(sql)


async def test_an_index_that_is_well_or_behind_is_found_so(root: Path) -> None:
    assert await findings(root) == []
    await leave_sessions(root, "sess_c")
    await curate(root)
    assert await findings(root) == []


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("DELETE FROM sessions WHERE session_id = 'sess_a'", "lacks session 'sess_a'"),
        ("UPDATE sessions SET session_id = 'sess_x' WHERE session_id = 'sess_a'", "holds session 'sess_x'"),
        ("UPDATE sessions SET rows = 9", "has rows of 4 steps, and its sessions say 18"),
        ("UPDATE projection_positions SET n = 99", "up to line 99, and corpus.db has 2"),
        ("DROP INDEX tools_by_n", "damaged, or of other tables"),
        ("INSERT INTO schema_migrations VALUES (9, '')", "schema version 9"),
    ],
)
async def test_an_index_that_differs_is_found(
    root: Path, sql: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.upkeep.search_check.SETTLING_S", SETTLING_S / 1_000)
    change(root, sql)
    assert any(sentence in finding for finding in await findings(root))


async def test_a_damaged_index_is_found_and_a_rebuild_makes_it_anew(root: Path) -> None:
    (root / "search.db").write_bytes(b"no database " * 1_000)
    assert any("search.db cannot be read" in finding for finding in await findings(root))
    report = await rebuild(root, StorageSettings(), applied_at=AT)
    assert "search.db from 2 of them" in str(report)
    assert await findings(root) == []
    assert {session for session, _ in found(root, "done")} == {"sess_a", "sess_b"}


async def test_a_backup_has_no_index_and_what_was_restored_gets_one(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup", StorageSettings(), created_at=AT, with_key=True)
    assert not (tmp_path / "backup" / "search.db").exists()
    restored = tmp_path / "restored"
    await restore(tmp_path / "backup", restored, StorageSettings(), applied_at=AT)
    await index_async(restored)
    assert {session for session, _ in found(restored, "done")} == {"sess_a", "sess_b"}


@pytest.mark.parametrize("index_is", ["well", "damaged"])
async def test_nothing_of_an_erased_contributor_is_left_in_the_index(tmp_path: Path, index_is: str) -> None:
    root = tmp_path / "data"
    await left_curated(root)
    await curate(root)
    await index_async(root)
    before = found(root, "somebody")
    assert any("theirs" in session for session, _ in found(root, "said"))
    if index_is == "damaged":
        (root / "search.db").write_bytes(b"no database " * 1_000)
    async with running(root, settings=SETTINGS) as run:
        report = await erased(run, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is None
    if index_is == "damaged":
        assert not (root / "search.db").exists()
        await index_async(root)
    assert holding(root, THEIRS, f"{WORDS} 1", f"{WORDS} 2") == []
    raw = b"".join(path.read_bytes() for path in root.glob("search.db*"))
    assert raw
    assert THEIRS.encode() not in raw
    assert b"sess_theirs" not in raw
    assert found(root, "somebody") == before
    assert not any("theirs" in session for session, _ in found(root, "said"))
    assert await findings(root) == []


async def test_who_is_to_be_erased_is_found_no_more_before_it_is_done(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await left_curated(root)
    await curate(root)
    await index_async(root)
    async with running(root, settings=SETTINGS) as run:
        await run.service.eraser.ask(ErasureSubject.CONTRIBUTOR, OTHER)
        assert not any("other" in session for session, _ in found(root, "somebody"))
