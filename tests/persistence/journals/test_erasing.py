"""Erasing lines: nothing of them is left, nothing else changes, whatever is appended meanwhile, wherever it ends."""

import errno
import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.files.failures import StorageFailure
from persistence.files.memory import MemoryFileSystem
from persistence.format.records import EnvelopeKind, EnvelopeRecord, JournalName, Mark, Position, TrajectoryRecord
from persistence.journals.erased_lines import erased_text, is_erased
from persistence.journals.erasing import erasing
from persistence.journals.framing import parse_frame
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalDamage
from persistence.journals.recovery import Recovery
from tests.persistence.journals.journal_disk import FOLDER, NOON, Disk
from tests.persistence.journals.line_texts import CHUNK, SERVER_CLOSE, attestation, framed

DAY_S = 86_400.0
REQUEST = "er_0123456789abcdef"
RECORD = EnvelopeRecord(envelope_id="env_1", session_id="s", kind=EnvelopeKind.CHUNK)
REFUSAL = (
    '"envelope_id":"env_00000000-0000-7000-8000-000000000000","session_id":"s","type":"their own","sequence":7,'
    f'"session_hmac":"{"ab" * 32}","refused":{{"code":"schema","reason":"their words"}},'
    f'"body_bytes":442,"body_sha256":"{"cd" * 32}"'
)
SMALLEST_CLOSE = (
    '"envelope_id":"env_00000000-0000-7000-8000-000000000000","session_id":"s","type":"SERVER_CLOSE",'
    '"closed_by":"http_close"'
)
FEEDBACK = (
    '"envelope_id":"env_00000000-0000-7000-8000-000000000000","session_id":"s","type":"USER_FEEDBACK",'
    + attestation()
    + ',"feedback":{"signal":"accepted","words":"theirs"}'
)
CLOSE = (
    '"envelope_id":"env_00000000-0000-7000-8000-000000000000","session_id":"s","type":"SESSION_CLOSE",'
    + attestation()
    + ',"metadata":{"provider":"codex","model_engine":"gpt-5.5"},"outcome":{"status":"SUCCESS"}'
)
STEP = '{"step":1,"type":"thought","timestamp":1795169530,"content":"their words"}'
TRAJECTORY = (
    '"trajectory_id":"traj_00000000-0000-7000-8000-000000000000","session_id":"s","contributor_id":"' + "a" * 32 + '",'
    '"metadata":{"provider":"codex","model_engine":"gpt-5.5"},"close_metadata":null,'
    f'"trajectory_log":[{STEP},{STEP},{STEP},{STEP}],"outcome":null,"total_steps":4,"copied_steps":0,"copied_from":[],'
    '"total_tokens":8,"total_chunks":1,"closed_by":"http_close","score":{"basePoints":4,"modelMultiplier":5,'
    '"correctionBonus":0,"coordinationBonus":0,"errorRecoveryBonus":0,"complexityBonus":0,"qualityBonus":0,'
    '"totalPoints":20.5}'
)


class Killed(BaseException):
    """The process ends here."""


def members_of(number: int) -> bytes:
    chunk = re.sub("c0ffee", f"{number:032x}", CHUNK)
    return chunk.replace("lone, and", f"the words of {number}, and").encode()


@pytest.mark.parametrize(
    ("journal", "members", "extra"),
    [
        (JournalName.ENVELOPES, CHUNK, ',"gap":3,"client_envelope_id":"env_own"'),
        (JournalName.ENVELOPES, SMALLEST_CLOSE, ""),
        (JournalName.ENVELOPES, SERVER_CLOSE.replace("env_4", "env_00000000-0000-7000-8000-000000000000"), ""),
        (JournalName.ENVELOPES, FEEDBACK, ""),
        (JournalName.ENVELOPES, CLOSE, ',"gap":1'),
        (JournalName.REFUSED, REFUSAL, ',"gap":2'),
        (JournalName.TRAJECTORIES, TRAJECTORY, ""),
    ],
)
def test_an_erased_line_has_the_length_and_the_counts_of_the_one_before_and_none_of_its_words(
    journal: JournalName, members: str, extra: str
) -> None:
    line = framed(members, extra=extra)[:-1]
    before, frame = parse_line(journal, line), parse_frame(line)
    assert frame is not None
    text = erased_text(line, frame, before, request=REQUEST, at=NOON)
    assert (len(text), is_erased(text), is_erased(line)) == (len(line), True, False)
    assert set(json.loads(text)) == {"erased", "received", "crc32"}
    assert not re.search(rb"their|env_0|env_own|abab|aaaa|lone", text)
    again = parse_frame(text)
    assert again is not None
    assert (again.n, again.at, again.batch, again.gap) == (frame.n, frame.at, frame.batch, frame.gap)
    after = parse_line(journal, text)
    names = {"envelope_id", "session_id", "trajectory_id", "contributor_id", "session_hmac", "kind", "reason"}
    if journal is not JournalName.REFUSED:
        names -= {"kind"}
    told = [{k: v for k, v in msgspec.structs.asdict(each).items() if k not in names} for each in (before, after)]
    assert told[0] == told[1]
    if isinstance(after, TrajectoryRecord):
        assert after.contributor_id == REQUEST
        assert len(after.fingerprints) == 4


def test_erasing_an_erased_line_leaves_it() -> None:
    line = framed(CHUNK)[:-1]
    rewrite = erasing(JournalName.ENVELOPES, REQUEST, NOON)
    frame = parse_frame(line)
    assert frame is not None
    once = rewrite(line, frame)
    assert rewrite(once, frame) == once


async def filled(disk: Disk, counts: Sequence[int]) -> list[Position]:
    places: list[Position] = []
    async with trio.open_nursery() as nursery:
        journal = disk.journal()
        nursery.start_soon(journal.run)
        for count in counts:
            for _ in range(count):
                position = await journal.append(RECORD, members_of(len(places)))
                assert isinstance(position, Position)
                places.append(position)
            disk.now += DAY_S
        journal.close()
    return places


def lines_of(disk: Disk) -> dict[str, bytes]:
    return {name: disk.files.open(FOLDER / name).read_at(0, 10**9) for name in disk.files.list_names(FOLDER)}


def check(before: dict[str, bytes], after: dict[str, bytes], gone: set[int]) -> None:
    """The same files, each line as it was but for those that are gone."""
    assert before.keys() == after.keys()
    n = 0
    for name, text in before.items():
        for old, new in zip(text.splitlines(), after[name].splitlines(), strict=True):
            assert is_erased(new) == (n in gone)
            assert len(new) == len(old) if n in gone else new == old
            frame = parse_frame(new)
            assert frame is not None
            assert frame.n == n + 1
            n += 1
    for number in gone:
        assert f"the words of {number},".encode() not in b"".join(after.values())


async def erase(disk: Disk, tail: Position, places: Sequence[Position]) -> bool:
    async with trio.open_nursery() as nursery:
        journal = disk.journal(tail.end)
        nursery.start_soon(journal.run)
        done = await journal.erase(places, erasing(JournalName.ENVELOPES, REQUEST, NOON))
        journal.close()
    return done


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_erased_is_gone_and_all_else_is_byte_for_byte_as_it_was(data: st.DataObject) -> None:
    async def body() -> None:
        disk = Disk()
        counts = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
        places = await filled(disk, counts)
        gone = data.draw(st.sets(st.integers(0, len(places) - 1)))
        before = lines_of(disk)
        assert await erase(disk, places[-1], [places[n] for n in sorted(gone)])
        check(before, lines_of(disk), gone)

    trio.run(body)


async def test_lines_that_are_appended_meanwhile_are_all_there() -> None:
    disk = Disk()
    places = await filled(disk, [20])
    disk.now = NOON
    appended: list[Position] = []

    async def append(first: int) -> None:
        for number in range(first, first + 10):
            position = await journal.append(RECORD, members_of(number))
            assert isinstance(position, Position)
            appended.append(position)

    async with trio.open_nursery() as nursery:
        journal = disk.journal(places[-1].end)
        nursery.start_soon(journal.run)
        async with trio.open_nursery() as clients:
            for client in range(3):
                clients.start_soon(append, 100 + 10 * client)
            clients.start_soon(journal.erase, places[::2], erasing(JournalName.ENVELOPES, REQUEST, NOON))
        last = await journal.append(RECORD, members_of(7_777))
        assert isinstance(last, Position)
        read = await journal.read([*places, *appended, last])
        journal.close()
    assert [is_erased(line) for line in read] == [n % 2 == 0 for n in range(20)] + [False] * 31
    assert sorted(place.n for place in appended) == list(range(21, 51))
    disk.files.crash()
    assert [len(line) + 1 for line in disk.text().splitlines()] == [
        place.length for place in sorted([*places, *appended, last])
    ]


async def test_two_that_erase_in_one_file_at_once_both_do() -> None:
    disk = Disk()
    places = await filled(disk, [12])
    before = lines_of(disk)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            journal = disk.journal(places[-1].end)
            nursery.start_soon(journal.run)
            async with trio.open_nursery() as erasers:
                for first in range(3):
                    erasers.start_soon(journal.erase, places[first::4], erasing(JournalName.ENVELOPES, REQUEST, NOON))
            journal.close()
    check(before, lines_of(disk), {n for n in range(12) if n % 4 != 3})


def test_a_process_that_ends_anywhere_leaves_the_old_file_or_the_new_one_and_goes_on() -> None:
    async def body(kill_at: int, *, loses_power: bool) -> bool:
        disk = Disk()
        places = await filled(disk, [3, 4])
        before, gone = lines_of(disk), {1, 4, 6}
        done: list[str] = []

        def count(operation: str, _path: Path) -> None:
            done.append(operation)
            if len(done) == kill_at:
                raise Killed

        disk.files.before = count
        try:
            await erase(disk, places[-1], [places[n] for n in sorted(gone)])
        except* Killed:
            pass
        ended = len(done) >= kill_at
        disk.files.before = lambda _operation, _path: None
        if loses_power:
            disk.files.crash()
        recovery = Recovery(
            JournalName.ENVELOPES, FOLDER, Mark(), files=disk.files, torn_directory=Path("/torn"), batch_bytes_max=1
        )
        assert [item.position for batch in recovery.batches() for item in batch] == places
        erased = {n for n, line in enumerate(b"".join(lines_of(disk).values()).splitlines()) if is_erased(line)}
        assert erased in (set(), {1}, gone)
        check(before, lines_of(disk), erased)
        assert await erase(disk, places[-1], [places[n] for n in sorted(gone)])
        check(before, lines_of(disk), gone)
        return ended

    for loses_power in (False, True):
        kill_at = 1
        while trio.run(lambda: body(kill_at, loses_power=loses_power)):  # noqa: B023 (called at once)
            kill_at += 1
        assert kill_at > 20


@pytest.mark.parametrize("operation", ["write", "create", "sync"])
async def test_without_room_nothing_changes_and_the_journal_goes_on(operation: str) -> None:
    disk = Disk()
    places = await filled(disk, [5])
    disk.now = NOON
    before = lines_of(disk)
    async with trio.open_nursery() as nursery:
        journal = disk.journal(places[-1].end)
        nursery.start_soon(journal.run)
        disk.fail[operation] = OSError(errno.ENOSPC, "No space left on device")
        assert not await journal.erase(places[:1], erasing(JournalName.ENVELOPES, REQUEST, NOON))
        disk.fail.clear()
        assert lines_of(disk) == before
        assert isinstance(await journal.append(RECORD, members_of(9)), Position)
        journal.close()


async def test_a_failed_sync_of_the_folder_ends_the_journal() -> None:
    disk = Disk()
    places = await filled(disk, [5])
    disk.fail["sync_directory"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BaseExceptionGroup) as raised:
        await erase(disk, places[-1], places[:1])
    assert raised.group_contains(StorageFailure)


async def test_lines_of_a_day_that_is_gone_are_passed_over() -> None:
    disk = Disk()
    places = await filled(disk, [2, 3])
    disk.files.remove(FOLDER / "2026-11-20.jsonl")
    assert await erase(disk, places[-1], [places[0], places[3]])
    assert [is_erased(line) for line in disk.text("2026-11-21").splitlines()] == [False, True, False]


async def test_a_disk_that_is_nearly_full_is_not_filled_for_it() -> None:
    disk = Disk(capacity_bytes=1_000_000)
    places = await filled(disk, [5])
    assert not await erase(disk, places[-1], places[:1])


async def test_a_place_that_holds_another_line_is_damage_and_changes_nothing() -> None:
    disk = Disk()
    places = await filled(disk, [3])
    before = lines_of(disk)
    with pytest.raises(BaseExceptionGroup) as raised:
        await erase(disk, places[-1], [msgspec.structs.replace(places[1], n=1)])
    assert raised.group_contains(JournalDamage)
    assert lines_of(disk) == before


def test_files_that_are_being_made_anew_are_no_foreign_ones() -> None:
    files = MemoryFileSystem()
    files.make_directory(FOLDER)
    for name in ("2026-11-20.jsonl.erasing", "2026-11-20.jsonl.mine"):
        files.create(FOLDER / name)
    recovery = Recovery(
        JournalName.ENVELOPES, FOLDER, Mark(), files=files, torn_directory=Path("/torn"), batch_bytes_max=1
    )
    assert list(recovery.batches()) == []
    assert files.list_names(FOLDER) == ["2026-11-20.jsonl.mine"]
