"""The audit journal: a line for each change, whoever writes it, whole after a crash, never two at one place."""

import threading
from pathlib import Path

import pytest

from persistence.audit import AuditEntry, AuditJournal, NoRoomForAudit, read_audit
from persistence.files.file_system import inline
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import AuditRecord, JournalName
from persistence.journals.reading import JournalDamage
from persistence.journals.writing import JournalEnd
from persistence.upkeep.access_check import check_audit
from persistence.upkeep.findings import Findings

NOW = 1_795_169_541.0


class World:
    """A data directory, and a clock."""

    def __init__(self, root: Path) -> None:
        self.layout = DataLayout(root)
        self.now = NOW

    def journal(self) -> AuditJournal:
        return AuditJournal(self.layout, clock=lambda: self.now)

    async def entries(self, after_n: int = 0, since: float = 0.0, limit: int = 1000) -> list[AuditEntry]:
        return await read_audit(self.layout, inline, after_n=after_n, since=since, limit=limit)

    @property
    def file(self) -> Path:
        return max(self.layout.journal(JournalName.AUDIT).glob("*.jsonl"))


def record(subject: str) -> AuditRecord:
    return AuditRecord(actor="command", action="banned", subject=subject, address="")


async def test_what_several_write_in_turn_is_numbered_without_a_gap(tmp_path: Path) -> None:
    """A server and commands, each with an end of its own that the others move."""
    world = World(tmp_path)
    server, command = world.journal(), world.journal()
    for number in range(3):
        server.append(record(f"s{number}"))
        command.append(record(f"c{number}"))
    world.now += 86_400
    world.journal().append(record("tomorrow"))
    server.append(record("s3"))
    entries = await world.entries()
    assert [each.n for each in entries] == [*range(1, 9)]
    assert [each.subject for each in entries] == ["s0", "c0", "s1", "c1", "s2", "c2", "tomorrow", "s3"]
    assert [each.subject for each in await world.entries(after_n=6)] == ["tomorrow", "s3"]
    assert [each.n for each in await world.entries(since=NOW + 1, limit=1)] == [7]
    assert entries[0].at == times.to_text(NOW)
    assert world.file.stat().st_mode & 0o777 == 0o600


async def test_what_several_write_at_once_is_all_there(tmp_path: Path) -> None:
    world = World(tmp_path)

    def write(name: str) -> None:
        journal = world.journal()
        for number in range(5):
            journal.append(record(f"{name}{number}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.subject for each in await world.entries()) == sorted(f"{n}{i}" for n in "abc" for i in range(5))


async def test_what_a_crash_has_torn_is_cut_off_and_kept_aside(tmp_path: Path) -> None:
    world = World(tmp_path)
    journal = world.journal()
    journal.append(record("first"))
    with world.file.open("ab") as file:
        file.write(b'{"actor":"comm')
    assert [each.subject for each in await world.entries()] == ["first"]
    journal.append(record("second"))
    assert [each.subject for each in await world.entries()] == ["first", "second"]
    assert len([*(tmp_path / "torn").iterdir()]) == 1


async def test_a_changed_line_is_found(tmp_path: Path) -> None:
    world = World(tmp_path)
    for subject in ("first", "second"):
        world.journal().append(record(subject))
    findings = Findings()
    await check_audit(world.layout, findings)
    assert findings.lines == []
    world.file.write_bytes(world.file.read_bytes().replace(b"first", b"worst"))
    with pytest.raises(JournalDamage):
        await world.entries()
    await check_audit(world.layout, findings)
    assert findings.lines[0].startswith("the audit journal: ")


def test_a_full_disk_takes_no_line_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalEnd, "write", lambda *_: None)
    with pytest.raises(NoRoomForAudit, match="no room on the disk"):
        World(tmp_path).journal().append(record("x"))
