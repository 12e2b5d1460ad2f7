"""The corpus is checked, copied, restored and made again with everything else."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence.databases.database import SchemaRefused
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.files.failures import DataDirectoryLocked, StorageDamage
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from tests.curated import corpus_lines, corpus_rows, curate, curation, leave_sessions, refused, shown
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

AT = "2026-11-20T10:00:00.000000Z"
NAMES = ("sess_a", "sess_b", "sess_c")


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A data directory with a corpus: one record that was taken back and came again, one that is passed over."""
    root = tmp_path / "data"
    await leave_sessions(root, *NAMES)
    await curate(root)
    await curate(root, anew=True, consented=refused(CONTRIBUTOR))
    await curate(root, anew=True, consented=refused(CONTRIBUTOR))
    await curate(root, anew=True)
    return root


def change(root: Path, sql: str) -> None:
    """Change corpus.db behind everybody's back."""
    connection = sqlite3.connect(root / "corpus.db")
    try:
        connection.executescript(sql)
    finally:
        connection.close()


def in_lines(root: Path, before: bytes, after: bytes) -> None:
    """Change the corpus's lines."""
    (day,) = (root / "corpus").glob("*.jsonl")
    text = day.read_bytes()
    assert before in text
    day.write_bytes(text.replace(before, after, 1))


async def test_a_corpus_that_is_well_is_found_so(root: Path) -> None:
    assert await findings(root) == []
    await curate(root, anew=True, consented=refused(CONTRIBUTOR))
    assert await findings(root) == []


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a row that says something else": (
        lambda root: change(root, "UPDATE records SET findings = 7 WHERE session_id = 'sess_b'"),
        "corpus.db: table records: row ('traj_",
    ),
    "a row too few": (
        lambda root: change(root, "DELETE FROM records WHERE session_id = 'sess_b'"),
        "is missing",
    ),
    "a row too many": (
        lambda root: change(
            root,
            "CREATE TEMP TABLE one AS SELECT * FROM records LIMIT 1; UPDATE one SET trajectory_id = 'traj_x', "
            "record_id = 'rec_x', session_id = 'sess_x'; INSERT INTO records SELECT * FROM one",
        ),
        "row ('traj_x',) does not follow from the journals",
    ),
    "a trajectory that is in and out": (
        lambda root: change(
            root,
            "INSERT INTO passed_over SELECT trajectory_id, session_id, contributor_id, 'x', rules, '' FROM records",
        ),
        "has a record, and is passed over",
    ),
    "a position too far": (
        lambda root: change(root, "UPDATE projection_positions SET n = 9 WHERE journal = 'trajectories'"),
        "corpus.db has followed the trajectories up to line 9, and there are 3",
    ),
    "an index that is gone": (
        lambda root: change(root, "DROP INDEX records_by_n"),
        "corpus.db: ",
    ),
    "a line that was changed": (lambda root: in_lines(root, b"[EMAIL]", b"[EMIAL]"), "corpus: a line that fails"),
    "a database that is gone": (lambda root: (root / "corpus.db").unlink(), "corpus.db is missing"),
    "a database that is none": (lambda root: (root / "corpus.db").write_bytes(b"x" * 4096) and None, "corpus.db"),
    "a file that is none of its": (lambda root: (root / "corpus" / "notes.jsonl").touch(), "'notes.jsonl' is none"),
}


@pytest.mark.parametrize("harm", HARMS)
async def test_what_differs_is_said(root: Path, harm: str) -> None:
    done, sentence = HARMS[harm]
    done(root)
    assert any(sentence in finding for finding in await findings(root)), await findings(root)


async def test_a_database_of_another_version_is_not_judged(root: Path) -> None:
    change(root, "INSERT INTO schema_migrations VALUES (9, '')")
    with pytest.raises(SchemaRefused, match=r"corpus\.db has schema version 9"):
        await findings(root)


@pytest.mark.parametrize("behind", [False, True], ids=["current", "with a database that is behind its lines"])
async def test_a_backup_holds_the_corpus_and_is_restored_with_it(root: Path, tmp_path: Path, *, behind: bool) -> None:
    """What its database has not seen yet is projected, as a start would do it."""
    before = shown(root)
    if behind:
        shutil.copy(root / "corpus.db", tmp_path / "old.db")
        (root / "corpus.db").unlink()
        (root / "kept").mkdir()
        for path in (root / "corpus").glob("*.jsonl"):
            path.rename(root / "kept" / path.name)
        async with curation(root):
            pass
        for path in (root / "kept").iterdir():
            path.rename(root / "corpus" / path.name)
        (root / "kept").rmdir()
    manifest = back_up(root, tmp_path / "backup", StorageSettings(), created_at=AT, with_key=False)
    assert manifest.lines("corpus") == len(corpus_lines(root))
    assert manifest.schemas["corpus.db"] == len(CORPUS_SCHEMA.migrations)
    report = await restore(tmp_path / "backup", tmp_path / "again", StorageSettings(), applied_at=AT)
    assert report.findings == []
    assert shown(tmp_path / "again") == before
    if not behind:
        assert (await curate(tmp_path / "again")).records == 0


async def test_a_data_directory_without_a_corpus_has_a_backup_without_one(tmp_path: Path) -> None:
    await leave_sessions(tmp_path / "data", "sess_a")
    manifest = back_up(tmp_path / "data", tmp_path / "backup", StorageSettings(), created_at=AT, with_key=False)
    assert {*manifest.schemas} == {"sessions.db", "ledger.db"}
    assert not (tmp_path / "backup" / "corpus").exists()
    assert (await restore(tmp_path / "backup", tmp_path / "again", StorageSettings(), applied_at=AT)).findings == []
    assert (await rebuild(tmp_path / "again", StorageSettings(), applied_at=AT)).corpus_lines is None


async def test_a_changed_line_is_no_part_of_a_backup(root: Path, tmp_path: Path) -> None:
    in_lines(root, b"[EMAIL]", b"[EMIAL]")
    with pytest.raises(StorageDamage, match="the corpus journal holds a line that fails its checksum"):
        back_up(root, tmp_path / "backup", StorageSettings(), created_at=AT, with_key=False)


async def test_the_database_is_made_again_from_the_lines(root: Path) -> None:
    """Also when it was lost; then curation goes over everything and makes nothing twice."""
    rows = corpus_rows(root, "SELECT * FROM records")
    (root / "corpus.db").unlink()
    report = await rebuild(root, StorageSettings(), applied_at=AT)
    assert str(report).endswith("; corpus.db from the corpus' lines (9)")
    assert corpus_rows(root, "SELECT * FROM records") == rows
    assert await findings(root) == []
    assert (await curate(root)).records == 0
    assert corpus_rows(root, "SELECT * FROM records") == rows


async def test_it_is_not_made_again_while_it_is_written(root: Path) -> None:
    async with curation(root):
        with pytest.raises(DataDirectoryLocked, match="the corpus in"):
            await rebuild(root, StorageSettings(), applied_at=AT)
