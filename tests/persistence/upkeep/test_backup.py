"""Backups: whole or not there, of one moment, and nothing but a whole one is ever restored."""

import errno
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, Closed
from persistence.databases.database import SchemaRefused
from persistence.files.failures import DataDirectoryLocked, StorageDamage
from persistence.files.lock import single_instance
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED, JournalName
from persistence.keys.sealing import MasterKeyError, load_pseudonym_key
from persistence.settings.storage import StorageSettings
from persistence.upkeep import backup as backup_module
from persistence.upkeep.backup import back_up
from persistence.upkeep.manifest import KEY_PATH, MANIFEST_FILE, BackupRefused, Manifest
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import RestoreReport, restore
from tests.curated import leave_sessions
from tests.operations.troubled_files import TroubledFileSystem
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import findings, finished, stored_state

UNPROJECTED = settings_with(storage={"projection_interval_s": 3_600.0}, consent={"mode": "required"})
"""Nothing gets into the databases before somebody waits for it, and nothing is recorded once it has."""

AT = "2026-11-20T10:00:00.000000Z"


def make(root: Path, target: Path, **options: Any) -> Manifest:
    """Back up."""
    return back_up(root, target, StorageSettings(), created_at=AT, **{"with_key": False} | options)


def names(folder: Path, pattern: str = "*") -> set[str]:
    """The names of what matches in a folder."""
    return {str(path.relative_to(folder)) for path in folder.glob(pattern)}


def only(folder: Path, pattern: str) -> Path:
    """The one file that matches."""
    (path,) = folder.glob(pattern)
    return path


async def restored(backup: Path, target: Path) -> RestoreReport:
    """Restore."""
    return await restore(backup, target, StorageSettings(), applied_at=AT)


async def fill(run: Running) -> tuple[SigningClient, bytes]:
    """A closed session, a refused line, and an open session with its last acknowledged chunk."""
    closed = await run.open("sess_closed")
    await run.send(closed.chunk(4))
    await run.send(closed.chunk(2, provider="unheard-of"))
    await run.send(closed.close())
    await finished(run, "sess_closed")
    going_on = await run.open("sess_open")
    chunk = going_on.chunk(3)
    assert isinstance(await run.send(chunk), Accepted)
    return going_on, chunk


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    """A backup of a service that was stopped, without the key."""
    async with running(tmp_path / "data") as run:
        await fill(run)
    make(tmp_path / "data", tmp_path / "backup")
    return tmp_path / "backup"


# What a backup holds


async def test_a_restored_backup_holds_every_row_and_line(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as run:
        await fill(run)
        await run.projected()
        manifest = make(tmp_path / "data", tmp_path / "backup", with_key=True)
        before = await stored_state(run)
    assert [manifest.lines(name) for name in ("envelopes", "refused", "trajectories")] == [3, 1, 1]
    report = await restored(tmp_path / "backup", tmp_path / "again")
    assert report == RestoreReport(manifest, [])
    async with running(tmp_path / "again") as run:
        assert await stored_state(run) == before
    assert await findings(tmp_path / "again") == []


async def test_it_is_said_how_much_of_a_backup_is_restored_and_when_it_is_checked(tmp_path: Path, backup: Path) -> None:
    """All of its bytes, then the check, as a whole."""
    said: list[tuple[str, int, int]] = []
    await restore(
        backup, tmp_path / "again", StorageSettings(), applied_at=AT, progress=lambda *each: said.append(each)
    )
    assert said[-2:] == [("checks", 0, 1), ("checks", 1, 1)]
    (_, done, total), before = said[-3], [done for _, done, _ in said[:-2]]
    assert done == total > 0
    assert before == sorted(before)


async def test_all_of_a_backup_is_on_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees the name after a power failure finds every file, whole; and it is seen once `back_up` returns."""
    async with running(tmp_path / "data") as run:
        await fill(run)
    rename = Path.rename
    written: dict[Path, int] = {}
    synced: list[tuple[Path, int]] = []
    before_its_name: list[tuple[Path, int]] = []

    def noted(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor).st_size))

    def renamed(path: Path, target: Path) -> None:
        for each in (path, *path.rglob("*")):
            written[each] = each.stat().st_size
        before_its_name.extend(synced)
        synced.clear()
        rename(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(Path, "rename", renamed)
    make(tmp_path / "data", tmp_path / "backup", with_key=True)
    assert len(written) > 8
    assert written.items() - set(before_its_name) == set()
    assert [path for path, _ in synced] == [tmp_path]


async def test_with_the_key_an_open_session_goes_on(tmp_path: Path) -> None:
    """What was acknowledged is a duplicate, what comes next is taken, and the close is credited."""
    async with running(tmp_path / "data") as run:
        client, chunk = await fill(run)
        make(tmp_path / "data", tmp_path / "backup", with_key=True)
    assert (await restored(tmp_path / "backup", tmp_path / "again")).findings == []
    async with running(tmp_path / "again") as run:
        again = await run.send(chunk)
        assert isinstance(again, Accepted)
        assert again.duplicate
        assert isinstance(await run.send(client.chunk(1)), Accepted)
        outcome = await run.service.close_session("sess_open")
        assert isinstance(outcome, Closed)
        assert outcome.credit is not None
        assert outcome.credit.total_steps == 4


async def test_without_the_key_the_server_says_which_is_missing_and_makes_none(tmp_path: Path, backup: Path) -> None:
    await restored(backup, tmp_path / "again")
    for _ in range(2):
        with pytest.raises(MasterKeyError, match=r"the master key .* is missing: put back .*master\.key") as raised:
            async with running(tmp_path / "again"):
                pass
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "again" / "keys" / "master.key").exists()
    shutil.copytree(tmp_path / "data" / "keys", tmp_path / "again" / "keys", dirs_exist_ok=True)
    async with running(tmp_path / "again") as run:
        assert isinstance(await run.service.close_session("sess_open"), Closed)


async def test_lines_that_the_databases_have_not_seen_are_projected(tmp_path: Path) -> None:
    """Journals may be ahead of the databases in a backup: what was acknowledged and not yet projected is there."""
    async with running(tmp_path / "data", settings=UNPROJECTED) as run:
        await fill(run)
        make(tmp_path / "data", tmp_path / "backup")
        seen = sqlite3.connect(tmp_path / "backup" / "sessions.db")
        assert seen.execute("SELECT count(*) FROM processed_envelopes").fetchone() == (0,)
        seen.close()
        before = await stored_state(run)
    shutil.rmtree(tmp_path / "data")
    assert (await restored(tmp_path / "backup", tmp_path / "data")).findings == []
    for name in ("sessions.db", "ledger.db"):
        database = sqlite3.connect(tmp_path / "data" / name)
        for key, rows in before.items():
            if key.startswith(name):
                table = key.removeprefix(f"{name} ")
                assert sorted(database.execute(f"SELECT * FROM {table}"), key=repr) == rows
        database.close()


async def test_a_close_without_its_trajectory_is_no_difference_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    """The close was acknowledged, its trajectory was not yet written: a start makes it, as after a crash."""

    def no_room(operation: str, path: Path) -> None:
        if operation == "create" and path.parent.name == JournalName.TRAJECTORIES:
            raise OSError(errno.ENOSPC, "No space left on device")

    async with running(tmp_path / "data", files=TroubledFileSystem(no_room)) as run:
        await fill(run)
        await run.projected()
        manifest = make(tmp_path / "data", tmp_path / "backup", with_key=True)
    assert manifest.lines(JournalName.TRAJECTORIES) == 0
    assert (await restored(tmp_path / "backup", tmp_path / "again")).findings == []
    async with running(tmp_path / "again") as run:
        await run.projected()
        assert run.rows("ledger.db", "SELECT session_id, points FROM credits") == [("sess_closed", 20.0)]
    assert await findings(tmp_path / "again") == []


async def test_lines_that_were_being_written_are_cut_where_they_are_torn(tmp_path: Path) -> None:
    """Half a line, or a batch of which a part is garbage, was never acknowledged: it is no part of a backup."""
    async with running(tmp_path / "data") as run:
        await fill(run)
    journal = only(tmp_path / "data", "envelopes/*")
    whole = journal.read_bytes()
    for number, torn in enumerate((b'{"envelope_id":"env_half', b"garbage\n", b"garbage\nhalf")):
        journal.write_bytes(whole + torn)
        manifest = make(tmp_path / "data", tmp_path / f"backup{number}")
        assert (tmp_path / f"backup{number}" / "envelopes" / journal.name).read_bytes() == whole
        assert manifest.lines("envelopes") == whole.count(b"\n")
        assert (await restored(tmp_path / f"backup{number}", tmp_path / f"again{number}")).findings == []


async def test_a_journal_that_is_damaged_where_the_databases_have_not_been_is_not_backed_up(tmp_path: Path) -> None:
    """A bad line with good ones of a later commit after it was on disk once: silence would lose it for good."""
    async with running(tmp_path / "data", settings=UNPROJECTED) as run:
        client, _ = await fill(run)
        await run.send(client.chunk())
        await run.send(client.chunk())
        journal = only(tmp_path / "data", "envelopes/*")
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines[:-2], lines[-2].replace(b"thought", b"thoughT"), lines[-1]]))
        with pytest.raises(StorageDamage, match=r"fails its checksum at byte \d+ of .* good lines after it"):
            make(tmp_path / "data", tmp_path / "backup")
        journal.write_bytes(b"".join(lines))
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("line", [0, -1])
async def test_a_line_that_was_changed_after_the_databases_saw_it_is_not_backed_up(tmp_path: Path, line: int) -> None:
    """In the middle, or at the end, where it would look torn: an older backup may have it whole."""
    async with running(tmp_path / "data") as run:
        await fill(run)
    journal = only(tmp_path / "data", "envelopes/*")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"thought", b"thoughT")
    journal.write_bytes(b"".join(lines))
    with pytest.raises(
        StorageDamage, match=r"the envelopes journal holds a line that fails its checksum at byte \d+ of"
    ):
        make(tmp_path / "data", tmp_path / "backup")
    assert names(tmp_path) == {"data"}


async def test_what_is_no_file_of_a_journal_is_not_backed_up(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as run:
        await fill(run)
    (tmp_path / "data" / "envelopes" / "2026-11-28-copy.jsonl").write_bytes(b"mine")
    make(tmp_path / "data", tmp_path / "backup")
    assert len(names(tmp_path / "backup", "envelopes/*")) == 1
    assert (await restored(tmp_path / "backup", tmp_path / "again")).findings == []


async def test_nobody_else_can_read_a_backup_or_what_is_restored(tmp_path: Path, backup: Path) -> None:
    """Folders 0700, files 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        make(tmp_path / "data", tmp_path / "open", with_key=True)
        await restored(tmp_path / "open", tmp_path / "again")
    finally:
        os.umask(before)
    for folder in (backup, tmp_path / "open", tmp_path / "again"):
        modes = {stat.S_IMODE(path.stat().st_mode): path.is_dir() for path in (folder, *folder.rglob("*"))}
        assert modes == {0o700: True, 0o600: False}


async def test_the_key_is_in_a_backup_only_when_asked_for(tmp_path: Path, backup: Path) -> None:
    key = (tmp_path / "data" / KEY_PATH).read_bytes()
    manifest = make(tmp_path / "data", tmp_path / "with", with_key=True)
    assert (tmp_path / "with" / KEY_PATH).read_bytes() == key
    assert manifest.with_key
    assert not (backup / "keys").exists()
    assert all(key.strip() not in (backup / name).read_bytes() for name in names(backup, "*.*") | names(backup, "*/*"))


async def test_the_key_of_pseudonyms_is_in_every_backup_and_is_restored(tmp_path: Path) -> None:
    """So that exports of what is restored name everybody as before."""
    await leave_sessions(tmp_path / "data", "sess_a")
    key = load_pseudonym_key(tmp_path / "data" / "keys")
    manifest = make(tmp_path / "data", tmp_path / "copy")
    assert not manifest.with_key
    assert (await restored(tmp_path / "copy", tmp_path / "again")).findings == []
    assert load_pseudonym_key(tmp_path / "again" / "keys") == key


async def test_writers_go_on_while_the_databases_are_copied(tmp_path: Path) -> None:
    """What is committed meanwhile neither waits nor gets into the copy."""
    async with running(tmp_path / "data") as run:
        await fill(run)
        await run.projected()
        writer = sqlite3.connect(tmp_path / "data" / "sessions.db", isolation_level=None, timeout=0)
        inserted: list[int] = []

        def insert(what: str, _done: int, _total: int) -> None:
            if what.startswith("sessions.db"):
                inserted.append(len(inserted))
                writer.execute("INSERT INTO daily (date) VALUES (?)", (f"1999-01-{len(inserted):02}",))

        make(tmp_path / "data", tmp_path / "backup", progress=insert)
        writer.execute("DELETE FROM daily WHERE date < '2000'")
        writer.close()
    assert inserted
    assert (await restored(tmp_path / "backup", tmp_path / "again")).findings == []


async def test_what_comes_while_lengths_are_noted_leaves_no_trajectory_without_its_envelopes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close between two of the three: the envelopes' length is the last, so they are all there."""
    async with running(tmp_path / "data") as run:
        going_on, _ = await fill(run)
        await run.projected()
        shutil.copytree(tmp_path / "data", tmp_path / "live")
        await run.send(going_on.chunk(2))
        await run.send(going_on.close())
        await finished(run, "sess_open")
    noted = backup_module.parts_of
    calls: list[JournalName] = []

    def noting(layout: DataLayout, journal: JournalName) -> Any:
        if JournalName.TRAJECTORIES in calls:
            for name in INGESTED:
                shutil.copytree(tmp_path / "data" / name, tmp_path / "live" / name, dirs_exist_ok=True)
        calls.append(journal)
        return noted(layout, journal)

    monkeypatch.setattr(backup_module, "parts_of", noting)
    manifest = make(tmp_path / "live", tmp_path / "backup")
    assert [manifest.lines(name) for name in ("envelopes", "trajectories")] == [5, 1]
    assert (await restored(tmp_path / "backup", tmp_path / "again")).findings == []


# What cannot be backed up


async def test_a_backup_needs_an_empty_place_of_its_own_and_something_to_copy(tmp_path: Path, backup: Path) -> None:
    """Each sentence says what is in the way; nothing is changed."""
    data, file = tmp_path / "data", tmp_path / "file"
    file.touch()
    before = names(tmp_path, "**/*")
    refused: list[tuple[Path, Path, str]] = [
        (data, backup, "is not empty"),
        (data, file, "is not a folder"),
        (data, tmp_path / "no" / "where", "does not exist"),
        (data, data / "backup", "lies in the data directory"),
        (data, Path("/proc"), "is a mount point"),
        (tmp_path, tmp_path / "new", "is .* a server's data directory"),
    ]
    for root, target, sentence in refused:
        with pytest.raises(BackupRefused, match=sentence):
            make(root, target)
    (data / KEY_PATH).rename(tmp_path / "key")
    with pytest.raises(BackupRefused, match=r"comes from the server's environment"):
        make(data, tmp_path / "new", with_key=True)
    (tmp_path / "key").rename(data / KEY_PATH)
    assert names(tmp_path, "**/*") == before


async def test_an_interrupted_backup_leaves_nothing_and_a_killed_ones_rest_is_cleared(
    tmp_path: Path, backup: Path
) -> None:
    def interrupted(_what: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "data", tmp_path / "new", progress=interrupted)
    assert names(tmp_path) == {"data", "backup"}
    shutil.copytree(backup, tmp_path / "new.partial")
    (tmp_path / "new.partial" / MANIFEST_FILE).unlink()
    (tmp_path / "new").mkdir()
    make(tmp_path / "data", tmp_path / "new")
    assert names(tmp_path) == {"data", "backup", "new"}
    assert (await restored(tmp_path / "new", tmp_path / "again")).findings == []


async def test_two_backups_at_once_to_the_same_place(tmp_path: Path, backup: Path) -> None:
    """The second is refused, and the first completes."""

    def second(_what: str, _done: int, _total: int) -> None:
        with pytest.raises(BackupRefused, match="another process is writing"):
            make(tmp_path / "data", tmp_path / "new")

    make(tmp_path / "data", tmp_path / "new", progress=second)
    assert names(tmp_path / "new", "**/*") == names(backup, "**/*")


# What is not restored


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [_cut, _flip, Path.unlink], ids=["cut", "flipped", "missing"])
@pytest.mark.parametrize("pattern", ["sessions.db", "ledger.db", "envelopes/*", "trajectories/*", "refused/*"])
async def test_a_changed_backup_is_not_restored(
    tmp_path: Path, backup: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    """One byte less, one bit else, or a file less: the sentence names the file, and there is no data directory."""
    path = only(backup, pattern)
    harm(path)
    with pytest.raises(StorageDamage, match=r"is missing|was changed") as raised:
        await restored(backup, tmp_path / "again")
    assert str(path) in str(raised.value)
    assert names(tmp_path) == {"data", "backup"}


async def test_a_link_in_a_backup_is_not_followed(tmp_path: Path, backup: Path) -> None:
    path = only(backup, "envelopes/*")
    _link(path)
    with pytest.raises(OSError, match="symbolic links"):
        await restored(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


async def test_a_folder_without_a_whole_manifest_is_no_backup(tmp_path: Path, backup: Path) -> None:
    """None, half of one, or one of something else."""
    manifest = backup / MANIFEST_FILE
    text = manifest.read_bytes()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        manifest.write_bytes(text[:length])
        with pytest.raises(StorageDamage, match=r"manifest\.json is damaged"):
            await restored(backup, tmp_path / "again")
    manifest.unlink()
    with pytest.raises(BackupRefused, match=r"is not a whole backup: it has no manifest\.json"):
        await restored(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "envelopes/../../outside", "lock", "envelopes/x.jsonl", "keys/other", ""]
)
async def test_a_manifest_cannot_make_restore_write_elsewhere(tmp_path: Path, backup: Path, path: str) -> None:
    (tmp_path / "outside").touch()
    manifest = json.loads((backup / MANIFEST_FILE).read_text())
    manifest["files"].append(manifest["files"][0] | {"path": path})
    (backup / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(StorageDamage, match="does not name the files of a data directory"):
        await restored(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


async def test_a_backup_of_a_newer_version_is_left_to_that_version(tmp_path: Path, backup: Path) -> None:
    manifest = json.loads((backup / MANIFEST_FILE).read_text())
    for changes in ({"version": 2}, {"schemas": manifest["schemas"] | {"ledger.db": 99}}):
        (backup / MANIFEST_FILE).write_text(json.dumps(manifest | changes))
        with pytest.raises(BackupRefused, match="made by a newer version"):
            await restored(backup, tmp_path / "again")


async def test_a_backup_of_a_version_that_never_was_is_damaged(tmp_path: Path, backup: Path) -> None:
    manifest = json.loads((backup / MANIFEST_FILE).read_text())
    for changes in ({"version": 0}, {"version": -1}, {"schemas": {"sessions.db": 0, "ledger.db": 1}}, {"schemas": {}}):
        (backup / MANIFEST_FILE).write_text(json.dumps(manifest | changes))
        with pytest.raises(StorageDamage, match=r"is damaged \(no program gave"):
            await restored(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


async def test_a_newer_database_is_left_to_its_own_version(tmp_path: Path, backup: Path) -> None:
    database = sqlite3.connect(tmp_path / "data" / "sessions.db")
    with database:
        database.execute("INSERT INTO schema_migrations (version, applied_at) VALUES (99, '')")
    database.close()
    shutil.rmtree(backup)
    with pytest.raises(SchemaRefused, match="schema version 99"):
        make(tmp_path / "data", backup)
    assert names(tmp_path) == {"data"}


async def test_nothing_is_restored_over_anything(tmp_path: Path, backup: Path) -> None:
    """A folder with anything in it is refused; one that is served is named so."""
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    with pytest.raises(BackupRefused, match="is not empty"):
        await restored(backup, tmp_path / "data")
    with single_instance(tmp_path / "data"), pytest.raises(DataDirectoryLocked, match="is in use by process"):
        await restored(backup, tmp_path / "data")
    assert {path: path.read_bytes() for path in before if path.name != "lock"} == {
        path: octets for path, octets in before.items() if path.name != "lock"
    }
    (tmp_path / "empty").mkdir()
    assert (await restored(backup, tmp_path / "empty")).findings == []


async def test_what_was_wrong_before_the_backup_is_restored_and_said(tmp_path: Path, backup: Path) -> None:
    """A backup is no repair: a difference that was there is there again, and is found."""
    database = sqlite3.connect(tmp_path / "data" / "ledger.db")
    with database:
        database.execute("UPDATE balances SET total_points = total_points + 1")
    database.close()
    shutil.rmtree(backup)
    make(tmp_path / "data", backup)
    report = await restored(backup, tmp_path / "again")
    assert any("balances are the sums of credits" in finding for finding in report.findings)
    assert (tmp_path / "again" / "sessions.db").exists()


async def test_a_lost_key_costs_the_open_sessions_and_nothing_else(tmp_path: Path, backup: Path) -> None:
    """The documented way without the key: the databases anew from the journals."""
    root = tmp_path / "again"
    await restored(backup, root)
    (root / "sessions.db").rename(tmp_path / "sessions.db")
    await rebuild(root, StorageSettings(), applied_at=AT)
    async with running(root) as run:
        client = SigningClient("sess_open")
        client.secret = b"lost"
        late = await run.send(client.chunk())
        assert isinstance(late, Refusal)
        assert late.code is RefusalCode.UNKNOWN_SESSION
        assert isinstance(await run.service.close_session("sess_open"), Closed)
        await run.projected()
        assert len(run.rows("ledger.db", "SELECT * FROM credits")) == 2
    assert await findings(root) == []
