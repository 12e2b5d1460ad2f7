"""A flipped bit in a database, the master key or the lock: said in a sentence, found by `verify`."""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from actors.sessions.outcomes import Closed
from central_command.commands.endings import explanations, leaves
from persistence.files.failures import DataDirectoryLocked, StorageDamage, StorageFailure
from persistence.files.lock import single_instance
from persistence.keys.sealing import MasterKeyError
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import OPENING_COLUMNS, rebuild
from tests.crash.acknowledged import rows, tables
from tests.running_service import running
from tests.stored_state import findings

FLIPS = 60
REBUILT_AT = "2026-11-20T10:00:00.000000Z"


def flipped(octets: bytes, seed: int) -> Iterator[bytes]:
    """Copies with a bit flipped: in each of the first bytes, which say what the file is, and anywhere."""
    random = Random(seed)
    for number in range(FLIPS):
        at = number if number < FLIPS // 4 else random.randrange(len(octets))
        copy = bytearray(octets)
        copy[at] ^= 1 << random.randrange(8)
        yield bytes(copy)


TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"

NOT_IN_JOURNALS = frozenset(
    {*OPENING_COLUMNS.split(", ")} - {"session_id"} | {"key_check.sealed", "applied_at", "trust_score"}
)
"""Columns that are facts of their own: nothing can say that one has changed, but for the keys that seal some."""


def derived(root: Path) -> dict[str, list[tuple[object, ...]]] | None:
    """All that follows from the journals; None when the databases cannot be read."""
    found = {}
    try:
        for name in ("sessions.db", "ledger.db"):
            for (table,) in rows(root / name, TABLES):
                columns = [each for (each,) in rows(root / name, f"SELECT name FROM pragma_table_info('{table}')")]
                kept = [each for each in columns if not {each, f"{table}.{each}"} & NOT_IN_JOURNALS]
                found[table] = sorted(
                    rows(root / name, f"SELECT {', '.join(map(quoted, kept))} FROM {table}"), key=repr
                )
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return found


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return f'"{name}"'


@pytest.mark.parametrize("name", ["sessions.db", "ledger.db"])
async def test_a_flipped_bit_in_a_database_is_found(
    filled: Path, memory_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a row or an index has changed, `verify` says so."""
    monkeypatch.setattr("persistence.upkeep.verification.SETTLING_S", 0.0)
    before = derived(filled)
    octets = (filled / name).read_bytes()
    found = 0
    for copy in flipped(octets, 1):
        root = memory_folder / "flipped"
        shutil.copytree(filled, root)
        (root / name).write_bytes(copy)
        said = await findings(root)
        found += bool(said)
        assert said or derived(root) == before
        shutil.rmtree(root)
    assert found


async def test_verify_finds_an_index_that_differs_from_its_table(filled: Path) -> None:
    """A query may see the one or the other, so that each alone looks right."""
    query = "SELECT envelope_id FROM processed_envelopes ORDER BY n LIMIT 1 OFFSET 5"
    ((envelope_id,),) = rows(filled / "sessions.db", query)
    octets = (filled / "sessions.db").read_bytes()
    places = [match.start() for match in re.finditer(envelope_id.encode(), octets)]
    assert len(places) == 2, "it stands in the table and in the index of its primary key"
    for place in places:
        copy = bytearray(octets)
        copy[place + len(envelope_id) - 1] ^= 1
        (filled / "sessions.db").write_bytes(copy)
        assert any("sessions.db is damaged" in finding for finding in await findings(filled))


async def test_a_session_whose_sealed_key_is_damaged_is_closed_and_credited(filled: Path) -> None:
    """Its key does not open, which is said in the log; what it holds is not lost, and every other session goes on."""
    query = "UPDATE sessions SET shared_secret = substr(shared_secret, 1, 40) || 'AAAA' || substr(shared_secret, 45)"
    connection = sqlite3.connect(filled / "sessions.db")
    with connection:
        connection.execute(f"{query} WHERE session_id = 'sess_open_0'")
    connection.close()
    async with running(filled) as run:
        outcome = await run.service.close_session("sess_open_0")
        assert isinstance(outcome, Closed)
        assert outcome.credit is not None
        assert isinstance(await run.service.close_session("sess_open_1"), Closed)


@pytest.mark.parametrize("name", ["sessions.db", "ledger.db"])
@pytest.mark.parametrize("region", [b"SQLite format 3", b"CREATE TABLE", b"CREATE TRIGGER"])
async def test_a_database_that_cannot_be_read_keeps_the_server_from_starting(
    filled: Path, name: str, region: bytes
) -> None:
    """In one sentence that says which, and what to do."""
    octets = bytearray((filled / name).read_bytes())
    octets[octets.index(region) + 3] ^= 0x80
    (filled / name).write_bytes(octets)
    with pytest.RaisesGroup(StorageFailure, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with running(filled):
            pass
    (failure,) = leaves(caught.value)
    assert str(failure).startswith((f"{name} is not a database; rebuild", f"{name} is damaged; rebuild"))
    (finding,) = await findings(filled)
    assert finding.startswith("a database cannot be read: ")


async def test_a_rebuild_mends_a_damaged_ledger(filled: Path) -> None:
    """Moved away as the sentence says, it is derived anew, and every credit is there once."""
    before = tables(filled)
    octets = bytearray((filled / "ledger.db").read_bytes())
    octets[0] ^= 1
    (filled / "ledger.db").write_bytes(octets)
    with pytest.raises(StorageDamage, match="move it away"):
        await rebuild(filled, StorageSettings(), applied_at=REBUILT_AT)
    (filled / "ledger.db").unlink()
    await rebuild(filled, StorageSettings(), applied_at=REBUILT_AT)
    same = [table for table in before if table != "ledger.db schema_migrations"]
    after = tables(filled)
    assert {table: after[table] for table in same} == {table: before[table] for table in same}
    assert await findings(filled) == []


@pytest.mark.parametrize("at", [0, 5, 20, 43])
async def test_a_flipped_bit_in_the_master_key_keeps_the_server_from_starting(filled: Path, at: int) -> None:
    """It is another key then, or none: nothing is unsealed with it, and it is not shown."""
    path = filled / "keys" / "master.key"
    octets = bytearray(path.read_bytes())
    octets[at] ^= 2
    path.write_bytes(octets)
    with pytest.RaisesGroup(MasterKeyError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with running(filled):
            pass
    assert octets.decode(errors="replace").strip() not in repr(caught.value)


async def test_what_stands_in_the_lock_does_not_matter(filled: Path) -> None:
    """The kernel holds the lock; the file only names its holder, and is as good without."""
    (filled / "lock").write_bytes(bytes(range(256)))
    async with running(filled):
        pass
    assert await findings(filled) == []


async def test_a_lock_without_room_for_a_name_is_held_all_the_same(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not keep a server from starting, and a second one is still refused."""

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_room)
    async with running(filled):
        with pytest.raises(DataDirectoryLocked), single_instance(filled):
            pass


async def test_a_flipped_bit_in_what_was_torn_off_does_not_matter(filled: Path) -> None:
    """Nobody reads it again."""
    file = max((filled / "envelopes").glob("*.jsonl"))
    with file.open("ab") as opened:
        opened.write(b'{"envelope_id":"env_torn')
    async with running(filled):
        pass
    (part,) = (filled / "torn").iterdir()
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    async with running(filled):
        pass
    assert await findings(filled) == []


REGIONS = (
    b'"envelope_id":"env_',
    b'"session_hmac":"',
    b'"content":"',
    b'"received":{"n":',
    b',"at":"',
    b',"batch":',
    b',"crc32":"',
    b"}\n",
)


@pytest.mark.parametrize("line", [0, 7, -1])
@pytest.mark.parametrize("region", REGIONS)
async def test_verify_finds_a_flipped_bit_in_every_region_of_a_line(filled: Path, line: int, region: bytes) -> None:
    """Of the first line, one in the middle and the last, in each member and in the newline."""
    file = max((filled / "envelopes").glob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    at = lines[line].rfind(region)
    if at < 0:
        region, at = b'"type":"', lines[line].rfind(b'"type":"')  # a close has no content, but says what it is
    octets = bytearray(lines[line])
    octets[min(at + len(region), len(octets) - 1)] ^= 1
    lines[line] = bytes(octets)
    file.write_bytes(b"".join(lines))
    found = await findings(filled)
    assert any(finding.startswith("envelopes: ") for finding in found), found


def test_the_sentences_for_damage_are_known_to_the_commands() -> None:
    """These tests count on it: damage and failures have a status of their own."""
    assert [status for status, _ in explanations(StorageDamage("x"))] == [3]
    assert [status for status, _ in explanations(StorageFailure("x"))] == [5]
