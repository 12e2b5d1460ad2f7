"""A journal's files, read: also while another process writes them, and without reading what is not asked for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from persistence.files.failures import StorageDamage
from persistence.files.file_system import inline
from persistence.files.memory import MemoryFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Position
from persistence.journals.memory import MemoryJournal
from persistence.journals.reading import Scan
from persistence.journals.scanning import KEPT_OPEN_READS
from persistence.journals.stored import StoredJournal
from tests.persistence.journals.journal_disk import FOLDER, NOON

DAYS = 200
LINES_A_DAY = 3


class Folder:
    """The folder of a journal with a file for each of many days, and what was done to it."""

    def __init__(self, days: int) -> None:
        self.operations: list[tuple[str, str]] = []
        self.files = MemoryFileSystem(before=self._before)
        self.files.make_directory(FOLDER)
        self.journal = StoredJournal(JournalName.ENVELOPES, FOLDER, files=self.files, offload=inline)
        lines = MemoryJournal(JournalName.ENVELOPES)
        for day in range(days):
            positions = lines.commit([b'"x":1'] * LINES_A_DAY, at=NOON + day * 86_400)
            self.put(lines.texts[-LINES_A_DAY:], positions)

    def _before(self, operation: str, path: Path) -> None:
        self.operations.append((operation, path.name))

    def opened(self) -> int:
        """How often a file was opened."""
        return sum(operation == "open" for operation, _ in self.operations)

    def put(self, texts: Sequence[bytes], positions: Sequence[Position]) -> None:
        """Write lines, or what there is of them, at their places."""
        for text, position in zip(texts, positions, strict=True):
            name = f"{position.day}.jsonl"
            if name not in self.files.list_names(FOLDER):
                self.files.create(FOLDER / name)
            self.files.open(FOLDER / name).write_at([text], position.offset)


async def collect(scan: Scan, numbers: list[int]) -> None:
    async for lines in scan:
        numbers += [line.position.n for line in lines]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 298, 299, 300, 301, 598, 600, 601, 5_000])
async def test_a_line_is_found_without_reading_the_journal(n: int) -> None:
    """Some first lines are looked at, and the lines of one day are read and left out."""
    folder = Folder(DAYS)
    folder.operations.clear()
    scan = folder.journal.scan(n)
    lines = await anext(scan, [])
    assert [line.position.n for line in lines] == list(range(n, min(n + 2 - (n - 1) % 3, 600) + 1))
    opened = [name for operation, name in folder.operations if operation == "open"]
    assert len(opened) <= 12


@pytest.mark.parametrize("harm", ["empty", "torn", "changed"])
async def test_a_file_without_a_good_first_line_is_passed_over_when_a_line_is_looked_for(harm: str) -> None:
    """The scan begins earlier then, and says what is wrong where it comes to it."""
    folder = Folder(9)
    for day in ("2026-11-23", "2026-11-24"):
        file = folder.files.open(FOLDER / f"{day}.jsonl")
        text = file.read_at(0, 10**6)
        file.truncate(0)
        file.write_at([{"empty": b"", "torn": text[:40], "changed": b"?" + text[1:]}[harm]], 0)
    for n in (22, 27):
        found: list[int] = []
        await collect(folder.journal.scan(n), found)
        assert found == list(range(n, 28))
    for n in (8, 9, 10, 14):
        found = []
        with pytest.raises(StorageDamage, match=r"at byte 0 of 2026-11-2[35]"):
            await collect(folder.journal.scan(n), found)
        assert found == list(range(n, 10))


async def test_a_line_that_is_being_written_is_waited_for() -> None:
    """Half of it was read, and before anything else was looked at it was whole, and so was the next commit."""
    folder = Folder(1)
    more = MemoryJournal(JournalName.ENVELOPES)
    more.commit([b'"x":1'] * LINES_A_DAY, at=NOON)
    places = more.commit([b'"x":"in two parts"'], at=NOON) + more.commit([b'"x":2'], at=NOON)
    folder.put([more.texts[3][:20]], places[:1])
    scan = folder.journal.scan()
    assert [line.position.n for line in await anext(scan)] == [1, 2, 3]
    assert await anext(scan, []) == []
    assert scan.torn is not None
    assert (scan.torn.offset, scan.torn.what) == (places[0].offset, "an incomplete line")
    reads = 0

    def before(operation: str, path: Path) -> None:
        nonlocal reads
        reads += operation == "read"
        if reads == 3 and operation == "read":  # a block, its end, and then whether there are later lines
            reads += 1
            folder.put(more.texts[3:], places)

    folder.files.before = before
    assert [line.position.n for line in await anext(scan)] == [4, 5]
    assert reads > 3
    assert scan.torn is None


async def test_a_data_directory_without_a_journal_s_folder_has_no_lines(tmp_path: Path) -> None:
    for name in JournalName:
        journal = StoredJournal.of(DataLayout(tmp_path), name)
        assert [lines async for lines in journal.scan()] == []
        assert journal.statistics().stored_bytes == 0
        assert journal.foreign_names() == []
        assert repr(journal) == f"<StoredJournal {name} in {tmp_path / name}>"


async def test_lines_longer_than_a_read_are_whole() -> None:
    """What is at hand at once is a read's lines, or one."""
    folder = Folder(0)
    lines = MemoryJournal(JournalName.ENVELOPES)
    sizes = (3_000_000, 10, 1_048_576, 400_000, 400_000, 400_000, 400_000)
    positions = lines.commit([b'"x":"%s"' % (b"x" * size) for size in sizes], at=NOON)
    folder.put(lines.texts, positions)
    pieces = [[line.position.n for line in piece] async for piece in folder.journal.scan()]
    assert [n for piece in pieces for n in piece] == list(range(1, 8))
    assert max(map(len, pieces)) <= 3


def test_lines_that_are_read_one_by_one_have_their_file_opened_once_in_a_while() -> None:
    """For each day, and anew after so many lines: a file that was made anew is seen."""
    folder = Folder(2)
    lines = MemoryJournal(JournalName.ENVELOPES)
    places = [place for day in range(2) for place in lines.commit([b'"x":1'] * LINES_A_DAY, at=NOON + day * 86_400)]
    folder.operations.clear()
    with folder.journal.kept_open() as read:
        texts = [read(place) for place in (*places, *places[-1:] * (KEPT_OPEN_READS - LINES_A_DAY))]
        assert [text + b"\n" for text in texts[: len(places)]] == lines.texts
        assert folder.opened() == 2
        folder.files.open(FOLDER / f"{places[-1].day}.jsonl").write_at([b"x"], places[-1].offset)
        with pytest.raises(StorageDamage):
            read(places[-1])
        assert folder.opened() == 2 + 1 + 1
