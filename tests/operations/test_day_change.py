"""Midnight, UTC, with a hundred envelopes in flight: each stands in one of the two files, once, and in order."""

import errno
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from actors.sessions.outcomes import Accepted, ActorFailed, IngestOutcome, StorageFull
from central_command.settings.configuration import Settings
from persistence.files.failures import StorageFailure
from persistence.format.records import JournalName
from tests.operations.troubled_files import TroubledFileSystem
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import findings

IN_FLIGHT = 100
BEFORE_MIDNIGHT = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC).timestamp()
SMALL_BATCHES: Settings = settings_with(storage={"journal_batch_bytes_max": 8_000})
"""A hundred lines take about ten commits, so that midnight comes between two of them."""

DAYS = ["2026-11-20", "2026-11-21"]


class Midnight:
    """Files under which a day ends: at the `count`-th operation of a kind on envelopes, something happens as well."""

    def __init__(self, operation: str, count: int, also: Callable[[], None] | None = None) -> None:
        self.clock = Clock()
        self.clock.jump(BEFORE_MIDNIGHT - self.clock.now)
        self.files = TroubledFileSystem(self._before)
        self.is_armed = False
        self._operation = operation
        self._count = count
        self._also = also
        self._writes = 0

    def _before(self, operation: str, path: Path) -> None:
        if not self.is_armed or path.parent.name != JournalName.ENVELOPES:
            return
        if operation == "write":
            self._writes += 1
            if self._writes == 4:
                # Within a commit: the line's day was chosen before, the next commit's is tomorrow.
                self.clock.now += 2
        if operation == self._operation and self._also is not None:
            self._count -= 1
            if self._count == 0:
                self._also()


async def send_all(run: Running, bodies: list[bytes], outcomes: dict[int, IngestOutcome]) -> None:
    """Send everything at once, and note what is answered, by the index of the body."""

    async def send(index: int) -> None:
        outcomes[index] = await run.send(bodies[index])

    async with trio.open_nursery() as nursery:
        for index in range(len(bodies)):
            nursery.start_soon(send, index)


async def opened(run: Running) -> list[SigningClient]:
    """A hundred sessions; today's file exists, with a line of another one."""
    first = await run.open("sess_first")
    assert isinstance(await run.send(first.chunk()), Accepted)
    return [await run.open(f"sess_{number}") for number in range(IN_FLIGHT)]


def check_dense(run: Running) -> None:
    """Every session has one line, and their numbers have no gap."""
    lines = run.lines(JournalName.ENVELOPES)
    assert [line["received"]["n"] for line in lines] == list(range(1, IN_FLIGHT + 2))
    assert len({line["session_id"] for line in lines}) == IN_FLIGHT + 1


def lines_by_day(root: Path) -> dict[str, list[bytes]]:
    """The lines of each file."""
    paths = sorted((root / "envelopes").iterdir())
    return {path.stem: path.read_bytes().splitlines() for path in paths}


async def test_a_hundred_envelopes_around_midnight_are_split_without_loss_or_gap(tmp_path: Path) -> None:
    midnight = Midnight("write", 0)
    async with running(tmp_path, settings=SMALL_BATCHES, clock=midnight.clock, files=midnight.files) as run:
        clients = await opened(run)
        bodies = [client.chunk() for client in clients]
        midnight.is_armed = True
        outcomes: dict[int, IngestOutcome] = {}
        await send_all(run, bodies, outcomes)
        assert all(isinstance(outcome, Accepted) and not outcome.duplicate for outcome in outcomes.values())
        check_dense(run)
        lines = run.lines(JournalName.ENVELOPES)
        by_day = lines_by_day(tmp_path)
        assert sorted(by_day) == DAYS
        assert all(by_day.values())
        for line in lines[: len(by_day[DAYS[0]])]:
            assert line["received"]["at"].startswith(DAYS[0])
        for line in lines[len(by_day[DAYS[0]]) :]:
            assert line["received"]["at"].startswith(DAYS[1])
        await run.projected()
        daily = {day.date: day.envelopes for day in await run.service.daily(2)}
        assert daily == {day: len(by_day[day]) for day in DAYS}
        # A close reads the session's lines back from whichever file they are in.
        for client in (clients[0], clients[-1]):
            await run.send(client.chunk())
            assert isinstance(await run.send(client.close()), Accepted)
    assert await findings(tmp_path) == []


class _KilledError(Exception):
    """The process is gone."""


def _killed() -> None:
    raise _KilledError


def _failing() -> None:
    raise OSError(errno.EIO, "Input/output error")


def _contains(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_contains(each, kind) for each in error.exceptions)
    return isinstance(error, kind)


@pytest.mark.parametrize(("how", "kind"), [(_killed, _KilledError), (_failing, StorageFailure)])
@pytest.mark.parametrize(
    ("operation", "count"), [("write", 4), ("sync", 4), ("create", 1), ("write", 5), ("sync", 5), ("sync", 6)]
)
async def test_killed_at_midnight_nothing_acknowledged_is_lost(
    tmp_path: Path, operation: str, count: int, how: Callable[[], None], kind: type[BaseException]
) -> None:
    """Before the last write of the day, its sync, the new file, its own sync, the first write to it, and its sync."""
    midnight = Midnight(operation, count, how)
    outcomes: dict[int, IngestOutcome] = {}
    bodies: list[bytes] = []

    async def live() -> None:
        async with running(tmp_path, settings=SMALL_BATCHES, clock=midnight.clock, files=midnight.files) as run:
            bodies.extend([client.chunk() for client in await opened(run)])
            midnight.is_armed = True
            await send_all(run, bodies, outcomes)

    with pytest.raises(BaseExceptionGroup) as ended:
        await live()
    assert _contains(ended.value, kind), ended.value
    midnight.is_armed = False
    accepted = {index: each.envelope_id for index, each in outcomes.items() if isinstance(each, Accepted)}
    assert len(accepted) < IN_FLIGHT
    async with running(tmp_path, settings=SMALL_BATCHES, clock=midnight.clock) as run:
        for index, body in enumerate(bodies):
            again = await run.send(body)
            assert isinstance(again, Accepted)
            if index in accepted:
                assert (again.duplicate, again.envelope_id) == (True, accepted[index])
        check_dense(run)
        assert set(lines_by_day(tmp_path)) == set(DAYS)
    assert await findings(tmp_path) == []


async def test_no_room_for_the_new_days_file_is_a_full_disk_until_there_is(tmp_path: Path) -> None:
    """The old day's file stays as it is; what was refused is accepted when it is sent again."""

    def no_room() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    midnight = Midnight("create", 1, no_room)
    async with running(tmp_path, settings=SMALL_BATCHES, clock=midnight.clock, files=midnight.files) as run:
        clients = await opened(run)
        bodies = [client.chunk() for client in clients]
        midnight.is_armed = True
        outcomes: dict[int, IngestOutcome] = {}
        await send_all(run, bodies, outcomes)
        refused = [index for index, outcome in sorted(outcomes.items()) if isinstance(outcome, StorageFull)]
        assert refused
        assert not any(isinstance(outcome, ActorFailed) for outcome in outcomes.values())
        for index in refused:
            assert isinstance(await run.send(bodies[index]), Accepted)
        check_dense(run)
    assert await findings(tmp_path) == []
