"""Databases that are gone, or older than the journals: they catch up, and no credit comes twice."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, Closed
from persistence.files.failures import StorageDamage
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from tests.crash.acknowledged import lines_of, rows, tables
from tests.crash.failpoint_list import JOURNALS
from tests.crash.failpoints import Moment
from tests.crash.lives import Known, running_program
from tests.running_service import Clock, running
from tests.stored_state import findings

DATABASES = ("sessions.db", "ledger.db")
DAY_S = 86_400
REBUILT_AT = "2026-11-20T10:00:00.000000Z"


def put_back(root: Path, *names: str) -> None:
    """Replace these databases by their copies from halfway through."""
    for name in names:
        for path in root.glob(f"{name}*"):
            path.unlink()
        for path in (root.parent / "early").glob(f"{name}*"):
            shutil.copy(path, root / path.name)


def journals(root: Path) -> list[list[bytes]]:
    """All lines."""
    return [lines_of(root, name) for name in JOURNALS]


@pytest.mark.parametrize("names", [("sessions.db",), ("ledger.db",), DATABASES])
async def test_an_older_database_catches_up(filled: Path, names: tuple[str, ...]) -> None:
    """Every row comes back from the journals, each credit once; only the keys of sessions opened since are lost."""
    before, lines = tables(filled), journals(filled)
    put_back(filled, *names)
    async with running(filled) as run:
        await run.projected()
        after = tables(filled)
        lost = {"sessions.db sessions"} if "sessions.db" in names else set()
        assert {name: after[name] for name in before if name not in lost} == {
            name: rows_before for name, rows_before in before.items() if name not in lost
        }
        if lost:
            # The session of `sess_empty` was opened and closed since, and the open ones as well.
            query = "SELECT session_id FROM sessions WHERE placeholder = 1 ORDER BY session_id"
            assert rows(filled / "sessions.db", query) == [
                ("sess_empty",),
                ("sess_open_0",),
                ("sess_open_1",),
                ("sess_open_2",),
            ]
            outcome = await run.service.close_session("sess_open_0")
            assert isinstance(outcome, Closed)
            assert outcome.credit is not None
            again = await run.service.close_session("sess_open_0")
            assert isinstance(again, Closed)
            assert again.already_closed
            assert again.credit == outcome.credit
    assert await findings(filled) == []
    if not lost:
        assert journals(filled) == lines
    assert rows(filled / "ledger.db", "SELECT count(*), count(DISTINCT session_id) FROM credits") == [
        (4 + bool(lost), 4 + bool(lost))
    ]


async def test_a_session_whose_keys_are_lost_can_send_nothing_more(tmp_path: Path) -> None:
    """They stand in sessions.db alone: its envelopes are refused, it can be closed, and a new session works."""
    root = tmp_path / "data"
    async with running(root) as run:
        client = await run.open("sess_lost")
        assert isinstance(await run.send(client.chunk()), Accepted)
    for path in root.glob("sessions.db*"):
        path.unlink()
    async with running(root) as run:
        outcome = await run.send(client.chunk())
        assert isinstance(outcome, Refusal)
        assert outcome.code is RefusalCode.UNKNOWN_SESSION
        assert isinstance(await run.service.close_session("sess_lost"), Closed)
        fresh = await run.open("sess_new")
        assert isinstance(await run.send(fresh.chunk()), Accepted)
    assert await findings(root) == []
    assert rows(root / "ledger.db", "SELECT session_id FROM credits") == [("sess_lost",)]


@contextmanager
def killed(folder: Path) -> Iterator[tuple[Path, Known]]:
    """A data directory whose server was killed after much had been projected, and what its clients know."""
    with running_program(folder) as program:
        life = program.life("killed", "serving: commit lines in ledger.db", 3, Moment.AFTER, seed=2, actors_max=3)
        assert program.run(life) < 0
        yield Path(life.root), Known(Path(life.events))


@pytest.mark.parametrize("names", [("sessions.db-wal",), ("ledger.db-wal",), ("sessions.db-wal", "ledger.db-wal")])
async def test_a_lost_write_ahead_log_costs_keys_and_no_line(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A database falls back to its last checkpoint, and follows the journals from there."""
    with killed(tmp_path) as (root, known):
        for name in names:
            (root / name).unlink()
            (root / name.replace("-wal", "-shm")).unlink(missing_ok=True)
        async with running(root) as run:
            await run.projected()
            assert known.acknowledged.differences(root) == []
        assert await findings(root) == []


@pytest.mark.parametrize("cut", ["frame", "header", "tail"])
async def test_a_damaged_write_ahead_log_costs_keys_and_no_line(tmp_path: Path, cut: str) -> None:
    """SQLite takes what is before the damage for the whole log; the journals hold the rest."""
    with killed(tmp_path) as (root, known):
        for name in DATABASES:
            log = root / f"{name}-wal"
            octets = bytearray(log.read_bytes())
            at = {"frame": len(octets) // 2, "header": 9, "tail": len(octets) - 100}[cut]
            octets[at] ^= 0x10
            log.write_bytes(octets)
        async with running(root) as run:
            await run.projected()
            assert known.acknowledged.differences(root) == []
        assert await findings(root) == []


async def test_a_damaged_shared_memory_file_is_made_anew(tmp_path: Path) -> None:
    """What is in it is derived from the write-ahead log: nothing is lost, not even a key."""
    with killed(tmp_path) as (root, known):
        for name in DATABASES:
            index = root / f"{name}-shm"
            octets = bytearray(index.read_bytes())
            for at in range(0, len(octets), 64):
                octets[at] ^= 0x10
            index.write_bytes(octets)
        async with running(root) as run:
            await run.projected()
            assert known.acknowledged.differences(root) == []
            assert rows(root / "sessions.db", "SELECT count(*) FROM sessions WHERE placeholder = 1") == [(0,)]
        assert await findings(root) == []


async def _three_days(root: Path) -> None:
    clock = Clock()
    clock.now -= 2 * DAY_S
    async with running(root, clock=clock) as run:
        client = await run.open("sess_long")
        for _ in range(3):
            assert isinstance(await run.send(client.chunk()), Accepted)
            clock.now += DAY_S


async def test_a_lost_day_is_found_by_verify(tmp_path: Path) -> None:
    """The databases know its lines, so a start does not look: `verify` names what is missing, and where."""
    root = tmp_path / "data"
    await _three_days(root)
    first, middle, _ = sorted((root / "envelopes").iterdir())
    for day in (first, middle):
        octets = day.read_bytes()
        day.unlink()
        found = await findings(root)
        assert any(finding.startswith("envelopes: line number") for finding in found), found
        day.write_bytes(octets)
    assert await findings(root) == []


@pytest.mark.parametrize("day", [0, 1])
async def test_a_lost_day_keeps_a_server_without_databases_from_starting(tmp_path: Path, day: int) -> None:
    """Deriving them anew would forget that day without a word: it is damage, also for a rebuild."""
    root = tmp_path / "data"
    await _three_days(root)
    sorted((root / "envelopes").iterdir())[day].unlink()
    is_damage = pytest.RaisesExc(StorageDamage, match="the envelopes journal is damaged: line number")
    with pytest.RaisesGroup(is_damage, flatten_subgroups=True):
        await rebuild(root, StorageSettings(), applied_at=REBUILT_AT)
    for path in root.glob("*.db*"):
        path.unlink()
    with pytest.RaisesGroup(is_damage, flatten_subgroups=True):
        async with running(root):
            pass
