"""The quota of refused envelopes: the oldest days go, once the databases know their lines, wherever a crash comes."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from persistence.files.failures import StorageDamage, StorageFailure
from persistence.files.file_system import inline
from persistence.files.memory import MemoryFileSystem
from persistence.files.space import FreeSpace
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.dropping import JournalQuota
from persistence.journals.reading import JournalDamage
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd
from persistence.settings.storage import StorageSettings

FOLDER = Path("/data/refused")
NOON = 1_795_176_000.0  # 2026-11-20T12:00:00Z
DAY_S = 86_400.0
LETTER = (
    b'"envelope_id":"env_%d","session_id":"s","type":"CHUNK","sequence":%d,"session_hmac":"x",'
    b'"refused":{"code":"schema","reason":"why"},"body":"%s"'
)


class Killed(BaseException):
    """The process ends here."""


class Refused:
    """A refused journal on a disk in memory: days of letters of about 1,000 bytes."""

    def __init__(self, *letters_by_day: int, quota_bytes: int = 2**40) -> None:
        self.now = NOON
        self.operations: list[tuple[str, str]] = []
        self.kill_at = -1
        self.fail: dict[str, OSError] = {}
        self.settled_up_to = 10**9
        self.asked_to_settle: list[int] = []
        self.let_go_bytes = 0
        self.quota_bytes = quota_bytes
        self.files = MemoryFileSystem(before=self._before)
        self.files.make_directory(FOLDER)
        self.end = JournalEnd(JournalName.REFUSED, FOLDER, Mark(), files=self.files, clock=lambda: self.now)
        self.places: list[Position] = []
        for letters in letters_by_day:
            self.write(letters)
            self.now += DAY_S
        self.now -= DAY_S

    def _before(self, operation: str, path: Path) -> None:
        self.operations.append((operation, path.name))
        if len(self.operations) == self.kill_at:
            raise Killed
        if operation in self.fail and path.name == "dropped.jsonl":
            raise self.fail[operation]

    def write(self, letters: int) -> int:
        """Write letters; return their bytes."""
        first = len(self.places)
        for n in range(first, first + letters):
            written = self.end.write([(LETTER % (n, n, b"x" * 800), b"")])
            assert written is not None
            self.places += written
        return sum(place.length for place in self.places[first:])

    async def _settled(self, n: int) -> bool:
        self.asked_to_settle.append(n)
        await trio.lowlevel.checkpoint()
        return n <= self.settled_up_to

    def _let_go(self, size_bytes: int) -> None:
        self.let_go_bytes += size_bytes

    def quota(self) -> JournalQuota:
        settings = StorageSettings(free_bytes_min=0)
        return JournalQuota(
            JournalName.REFUSED,
            FOLDER,
            quota_bytes=self.quota_bytes,
            files=self.files,
            offload=inline,
            clock=lambda: self.now,
            disk=FreeSpace(FOLDER, files=self.files, clock=lambda: self.now, settings=settings),
            tail=lambda: self.end.tail,
            settled=self._settled,
            let_go=self._let_go,
        )

    def names(self) -> list[str]:
        return self.files.list_names(FOLDER)

    def recovery(self, start: Mark | None = None) -> Recovery:
        return Recovery(
            JournalName.REFUSED,
            FOLDER,
            start or Mark(),
            files=self.files,
            torn_directory=Path("/data/torn"),
            batch_bytes_max=10**6,
        )

    def recovered(self, start: Mark | None = None) -> list[int]:
        """The numbers of the lines that a start projects."""
        return [each.position.n for batch in self.recovery(start).batches() for each in batch]

    async def scanned(self, start: int | Mark = 1) -> list[int]:
        scan = StoredJournal(JournalName.REFUSED, FOLDER, files=self.files).scan(start)
        return [line.position.n async for lines in scan for line in lines]


@asynccontextmanager
async def dropping(refused: Refused) -> AsyncIterator[JournalQuota]:
    """The quota at work, until nothing is to be done any more."""
    quota = refused.quota()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quota.run)
        yield quota
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_the_oldest_days_go_until_the_rest_fits() -> None:
    """And the figures say what went, also after the next start."""
    refused = Refused(3, 3, 3, quota_bytes=4_000)
    gone = sum(place.length for place in refused.places[:6])
    async with dropping(refused) as quota:
        pass
    assert refused.names() == ["2026-11-22.jsonl", "dropped.jsonl"]
    assert refused.asked_to_settle == [3, 6]
    assert refused.let_go_bytes == gone
    for each in (quota, refused.quota()):
        figures = each.statistics()
        assert (figures.days_dropped, figures.dropped_bytes) == (2, gone)
        assert figures.stored_bytes == sum(place.length for place in refused.places[6:])


async def test_what_fits_stays() -> None:
    refused = Refused(3, 3, 3)
    refused.quota_bytes = sum(place.length for place in refused.places)
    async with dropping(refused):
        pass
    assert len(refused.names()) == 3


async def test_the_newest_day_is_never_dropped() -> None:
    """Whatever it holds: it is where the next line goes."""
    refused = Refused(2, 9, quota_bytes=2_000)
    async with dropping(refused) as quota:
        assert not quota.has_room_for(1)
    assert refused.names() == ["2026-11-21.jsonl", "dropped.jsonl"]


async def test_a_day_goes_when_a_line_passes_the_quota() -> None:
    refused = Refused(3, 1, quota_bytes=4_600)
    async with dropping(refused) as quota:
        await trio.testing.wait_all_tasks_blocked()
        assert len(refused.names()) == 2
        quota.add(refused.write(1))
    assert refused.names() == ["2026-11-21.jsonl", "dropped.jsonl"]


async def test_there_is_room_for_what_the_newest_day_leaves_of_the_quota() -> None:
    """Older days can go; with the next day, all that is there is older."""
    refused = Refused(3, 3)
    newest = sum(place.length for place in refused.places[3:])
    refused.quota_bytes = newest + 1_000
    quota = refused.quota()
    assert quota.has_room_for(1_000)
    assert not quota.has_room_for(1_001)
    refused.now += DAY_S
    assert quota.has_room_for(newest + 1_000)
    refused.now -= 10 * DAY_S
    assert not quota.has_room_for(1_001)


async def test_no_day_goes_before_the_databases_hold_its_lines_for_good(autojump_clock: trio.testing.MockClock) -> None:
    """It is tried again, and nothing else is done meanwhile."""
    refused = Refused(3, 3, quota_bytes=1_000)
    refused.settled_up_to = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused.quota().run)
        await trio.sleep(10)
        assert refused.names() == ["2026-11-20.jsonl", "2026-11-21.jsonl"]
        assert set(refused.asked_to_settle) == {3}
        refused.settled_up_to = 3
        await trio.sleep(2)
        assert refused.names() == ["2026-11-21.jsonl", "dropped.jsonl"]
        nursery.cancel_scope.cancel()


async def test_without_room_to_note_it_no_day_goes(autojump_clock: trio.testing.MockClock) -> None:
    refused = Refused(3, 3, quota_bytes=1_000)
    refused.fail = {"write": OSError(errno.ENOSPC, "No space left on device")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused.quota().run)
        await trio.sleep(5)
        assert "2026-11-20.jsonl" in refused.names()
        assert refused.recovered() == [1, 2, 3, 4, 5, 6]
        refused.fail = {}
        await trio.sleep(2)
        assert "2026-11-20.jsonl" not in refused.names()
        nursery.cancel_scope.cancel()


async def test_a_note_that_may_not_be_on_disk_ends_the_process() -> None:
    refused = Refused(3, 3, quota_bytes=1_000)
    refused.fail = {"sync": OSError(errno.EIO, "Input/output error")}
    with pytest.raises(StorageFailure, match=r"syncing dropped\.jsonl failed"):
        await refused.quota().run()
    assert "2026-11-20.jsonl" in refused.names()


def survives(refused: Refused) -> None:
    """Nothing."""


LOSSES: dict[str, Callable[[Refused], None]] = {
    "killed": survives,
    "without power": lambda refused: refused.files.crash(),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_killed_at_any_operation_the_next_start_goes_on(loss: str) -> None:
    """What is left is whole days from the oldest that was not dropped on; and what is half dropped is dropped."""
    outcomes = set()
    for operation in range(1, 200):
        refused = Refused(2, 2, 2, quota_bytes=2_500)
        refused.kill_at = len(refused.operations) + operation
        try:
            async with dropping(refused):
                pass
        except* Killed:
            pass
        if len(refused.operations) < refused.kill_at:
            break
        refused.kill_at = -1
        LOSSES[loss](refused)
        numbers = refused.recovered()
        assert numbers in ([1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [5, 6])
        days = [name for name in refused.names() if name != "dropped.jsonl"]
        assert days == [f"2026-11-{20 + each}.jsonl" for each in range(3) if 2 * each + 2 >= numbers[0]]
        assert await refused.scanned() == numbers
        async with dropping(refused):
            pass
        assert refused.recovered() == [5, 6]
        assert refused.quota().statistics().days_dropped == 2
        outcomes.add(numbers[0])
    else:
        raise AssertionError("it never got to its end")
    assert outcomes == {1, 3, 5}


async def dropped_once() -> Refused:
    """Three days of three, of which the first is dropped."""
    refused = Refused(3, 3, 3)
    refused.quota_bytes = sum(place.length for place in refused.places[3:])
    async with dropping(refused):
        pass
    assert refused.names() == ["2026-11-21.jsonl", "2026-11-22.jsonl", "dropped.jsonl"]
    return refused


async def test_readers_begin_behind_what_was_dropped() -> None:
    """From the beginning, from a number and from a mark that is gone."""
    refused = await dropped_once()
    assert await refused.scanned() == [4, 5, 6, 7, 8, 9]
    assert await refused.scanned(2) == [4, 5, 6, 7, 8, 9]
    assert await refused.scanned(8) == [8, 9]
    assert await refused.scanned(refused.places[1].end) == [4, 5, 6, 7, 8, 9]
    assert await refused.scanned(refused.places[2].end) == [4, 5, 6, 7, 8, 9]
    assert await refused.scanned(refused.places[4].end) == [6, 7, 8, 9]
    journal = StoredJournal(JournalName.REFUSED, FOLDER, files=refused.files)
    assert journal.foreign_names() == []
    with pytest.raises(JournalDamage, match=r"2026-11-20\.jsonl was dropped, which holds line 2"):
        await journal.read([refused.places[1]])
    assert len(await journal.read([refused.places[3]])) == 1


async def test_a_scan_goes_on_behind_a_day_that_is_dropped_under_it() -> None:
    refused = Refused(3, 3, 3, quota_bytes=1_000)
    scan = StoredJournal(JournalName.REFUSED, FOLDER, files=refused.files).scan()
    first = await anext(scan)
    assert [line.position.n for line in first] == [1, 2, 3]
    async with dropping(refused):
        pass
    assert [line.position.n async for lines in scan for line in lines] == [7, 8, 9]


@pytest.mark.parametrize("seen", [0, 1, 3, 4, 9])
async def test_a_start_goes_on_from_what_the_databases_have_seen_or_from_behind_what_was_dropped(
    seen: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Databases that were lost, or are older than what was dropped, learn only what is left; that is said."""
    refused = await dropped_once()
    start = refused.places[seen - 1].end if seen else Mark()
    recovery = refused.recovery(start)
    numbers = [each.position.n for batch in recovery.batches() for each in batch]
    assert numbers == list(range(max(seen, 3) + 1, 10))
    assert recovery.start.n == max(seen, 3)
    assert recovery.tail == refused.places[-1].end
    assert ("is not known any more" in caplog.text) is (seen < 3)


async def test_a_line_that_is_missing_behind_what_was_dropped_is_damage() -> None:
    refused = await dropped_once()
    refused.files.remove(FOLDER / "2026-11-21.jsonl")
    with pytest.raises(StorageDamage, match="line number 7 where 4 belongs"):
        refused.recovered()
    with pytest.raises(StorageDamage):
        await refused.scanned()


async def test_without_a_word_of_it_a_missing_day_is_damage() -> None:
    refused = Refused(3, 3)
    refused.files.remove(FOLDER / "2026-11-20.jsonl")
    with pytest.raises(StorageDamage):
        refused.recovered()


async def test_a_torn_word_of_it_counts_for_nothing_and_is_written_over() -> None:
    refused = await dropped_once()
    file = refused.files.open(FOLDER / "dropped.jsonl")
    said = file.read_at(0, 10_000)
    file.write_at([said[: len(said) // 2], b"\n", said[: len(said) // 2]], len(said))
    assert await refused.scanned() == [4, 5, 6, 7, 8, 9]
    refused.quota_bytes = 1_000
    async with dropping(refused):
        pass
    assert await refused.scanned() == [7, 8, 9]
    text = refused.files.open(FOLDER / "dropped.jsonl").read_at(0, 10_000)
    assert text.startswith(said)
    assert text.count(b"\n") == 2
