"""Digests of the ledger: once a day, chained, the same after an erasure, and different after anything else."""

import hashlib
import json
import struct
from pathlib import Path

import pytest

from actors.erasure.job import Report
from persistence.digests import BEFORE_FIRST, entry_sha256, leaf_of, read_digests
from persistence.files.file_system import inline
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.merkle import MerkleTree
from persistence.format.records import DigestRecord, JournalName, TrajectoryRecord
from persistence.journals.erased_lines import erased_text, expired_text
from persistence.journals.erasure_register import ErasureSubject
from persistence.journals.framing import parse_frame
from persistence.journals.lines import parse_line
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.restoring import restore
from tests.persistence.journals.line_texts import framed
from tests.persistence.journals.test_erasing import NOON, REQUEST, TRAJECTORY
from tests.running_service import Clock, Running, running
from tests.stored_state import findings

DAY_S = 86_400
AT = "2026-11-20T10:00:00.000000Z"


def at_noon() -> Clock:
    clock = Clock()
    clock.now = NOON
    return clock


async def credited(run: Running, name: str, contributor_id: str = "c0ffee" * 5 + "00") -> None:
    """Leave a session that has a credit."""
    client = await run.open(name, contributor_id=contributor_id)
    await run.send(client.chunk(3))
    await run.send(client.close())
    await run.projected()


async def entries(root: Path) -> list[DigestRecord]:
    return await read_digests(DataLayout(root), inline)


async def filled(root: Path, clock: Clock) -> None:
    """Credits of three days, of which one has none, each with its digest, and some of today."""
    async with running(root, clock=clock) as run:
        for day, count in enumerate((3, 0, 2, 1)):
            for number in range(count):
                await credited(run, f"sess_{day}_{number}")
            if day < 3:
                clock.now += DAY_S
        await run.service.ledger_digests.add()


async def test_each_day_that_is_over_and_has_credits_has_one_digest_however_often_it_is_made(tmp_path: Path) -> None:
    clock = at_noon()
    await filled(tmp_path, clock)
    found = await entries(tmp_path)
    assert [(entry.day, entry.first_n, entry.last_n) for entry in found] == [
        ("2026-11-20", 1, 3),
        ("2026-11-22", 4, 5),
    ]
    assert [entry.previous_sha256 for entry in found] == [BEFORE_FIRST, entry_sha256(found[0])]
    async with running(tmp_path, clock=clock) as run:
        assert await run.service.ledger_digests.add() == {"days": 0, "sha256": None}
        clock.now += DAY_S
        added = await run.service.ledger_digests.add()
        assert await run.service.ledger_digests.add() == {"days": 0, "sha256": None}
    again = await entries(tmp_path)
    assert (again[:2], added) == (found, {"days": 1, "sha256": entry_sha256(again[2])})
    assert await findings(tmp_path) == []


async def test_a_root_is_computed_as_the_page_says(tmp_path: Path) -> None:
    await filled(tmp_path, at_noon())
    first = (await entries(tmp_path))[0]
    tree = MerkleTree()
    [path] = (tmp_path / "trajectories").glob("2026-11-20.jsonl")
    for line in path.read_bytes().splitlines():
        members = json.loads(line)
        tree.add(
            members["received"]["n"].to_bytes(8, "big")
            + struct.pack(">d", members["score"]["totalPoints"])
            + hashlib.sha256(line).digest()
        )
    assert tree.root() == first.root
    canonical = json.dumps({**json.loads((tmp_path / "digests" / "2026-11-23.jsonl").read_bytes().splitlines()[0])})
    members = {name: value for name, value in json.loads(canonical).items() if name not in {"received", "crc32"}}
    text = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(text).hexdigest() == entry_sha256(first)


async def test_an_erasure_changes_no_digest_and_verify_agrees(tmp_path: Path) -> None:
    clock = at_noon()
    await filled(tmp_path, clock)
    before = await entries(tmp_path)
    async with running(tmp_path, clock=clock) as run:
        asked = await run.service.ask_erasure(ErasureSubject.CONTRIBUTOR, "c0ffee" * 5 + "00")
        assert isinstance(asked, Report)
        await run.service.eraser.erase_pending()
        clock.now += DAY_S
        await run.service.ledger_digests.add()
    assert (await entries(tmp_path))[:2] == before
    assert await findings(tmp_path) == []


def test_a_line_that_was_past_its_time_and_is_then_erased_is_the_same_leaf() -> None:
    line = framed(TRAJECTORY)[:-1]
    frame, record = parse_frame(line), parse_line(JournalName.TRAJECTORIES, line)
    assert frame is not None
    assert isinstance(record, TrajectoryRecord)
    expired = expired_text(line, frame, record, at=NOON)
    kept = parse_line(JournalName.TRAJECTORIES, expired)
    assert isinstance(kept, TrajectoryRecord)
    erased = erased_text(expired, frame, kept, request=REQUEST, at=NOON)
    leaves = set()
    for text in (line, expired, erased):
        found = parse_line(JournalName.TRAJECTORIES, text)
        assert isinstance(found, TrajectoryRecord)
        leaves.add(leaf_of(text, frame.n, found))
    assert len(leaves) == 1
    assert len({line, expired, erased}) == 3


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    """Change a line of a journal, with its checksum made right."""
    lines = path.read_bytes().splitlines()
    for index, line in enumerate(lines):
        if old in line:
            members, _, tail = line.partition(b',"received":')
            changed = framed_again(members.replace(old, new, 1), tail)
            lines[index] = changed
            break
    path.write_bytes(b"\n".join(lines) + b"\n")


def framed_again(members: bytes, tail: bytes) -> bytes:
    import zlib  # noqa: PLC0415

    head = members + b',"received":' + tail[: -len(b',"crc32":"00000000"}')]
    return head + b',"crc32":"%08x"}' % zlib.crc32(head)


@pytest.mark.parametrize(
    ("journal", "old", "new", "sentence"),
    [
        (
            "trajectories",
            b'"contributor_id":"c0',
            b'"contributor_id":"d0',
            "is not that of lines 1 to 3 of trajectories",
        ),
        ("digests", b'"day":"2026-11-20"', b'"day":"2026-11-19"', "the digest of 2026-11-22 does not follow"),
        ("digests", b'"last_n":3', b'"last_n":2', "the digest of 2026-11-22 does not follow"),
        ("digests", b'"last_n":5', b'"last_n":9', "covers lines of trajectories up to 9, which are not there"),
    ],
)
async def test_whoever_changes_a_credit_or_a_digest_is_found_out(
    tmp_path: Path, journal: str, old: bytes, new: bytes, sentence: str
) -> None:
    await filled(tmp_path, at_noon())
    for path in (tmp_path / journal).glob("*.jsonl"):
        if old in path.read_bytes():
            rewritten(path, old, new)
            break
    found = [finding for finding in await findings(tmp_path) if finding.startswith("digests: ")]
    assert found, "it is said"
    assert any(sentence in finding for finding in found), found


async def test_a_torn_digest_is_made_again_and_the_chain_goes_on(tmp_path: Path) -> None:
    clock = at_noon()
    await filled(tmp_path, clock)
    before = await entries(tmp_path)
    [path] = (tmp_path / "digests").glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 40])
    async with running(tmp_path, clock=clock) as run:
        assert (await run.service.ledger_digests.add())["days"] == 1
    assert await entries(tmp_path) == before


async def test_lines_that_a_clock_brings_into_a_day_that_has_its_digest_are_the_next_day_s(tmp_path: Path) -> None:
    clock = at_noon()
    async with running(tmp_path, clock=clock) as run:
        await credited(run, "sess_1")
        clock.jump(2 * DAY_S)
        await run.service.ledger_digests.add()
        clock.jump(-2 * DAY_S)
        await credited(run, "sess_2")
        clock.now += 2 * DAY_S
        await credited(run, "sess_3")
        clock.now += DAY_S
        await run.service.ledger_digests.add()
    found = [(entry.day, entry.first_n, entry.last_n) for entry in await entries(tmp_path)]
    assert found == [("2026-11-20", 1, 1), ("2026-11-21", 2, 2), ("2026-11-22", 3, 3)]
    assert await findings(tmp_path) == []


async def test_a_backup_takes_them_along_and_what_is_restored_goes_on(tmp_path: Path) -> None:
    clock = at_noon()
    await filled(tmp_path / "data", clock)
    before = await entries(tmp_path / "data")
    settings = StorageSettings(free_bytes_min=0)
    back_up(tmp_path / "data", tmp_path / "backup", settings, created_at=times.to_text(clock.now), with_key=True)
    restored = await restore(tmp_path / "backup", tmp_path / "back", settings, applied_at=AT)
    assert restored.findings == []
    assert await entries(tmp_path / "back") == before
    clock.now += DAY_S
    async with running(tmp_path / "back", clock=clock) as run:
        assert (await run.service.ledger_digests.add())["days"] == 1
    assert await findings(tmp_path / "back") == []
