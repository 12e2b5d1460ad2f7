"""Verifying and rebuilding a data directory that a real service wrote."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.sessions.outcomes import Accepted
from persistence.databases.database import SchemaRefused
from persistence.files.failures import DataDirectoryLocked, StorageDamage
from persistence.files.lock import single_instance
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import Stored, verify
from tests.persistence.upkeep.one_of_everything import fill
from tests.running_service import running, settings_with
from tests.stored_state import findings

Dump = dict[str, list[tuple[Any, ...]]]


def dump(root: Path) -> Dump:
    """Every row of both databases, in the order of the keys."""
    rows: Dump = {}
    for name in ("sessions.db", "ledger.db"):
        connection = sqlite3.connect(root / name)
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            rows[f"{name} {table}"] = sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
        connection.close()
    return rows


async def rebuilt(root: Path) -> str:
    """Derive the databases anew; what the report says."""
    return str(await rebuild(root, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z"))


def change(root: Path, database: str, sql: str) -> None:
    connection = sqlite3.connect(root / database)
    with connection:
        connection.execute(sql)
    connection.close()


async def test_what_a_service_wrote_is_well(stored: Path) -> None:
    """Also while nothing is running, and twice: verifying changes nothing."""
    before = dump(stored)
    assert await findings(stored) == []
    assert await findings(stored) == []
    assert dump(stored) == before


async def test_it_is_well_while_it_is_served(tmp_path: Path) -> None:
    """A snapshot of a running server is checked up to where its databases are."""
    root = tmp_path / "data"
    async with running(root, settings=settings_with(sessions={"sequence_gaps": "accept"})) as service:
        await fill(service)
        assert await findings(root) == []
        await service.projected()
        assert await findings(root) == []


async def test_a_close_that_is_under_way_is_awaited_as_long_as_the_server_takes_to_project_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 5 s between projections, the trajectory comes into the databases long after the close."""
    settings = settings_with(storage={"projection_interval_s": 5.0})
    root = tmp_path / "data"
    async with running(root, settings=settings) as service:
        trajectories = service.service._storage.trajectories
        append = trajectories.append

        async def late(*arguments: Any, **options: Any) -> Any:
            await trio.sleep(6)
            return await append(*arguments, **options)

        monkeypatch.setattr(trajectories, "append", late)
        client = await service.open()
        await service.send(client.chunk(1))
        await service.send(client.close())
        await trio.sleep(5.5)
        assert service.rows("sessions.db", "SELECT status, trajectory_id FROM sessions") == [("closed", None)]
        assert await verify(root, settings.storage, applied_at="2026-11-20T10:00:00.000000Z") == []
        assert service.rows("sessions.db", "SELECT trajectory_id NOTNULL FROM sessions") == [(1,)]


async def test_no_secret_leaves_the_data_directory(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made to compare with is private, and holds nothing that is sealed."""
    seen: list[bytes] = []

    def see() -> None:
        (folder,) = stored.parent.glob("central-command-verify-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        seen.extend(path.read_bytes() for path in folder.iterdir())

    async def look(_self: object, _stored: Stored, _findings: object) -> None:
        see()

    monkeypatch.setattr(tempfile, "tempdir", str(stored.parent))
    closer_look = type("Look", (), {"look": look})()
    assert await verify(stored, StorageSettings(), applied_at="", closer_look=closer_look) == []
    assert any(b"sess_open" in each for each in seen)
    assert not any(b"v1." in each for each in seen)


@pytest.mark.parametrize(
    ("database", "sql", "sentence"),
    [
        (
            "sessions.db",
            "UPDATE sessions SET expected_sequence = 9 WHERE session_id = 'sess_open'",
            "expected_sequence",
        ),
        ("sessions.db", "UPDATE processed_envelopes SET length = length + 1 WHERE n = 1", "length is"),
        ("sessions.db", "DELETE FROM processed_envelopes WHERE n = 1", "is missing"),
        ("sessions.db", "UPDATE totals SET steps = steps + 1", "steps"),
        ("sessions.db", "UPDATE daily SET envelopes = envelopes + 1", "it does not hold that days"),
        ("sessions.db", "UPDATE models SET points = points + 1", "table models"),
        ("sessions.db", "DELETE FROM refused_envelopes", "table refused_envelopes"),
        ("sessions.db", "DELETE FROM feedback WHERE late = 1", "table feedback"),
        ("sessions.db", "UPDATE sessions SET trajectory_id = NULL WHERE session_id = 'sess_told'", "has a trajectory"),
        ("sessions.db", "INSERT INTO daily (date) VALUES ('2020-01-01')", "does not follow from the journals"),
        ("sessions.db", "UPDATE projection_positions SET n = 99 WHERE journal = 'refused'", "has seen line 99"),
        ("ledger.db", "DELETE FROM credits WHERE session_id = 'sess_http'", "each trajectory its credit"),
        ("ledger.db", "UPDATE balances SET total_points = total_points + 0.5", "balances are the sums"),
    ],
)
async def test_a_changed_row_is_found(stored: Path, database: str, sql: str, sentence: str) -> None:
    """Whichever table it is in, the finding names it."""
    change(stored, database, sql)
    found = await findings(stored)
    assert any(sentence in finding for finding in found), found


async def test_a_changed_line_is_found(stored: Path) -> None:
    """One flipped bit in a journal is named with its file and byte."""
    path = next((stored / "envelopes").glob("*.jsonl"))
    text = bytearray(path.read_bytes())
    text[200] ^= 1
    path.write_bytes(text)
    found = await findings(stored)
    assert any(f"a line that fails its checksum at byte 0 of {path.name}" in finding for finding in found), found


async def test_what_is_no_file_of_a_journal_is_said_and_nothing_is_made_of_it(stored: Path) -> None:
    """It is neither read nor changed."""
    for name in ("2026-11-28-copy.jsonl", "notes.jsonl"):
        (stored / "envelopes" / name).write_bytes(b"mine")
    assert await findings(stored) == [
        f"envelopes: {name!r} in its folder is not the journal's and is left alone: move it away"
        for name in ("2026-11-28-copy.jsonl", "notes.jsonl")
    ]
    assert "(envelopes 9, " in await rebuilt(stored)
    assert (stored / "envelopes" / "notes.jsonl").read_bytes() == b"mine"


async def test_missing_databases_are_found(stored: Path) -> None:
    """The finding says what to do."""
    (stored / "ledger.db").unlink()
    assert await findings(stored) == ["ledger.db is missing: start the server or run `central-command rebuild`"]
    (stored / "sessions.db").write_bytes(b"no database" * 100)
    (stored / "ledger.db").write_bytes(b"no database" * 100)
    assert "cannot be read" in (await findings(stored))[0]


async def test_a_rebuild_gives_the_same_rows(stored: Path) -> None:
    """Byte for byte in every column, and a second one again; trust set by hand stays."""
    change(stored, "ledger.db", "UPDATE balances SET trust_score = 2.5 WHERE total_points = 3")
    before = dump(stored)
    report = await rebuilt(stored)
    assert (
        report == "rebuilt both databases from the journals' lines (envelopes 9, refused 1, trajectories 2, consent 2, "
        "intake 0) and the openings of sessions (4)"
    )
    assert dump(stored) == before
    await rebuilt(stored)
    assert dump(stored) == before
    assert not (stored / "rebuild").exists()


UNDO_VERSION_5 = """
DROP TRIGGER sessions_kept;
DROP TRIGGER sessions_forgotten;
CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions BEGIN SELECT 1; END;
CREATE TRIGGER sessions_kept BEFORE DELETE ON sessions BEGIN SELECT 1; END;
DROP TABLE intake_records;
DROP INDEX processed_envelopes_by_letter;
ALTER TABLE processed_envelopes DROP COLUMN letter;
DROP INDEX refused_envelopes_by_n;
DROP INDEX refused_envelopes_by_code;
DROP INDEX refused_envelopes_by_day;
DELETE FROM schema_migrations WHERE version >= 5;
"""
UNDO_VERSION_4 = f"""
{UNDO_VERSION_5}
DROP TABLE consents;
DROP TABLE consent_events;
DROP TABLE contributor_keys;
DROP INDEX sessions_by_subject;
ALTER TABLE sessions DROP COLUMN subject;
DROP INDEX first_chunks_by_subject;
ALTER TABLE first_chunks DROP COLUMN subject;
DELETE FROM schema_migrations WHERE version = 4;
"""
UNDO_VERSION_3 = """
DROP TRIGGER refused_without_body;
DROP TRIGGER sessions_opened_unused;
DROP TRIGGER sessions_used;
DROP TRIGGER sessions_forgotten;
DROP TRIGGER sessions_kept;
DROP INDEX sessions_unused;
ALTER TABLE refused_envelopes DROP COLUMN with_body;
ALTER TABLE totals DROP COLUMN refused_without_body;
ALTER TABLE totals DROP COLUMN sessions_unused;
ALTER TABLE trajectories DROP COLUMN copied_steps;
ALTER TABLE trajectories DROP COLUMN copied_from;
DELETE FROM schema_migrations WHERE version >= 3;
"""


async def started_alike(stored: Path, before: dict[str, Any], *, migrated: str = "sessions.db") -> None:
    """A start brings older databases up to date, to the rows that were there before, but for when that was done."""
    async with running(stored, settings=settings_with(sessions={"sequence_gaps": "accept"})):
        pass
    after = dump(stored)
    assert {name: after[name] for name in after if name != f"{migrated} schema_migrations"} == {
        name: before[name] for name in before if name != f"{migrated} schema_migrations"
    }
    assert await findings(stored) == []


async def test_databases_of_version_3_know_whose_each_session_is_after_a_start(stored: Path) -> None:
    """Everything that follows from envelopes and trajectories is projected anew; what was refused stays as it is."""
    before = dump(stored)
    assert before["sessions.db consents"]
    for statement in UNDO_VERSION_4.strip().splitlines():
        change(stored, "sessions.db", statement)
    await started_alike(stored, before)
    assert await findings(stored) == []


async def test_databases_of_version_2_count_what_version_3_counts_after_a_start(stored: Path) -> None:
    before = dump(stored)
    for statement in (UNDO_VERSION_4 + UNDO_VERSION_3).strip().splitlines():
        change(stored, "sessions.db", statement)
    with pytest.raises(SchemaRefused, match=r"sessions\.db has schema version 2, .* start the server once"):
        await findings(stored)
    await started_alike(stored, before)


async def test_databases_of_the_version_before_have_the_same_rows_after_a_start(stored: Path) -> None:
    """They counted a session for the first of its chunks to come; the start that migrates projects all lines anew."""
    before = dump(stored)
    for statement in (UNDO_VERSION_4 + UNDO_VERSION_3).strip().splitlines():
        change(stored, "sessions.db", statement)
    change(stored, "sessions.db", "DROP TABLE first_chunks")
    change(stored, "sessions.db", "DELETE FROM schema_migrations WHERE version >= 2")
    change(stored, "sessions.db", "UPDATE models SET sessions = 7")
    with pytest.raises(SchemaRefused, match=r"sessions\.db has schema version 1, .* start the server once"):
        await findings(stored)
    await started_alike(stored, before)


async def test_fingerprints_of_the_version_before_are_made_anew_at_a_start(stored: Path) -> None:
    """They were computed in another way: nothing of them is left."""
    before = dump(stored)
    assert before["ledger.db gathered_fingerprints"]
    change(stored, "ledger.db", "ALTER TABLE fingerprints ADD COLUMN step INTEGER")
    change(
        stored,
        "ledger.db",
        "INSERT INTO fingerprints SELECT value + 1, n, 1 FROM gathered_fingerprints, json_each(fingerprints)",
    )
    change(stored, "ledger.db", "UPDATE gathered_fingerprints SET total = total + 1")
    change(stored, "ledger.db", "DELETE FROM schema_migrations WHERE version >= 3")
    with pytest.raises(SchemaRefused, match=r"ledger\.db has schema version 2, .* start the server once"):
        await findings(stored)
    await started_alike(stored, before, migrated="ledger.db")


async def test_a_ledger_without_fingerprints_has_the_same_rows_after_a_start(stored: Path) -> None:
    """It had no fingerprints; trust that was set by hand stays, and credits keep their numbers."""
    change(stored, "ledger.db", "UPDATE balances SET trust_score = 2.5 WHERE total_points = 3")
    before = dump(stored)
    assert before["ledger.db gathered_fingerprints"]
    for sql in (
        "DROP TABLE gathered_fingerprints",
        "DROP TABLE fingerprints",
        "DROP TABLE fingerprinted",
        "DELETE FROM schema_migrations WHERE version >= 2",
    ):
        change(stored, "ledger.db", sql)
    with pytest.raises(SchemaRefused, match=r"ledger\.db has schema version 1, .* start the server once"):
        await findings(stored)
    async with running(stored, settings=settings_with(sessions={"sequence_gaps": "accept"})):
        pass
    after = dump(stored)
    assert {name: after[name] for name in after if name != "ledger.db schema_migrations"} == {
        name: before[name] for name in before if name != "ledger.db schema_migrations"
    }
    assert await findings(stored) == []


async def test_a_rebuild_mends_what_is_projected(stored: Path) -> None:
    """Whatever happened to rows that follow from the journals, they are as before."""
    before = dump(stored)
    for sql in ("DELETE FROM processed_envelopes", "DELETE FROM daily", "UPDATE totals SET points = 0"):
        change(stored, "sessions.db", sql)
    change(stored, "ledger.db", "DELETE FROM balances")
    await rebuilt(stored)
    assert dump(stored) == before
    assert await findings(stored) == []


async def test_lost_databases_come_back_without_keys(stored: Path) -> None:
    """Everything but the openings follows from the journals; the sessions' lines and credits are all there."""
    before = dump(stored)
    for name in ("sessions.db", "ledger.db"):
        (stored / name).unlink()
    await rebuilt(stored)
    after = dump(stored)
    for table in ("sessions.db processed_envelopes", "sessions.db daily", "ledger.db credits", "ledger.db balances"):
        assert after[table] == before[table]
    assert await findings(stored) == []


async def test_openings_that_only_the_write_ahead_log_has_survive_a_rebuild(tmp_path: Path) -> None:
    """A crash leaves them there, and the old log must not outlive the old database."""
    root, copy = tmp_path / "data", tmp_path / "crashed"
    async with running(root) as service:
        client = await service.open("sess_1")
        await service.send(client.chunk(1))
        await service.projected()
        copy.mkdir()
        for path in root.rglob("*"):
            target = copy / path.relative_to(root)
            target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
            target.chmod(path.stat().st_mode)
        assert (copy / "sessions.db-wal").stat().st_size > 0
    await rebuilt(copy)
    assert await findings(copy) == []
    async with running(copy) as service:
        assert isinstance(await service.send(client.chunk(1)), Accepted)


async def test_a_served_directory_is_not_rebuilt(stored: Path) -> None:
    """The lock is the server's."""
    with single_instance(stored), pytest.raises(DataDirectoryLocked, match="in use by process"):
        await rebuilt(stored)


async def test_a_damaged_journal_is_not_rebuilt_from(stored: Path) -> None:
    """The old databases stay when the new ones cannot be made."""
    before = dump(stored)
    path = next((stored / "envelopes").glob("*.jsonl"))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.RaisesGroup(StorageDamage, allow_unwrapped=True, flatten_subgroups=True):
        await rebuilt(stored)
    assert dump(stored) == before
