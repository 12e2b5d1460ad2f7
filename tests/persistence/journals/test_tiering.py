"""Days made cold, compressed or archived, are read, erased from and recovered as before, wherever a process ends."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from persistence.files.failures import StorageFailure, UnreadableFile
from persistence.files.file_system import inline
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.erased_lines import is_erased
from persistence.journals.erasing import erasing
from persistence.journals.reading import JournalDamage, JournalOutOfReach
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.tiering import make_cold as made_cold
from tests.persistence.journals.journal_disk import FOLDER, NOON, Disk
from tests.persistence.journals.test_erasing import REQUEST, Killed, filled

ARCHIVE = Path("/archive")
NEVER = "2999-12-31"
FIRST, SECOND = "2026-11-20", "2026-11-21"


def files_of(disk: Disk) -> DayFiles:
    return DayFiles(disk.files, FOLDER)


def names(disk: Disk) -> list[str]:
    return disk.files.list_names(FOLDER)


def contents(disk: Disk) -> dict[str, bytes]:
    """What a reader finds in each day's file, whatever form it has."""
    files = files_of(disk)
    found = {}
    for day in files.days():
        with files.reading(day) as file:
            found[day] = file.read_at(0, 10**9)
    return found


async def with_journal(disk: Disk, tail: Position, do: Callable[..., object]) -> object:
    """Run something with the journal open."""
    found: object = None
    async with trio.open_nursery() as nursery:
        journal = disk.journal(tail.end)
        nursery.start_soon(journal.run)
        try:
            found = await do(journal)  # type: ignore[misc]
        finally:
            journal.close()
    return found


async def make_cold(disk: Disk, tail: Position, archive: Path | None) -> int:
    async def do(journal: object) -> int:
        freed = 0
        for day in await journal.days_to_make_cold(NEVER, archive):  # type: ignore[attr-defined]
            freed += await journal.make_cold(day, archive)  # type: ignore[attr-defined]
        return freed

    return await with_journal(disk, tail, do)  # type: ignore[return-value]


async def erase(disk: Disk, tail: Position, places: Sequence[Position]) -> bool:
    async def do(journal: object) -> bool:
        return await journal.erase(places, erasing(JournalName.ENVELOPES, REQUEST, NOON))  # type: ignore[attr-defined,no-any-return]

    return await with_journal(disk, tail, do)  # type: ignore[return-value]


def with_archive(disk: Disk) -> Disk:
    disk.files.make_directory(ARCHIVE)
    return disk


def recover(disk: Disk) -> list[Position]:
    recovery = Recovery(
        JournalName.ENVELOPES, FOLDER, Mark(), files=disk.files, torn_directory=Path("/torn"), batch_bytes_max=1
    )
    return [item.position for batch in recovery.batches() for item in batch]


BOTH = pytest.mark.parametrize("archive", [None, ARCHIVE], ids=["compressed", "archived"])


@BOTH
async def test_cold_days_are_read_as_before_at_every_place_and_the_newest_stays(archive: Path | None) -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [30, 20, 5])
    before = contents(disk)
    lines = b"".join(before.values()).splitlines()
    freed = await make_cold(disk, places[-1], archive)
    ending = ".zst" if archive is None else ".archived"
    assert names(disk) == [f"{FIRST}.jsonl{ending}", f"{SECOND}.jsonl{ending}", "2026-11-22.jsonl"]
    assert contents(disk) == before
    reader = StoredJournal(JournalName.ENVELOPES, FOLDER, files=disk.files)
    assert await reader.read(places) == lines
    assert [reader.read_now(place) for place in places] == lines
    assert reader.part_now(places[7], 3, 12) == lines[7][3:12]
    with reader.kept_open() as read:
        assert [read(place) for place in places] == lines
    for n in (1, 29, 31, 50, 55):
        scanned = [line async for piece in reader.scan(n) for line in piece]
        assert [line.position for line in scanned] == places[n - 1 :]
        assert [line.text for line in scanned] == lines[n - 1 :]
    kept = sum(disk.files.open(FOLDER / name).size() for name in names(disk) if not name.endswith(".archived"))
    assert reader.statistics().stored_bytes == kept
    assert freed == sum(map(len, before.values())) - kept
    assert reader.foreign_names() == []
    assert recover(disk) == places
    assert await make_cold(disk, places[-1], archive) == 0, "there is nothing left to do"


async def test_what_is_compressed_is_moved_once_there_is_an_archive() -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [6, 6, 1])
    before = contents(disk)
    await make_cold(disk, places[-1], None)
    await make_cold(disk, places[-1], ARCHIVE)
    assert names(disk)[:2] == [f"{FIRST}.jsonl.archived", f"{SECOND}.jsonl.archived"]
    assert disk.files.list_names(ARCHIVE / "envelopes") == [f"{FIRST}.jsonl.zst", f"{SECOND}.jsonl.zst"]
    assert contents(disk) == before


@BOTH
@pytest.mark.parametrize("loses_power", [False, True])
def test_a_process_that_ends_anywhere_leaves_one_whole_form_and_the_next_run_ends_the_same(
    archive: Path | None,
    loses_power: bool,  # noqa: FBT001
) -> None:
    async def body(kill_at: int) -> bool:
        disk = with_archive(Disk())
        places = await filled(disk, [4, 3, 2])
        before, done = contents(disk), list[str]()

        def count(operation: str, _path: Path) -> None:
            done.append(operation)
            if len(done) >= kill_at:
                raise Killed

        disk.files.before = count
        try:
            await make_cold(disk, places[-1], archive)
        except* Killed:
            pass
        ended = len(done) >= kill_at
        disk.files.before = lambda _operation, _path: None
        if loses_power:
            disk.files.crash()
        assert contents(disk) == before
        assert recover(disk) == places
        assert contents(disk) == before
        assert not [name for name in names(disk) if name.endswith((".anew", ".partial"))]
        assert len(names(disk)) == 3, "what a crash has left of a day is gone"
        assert StoredJournal(JournalName.ENVELOPES, FOLDER, files=disk.files).foreign_names() == []
        await make_cold(disk, places[-1], archive)
        assert contents(disk) == before
        assert len([name for name in names(disk) if name.endswith(".jsonl")]) == 1
        if archive is not None:
            assert disk.files.list_names(ARCHIVE / "envelopes") == [f"{FIRST}.jsonl.zst", f"{SECOND}.jsonl.zst"]
        return ended

    kill_at = 1
    while trio.run(body, kill_at):
        kill_at += 1
    assert kill_at > 30


@BOTH
@pytest.mark.parametrize("operation", ["write", "create", "sync", "rename"])
async def test_a_full_disk_leaves_a_day_as_it_is_and_no_draft(archive: Path | None, operation: str) -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [4, 3])
    before, there = contents(disk), names(disk)
    disk.fail[operation] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BaseExceptionGroup) as raised:
        await make_cold(disk, places[-1], archive)
    assert raised.group_contains(OSError)
    disk.fail.clear()
    assert contents(disk) == before
    assert recover(disk) == places
    assert names(disk) == there
    assert await make_cold(disk, places[-1], archive)


async def test_what_does_not_read_as_it_was_written_never_takes_the_place_of_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Disk()
    places = await filled(disk, [4, 3])
    before, write_at = contents(disk), type(disk.files.open(FOLDER / f"{FIRST}.jsonl")).write_at

    def flipping(file: object, buffers: Sequence[bytes], offset: int) -> None:
        flipped = [bytes(each[:-1]) + bytes([each[-1] ^ 1]) for each in buffers]
        write_at(file, flipped if offset == 0 else buffers, offset)  # type: ignore[arg-type]

    monkeypatch.setattr("persistence.files.memory.MemoryFile.write_at", flipping)
    with pytest.raises(BaseExceptionGroup) as raised:
        await make_cold(disk, places[-1], None)
    assert raised.group_contains(UnreadableFile)
    monkeypatch.undo()
    assert contents(disk) == before
    assert names(disk) == [f"{FIRST}.jsonl", f"{SECOND}.jsonl"]


async def test_while_an_archive_is_out_of_reach_its_days_cannot_be_read_and_nothing_is_lost() -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [3, 3, 3])
    before = contents(disk)
    await make_cold(disk, places[-1], ARCHIVE)
    mounted = {path: disk.files._names.pop(path) for path in (ARCHIVE, ARCHIVE / "envelopes")}
    reader = StoredJournal(JournalName.ENVELOPES, FOLDER, files=disk.files)
    with pytest.raises(JournalOutOfReach, match=r"/archive/envelopes/2026-11-20\.jsonl\.zst cannot be reached"):
        await reader.read(places[:1])
    with pytest.raises(JournalOutOfReach):
        [line async for line in reader.scan(1)]
    assert len(await reader.read(places[6:])) == 3, "the newest day is here"
    assert not await erase(disk, places[-1], places[:1]), "what cannot be erased is not said to be"
    disk.now = NOON + 4 * 86_400
    assert await erase(disk, places[-1], places[7:8])
    disk.files._names |= mounted
    after = contents(disk)
    assert {day: after[day] for day in (FIRST, SECOND)} == {day: before[day] for day in (FIRST, SECOND)}
    assert await erase(disk, places[-1], places[:1])


async def test_no_day_goes_to_an_archive_that_is_out_of_reach_or_has_another_s() -> None:
    disk = Disk()
    places = await filled(disk, [3, 3])
    before = contents(disk)
    with pytest.raises(BaseExceptionGroup) as raised:
        await make_cold(disk, places[-1], ARCHIVE)
    assert raised.group_contains(UnreadableFile, match="the archive /archive is not there")
    assert contents(disk) == before
    other = with_archive(Disk())
    others = await filled(other, [2, 1])
    await make_cold(other, others[-1], ARCHIVE)
    disk.files._names |= {path: other.files._names[path] for path in (ARCHIVE, ARCHIVE / "envelopes")}
    with pytest.raises(BaseExceptionGroup) as raised:
        await make_cold(disk, places[-1], ARCHIVE)
    assert raised.group_contains(UnreadableFile, match="is there already, and is not this data directory's")
    assert contents(disk) == before
    assert names(disk) == [f"{FIRST}.jsonl", f"{SECOND}.jsonl"]


async def test_a_data_directory_that_was_restored_takes_its_own_archive_on() -> None:
    disk, older = with_archive(Disk()), Disk()
    places = await filled(disk, [3, 3])
    await filled(older, [3, 3])
    await make_cold(disk, places[-1], ARCHIVE)
    older.files._names |= {path: disk.files._names[path] for path in (ARCHIVE, ARCHIVE / "envelopes")}
    before = contents(older)
    await make_cold(older, places[-1], ARCHIVE)
    assert names(older) == [f"{FIRST}.jsonl.archived", f"{SECOND}.jsonl"]
    assert contents(older) == before


async def test_a_compressed_day_that_was_changed_is_damage_that_ends_nothing() -> None:
    disk = Disk()
    places = await filled(disk, [3, 3])
    await make_cold(disk, places[-1], None)
    file = disk.files.open(FOLDER / f"{FIRST}.jsonl.zst")
    file.write_at([bytes([file.read_at(30, 1)[0] ^ 1])], 30)
    reader = StoredJournal(JournalName.ENVELOPES, FOLDER, files=disk.files)
    with pytest.raises(JournalDamage, match=r"2026-11-20\.jsonl\.zst has a frame 1 that was changed: restore"):
        await reader.read(places[:1])
    assert len(await reader.read(places[3:])) == 3


@BOTH
async def test_lines_of_cold_days_are_erased_as_others_and_stay_cold(archive: Path | None) -> None:
    plain, cold = Disk(), with_archive(Disk())
    gone = [0, 2, 5, 7, 8]
    for disk in (plain, cold):
        places = await filled(disk, [6, 3])
        if disk is cold:
            await make_cold(disk, places[-1], archive)
        assert await erase(disk, places[-1], [places[n] for n in gone])
    assert contents(cold) == contents(plain)
    lines = b"".join(contents(cold).values()).splitlines()
    assert [n for n, line in enumerate(lines) if is_erased(line)] == gone
    assert not [name for name in names(cold) if name == f"{FIRST}.jsonl"]
    assert recover(cold) == places


@BOTH
@pytest.mark.parametrize("loses_power", [False, True])
def test_an_erasure_that_ends_anywhere_leaves_the_old_day_or_the_new_one(
    archive: Path | None,
    loses_power: bool,  # noqa: FBT001
) -> None:
    async def body(kill_at: int) -> bool:
        disk = with_archive(Disk())
        places = await filled(disk, [5, 2])
        await make_cold(disk, places[-1], archive)
        done: list[str] = []

        def count(operation: str, _path: Path) -> None:
            done.append(operation)
            if len(done) >= kill_at:
                raise Killed

        disk.files.before = count
        try:
            await erase(disk, places[-1], places[1:3])
        except* Killed:
            pass
        ended = len(done) >= kill_at
        disk.files.before = lambda _operation, _path: None
        if loses_power:
            disk.files.crash()
        assert recover(disk) == places
        erased = [n for n, line in enumerate(b"".join(contents(disk).values()).splitlines()) if is_erased(line)]
        assert erased in ([], [1, 2])
        assert await erase(disk, places[-1], places[1:3])
        lines = b"".join(contents(disk).values()).splitlines()
        assert [n for n, line in enumerate(lines) if is_erased(line)] == [1, 2]
        return ended

    kill_at = 1
    while trio.run(body, kill_at):
        kill_at += 1
    assert kill_at > 10


async def test_what_a_crash_has_left_beside_a_day_is_not_left_when_it_is_erased() -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [3, 2])
    plain = disk.text()
    await make_cold(disk, places[-1], ARCHIVE)
    disk.files.create(FOLDER / f"{FIRST}.jsonl").write_at([plain], 0)  # its removal was not synced
    assert await erase(disk, places[-1], places[:1])
    assert disk.files.list_names(ARCHIVE / "envelopes") == []
    assert names(disk) == [f"{FIRST}.jsonl", f"{SECOND}.jsonl"]


async def test_a_start_does_not_wait_for_an_archive_that_has_leftovers_and_is_out_of_reach() -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [3, 2])
    plain = disk.text()
    await make_cold(disk, places[-1], ARCHIVE)
    disk.files.create(FOLDER / f"{FIRST}.jsonl").write_at([plain], 0)
    mounted = {path: disk.files._names.pop(path) for path in (ARCHIVE, ARCHIVE / "envelopes")}
    assert recover(disk) == places
    assert f"{FIRST}.jsonl.archived" in names(disk), "it is known what is to be removed there"
    assert not await erase(disk, places[-1], places[:1]), "what is left there may hold it"
    disk.files._names |= mounted
    assert recover(disk) == places
    assert (names(disk), disk.files.list_names(ARCHIVE / "envelopes")) == ([f"{FIRST}.jsonl", f"{SECOND}.jsonl"], [])


async def test_a_cold_day_that_ends_within_a_line_is_damage_and_never_cut() -> None:
    disk = Disk()
    await filled(disk, [3])
    plain = disk.text()
    disk.files.open(FOLDER / f"{FIRST}.jsonl").truncate(len(plain) - 9)
    files = files_of(disk)
    disk.files.create(FOLDER / f"{SECOND}.jsonl")

    await made_cold(files, FIRST, None, inline)
    with pytest.raises(JournalDamage, match="an incomplete line"):
        recover(disk)
    assert names(disk) == [f"{FIRST}.jsonl.zst", f"{SECOND}.jsonl"]


async def test_a_failed_sync_of_an_archive_s_folder_after_an_erasure_ends_the_process() -> None:
    disk = with_archive(Disk())
    places = await filled(disk, [3, 2])
    await make_cold(disk, places[-1], None)
    disk.fail["sync_directory"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(BaseExceptionGroup) as raised:
        await erase(disk, places[-1], places[:1])
    assert raised.group_contains(StorageFailure)
