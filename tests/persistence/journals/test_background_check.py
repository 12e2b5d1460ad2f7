"""All stored lines are gone over while the server runs, and a changed one is said with its place."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from persistence.files.failures import StorageFailure
from persistence.format.records import EnvelopeKind, EnvelopeRecord, JournalName, Position
from persistence.journals.background_check import SAID_MAX, BackgroundCheck
from persistence.journals.journal import Journal, Line
from persistence.journals.reading import JournalDamage, JournalReader
from persistence.settings.storage import StorageSettings
from tests.persistence.journals.journal_disk import FOLDER, NOON, Disk

RECORD = EnvelopeRecord(envelope_id="e", session_id="s", kind=EnvelopeKind.SERVER_CLOSE)
DAY_S = 86_400.0


class Stored:
    """A journal with some lines, and a check of it that takes no rest unless a test says so."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.disk = Disk()
        self.journal: Journal = self.disk.journal()
        nursery.start_soon(self.journal.run)
        self.busy = False

    async def fill(self, *batches: int) -> list[Position]:
        """Append group commits of so many lines, a day each; return where they stand."""
        places: list[Position] = []
        for day, count in enumerate(batches):
            self.disk.now = NOON + day * DAY_S
            found = await self.journal.append_many([Line(RECORD, b'"a":1') for _ in range(count)])
            assert isinstance(found, list)
            places += found
        return places

    def change(self, place: Position) -> None:
        """Flip a bit of a line."""
        file = self.disk.files.open(FOLDER / f"{place.day}.jsonl")
        file.write_at([bytes([file.read_at(place.offset + 5, 1)[0] ^ 1])], place.offset + 5)

    def check(self, *more: JournalReader, **settings: float) -> BackgroundCheck:
        return BackgroundCheck(
            [self.journal, *more],
            StorageSettings(**{"check_share": 1.0, **settings}),
            clock=lambda: self.disk.now,
            is_busy=lambda: self.busy,
        )


@asynccontextmanager
async def stored() -> AsyncIterator[Stored]:
    """A journal that is being written."""
    async with trio.open_nursery() as nursery:
        yield Stored(nursery)
        nursery.cancel_scope.cancel()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_what_is_right_is_a_full_pass(caplog: pytest.LogCaptureFixture) -> None:
    """With every line counted, and the time at which it ended."""
    async with stored() as subject:
        places = await subject.fill(3, 2)
        check = subject.check()
        assert check.statistics().last_full_pass_at is None
        await check.check_all()
        found = check.statistics()
        assert (found.full_passes, found.last_full_pass_at) == (1, subject.disk.now)
        assert (found.lines, found.bytes) == (5, sum(place.length for place in places))
        assert found.damaged_places == 0
        assert said(caplog) == []


@pytest.mark.parametrize("which", [[0], [2], [4], [0, 1, 2], [1, 3], [5], [0, 1, 2, 3, 4, 5]])
async def test_each_changed_line_is_named_and_those_behind_it_are_checked(
    which: Sequence[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it stands: first, within a group commit, the last of all. Neighbours are one place."""
    async with stored() as subject:
        places = await subject.fill(3, 2, 1)
        for index in which:
            subject.change(places[index])
        check = subject.check()
        await check.check_all()
        first_of_runs = [index for index in which if index - 1 not in which]
        named = [f"at byte {places[index].offset} of {places[index].day}.jsonl" for index in first_of_runs]
        assert len(said(caplog)) == len(named)
        assert all(name in sentence for name, sentence in zip(named, said(caplog), strict=True))
        assert check.statistics().damaged_places == len(named)
        assert check.statistics().lines == 6 - len(which)
        assert check.statistics().full_passes == 1


async def test_a_day_s_lines_that_are_gone_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """By the line that is missing where the next file begins."""
    async with stored() as subject:
        places = await subject.fill(1, 2, 1)
        subject.disk.files.open(FOLDER / f"{places[1].day}.jsonl").truncate(0)
        check = subject.check()
        await check.check_all()
        [sentence] = said(caplog)
        assert "line number 4 where 2 belongs" in sentence
        assert check.statistics().lines == 2


async def test_what_is_damaged_stays_counted_until_a_pass_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """So that a look during the next pass does not show all as well."""
    async with stored() as subject:
        places = await subject.fill(2)
        subject.change(places[0])
        check = subject.check()
        for _ in range(2):
            await check.check_all()
            assert check.statistics().damaged_places == 1
        subject.change(places[0])  # back
        await check.check_all()
        assert check.statistics().damaged_places == 0


async def test_a_disk_that_cannot_be_read_is_said_and_is_no_full_pass(caplog: pytest.LogCaptureFixture) -> None:
    """The server goes on: what it is asked for may well be readable."""
    async with stored() as subject:
        await subject.fill(2)
        subject.disk.fail["open"] = OSError(5, "Input/output error")
        check = subject.check()
        await check.check_all()
        assert check.statistics().full_passes == 0
        [sentence] = said(caplog)
        assert "Input/output error" in sentence


async def test_it_rests_for_its_share(autojump_clock: MockClock) -> None:
    """A read that took a second is followed by 49 at 2 percent."""
    async with stored() as subject:
        await subject.fill(1, 1, 1)  # a read each, as they are in files of their own
        reads: list[float] = []
        scan = subject.journal.scan

        class Slow:
            name = JournalName.ENVELOPES

            def scan(self, start: object) -> object:
                lines = scan(start)  # type: ignore[arg-type]

                class Taking:
                    def __aiter__(self) -> "Taking":
                        return self

                    async def __anext__(self) -> object:
                        reads.append(trio.current_time())
                        await trio.sleep(1)
                        return await anext(lines)

                return Taking()

        check = BackgroundCheck(
            [Slow()],  # type: ignore[list-item]
            StorageSettings(check_share=0.02),
            clock=lambda: NOON,
            is_busy=lambda: False,
        )
        await check.check_all()
        assert [round(later - earlier, 3) for earlier, later in pairwise(reads)] == [50.0] * 3


async def test_it_waits_while_lines_wait_and_not_for_ever(autojump_clock: MockClock) -> None:
    """A server that is never idle is gone over as well, a read a minute."""
    async with stored() as subject:
        await subject.fill(2)
        subject.busy = True
        check = subject.check()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check.check_all)
            await trio.sleep(59)
            assert check.statistics().lines == 0
            subject.busy = False
            await trio.sleep(0.1)
            assert check.statistics().lines == 2
        subject.busy = True
        began_at = trio.current_time()
        await check.check_all()
        assert 60 <= trio.current_time() - began_at <= 180


async def test_a_share_of_nothing_turns_it_off_until_it_is_set(autojump_clock: MockClock) -> None:
    """Also while it runs."""
    async with stored() as subject:
        await subject.fill(2)
        check = subject.check(check_share=0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check.run)
            await trio.sleep(10_000)
            assert check.statistics().full_passes == 0
            check.reconfigure(StorageSettings(check_share=0.5))
            await trio.sleep(10)
            assert check.statistics().full_passes == 1
            nursery.cancel_scope.cancel()


async def test_passes_begin_at_their_interval(autojump_clock: MockClock) -> None:
    """Small data is not read again and again."""
    async with stored() as subject:
        await subject.fill(2)
        check = subject.check(check_interval_h=2.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check.run)
            await trio.sleep(2 * 3_600 - 1)
            assert check.statistics().full_passes == 1
            await trio.sleep(70)
            assert check.statistics().full_passes == 2
            nursery.cancel_scope.cancel()


async def test_no_more_places_are_named_than_a_log_can_bear(caplog: pytest.LogCaptureFixture) -> None:
    """The rest is counted."""
    async with stored() as subject:
        places = await subject.fill(2 * SAID_MAX + 10)
        for place in places[::2]:
            subject.change(place)
        check = subject.check()
        await check.check_all()
        assert len(said(caplog)) == SAID_MAX + 1
        assert "in 5 more places" in said(caplog)[-1]
        assert check.statistics().damaged_places == SAID_MAX + 5


async def test_lines_that_come_meanwhile_are_no_damage(caplog: pytest.LogCaptureFixture) -> None:
    """A scan goes as far as what is acknowledged."""
    async with stored() as subject:
        await subject.fill(2)
        check = subject.check()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(subject.fill, 3)
                nursery.start_soon(check.check_all)
                await wait_all_tasks_blocked()
        assert said(caplog) == []


def test_damage_elsewhere_has_no_place_to_go_on_from() -> None:
    """Whoever reads single lines needs none."""
    assert JournalDamage(JournalName.ENVELOPES, "x").behind is None
    assert not issubclass(JournalDamage, StorageFailure)
