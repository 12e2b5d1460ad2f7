"""Texts of the intake, and tokens, are verified, backed up, restored and rebuilt with everything else."""

import json
import re
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from central_command.commands.endings import leaves
from persistence.databases.access_tokens import TokenFile
from persistence.files.failures import StorageDamage
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.manifest import BackupRefused
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.verification import verify
from tests.curated import corpus_lines, corpus_rows, curate
from tests.running_service import running
from tests.submitted_texts import leave_texts, leave_token

AT = "2026-11-20T12:00:00.000000Z"


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A data directory with texts, their records, and tokens."""
    await leave_texts(tmp_path / "data", "one", "two", "three")
    await curate(tmp_path / "data")
    leave_token(tmp_path / "data", "intake", name="shop")
    return tmp_path / "data"


async def findings(root: Path) -> list[str]:
    return await verify(root, StorageSettings(), applied_at=AT)


def rows(root: Path, sql: str, database: str = "sessions.db") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(root / database)
    try:
        found = connection.execute(sql).fetchall()
        connection.commit()
    finally:
        connection.close()
    return found


def journal(root: Path) -> Path:
    [path] = (root / "intake").glob("*.jsonl")
    return path


def repeated(root: Path) -> None:
    """The last line once more, as a good line of the next number."""
    path = journal(root)
    last = path.read_bytes().splitlines()[-1]
    head, _, received = last.rpartition(b',"received":')
    at = json.loads(b'{"received":' + received.partition(b',"crc32"')[0] + b"}")["received"]["at"]
    text = b'%s,"received":{"n":4,"at":"%s","batch":4}' % (head, at.encode())
    path.write_bytes(path.read_bytes() + text + b',"crc32":"%08x"}\n' % zlib.crc32(text))


HARMS: dict[str, tuple[Any, str]] = {
    "a row that says something else": (
        lambda root: rows(root, "UPDATE intake_records SET subject = 'x' WHERE n = 2"),
        "sessions.db: table intake_records",
    ),
    "a row too few": (lambda root: rows(root, "DELETE FROM intake_records WHERE n = 2"), "is missing"),
    "a line twice": (repeated, "for a second time; the first is line 3"),
    "a line that was changed": (
        lambda root: journal(root).write_bytes(journal(root).read_bytes().replace(b'"one"', b'"onX"')),
        "with a line that fails its checksum",
    ),
    "a text that is in and out": (
        lambda root: rows(
            root, "INSERT INTO texts_passed_over SELECT record_id, subject, 'x', rules, '' FROM texts", "corpus.db"
        ),
        "corpus.db: text '",
    ),
    "a row of the corpus too many": (
        lambda root: rows(root, "UPDATE texts SET record_id = 'x' WHERE n = (SELECT min(n) FROM texts)", "corpus.db"),
        "corpus.db: table texts",
    ),
    "a position too far": (
        lambda root: rows(root, "UPDATE projection_positions SET n = 9 WHERE journal = 'intake'", "corpus.db"),
        "corpus.db has followed the intake up to line 9, and there are 3",
    ),
    "a token for nothing": (
        lambda root: rows(root, "UPDATE tokens SET scopes = ''", "access.db"),
        "has no scope, or no SHA-256",
    ),
    "tokens of other tables": (
        lambda root: rows(root, "ALTER TABLE tokens ADD COLUMN x", "access.db"),
        "access.db is damaged, or of other tables: restore it",
    ),
    "no tokens but something else": (lambda root: (root / "access.db").write_bytes(b"x" * 4096), "access.db"),
}


async def test_what_is_there_is_well(root: Path) -> None:
    assert await findings(root) == []


@pytest.mark.parametrize("harm", HARMS)
async def test_what_differs_is_said(root: Path, harm: str) -> None:
    done, sentence = HARMS[harm]
    done(root)
    assert any(sentence in finding for finding in await findings(root)), await findings(root)


async def test_a_line_twice_does_not_start(root: Path) -> None:
    repeated(root)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(root):
            pass
    assert any("for a second time" in str(each) for each in leaves(caught.value) if isinstance(each, StorageDamage))


async def test_a_backup_holds_texts_and_tokens_and_is_restored_with_them(root: Path, tmp_path: Path) -> None:
    manifest = back_up(root, tmp_path / "backup", StorageSettings(), created_at=AT, with_key=False)
    assert (manifest.lines("intake"), manifest.schemas["access.db"]) == (3, 2)
    report = await restore(tmp_path / "backup", tmp_path / "again", StorageSettings(), applied_at=AT)
    assert report.findings == []
    assert journal(tmp_path / "again").read_bytes() == journal(root).read_bytes()
    assert rows(tmp_path / "again", "SELECT * FROM intake_records") == rows(root, "SELECT * FROM intake_records")
    assert TokenFile(tmp_path / "again" / "access.db", lambda: 0.0).all()[0].name == "shop"
    assert (tmp_path / "again" / "access.db").stat().st_mode & 0o777 == 0o600
    assert (await curate(tmp_path / "again")).text_records == 0


async def test_tokens_of_a_later_version_are_not_restored(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup", StorageSettings(), created_at=AT, with_key=False)
    path = tmp_path / "backup" / "manifest.json"
    path.write_text(re.sub(r'"access\.db": 2', '"access.db": 9', path.read_text()))
    with pytest.raises(BackupRefused, match=r"access\.db has schema version 9"):
        await restore(tmp_path / "backup", tmp_path / "again", StorageSettings(), applied_at=AT)


async def test_a_rebuild_gives_the_same_rows_and_leaves_the_tokens(root: Path) -> None:
    before = rows(root, "SELECT * FROM intake_records"), corpus_rows(root, "SELECT * FROM texts")
    report = await rebuild(root, StorageSettings(), applied_at=AT)
    assert report.lines["intake"] == 3
    assert (rows(root, "SELECT * FROM intake_records"), corpus_rows(root, "SELECT * FROM texts")) == before
    assert len(TokenFile(root / "access.db", lambda: 0.0).all()) == 1
    await curate(root)
    assert len(corpus_lines(root)) == 3
    assert await findings(root) == []
