"""Envelopes of one session taken in together: each is answered, and stored, as if it had come alone."""

import errno
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Busy, BusyReason, Closed, FullReason, IngestOutcome, Opened, StorageFull
from persistence.files.failures import StorageFailure
from persistence.files.memory import MemoryFileSystem
from persistence.format.records import JournalName
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import finished

Told = tuple[str, ...]
Shape = Callable[[SigningClient], list[bytes]]


async def send_many(run: Running, bodies: Sequence[bytes], session_id: str = "sess_1") -> tuple[IngestOutcome, ...]:
    """Hand the bodies to the session together, as the HTTP layer does."""
    envelopes = [read_envelope(body, nesting_max=64) for body in bodies]
    assert all(isinstance(envelope, Envelope) for envelope in envelopes)
    return await run.service.ingest_many(session_id, tuple(each for each in envelopes if isinstance(each, Envelope)))


def told(outcome: IngestOutcome) -> Told:
    """What a client learns, but for the ids, which are drawn."""
    match outcome:
        case Accepted(duplicate=duplicate):
            return ("accepted", "duplicate") if duplicate else ("accepted",)
        case Refusal(code=code, reason=reason):
            return (str(code), reason)
        case _:
            return (repr(outcome),)


def all_told(outcomes: Sequence[IngestOutcome]) -> list[Told]:
    return [told(outcome) for outcome in outcomes]


SESSIONS = (
    "SELECT session_id, expected_sequence, envelope_count, chunk_count, closed_by FROM sessions ORDER BY session_id"
)


def sources_by_length() -> Callable[[int], bytes]:
    """The same keys for sessions each time, whenever ids of events, which are shorter, are drawn between them."""
    sources: defaultdict[int, random.Random] = defaultdict(lambda: random.Random(1))
    return lambda count: sources[count].randbytes(count)


def wrong(body: bytes) -> bytes:
    """The body with another text than was signed."""
    assert b'"medium"' in body
    return body.replace(b'"medium"', b'"heavy" ', 1)


def chunks(client: SigningClient, count: int) -> list[bytes]:
    return [client.chunk() for _ in range(count)]


def with_a_wrong_hmac(client: SigningClient) -> list[bytes]:
    first, second, third, fourth = chunks(client, 4)
    return [first, second, wrong(third), fourth]


def with_a_schema_fault(client: SigningClient) -> list[bytes]:
    return [client.chunk(), client.chunk(team_size=0), client.chunk(), client.chunk()]


def with_duplicates(client: SigningClient) -> list[bytes]:
    first, second, third = chunks(client, 3)
    return [first, first, second, third, second, first, client.chunk()]


def with_everything(client: SigningClient) -> list[bytes]:
    return [
        *chunks(client, 3),
        client.feedback(sequence=client.sequence),
        client.chunk(),
        client.chunk(team_size=0),
        *chunks(client, 2),
        client.close(),
        client.feedback(sequence=client.sequence),
        client.chunk(),
    ]


def with_a_gap(client: SigningClient) -> list[bytes]:
    return [client.chunk(), client.chunk(sequence=5), *chunks(client, 2)]


def reformatted(client: SigningClient) -> list[bytes]:
    """White space that was not signed: only the canonical text verifies."""
    first, second, third = chunks(client, 3)
    return [first, second.replace(b'{"envelope_id"', b'{ "envelope_id"', 1), third]


def all_alike(client: SigningClient) -> list[bytes]:
    return chunks(client, 64)


SHAPES: list[Shape] = [
    all_alike,
    with_a_wrong_hmac,
    with_a_schema_fault,
    with_duplicates,
    with_everything,
    with_a_gap,
    reformatted,
]
CASES: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("as set", {}),
    ("few envelopes", {"sessions": {"envelopes_max": 3}}),
    ("few bytes", {"sessions": {"session_bytes_max": 2_500}}),
    ("gaps", {"sessions": {"sequence_gaps": "accept"}}),
    ("small commits", {"storage": {"journal_batch_bytes_max": 2_000}}),
    ("a queue of one", {"storage": {"journal_queue_lines_max": 1}}),
    ("off the loop", {"sessions": {"inline_bytes_max": 10}}),
]


@pytest.mark.parametrize("settings", [case for _, case in CASES], ids=[name for name, _ in CASES])
async def test_batches_are_answered_and_stored_as_their_envelopes_alone(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """The same bytes to two servers with the same keys, one by one and together."""
    clock = Clock()
    clients = {shape: SigningClient(f"sess_{shape.__name__}", now_s=clock.now) for shape in SHAPES}
    bodies: dict[Shape, list[bytes]] = {}
    found: list[dict[str, Any]] = []
    for way in ("alone", "together"):
        (tmp_path / way).mkdir()
        chosen = settings_with(**settings)
        random_bytes = sources_by_length()
        async with running(
            tmp_path / way, settings=chosen, clock=clock, files=MemoryFileSystem(), random_bytes=random_bytes
        ) as run:
            answers = {}
            for shape, client in clients.items():
                opened = await run.service.open_session(OpenSession(**client.opening()))
                assert isinstance(opened, Opened)
                client.opened(opened.server_public_key)
                bodies.setdefault(shape, shape(client) if way == "alone" else [])
                if way == "alone":
                    answers[shape] = all_told([await run.send(body) for body in bodies[shape]])
                else:
                    answers[shape] = all_told(await send_many(run, bodies[shape], client.session_id))
                await finished(run, client.session_id)
            await run.projected()
            rows = run.rows(
                "sessions.db",
                "SELECT session_id, sequence, kind, gap, session_hmac FROM processed_envelopes ORDER BY 1, 2, 3",
            )
            found.append({"answers": answers, "rows": rows, "session rows": run.rows("sessions.db", SESSIONS)})
    alone, together = found
    assert alone == together


async def test_plain_chunks_share_one_group_commit(tmp_path: Path) -> None:
    """64 envelopes cost one sync, not 64."""
    async with running(tmp_path) as run:
        client = await run.open()
        outcomes = await send_many(run, chunks(client, 64))
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert {line["received"]["batch"] for line in run.lines(JournalName.ENVELOPES)} == {1}


async def test_a_resend_of_an_earlier_batch_gets_its_answers_again(tmp_path: Path) -> None:
    """Every answer with the id of the first time; nothing is written."""
    async with running(tmp_path) as run:
        client = await run.open()
        bodies = chunks(client, 5)
        first = await send_many(run, bodies)
        again = await send_many(run, [*bodies, client.chunk()])
        ids = [outcome.envelope_id for outcome in first if isinstance(outcome, Accepted)]
        assert list(again[:5]) == [Accepted(each, duplicate=True) for each in ids]
        assert told(again[5]) == ("accepted",)
        assert len(run.lines(JournalName.ENVELOPES)) == 6


async def test_a_wrong_hmac_in_the_middle_stops_what_follows_as_it_would_alone(tmp_path: Path) -> None:
    """What follows has the wrong number, where gaps are refused; the next batch may repair it."""
    async with running(tmp_path, settings=settings_with(sessions={"sequence_gaps": "refuse"})) as run:
        client = await run.open()
        first, second, third = chunks(client, 3)
        outcomes = await send_many(run, [first, wrong(second), third])
        codes = [outcome.code if isinstance(outcome, Refusal) else None for outcome in outcomes]
        assert codes == [None, RefusalCode.INVALID_HMAC, RefusalCode.SEQUENCE_MISMATCH]
        assert all_told(await send_many(run, [second, third])) == [("accepted",)] * 2


async def test_a_close_within_a_batch_is_stitched_and_credited(tmp_path: Path) -> None:
    """Chunks, close and feedback in one: the trajectory has all steps."""
    async with running(tmp_path) as run:
        client = await run.open()
        outcomes = await send_many(run, [*chunks(client, 4), client.close(), client.feedback(sequence=client.sequence)])
        assert all_told(outcomes) == [("accepted",)] * 6
        closed = await finished(run)
        assert isinstance(closed, Closed)
        assert closed.credit is not None
        assert closed.credit.total_steps == 12
        [trajectory] = run.lines(JournalName.TRAJECTORIES)
        assert len(trajectory["trajectory_log"]) == 12


async def test_an_unknown_session_is_told_so_on_every_line(tmp_path: Path) -> None:
    """And nothing is kept of it."""
    async with running(tmp_path) as run:
        stranger = SigningClient("sess_2", now_s=run.clock.now)
        stranger.secret = b"s" * 32
        outcomes = await send_many(run, chunks(stranger, 3), "sess_2")
        assert [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)] == [
            RefusalCode.UNKNOWN_SESSION
        ] * 3


async def test_without_room_the_rest_is_answered_alike_and_can_be_sent_again(tmp_path: Path) -> None:
    """What was stored before stays; nothing behind it is told that its number is wrong; later all of it goes in."""
    disk = MemoryFileSystem()
    async with running(tmp_path, files=disk) as run:
        client = await run.open()
        bodies = [*chunks(client, 2), client.chunk(team_size=0), *chunks(client, 3), client.close()]
        writes: list[Path] = []

        def before(operation: str, path: Path) -> None:
            if operation == "write":
                writes.append(path)
                if len(writes) == 3:  # the chunks behind the refused envelope
                    raise OSError(errno.ENOSPC, "No space left on device")

        disk.before = before
        outcomes = await send_many(run, bodies)
        full = StorageFull(FullReason.DISK_FULL)
        assert all_told(outcomes[:2]) == [("accepted",)] * 2
        assert isinstance(outcomes[2], Refusal)
        assert list(outcomes[3:]) == [full] * 4
        again = await send_many(run, bodies[3:])
        assert all_told(again) == [("accepted",)] * 4
        assert isinstance(await finished(run), Closed)
    async with running(tmp_path, files=disk) as run:
        assert [each[-1] for each in all_told(await send_many(run, bodies[:2]))] == ["duplicate"] * 2


@pytest.mark.parametrize("kind", ["refusal", "close", "feedback"])
async def test_whatever_finds_no_room_stops_the_rest_too(tmp_path: Path, kind: str) -> None:
    """Not only the chunks that go together."""
    disk = MemoryFileSystem()
    async with running(tmp_path, files=disk) as run:
        client = await run.open()
        assert isinstance(await run.send(client.chunk()), Accepted)
        make: dict[str, Callable[[], bytes]] = {
            "refusal": lambda: client.chunk(team_size=0),
            "close": client.close,
            "feedback": lambda: client.feedback(sequence=client.sequence),
        }
        first = make[kind]()
        bodies = [first, client.feedback() if kind == "close" else client.chunk()]
        failures = [OSError(errno.ENOSPC, "No space left on device")]

        def before(operation: str, _path: Path) -> None:
            if operation == "write" and failures:
                raise failures.pop()

        disk.before = before
        assert await send_many(run, bodies) == (StorageFull(FullReason.DISK_FULL),) * 2
        again = await send_many(run, bodies)
        assert told(again[0])[0] == ("schema" if kind == "refusal" else "accepted")
        assert told(again[1]) == ("accepted",)


async def test_a_server_that_is_ending_says_so_on_every_line(tmp_path: Path) -> None:
    """Nothing was looked at, so nothing is final."""
    async with running(tmp_path) as run:
        client = await run.open()
        await run.service._directory.drain()
        assert await send_many(run, chunks(client, 3)) == (Busy(BusyReason.SHUTTING_DOWN),) * 3


async def test_the_requester_may_go_away(tmp_path: Path) -> None:
    """The actor goes on, and the retry finds the answers."""
    async with running(tmp_path) as run:
        client = await run.open()
        bodies = chunks(client, 8)
        with trio.CancelScope() as scope:
            scope.cancel()
            await send_many(run, bodies)
        again = await send_many(run, bodies)
        assert all_told(again) == [("accepted", "duplicate")] * 8
        assert len(run.lines(JournalName.ENVELOPES)) == 8


async def test_the_actor_lets_others_on_between_large_envelopes(tmp_path: Path) -> None:
    """Another task gets its turn at least once in about so many bytes as may be worked on in place."""
    settings = settings_with(sessions={"inline_bytes_max": 2_000})
    async with running(tmp_path, settings=settings) as run:
        client = await run.open()
        bodies = chunks(client, 60)
        turns = 0
        done = trio.Event()

        async def count() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await send_many(run, bodies)
            done.set()
        assert turns >= sum(map(len, bodies)) // 2_000 // 2


async def _outcomes_until_killed(root: Path, disk: MemoryFileSystem, bodies: Sequence[bytes], kill_at: int) -> int:
    """Send the batch; the disk fails for good at its `kill_at`-th operation. Returns how many operations there were."""
    operations = 0

    def before(_operation: str, _path: Path) -> None:
        nonlocal operations
        operations += 1
        if operations >= kill_at:
            raise OSError(errno.EIO, "Input/output error")

    try:
        async with running(root, files=disk) as run:
            disk.before = before
            outcomes = await send_many(run, bodies)
            disk.before = lambda _operation, _path: None
            assert all_told(outcomes) == [("accepted",), ("accepted",), told(outcomes[2]), *[("accepted",)] * 4]
    except* StorageFailure:
        pass
    finally:
        disk.before = lambda _operation, _path: None
    return operations


async def test_a_crash_at_any_operation_leaves_a_beginning(tmp_path: Path) -> None:
    """Killed at each operation on the disk in turn: after a restart the batch, sent again, is complete and in order."""
    kill_at = 1
    while True:
        root = tmp_path / str(kill_at)
        root.mkdir()
        disk = MemoryFileSystem()
        async with running(root, files=disk) as run:
            client = await run.open()
        bodies = [*chunks(client, 2), client.chunk(team_size=0), *chunks(client, 3), client.close()]
        operations = await _outcomes_until_killed(root, disk, bodies, kill_at)
        disk.crash()
        async with running(root, files=disk) as run:
            kept = run.rows(
                "sessions.db", "SELECT sequence FROM processed_envelopes WHERE sequence IS NOT NULL ORDER BY 1"
            )
            assert [sequence for (sequence,) in kept] in ([], [0, 1], [0, 1, 3, 4, 5], [0, 1, 3, 4, 5, 6]), kill_at
            again = await send_many(run, bodies)
            codes = [outcome.code if isinstance(outcome, Refusal) else told(outcome)[0] for outcome in again]
            assert codes[:2] == ["accepted"] * 2
            assert codes[2] in {RefusalCode.SCHEMA, RefusalCode.SEQUENCE_MISMATCH, RefusalCode.SESSION_CLOSED}
            assert codes[3:] == ["accepted"] * 4, kill_at
            closed = await finished(run)
            assert isinstance(closed, Closed)
            assert closed.credit is not None
            assert closed.credit.total_steps == 15
        if operations < kill_at:
            break
        kill_at += 1
    assert kill_at > 5
