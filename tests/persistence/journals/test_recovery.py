"""Recovery: what was acknowledged is found, what a crash tore is set aside, what is damaged stops the start."""

import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence.files.failures import StorageDamage
from persistence.files.memory import MemoryFileSystem
from persistence.format import times
from persistence.format.records import Committed, JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.reading import BadLine
from persistence.journals.recovery import Recovery
from persistence.journals.scanning import find, find_last_commits, find_near_end, good_line_of_a_later_batch
from persistence.journals.stored import StoredJournal

FOLDER, TORN = Path("/data/envelopes"), Path("/data/torn")


def line(n: int, batch: int | None = None, filler: int = 0) -> bytes:
    """A whole line of the envelopes journal."""
    body = b'{"envelope_id":"env_%d","session_id":"s","type":"SERVER_CLOSE","closed_by":"abandoned","x":"%s"' % (
        n,
        b"x" * filler,
    )
    body += b',"received":{"n":%d,"at":"2026-11-20T12:00:00.000000Z","batch":%d}' % (n, n if batch is None else batch)
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


class Folder:
    """The folder of a journal on a disk in memory."""

    def __init__(self, **days: bytes) -> None:
        self.files = MemoryFileSystem()
        self.files.make_directory(FOLDER)
        for day, text in days.items():
            self.put(day.removeprefix("d").replace("_", "-"), text)
        self.files.sync_directory(FOLDER)

    def put(self, day: str, text: bytes) -> None:
        name = f"{day}.jsonl"
        known = name in self.files.list_names(FOLDER)
        file = self.files.open(FOLDER / name) if known else self.files.create(FOLDER / name)
        file.truncate(0)
        file.write_at([text], 0)
        file.sync()

    def text(self, day: str) -> bytes:
        return self.files.open(FOLDER / f"{day}.jsonl").read_at(0, 10**9)

    def torn(self) -> dict[str, bytes]:
        try:
            names = self.files.list_names(TORN)
        except FileNotFoundError:
            return {}
        return {name: self.files.open(TORN / name).read_at(0, 10**9) for name in names}

    def recover(self, start: Mark | None = None, batch_bytes_max: int = 10**6) -> tuple[list[Committed], Mark]:
        recovery = self.recovery(start, batch_bytes_max)
        return [committed for batch in recovery.batches() for committed in batch], recovery.tail

    def recovery(self, start: Mark | None = None, batch_bytes_max: int = 10**6) -> Recovery:
        return Recovery(
            JournalName.ENVELOPES,
            FOLDER,
            start or Mark(),
            files=self.files,
            torn_directory=TORN,
            batch_bytes_max=batch_bytes_max,
        )

    def stored(self) -> StoredJournal:
        return StoredJournal(JournalName.ENVELOPES, FOLDER, files=self.files)


def numbers(committed: list[Committed]) -> list[int]:
    return [each.position.n for each in committed]


def test_an_empty_journal_starts_at_nothing() -> None:
    """No file yet is no damage."""
    assert Folder().recover() == ([], Mark())


def test_lines_after_the_projected_position_are_found_in_order_over_days() -> None:
    """Reading starts where the databases are, and the places are those of the lines."""
    first, second, third = line(1), line(2), line(3)
    folder = Folder(d2026_11_20=first + second, d2026_11_21=third)
    committed, tail = folder.recover(Mark(n=1, day="2026-11-20", offset=len(first)))
    assert numbers(committed) == [2, 3]
    assert [(c.position.day, c.position.offset, c.position.length) for c in committed] == [
        ("2026-11-20", len(first), len(second)),
        ("2026-11-21", 0, len(third)),
    ]
    assert [c.record.envelope_id for c in committed] == ["env_2", "env_3"]
    assert tail == Mark(n=3, day="2026-11-21", offset=len(third))
    assert folder.stored().statistics().stored_bytes == len(first + second + third)


def test_batches_are_bounded() -> None:
    """A long tail is handed over piece by piece."""
    folder = Folder(d2026_11_20=b"".join(line(n) for n in range(1, 21)))
    assert [len(batch) for batch in folder.recovery(batch_bytes_max=1).batches()] == [1] * 20
    assert sum(len(batch) for batch in folder.recovery(batch_bytes_max=500).batches()) == 20


def test_every_batch_has_the_same_bound() -> None:
    """It ends with the line with which it reaches the bound, be it the first or a later one."""
    lines = [line(n) for n in range(100, 109)]
    folder = Folder(d2026_11_20=b"".join(lines))
    start = Mark(n=99, day="2026-11-20", offset=0)
    size = len(lines[0])
    for bound, expected in ((3 * size, [3, 3, 3]), (2 * size + 1, [3, 3, 3]), (3 * size + 1, [4, 4, 1])):
        batches = folder.recovery(start, batch_bytes_max=bound).batches()
        assert [len(batch) for batch in batches] == expected, bound


def test_lines_longer_than_a_read_are_whole() -> None:
    """A line may span several blocks."""
    folder = Folder(d2026_11_20=line(1, filler=3_000_000) + line(2) + line(3, filler=1_048_576))
    assert numbers(folder.recover()[0]) == [1, 2, 3]


def test_a_journal_cut_at_any_byte_of_its_last_commit_loses_only_that() -> None:
    """Whatever prefix of an unacknowledged commit is on the disk, whole lines count and the rest is set aside."""
    kept, last = line(1) + line(2), line(3, batch=3) + line(4, batch=3)
    for cut in range(len(last) + 1):
        folder = Folder(d2026_11_20=kept + last[:cut])
        committed, tail = folder.recover()
        whole = last[:cut].count(b"\n")
        assert numbers(committed) == [1, 2, 3, 4][: 2 + whole]
        expected = kept + b"".join([line(3, batch=3), line(4, batch=3)][:whole])
        assert folder.text("2026-11-20") == expected
        assert tail == Mark(n=2 + whole, day="2026-11-20", offset=len(expected))
        rest = (kept + last[:cut])[len(expected) :]
        assert folder.torn() == ({f"envelopes-2026-11-20-{len(expected)}.part": rest} if rest else {})
        assert folder.recover() == (committed, tail)


def test_a_torn_commit_may_have_good_lines_after_bad_ones() -> None:
    """A disk may keep the end of an unsynced commit and not its beginning: nobody was told of any of it."""
    good = line(1)
    commit = [line(n, batch=2) for n in (2, 3, 4)]
    for bad in range(3):
        lines = [b"\0" * (len(text) - 1) + b"\n" if index == bad else text for index, text in enumerate(commit)]
        folder = Folder(d2026_11_20=good + b"".join(lines))
        committed, tail = folder.recover()
        assert numbers(committed) == [1, 2, 3, 4][: 1 + bad]
        assert tail.n == 1 + bad
        assert folder.recover()[0] == committed


def test_a_bad_line_before_a_later_commit_is_damage() -> None:
    """What was synced once and is unreadable now stops the start, and the sentence says where."""
    folder = Folder(d2026_11_20=line(1) + line(2).replace(b"abandoned", b"abandonee") + line(3))
    before = folder.text("2026-11-20")
    with pytest.raises(StorageDamage, match=rf"fails its checksum at byte {len(line(1))} of 2026-11-20.jsonl.*line 3"):
        folder.recover()
    assert folder.text("2026-11-20") == before
    assert folder.torn() == {}


def test_damage_is_seen_across_days() -> None:
    """A bad end of an older file is damage as soon as the newer one has a line."""
    folder = Folder(d2026_11_20=line(1) + line(2)[:-9], d2026_11_21=line(3))
    with pytest.raises(StorageDamage, match="an incomplete line"):
        folder.recover()
    folder.put("2026-11-21", b"")
    committed, tail = folder.recover()
    assert numbers(committed) == [1]
    assert tail == Mark(n=1, day="2026-11-21", offset=0)


def test_what_is_torn_in_a_later_day_is_cut_off_with_what_is_torn_before_it() -> None:
    """The journal goes on in the last day's file: what is left there would stand behind new lines."""
    folder = Folder(d2026_11_20=line(1) + line(2)[:-9], d2026_11_21=line(3)[:-9])
    expected = [1], Mark(n=1, day="2026-11-21", offset=0)
    for _ in range(2):
        committed, tail = folder.recover()
        assert (numbers(committed), tail) == expected
        assert (folder.text("2026-11-20"), folder.text("2026-11-21")) == (line(1), b"")
        assert folder.torn() == {
            f"envelopes-2026-11-20-{len(line(1))}.part": line(2)[:-9],
            "envelopes-2026-11-21-0.part": line(3)[:-9],
        }


def test_of_a_later_day_that_has_nothing_yet_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Its file was made for the commit that a crash tore."""
    folder = Folder(d2026_11_20=line(1) + line(2)[:-9], d2026_11_21=b"")
    assert len(folder.recover()[0]) == 1
    assert folder.torn() == {f"envelopes-2026-11-20-{len(line(1))}.part": line(2)[:-9]}
    assert len([record for record in caplog.records if "never acknowledged" in record.getMessage()]) == 1


def test_a_good_line_of_a_later_day_is_never_cut_off() -> None:
    """A commit is in one file: what stands in a later one was written after it, also under the number that is torn."""
    folder = Folder(d2026_11_20=line(1) + line(2)[:-9], d2026_11_21=line(2))
    with pytest.raises(StorageDamage, match=r"good lines follow \(line 2 at byte 0 of 2026-11-21.jsonl\)"):
        folder.recover()
    assert folder.text("2026-11-21") == line(2)
    assert folder.torn() == {}


def test_the_line_that_shows_the_damage_is_found_where_it_stands() -> None:
    """Behind the bad one, with its own length."""
    bad = line(2).replace(b"abandoned", b"abandonee")
    folder = Folder(d2026_11_20=line(1) + bad + line(3, filler=9))
    found = good_line_of_a_later_batch(
        DayFiles(folder.files, FOLDER), BadLine("2026-11-20", len(line(1)), 2, "a line that fails its checksum")
    )
    assert found == Position(
        n=3,
        day="2026-11-20",
        offset=len(line(1) + bad),
        length=len(line(3, filler=9)),
        at=times.from_text("2026-11-20T12:00:00.000000Z"),
    )


def test_a_line_is_looked_for_in_the_day_that_it_can_be_in() -> None:
    """No more is read before it than what stands in its own day's file."""
    folder = Folder(d2026_11_20=line(1), d2026_11_21=line(2), d2026_11_22=line(3) + line(4), d2026_11_23=line(5))
    files = DayFiles(folder.files, FOLDER)
    assert [find(files, n) for n in range(1, 7)] == [
        Mark(),
        Mark(n=1, day="2026-11-21", offset=0),
        *([Mark(n=2, day="2026-11-22", offset=0)] * 2),
        *([Mark(n=4, day="2026-11-23", offset=0)] * 2),
    ]


@pytest.mark.parametrize("numbers_on_disk", [(1, 3), (1, 2, 2), (1, 2, 1), (2,)])
def test_numbers_that_do_not_follow_are_damage(numbers_on_disk: tuple[int, ...]) -> None:
    """A line that is missing, or there twice, is noticed though every checksum is right."""
    folder = Folder(d2026_11_20=b"".join(line(n) for n in numbers_on_disk))
    with pytest.raises(StorageDamage, match="line number"):
        folder.recover()


@pytest.mark.parametrize(
    ("days", "start", "message"),
    [
        ({"d2026_11_20": b""}, Mark(n=1, day="2026-11-20", offset=10), "holds 0 bytes"),
        ({}, Mark(n=1, day="2026-11-20", offset=10), "is missing"),
    ],
)
def test_databases_that_have_seen_more_are_damage(days: dict[str, bytes], start: Mark, message: str) -> None:
    """A journal that lost what was projected from it is not served."""
    with pytest.raises(StorageDamage, match=message):
        Folder(**days).recover(start)


def test_what_is_found_is_synced_before_it_is_used() -> None:
    """Lines that a killed process wrote but did not sync must not vanish after they were projected."""
    folder = Folder(d2026_11_20=line(1))
    file = folder.files.open(FOLDER / "2026-11-20.jsonl")
    file.write_at([line(2)], len(line(1)))
    batches: Iterator[list[Committed]] = folder.recovery().batches()
    assert numbers(next(batches)) == [1, 2]
    folder.files.crash()
    assert numbers(folder.recover()[0]) == [1, 2]


def test_recovery_can_stop_at_any_operation_and_run_again() -> None:
    """Whichever operation a crash comes before, a second recovery ends where an undisturbed one does."""
    text = line(1) + line(2) + line(3)[:-5]
    reference = Folder(d2026_11_20=text)
    expected = reference.recover()
    for stop_before in range(60):
        folder = Folder(d2026_11_20=text)
        remaining = [stop_before]

        def before(operation: str, path: Path, remaining: list[int] = remaining) -> None:
            if remaining[0] == 0:
                raise KeyboardInterrupt
            remaining[0] -= 1

        folder.files.before = before
        try:
            folder.recover()
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
        folder.files.before = lambda operation, path: None
        folder.files.crash()
        assert folder.recover() == expected
        assert folder.torn() == reference.torn()
        if not interrupted:
            return
    pytest.fail("recovery never ended")


def test_any_flipped_bit_is_noticed() -> None:
    """In the middle it is damage; in the last commit it may look torn, but is never taken for a good line."""
    chance = random.Random(7)
    lines = [line(n) for n in range(1, 7)]
    text = b"".join(lines)
    for _ in range(300):
        position = chance.randrange(len(text))
        changed = bytearray(text)
        changed[position] ^= 1 << chance.randrange(8)
        folder = Folder(d2026_11_20=bytes(changed))
        in_last = position >= len(text) - len(lines[-1])
        if in_last:
            assert numbers(folder.recover()[0]) == [1, 2, 3, 4, 5]
        else:
            with pytest.raises(StorageDamage):
                folder.recover()


@pytest.mark.parametrize(
    "name",
    ["notes.jsonl", "2026-11-28-copy.jsonl", ".2026-11-28.jsonl.swp", "2026-11-28.jsonl~", "2026-13-28.jsonl", "x.txt"],
)
def test_a_foreign_name_is_left_alone_and_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it stands in the alphabet: the journal ends where its own last file does."""
    folder = Folder(d2026_11_20=line(1), d2026_11_21=line(2) + line(3)[:-9])
    folder.files.create(FOLDER / name).write_at([b"mine"], 0)
    committed, tail = folder.recover()
    assert numbers(committed) == [1, 2]
    assert tail == Mark(n=2, day="2026-11-21", offset=len(line(2)))
    assert folder.files.open(FOLDER / name).read_at(0, 99) == b"mine"
    assert folder.stored().foreign_names() == [name]
    assert folder.stored().statistics().stored_bytes == len(line(1) + line(2))
    assert f"the folder of the envelopes journal holds {name!r}, which the journal leaves alone" in caplog.text


def test_many_foreign_names_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(d2026_11_20=line(1))
    for number in range(9):
        folder.files.create(FOLDER / f"note{number}")
    folder.files.create(FOLDER / "lost+found")
    folder.recover()
    (record,) = caplog.records
    assert "'note3', 'note4' and 4 more, which" in record.message


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"SERVER_CLOSE", b"NEWER", "the member type is 'NEWER', which is no kind of envelope"),
        (b"abandoned", b"newer", "the member closed_by cannot be read"),
    ],
)
def test_a_line_of_a_later_version_is_said_with_its_place_and_not_cut_off(old: bytes, new: bytes, what: str) -> None:
    """It is whole, so nobody can tell it from one that was acknowledged."""
    body = line(2).replace(old, new)[: -len(b',"crc32":"00000000"}\n')]
    later = body + b',"crc32":"%08x"}\n' % zlib.crc32(body)
    folder = Folder(d2026_11_20=line(1) + later)
    with pytest.raises(
        StorageDamage,
        match=rf"the envelopes journal holds line 2 at byte {len(line(1))} of 2026-11-20\.jsonl, of which {what}.*: "
        r"written by a later version of this program, or damaged: use the version",
    ):
        folder.recover()
    assert folder.text("2026-11-20") == line(1) + later
    assert folder.torn() == {}


def long_day(commits: int, lines: int) -> bytes:
    """Commits of so many lines each."""
    return b"".join(line(n, n - (n - 1) % lines, filler=80) for n in range(1, commits * lines + 1))


@pytest.fixture
def little_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read at once is about three lines."""
    monkeypatch.setattr("persistence.journals.scanning.READ_BYTES", 3 * len(line(100, filler=80)))


@pytest.mark.usefixtures("little_read")
@pytest.mark.parametrize("lines", [1, 2, 5, 30])
def test_the_last_commits_are_found_from_the_end(lines: int) -> None:
    """The line before where they begin is of a commit that another one came after; with few commits all lines come."""
    folder = Folder(d2026_11_20=long_day(60 // lines, lines))
    start = find_last_commits(DayFiles(folder.files, FOLDER))
    found, tail = folder.recover(start)
    assert tail.n == 60
    assert numbers(found) == list(range(start.n + 1, 61))
    assert start.n < 60 - lines, "the whole last commit is looked at"
    if lines < 5:
        assert start.n > 30, "and not much more"


@pytest.mark.usefixtures("little_read")
def test_whatever_a_crash_has_left_of_the_last_commit_is_cut_off_from_there_on() -> None:
    """Sectors reach a disk in any order, so any part of the last commit may be missing."""
    whole = long_day(12, 5)
    last_at = len(long_day(11, 5))
    for at in range(last_at, len(whole), 37):
        folder = Folder(d2026_11_20=whole[:at] + b"\0" * min(150, len(whole) - at) + whole[at + 150 :])
        found, tail = folder.recover(find_last_commits(DayFiles(folder.files, FOLDER)))
        assert folder.text("2026-11-20") == whole[: tail.offset]
        assert last_at <= tail.offset <= at
        assert numbers(found)[-1] == tail.n


@pytest.mark.usefixtures("little_read")
@pytest.mark.parametrize("n", [1, 2, 30, 55, 59, 60])
def test_a_line_near_the_end_is_found_without_what_is_far_before(n: int) -> None:
    folder = Folder(d2026_11_19=long_day(20, 1), d2026_11_20=b"".join(line(n, filler=80) for n in range(21, 61)))
    start = find_near_end(DayFiles(folder.files, FOLDER), n)
    assert start.n < n
    if n >= 55:
        assert start.n > 40
    _, tail = folder.recover(start)
    assert tail.n == 60


def test_an_empty_folder_has_no_last_commits() -> None:
    files = DayFiles(Folder().files, FOLDER)
    assert find_last_commits(files) == find_near_end(files, 1) == Mark()
