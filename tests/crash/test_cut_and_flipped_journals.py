"""A journal cut at every byte of its last group commit, and with every bit flipped: cut off or said, never lost."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import trio

from actors.sessions.outcomes import Accepted
from persistence.files.failures import StorageDamage
from persistence.files.memory import MemoryFileSystem
from persistence.format.records import JournalName, Mark
from persistence.journals.framing import parse_frame
from persistence.journals.recovery import Recovery
from tests.crash.acknowledged import lines_of, rows
from tests.running_service import Running, running, settings_with
from tests.stored_state import at_once, findings

FOLDER, TORN = Path("/data/envelopes"), Path("/data/torn")
DAY = "2026-11-20"
BATCH_LINES = 4
FULL_STARTS = 12


class Journal(NamedTuple):
    """A journal whose last group commit has several lines, and a data directory that has seen nothing of that commit.

    `resends` are the bodies of that commit.
    """

    octets: bytes
    batch_at: int
    root: Path
    resends: list[bytes]

    @property
    def lines(self) -> list[bytes]:
        """All lines."""
        return self.octets.splitlines(keepends=True)

    def ends(self) -> list[int]:
        """The offset after each line."""
        return list(itertools.accumulate(map(len, self.lines)))


@pytest.fixture(scope="module")
def journal(memory_folder: Path) -> Journal:
    """A journal with several commits of one line and a last one of several."""
    return trio.run(_made, memory_folder)


async def _made(folder: Path) -> Journal:
    root, early = folder / "data", folder / "early"
    async with running(root, settings=settings_with(storage={"projection_interval_s": 3_600})) as run:
        clients = [await run.open(f"sess_{number}") for number in range(BATCH_LINES)]
        for client in clients:
            assert isinstance(await run.send(client.chunk(2)), Accepted)
            assert isinstance(await run.send(client.chunk(1)), Accepted)
        await run.projected()
        shutil.copytree(root, early)
        bodies = [client.chunk(2) for client in clients]
        outcomes = await at_once([lambda body=body: run.send(body) for body in bodies])  # type: ignore[misc]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    lines = lines_of(root, "envelopes")
    frames = [frame for frame in map(parse_frame, lines) if frame is not None]
    batch = [frame.n for frame in frames if frame.batch == frames[-1].batch]
    assert len(batch) == BATCH_LINES, "the last group commit has several lines"
    octets = b"".join(line + b"\n" for line in lines)
    return Journal(octets, len(b"".join(line + b"\n" for line in lines[: -len(batch)])), early, bodies)


class Recovered(NamedTuple):
    """What recovery made of a journal's bytes: what it kept, and what it moved aside."""

    kept: bytes
    torn: bytes


def recover(octets: bytes, start: Mark | None = None) -> Recovered:
    """Recover these bytes in memory; raises StorageDamage."""
    files = MemoryFileSystem()
    for folder in (FOLDER, TORN):
        files.make_directory(folder)
    path = FOLDER / f"{DAY}.jsonl"
    files.create(path).write_at([octets], 0)
    recovery = Recovery(
        JournalName.ENVELOPES,
        FOLDER,
        start or Mark(),
        files=files,
        torn_directory=TORN,
        batch_bytes_max=1_000_000,
    )
    count = sum(len(batch) for batch in recovery.batches())
    kept = files.open(path).read_at(0, len(octets))
    assert kept.count(b"\n") == count
    assert recovery.tail.offset == len(kept)
    torn = [files.open(TORN / each).read_at(0, len(octets)) for each in files.list_names(TORN)]
    return Recovered(kept, b"".join(torn))


def test_a_cut_at_every_byte_of_the_last_commit_keeps_its_whole_lines(journal: Journal) -> None:
    """All lines that are whole stay, all that is not is kept aside, byte for byte."""
    ends = [0, *journal.ends()]
    cuts = range(journal.batch_at, len(journal.octets) + 1)
    assert len(cuts) > 2_000
    for cut in cuts:
        whole = max(end for end in ends if end <= cut)
        assert recover(journal.octets[:cut]) == (journal.octets[:whole], journal.octets[whole:cut])


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\n", b"}"])
def test_a_commit_with_a_missing_sector_is_cut_from_there(journal: Journal, filling: bytes) -> None:
    """Sectors reach a disk in any order: good lines of the same commit after a bad one do not make it damage."""
    octets = journal.octets
    for at in range(journal.batch_at, len(octets), 64):
        end = min(at + 512, len(octets))
        torn = octets[:at] + filling * (end - at) + octets[end:]
        kept = max(end for end in [0, *journal.ends()] if end <= at)
        assert recover(torn) == (octets[:kept], torn[kept:])


def flips(octets: bytes, step: int) -> Iterator[tuple[int, bytes]]:
    """Copies with one bit flipped, at about every `step`-th byte, and where."""
    random = Random(step)
    for place in range(0, len(octets), step):
        at = min(place + random.randrange(step), len(octets) - 1)
        flipped = bytearray(octets)
        flipped[at] ^= 1 << random.randrange(8)
        yield at, bytes(flipped)


def test_a_flipped_bit_before_the_last_commit_is_damage(journal: Journal) -> None:
    """In whatever member, in the frame, the checksum or the newline: it says the journal, the byte and the file."""
    ends = journal.ends()
    tried = 0
    for at, flipped in flips(journal.octets[: journal.batch_at], 1):
        line_at = max(end for end in [0, *ends] if end <= at)
        with pytest.raises(StorageDamage) as caught:
            recover(flipped + journal.octets[journal.batch_at :])
        assert f"the envelopes journal is damaged: a line that fails its checksum at byte {line_at}" in str(
            caught.value
        )
        assert f"{DAY}.jsonl" in str(caught.value)
        tried += 1
    assert tried == journal.batch_at


def test_a_flipped_bit_in_the_last_commit_costs_nothing_before_it(journal: Journal) -> None:
    """Without a database that has seen it, it looks like a torn one: moved aside, not deleted."""
    tried = 0
    for at, flipped in flips(journal.octets, 1):
        if at < journal.batch_at:
            continue
        tried += 1
        kept, torn = recover(flipped)
        assert kept + torn == flipped
        assert len(kept) >= journal.batch_at
    assert tried == len(journal.octets) - journal.batch_at > 0


async def test_starts_on_cut_journals_lose_nothing(journal: Journal, memory_folder: Path) -> None:
    """The whole service on some of the cuts: what was cut off is taken when it is sent again, the rest is known."""
    size = len(journal.octets) - journal.batch_at
    for number in range(FULL_STARTS):
        cut = journal.batch_at + size * number // (FULL_STARTS - 1)
        root = memory_folder / f"cut-{cut}"
        shutil.copytree(journal.root, root)
        file = max((root / "envelopes").glob("*.jsonl"))
        file.write_bytes(journal.octets[:cut])
        known = sum(end <= cut for end in journal.ends())
        async with running(root) as run:
            assert rows(root / "sessions.db", "SELECT count(*) FROM processed_envelopes") == [(known,)]
            await _resend(run, journal, known)
            await run.projected()
            assert len(lines_of(root, "envelopes")) == len(journal.lines)
        assert await findings(root) == []
        shutil.rmtree(root)


async def _resend(run: Running, journal: Journal, known: int) -> None:
    """Send the last commit's envelopes again; those that were kept are duplicates."""
    outcomes = [await run.send(body) for body in journal.resends]
    kept = known - (len(journal.lines) - BATCH_LINES)
    duplicates = 0
    for outcome in outcomes:
        assert isinstance(outcome, Accepted), outcome
        duplicates += outcome.duplicate
    assert duplicates == kept
