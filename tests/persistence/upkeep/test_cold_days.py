"""Upkeep of a data directory with cold days: checked, backed up, restored and rebuilt as one without."""

import json
import shutil
from pathlib import Path

import pytest
import trio

from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.day_files import DayFiles
from persistence.journals.parts import archived_files
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.remains import remains
from persistence.upkeep.restoring import restore
from tests.running_service import running, settings_with
from tests.stored_state import findings

AT = "2026-11-20T12:00:00.000000Z"
SETTINGS = StorageSettings(free_bytes_min=0)


async def make_cold(root: Path, archive: Path | None) -> list[str]:
    """Have the server's job make all days cold that can be; return what it said."""
    said: list[str] = []
    tiers = {"compress_after_days": 1, "archive_dir": None if archive is None else str(archive)}
    async with running(root, settings=settings_with(tiers=tiers)) as run:
        run.clock.now += 30 * 86_400
        done = await run.service.tiers.make_cold(said.append)
        assert done["days"] == len(said)
        counted = run.service._storage.statistics()
        assert sum(each.stored_bytes for each in counted.journals.values()) == taken_bytes(root)
    return said


def taken_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*/*.jsonl*") if path.suffix != ".archived")


def compressed_file(root: Path, name: JournalName) -> Path:
    """The first cold day of a journal, here or in its archive."""
    places = [path for _, path in archived_files(DataLayout(root))] or [*root.glob("*/*.zst")]
    return next(path for path in places if path.parent.name == name)


@pytest.fixture(params=["compressed", "archived"])
def cold(request: pytest.FixtureRequest, stored: Path, tmp_path: Path) -> Path:
    archive = None
    if request.param == "archived":
        archive = tmp_path / "archive"
        archive.mkdir()
    said = trio.run(make_cold, stored, archive)
    assert any(" of envelopes is cold: " in line for line in said)
    assert any(" of trajectories is cold: " in line for line in said)
    return stored


async def test_verify_finds_nothing_and_a_changed_frame(cold: Path) -> None:
    assert await findings(cold) == []
    place = compressed_file(cold, JournalName.ENVELOPES)
    octets = bytearray(place.read_bytes())
    octets[20] ^= 1
    place.write_bytes(octets)
    [found] = [finding for finding in await findings(cold) if "envelopes" in finding and "frame" in finding]
    assert "has a frame 1 that was changed" in found


async def test_a_backup_holds_all_of_it_and_restores_it(cold: Path, tmp_path: Path) -> None:
    manifest = back_up(cold, tmp_path / "backup", SETTINGS, created_at=AT, with_key=True)
    packed = [file.path for file in manifest.files if file.path.endswith(".zst")]
    assert packed
    assert manifest.compressed_lines.keys() == {*packed}
    with_lines = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert with_lines["compressed_lines"] == manifest.compressed_lines
    lines = _lines(cold, JournalName.ENVELOPES)
    assert manifest.lines("envelopes") == len(lines)
    shutil.rmtree(tmp_path / "archive", ignore_errors=True)
    restored = await restore(tmp_path / "backup", tmp_path / "back", SETTINGS, applied_at=AT)
    assert restored.findings == []
    assert not list((tmp_path / "back").glob("*/*.archived"))
    assert await findings(tmp_path / "back") == []
    assert _lines(tmp_path / "back", JournalName.ENVELOPES) == lines


async def test_a_rebuild_reads_it(cold: Path) -> None:
    async with running(cold) as run:
        before = run.rows("sessions.db", "SELECT * FROM processed_envelopes ORDER BY n")
    await rebuild(cold, SETTINGS, applied_at=AT)
    async with running(cold) as run:
        assert run.rows("sessions.db", "SELECT * FROM processed_envelopes ORDER BY n") == before
    assert await findings(cold) == []


def test_a_search_for_remains_unpacks_it(cold: Path) -> None:
    layout = DataLayout(cold)
    found = remains(layout, {'"session_id":"sess_told"': "c"}, {}, leave=()).held
    assert any(path.startswith("envelopes/") and path.endswith(".zst") for path in found["c"])


def _lines(root: Path, name: JournalName) -> list[bytes]:
    files = DayFiles(OsFileSystem(), root / name)
    found: list[bytes] = []
    for day in files.days():
        with files.reading(day) as file:
            found += file.read_at(0, file.size()).splitlines()
    return found
