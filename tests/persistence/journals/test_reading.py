"""Whatever reads a journal gives the same lines: the one that is written, one of a data directory, one in memory."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import pytest
import trio

from persistence.files.failures import StorageDamage, StorageFailure
from persistence.files.file_system import inline
from persistence.format.records import EnvelopeKind, EnvelopeRecord, JournalName, Mark, Position
from persistence.journals.journal import Journal, Line
from persistence.journals.memory import MemoryJournal
from persistence.journals.reading import JournalReader, Scan, StoredLine
from persistence.journals.stored import StoredJournal
from tests.persistence.journals.journal_disk import FOLDER, NOON, Disk

DAY_S = 86_400.0
DAYS = (0, 0, 1, 1, 1, 4, 5, 6, 6)
"""When each group commit came, in days after the first; each has one line more than the one before."""


class Subject(Protocol):
    """A journal that a test fills, harms and reads."""

    @property
    def reader(self) -> JournalReader: ...

    async def commit(self, members: Sequence[bytes], at: float) -> list[Position]: ...

    def change(self, place: Position) -> None:
        """Flip a bit within a line."""

    def add(self, octets: bytes) -> None:
        """Put bytes behind the last line."""


class OnDisk:
    """A journal that is written, read by itself or by another process."""

    def __init__(self, nursery: trio.Nursery, *, by_itself: bool) -> None:
        self.disk = Disk()
        self._journal: Journal = self.disk.journal()
        nursery.start_soon(self._journal.run)
        stored = StoredJournal(JournalName.ENVELOPES, FOLDER, files=self.disk.files, offload=inline)
        self.reader: JournalReader = self._journal if by_itself else stored

    async def commit(self, members: Sequence[bytes], at: float) -> list[Position]:
        self.disk.now = at
        record = EnvelopeRecord(envelope_id="e", session_id="s", kind=EnvelopeKind.SERVER_CLOSE)
        positions = await self._journal.append_many([Line(record, each) for each in members])
        assert isinstance(positions, list)
        return positions

    def change(self, place: Position) -> None:
        file = self.disk.files.open(FOLDER / f"{place.day}.jsonl")
        at = place.offset + 5
        file.write_at([bytes([file.read_at(at, 1)[0] ^ 1])], at)

    def add(self, octets: bytes) -> None:
        file = self.disk.files.open(FOLDER / self.disk.files.list_names(FOLDER)[-1])
        file.write_at([octets], file.size())


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        self.reader = MemoryJournal(JournalName.ENVELOPES)

    async def commit(self, members: Sequence[bytes], at: float) -> list[Position]:
        return self.reader.commit(members, at=at)

    def change(self, place: Position) -> None:
        text = self.reader.texts[place.n - 1]
        self.reader.texts[place.n - 1] = text[:5] + bytes([text[5] ^ 1]) + text[6:]

    def add(self, octets: bytes) -> None:
        self.reader.texts.append(octets)


@pytest.fixture(params=["written", "stored", "memory"])
async def subject(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Subject:
    if request.param == "memory":
        return InMemory()
    return OnDisk(nursery, by_itself=request.param == "written")


@pytest.fixture
async def places(subject: Subject) -> list[Position]:
    """A journal of several days, and the places of its lines."""
    return await fill(subject)


async def fill(subject: Subject) -> list[Position]:
    positions: list[Position] = []
    for commit, day in enumerate(DAYS):
        members = [b'"x":%d' % (len(positions) + number) for number in range(1, commit + 2)]
        positions += await subject.commit(members, NOON + day * DAY_S)
    return positions


async def collect(scan: Scan, lines: list[StoredLine]) -> None:
    async for piece in scan:
        lines += piece


async def lines_of(reader: JournalReader, start: int | Mark = 1) -> list[StoredLine]:
    lines: list[StoredLine] = []
    await collect(reader.scan(start), lines)
    return lines


async def test_a_scan_gives_every_line_in_order_with_its_place_and_its_commit(
    subject: Subject, places: list[Position]
) -> None:
    assert subject.reader.name is JournalName.ENVELOPES
    lines = await lines_of(subject.reader)
    assert [line.position for line in lines] == places
    assert [len(line.text) + 1 for line in lines] == [place.length for place in places]
    assert [line.text.split(b",")[0] for line in lines] == [b'{"x":%d' % place.n for place in places]
    batches = [sum(range(commit + 1)) + 1 for commit in range(len(DAYS)) for _ in range(commit + 1)]
    assert [line.batch for line in lines] == batches
    assert lines[3].where == f"line 4 at byte {places[3].offset} of 2026-11-21.jsonl"


async def test_a_line_and_a_part_of_it_are_read_in_the_thread_that_asks(
    subject: Subject, places: list[Position]
) -> None:
    """The line is checked, the part of it is not."""
    place = places[7]
    (text,) = await subject.reader.read([place])
    assert subject.reader.read_now(place) == text
    assert subject.reader.part_now(place, 1, 6) == text[1:6] == b'"x":8'
    subject.change(place)
    with pytest.raises(StorageDamage):
        subject.reader.read_now(place)
    assert subject.reader.part_now(place, 1, 4) == text[1:4]


async def test_lines_longer_than_a_read_are_scanned(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, before, between and behind short ones; the last of them torn."""
    monkeypatch.setattr("persistence.journals.scanning.READ_BYTES", 200)
    members = [b'"x":"%s"' % (b"y" * length) for length in (1, 500, 1, 900, 901, 1, 1, 400)]
    await subject.commit(members, NOON)
    assert [line.text.split(b",", 1)[0] for line in await lines_of(subject.reader)] == [b"{" + each for each in members]
    subject.add(b"{" + b"z" * 700)
    assert len(await lines_of(subject.reader)) == len(members)


async def test_a_scan_begins_at_any_number_and_behind_any_line(subject: Subject, places: list[Position]) -> None:
    """A mark is kept by one scan and taken by another."""
    scan = subject.reader.scan(Mark())
    for n in range(1, len(places) + 2):
        assert [line.position for line in await lines_of(subject.reader, n)] == places[n - 1 :]
    for place in places:
        assert [line.position for line in await lines_of(subject.reader, place.end)] == places[place.n :]
    async for lines in scan:
        assert scan.mark == lines[-1].position.end
        break
    assert scan.mark is not None
    assert [line.position for line in await lines_of(subject.reader, scan.mark)] == places[scan.mark.n :]


async def test_a_scan_goes_on_with_what_has_come_since(subject: Subject) -> None:
    """From nothing, to the end, and again; one that waits for a later number too."""
    scan, later = subject.reader.scan(), subject.reader.scan(3)
    found: list[list[int]] = []
    for day in (0, 0, 1):
        found += [[line.position.n async for lines in scan for line in lines]]
        found += [[line.position.n async for lines in later for line in lines]]
        await subject.commit([b'"x":1', b'"x":2'], NOON + day * DAY_S)
    assert found == [[], [], [1, 2], [], [3, 4], [3, 4]]
    assert [line.position.n async for lines in scan for line in lines] == [5, 6]
    assert scan.torn is None


async def test_lines_are_read_by_their_places(subject: Subject, places: list[Position]) -> None:
    """In the order asked for, from any of the days, without the newline."""
    assert await subject.reader.read([]) == []
    texts = await subject.reader.read([places[40], places[0], places[7]])
    assert [text.split(b",")[0] for text in texts] == [b'{"x":41', b'{"x":1', b'{"x":8']
    assert not any(text.endswith(b"\n") for text in texts)
    assert subject.reader.statistics().stored_bytes == sum(place.length for place in places)


async def test_a_changed_line_is_never_handed_out(subject: Subject, places: list[Position]) -> None:
    """A scan gives what stands before it and says that the journal is damaged; other lines can be read."""
    changed = places[20]
    subject.change(changed)
    before: list[StoredLine] = []
    with pytest.raises(StorageDamage, match="the envelopes journal is damaged"):
        await collect(subject.reader.scan(), before)
    assert [line.position for line in before] == places[:20]
    with pytest.raises(StorageDamage, match="the envelopes journal is damaged"):
        await subject.reader.read([places[0], changed])
    assert len(await subject.reader.read([places[19], places[21]])) == 2
    assert [line.position for line in await lines_of(subject.reader, changed.end)] == places[21:]


@pytest.mark.parametrize(
    "wrong",
    [{"n": 8}, {"offset": 1}, {"length": 9}, {"length": 10**6}, {"offset": 10**6}, {"day": "2026-11-19"}],
    ids=str,
)
async def test_what_is_not_at_its_place_is_damage(
    subject: Subject, places: list[Position], wrong: dict[str, object]
) -> None:
    with pytest.raises(StorageDamage, match="the envelopes journal is damaged"):
        await subject.reader.read([msgspec.structs.replace(places[8], **wrong)])


@pytest.mark.parametrize("octets", [b'{"x":46,"recei', b"garbage\n", b"\n"])
async def test_what_was_never_acknowledged_is_not_handed_out(
    subject: Subject, places: list[Position], octets: bytes
) -> None:
    """A scan ends before it. Whoever writes knows how far the journal reaches; others say what they ended before."""
    subject.add(octets)
    scan = subject.reader.scan()
    assert [line.position async for lines in scan for line in lines] == places
    assert scan.mark == places[-1].end
    if isinstance(subject.reader, Journal):
        assert scan.torn is None
    else:
        assert scan.torn is not None
        assert scan.torn.expected_n == len(places) + 1


async def test_what_was_acknowledged_and_is_gone_is_damage_to_whoever_wrote_it(nursery: trio.Nursery) -> None:
    """To another process it was never there: only what the databases have seen shows it."""
    subject = OnDisk(nursery, by_itself=True)
    places = await fill(subject)
    subject.disk.files.open(FOLDER / f"{places[-1].day}.jsonl").truncate(places[-2].offset)
    with pytest.raises(StorageDamage, match="it ends after line 43, and 45 were stored"):
        await lines_of(subject.reader)
    subject.change(places[-3])
    with pytest.raises(
        StorageDamage, match=f"a line that fails its checksum at byte {places[-3].offset} of 2026-11-26"
    ):
        await lines_of(subject.reader)


async def test_a_disk_that_fails_is_said(nursery: trio.Nursery) -> None:
    subject = OnDisk(nursery, by_itself=False)
    places = await fill(subject)
    subject.disk.fail["read"] = OSError(5, "Input/output error")
    for call in (lambda: lines_of(subject.reader), lambda: subject.reader.read(places)):
        with pytest.raises(StorageFailure, match="reading the envelopes journal failed: Input/output error"):
            await call()
